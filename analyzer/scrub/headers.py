"""The headers on a multifd channel: they are kept, with other names in them."""

from __future__ import annotations

from analyzer.scrub.structure import config_spans
from dissectors.multifd import (
    CHANNEL_HEADER,
    COMMON_COUNT,
    DEVICE_STATE,
    HEADER,
    INIT,
    MAGIC_VERSION,
    NAME_SIZE,
    RAM,
    ram_header_size,
)
from dissectors.vfio import BUFFER

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from analyzer.migration.channel import Channel
    from analyzer.migration.framing import Framing
    from analyzer.migration.rows import DevicePacket, RamPacket
    from analyzer.scrub.plan import Plan
    from analyzer.scrub.secret import Names

__all__ = ["FLAGS", "Headers"]

FLAGS = HEADER["flags"].offset
NAME = RAM["ramblock"].offset
NAME_END = NAME + NAME_SIZE
IDSTR = DEVICE_STATE["idstr"].offset
IDSTR_END = IDSTR + NAME_SIZE
HEAD = DEVICE_STATE.size + BUFFER.size
BUFFER_FLAGS = DEVICE_STATE.size + BUFFER["flags"].offset
CUT_OFF = b"x" * NAME_SIZE
"""In place of a name whose end is in a hole, which must not get one: a search knows headers by a
name that begins well.
"""
UUID = INIT["uuid"].offset
UUID_END = UUID + INIT["uuid"].size


class Headers:
    """Puts the headers of one channel into its plan."""

    def __init__(self, plan: Plan, names: Names) -> None:
        self._plan = plan
        self._names = names

    def initial(self, channel: Channel, data: bytes) -> int:
        """Keep the initial packet, and the RFC's header before it; returns their length."""
        begin = 0 if channel.channel_header is None else CHANNEL_HEADER.size
        self._plan.keep(0, begin)
        if channel.midstream:
            return begin
        whole = data[begin : begin + INIT.size]
        self._named(begin, whole, UUID, UUID_END, self._names.uuid)
        return begin + len(whole)

    def packet(self, framing: Framing | None, at: int, run: bytes, pos: int, final: bool) -> int:
        """Keep the header at ``pos`` of a run, which begins at stream offset ``at``, and a config
        state; returns its size, 0 to wait for more unless the run is ``final``.
        """
        flags = int.from_bytes(run[pos + FLAGS : pos + HEADER.size], "big")
        count, device = 0, None
        if framing is not None:
            count, device = framing.page_count, framing.is_device_state(flags)
            head = run[pos : pos + HEAD]
            if device is None and len(head) > IDSTR:
                device = framing.is_bit4_device_state(head)
            elif device is not None and framing.contradicts_flags(head, device):
                device = not device
        size = ram_header_size(count or COMMON_COUNT) if device is False else HEAD
        have = run[pos : pos + size]
        if len(have) < size and not final:
            return 0
        if device is False:
            self._named(at + pos, have, NAME, NAME_END, self._names.block_field)
            return len(have)
        payload = int.from_bytes(have[DEVICE_STATE.size - 4 : DEVICE_STATE.size], "big")
        if payload < BUFFER.size:
            have = have[: DEVICE_STATE.size]
        self._named(at + pos, have, IDSTR, IDSTR_END, self._names.idstr_field)
        zeros = have[BUFFER_FLAGS : BUFFER_FLAGS + 4].count(0)
        config = run[pos + HEAD : pos + DEVICE_STATE.size + payload]
        behind = run[pos + HEAD : pos + HEAD + len(MAGIC_VERSION)]
        if payload < BUFFER.size or zeros == 4 or behind == MAGIC_VERSION or not config:
            return len(have)
        for begin, end in config_spans(config):
            self._plan.keep(at + pos + HEAD + begin, at + pos + HEAD + end)
        return HEAD + len(config)

    def _named(
        self, at: int, data: bytes, begin: int, end: int, other: Callable[[bytes], bytes]
    ) -> None:
        """Keep a header with a name in it; a truncated name is not kept."""
        self._plan.keep(at, at + min(begin, len(data)))
        field = data[begin:end]
        if len(field) == end - begin:
            new = other(field)
            self._plan.keep(at + begin, at + end)
            if new != field:
                self._plan.put(at + begin, new)
        self._plan.keep(at + end, at + len(data))

    # -- found by search ----------------------------------------------------------------------

    def found_ram(self, packet: RamPacket) -> None:
        """Keep the header of a RAM packet that no walker has read whole."""
        at, block = packet.offset, packet.ramblock
        cut = packet.offsets is None
        self._plan.keep_late(at, at + (NAME_END if cut else packet.header_size))
        self._plan.put_late(at + NAME, CUT_OFF if block is None else self._names.block_field(block))

    def found_device(self, packet: DevicePacket) -> None:
        """Keep the header of a device-state packet, likewise."""
        at = packet.offset
        self._plan.keep_late(at, at + HEAD)
        self._plan.put_late(at + IDSTR, self._names.idstr_field(packet.idstr))
