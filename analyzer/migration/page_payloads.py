"""Decodes the payloads of RAM packets while a capture streams by.

A scan takes :class:`PagePayloads` as its ``page_collector``.  Wire-format page, section 3.8.
"""

from __future__ import annotations

from analyzer.migration.consumers import PageCollector
from dissectors.compression import STREAMS, decoder_of
from dissectors.multifd import METHODS

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Protocol

    from analyzer.migration.channel import Channel
    from analyzer.migration.migration import Migration
    from analyzer.migration.ram_facts import RamFacts, RecordTaker
    from analyzer.migration.rows import RamPacket
    from analyzer.tcp.requests import Sink
    from dissectors.compression import Decoded, Decoder

    class PageTaker(Protocol):
        """Receives the decoded pages."""

        def pages(
            self, migration: Migration, channel: Channel, packet: RamPacket, decoded: Decoded
        ) -> None:
            """The pages of a packet; called just before the watchers get the packet."""

        def stopped(
            self, migration: Migration, channel: Channel, packet: RamPacket, why: str
        ) -> None:
            """From this packet on a channel's payloads cannot be decompressed; called once per
            channel.
            """


__all__ = ["PagePayloads"]

HELD_MAX = 128 << 20
"""Most bytes of incomplete payloads held, over all channels; a payload has at most 1 MiB."""
HOLE_MAX = 1 << 20
"""A payload with a longer hole, in bytes, is given up."""
MEMORY_MAX = 512 << 20
"""Most bytes of decompression state, over all channels."""
MISSING = "bytes of its payload are missing"
CROWDED = "too many channels are decompressed at once"


class _Channel:
    """One channel's decoder; ``lost`` says why it can no longer decode, empty while it can;
    ``told`` that the taker knows.
    """

    __slots__ = ("decoder", "lost", "method", "told")

    def __init__(self, method: int, lost: str = "") -> None:
        self.method = method
        self.decoder: Decoder | None = None
        self.lost = lost
        self.told = False

    @property
    def stateful(self) -> bool:
        """Whether a payload can be decoded only if all before it were."""
        return self.method in STREAMS


class _Held:
    """A payload that is arriving; ``data`` is ``None`` once it was given up, ``left`` bytes are
    still to come, ``holes`` are (first, end) in ``data``.
    """

    __slots__ = ("data", "holes", "left")

    def __init__(self, size: int) -> None:
        self.data: bytearray | None = bytearray()
        self.holes: list[tuple[int, int]] = []
        self.left = size


class PagePayloads(PageCollector):
    """Collects payloads, decodes them and passes their pages to ``taker``.

    Both the payloads held and the decoders' state are bounded: beyond that the oldest ones are
    given up, and the taker is told.  ``records`` gives the taker of the pages in main's RAM
    records, which need no decoder.
    """

    def __init__(
        self,
        taker: PageTaker,
        records: Callable[[Migration, RamFacts], RecordTaker | None] | None = None,
    ) -> None:
        self._taker = taker
        self._records = records
        self._channels: dict[Channel, _Channel] = {}
        self._held: dict[_Held, None] = {}  # the oldest first
        self._held_bytes = 0
        self._memory: dict[_Channel, int] = {}  # of decoders, the least recently used first

    # -- what the walker calls ----------------------------------------------------------------

    def payload(self, migration: Migration, channel: Channel, packet: RamPacket) -> Sink | None:
        """The sink for the payload of ``packet``; ``None`` if its compression method is unknown."""
        if packet.compression not in METHODS:
            return None
        state = self._channels.get(channel)
        if state is None or state.method != packet.compression:
            state = self._begin(channel, packet.compression)
        held = _Held(packet.next_packet_size)
        self._held[held] = None

        def sink(piece: bytes | memoryview | None, size: int) -> None:
            self._take(held, piece, size)
            if not held.left:
                self._finish(held, state, (migration, channel, packet))

        if not held.left:
            self._finish(held, state, (migration, channel, packet))
        return sink

    def records(self, migration: Migration, ram: RamFacts) -> RecordTaker | None:
        """The taker of the pages that are sent over main."""
        return self._records(migration, ram) if self._records is not None else None

    def lost(self, channel: Channel) -> None:
        """Bytes of the channel were skipped or are missing."""
        state = self._channels.get(channel)
        if state is None:
            state = self._channels[channel] = _Channel(0)
        self._lose(state, "earlier bytes of the channel are missing")

    # -- payloads -----------------------------------------------------------------------------

    def _begin(self, channel: Channel, method: int) -> _Channel:
        """Begin decoding a channel, or another method on it."""
        before = self._channels.get(channel)
        if before is not None:
            self._lose(before, before.lost)
        lost = before.lost if before is not None else ""
        if channel.midstream:
            lost = "the beginning of the channel is not in the capture"
        state = self._channels[channel] = _Channel(method, lost)
        return state

    def _take(self, held: _Held, piece: bytes | memoryview | None, size: int) -> None:
        held.left -= size
        if held.data is None:
            return
        if piece is None:
            held.holes.append((len(held.data), len(held.data) + size))
            if size > HOLE_MAX:
                self._drop(held)
                return
            held.data += bytes(size)
        else:
            held.data += piece
        self._held_bytes += size
        while self._held_bytes > HELD_MAX:
            self._drop(next(iter(self._held)))

    def _drop(self, held: _Held) -> bytearray | None:
        data = held.data
        if data is not None:
            del self._held[held]
            self._held_bytes -= len(data)
            held.data = None
        return data

    def _finish(
        self, held: _Held, state: _Channel, row: tuple[Migration, Channel, RamPacket]
    ) -> None:
        """Decode a payload that has arrived, as far as it is there."""
        data = self._drop(held)
        if state.stateful:
            if held.holes or data is None:
                self._lose(state, MISSING if held.holes else CROWDED)
            if state.lost:
                if not state.told:
                    state.told = True
                    self._taker.stopped(*row, state.lost)
                return
        page_size = row[0].framing.page_size
        if data is None or not page_size or (held.holes and state.method):
            return
        if state.decoder is None:
            state.decoder = decoder_of(state.method)
        decoded = state.decoder.decode(data, row[2].normal_pages, page_size)
        for first, end in held.holes:
            decoded.spoil(first, end)
        self._account(state)
        if decoded.broken:
            self._lose(state, "an earlier payload of the channel is damaged")
            state.told = True
        self._taker.pages(*row, decoded)

    # -- decoders -----------------------------------------------------------------------------

    def _account(self, state: _Channel) -> None:
        """Note a decoder's memory; give up the least recently used ones if it is too much."""
        if state.decoder is None or not state.decoder.memory:
            return
        self._memory.pop(state, None)
        self._memory[state] = state.decoder.memory
        while len(self._memory) > 1 and sum(self._memory.values()) > MEMORY_MAX:
            self._lose(next(iter(self._memory)), CROWDED)

    def _lose(self, state: _Channel, why: str) -> None:
        state.lost = state.lost or why
        state.decoder = None
        self._memory.pop(state, None)
