"""MF505 to MF511 and MF519 to MF526: a device's buffers by index and in order of arrival.

Wire-format page, sections 5.2, 5.4 and 5.6.
"""

from __future__ import annotations

from collections import Counter

from analyzer.checks.device_packets import PACKET_MIN, PAYLOAD_MAX, misnamed, unread
from analyzer.checks.rule import (
    ERROR,
    INFO,
    WARNING,
    Spot,
    device_rule,
    limit_rule,
    migration_rule,
)
from analyzer.checks.wording import counted, duration
from analyzer.migration.buffers import Buffers
from analyzer.migration.channel import multifd_name
from analyzer.migration.reassembly import config_of, gaps
from dissectors.multifd import MultifdFlag
from dissectors.vfio import BUFFER, IDX_MAX

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

    from analyzer.checks.selection import Selection
    from analyzer.migration.device import Device
    from analyzer.migration.migration import Migration
    from analyzer.migration.rows import Buffer

IDX_PLAUSIBLE = 1 << 16
"""An index below this is never called huge: its neighbours may be lost."""
IDX_IMPLAUSIBLE = 1_000_000
RANGES_LISTED = 20
CUTS_LISTED = 5


def _limit(migration: Migration) -> int:
    """The limit above which an index is plausible only if it has a neighbour."""
    room = sum(channel.length for channel in migration.multifd) // PACKET_MIN
    return min(IDX_IMPLAUSIBLE, max(IDX_PLAUSIBLE, room))


def _split(device: Device, migration: Migration) -> tuple[Buffers, Buffers]:
    """Buffers with a plausible index, and those that MF504 or MF521 reports."""
    buffers = device.buffers
    highest = max(buffers.idx, default=0)
    if highest <= IDX_PLAUSIBLE or highest <= (limit := _limit(migration)):
        return buffers, Buffers()
    known = set(buffers.idx)
    plausible: list[int] = []
    huge: list[int] = []
    for place, idx in enumerate(buffers.idx):
        near = idx - 1 in known or (idx + 1 in known and idx + 1 != IDX_MAX)
        fits = idx != IDX_MAX and (idx <= limit or near)
        (plausible if fits else huge).append(place)
    return buffers.at(plausible) if huge else buffers, buffers.at(huge)


def _spot(text: str, buffer: Buffer) -> Spot:
    return Spot(text, frame=buffer.frame, index=buffer.idx)


class _Elsewhere:
    """Where a device's missing buffers may be, other than in a hole.

    They may have been sent under the name of a wrong device (MF405, MF406); each such buffer is
    used once.  ``meant`` are the valid devices.  Or they are in bytes that could not be decoded.
    """

    def __init__(self, migration: Migration) -> None:
        wrong = misnamed(migration)
        names = {device.key for device in wrong}
        self.meant = [device for key, device in migration.devices.items() if key not in names]
        self._indices = Counter(idx for device in wrong for idx in device.buffers.idx)
        self._configs = sum(len(device.buffers.configs) for device in wrong)
        self._unread, self._where = unread(migration)

    def has(self, first: int, last: int) -> bool:
        """Whether wrong devices have all of a range of indices, which are then used up."""
        if last - first >= len(self._indices):
            return False
        indices = range(first, last + 1)
        if any(self._indices[idx] < 1 for idx in indices):
            return False
        self._indices.subtract(indices)
        return True

    def has_config(self) -> bool:
        """Whether a wrong device has a config state, which is then used up."""
        self._configs -= 1
        return self._configs >= 0

    def missing(
        self,
        device: Device,
        text: str,
        count: int,
        *,
        frame: int | None = None,
        index: int | None = None,
    ) -> Spot:
        """A finding about ``count`` missing buffers; info if they may be in bytes that were not
        decoded.
        """
        spot = Spot(text, device=device.name, frame=frame, index=index)
        if count <= self._unread:
            spot.message += self._where
            spot.severity = INFO
        return spot


# -- indices ---------------------------------------------------------------------------------------


@device_rule("MF505", "vfio-idx-duplicate", ERROR)
def vfio_idx_duplicate(device: Device, migration: Migration) -> Iterator[Spot]:
    """An index occurs twice for one device.

    Each index identifies one piece of the state.  TCP retransmissions do not count: this is a
    second packet.

    Receiver: ``state buffer %u already filled``, even if the first one was consumed already; the
    migration fails.

    Usual cause: a bug in the source's save thread, or two devices with the same idstr.
    """
    buffers = device.buffers
    if buffers.are_contiguous:
        return
    first: dict[int, int] = {}
    for place, idx in enumerate(buffers.idx):
        earlier = first.setdefault(idx, place)
        if earlier == place:
            continue
        before, buffer = buffers[earlier], buffers[place]
        if not (before.is_config and buffer.is_config):
            yield _spot(
                f"idx {buffer.idx} again; it was already in frame {before.frame} on "
                f"{multifd_name(before.channel)}",
                buffer,
            )


def _cut_off(device: Device, first: int, last: int) -> str:
    """Which of the missing buffers were truncated by the end of their stream."""
    cuts = [cut for cut in device.cut if cut.idx is not None and first <= cut.idx <= last]
    parts = [
        f"{'it' if first == last else f'idx {cut.idx}'} was cut off on {multifd_name(cut.channel)} "
        f"after {cut.arrived} of {cut.size} bytes{_swapped(cut.size)}"
        for cut in cuts[:CUTS_LISTED]
    ]
    return f": {', '.join(parts)}" if parts else ""


def _swapped(size: int) -> str:
    """What next_packet_size, here of ``size`` bytes of data, is in the other byte order, if only
    that is plausible.
    """
    other = int.from_bytes((size + BUFFER.size).to_bytes(4, "little"), "big")
    if size + BUFFER.size <= PAYLOAD_MAX or not BUFFER.size <= other <= PAYLOAD_MAX:
        return ""
    return f" (next_packet_size in the other byte order: {other})"


@migration_rule("MF506", "vfio-idx-gap", ERROR, holes="GXELC", forgiven=True)
def vfio_idx_gap(migration: Migration) -> Iterator[Spot]:
    """Buffers below the config state's index are missing.

    The state is written to the device strictly in index order, so nothing after the gap is ever
    loaded.

    Receiver: it hangs.  The load thread waits for the missing index without a timeout (trace
    ``vfio_load_state_device_buffer_starved``) and main waits for the thread, until the connection
    breaks or the migration is cancelled.

    Usual cause: the source shut a channel down before its last buffers were sent; without the
    ``return-path`` capability it does not wait for them.
    """
    elsewhere = _Elsewhere(migration)
    for device in elsewhere.meant:
        buffers, _ = _split(device, migration)
        ranges = [r for r in gaps(buffers) if r[0]]  # MF508 reports the others
        ranges = [(first, last) for first, last in ranges if not elsewhere.has(first, last)]
        for first, last in ranges[:RANGES_LISTED]:
            what = f"idx {first} is" if first == last else f"idx {first} to {last} are"
            text = f"{what} missing{_cut_off(device, first, last)}"
            after = min(idx for idx in buffers.idx if idx > last)
            frame = buffers.frame[buffers.idx.index(after)]
            count = last - first + 1
            yield elsewhere.missing(device, text, count, frame=frame, index=first)
        if more := ranges[RANGES_LISTED:]:
            count = sum(last - first + 1 for first, last in more)
            text = f"{counted(len(more), 'more gap')}: {counted(count, 'buffer')}"
            yield elsewhere.missing(device, text, count)


@device_rule("MF507", "vfio-idx-above-last", ERROR)
def vfio_idx_above_last(device: Device, migration: Migration) -> Iterator[Spot]:
    """A data buffer has an index above the config state's.

    The config state's index marks the end of the data, so this buffer is past the end.

    Receiver: silent.  It stores the buffer and never loads it; the device runs with an incomplete
    state.

    Usual cause: a bug in the source, which numbers buffers and config state separately.
    """
    buffers, _ = _split(device, migration)
    config = config_of(buffers)
    if config is None:
        return
    for place, idx in enumerate(buffers.idx):
        if idx > config.idx:
            yield _spot(f"idx {idx}, the config state has {config.idx}", buffers[place])


@migration_rule("MF508", "vfio-idx-start", ERROR, holes="GXLC", forgiven=True)
def vfio_idx_start(migration: Migration) -> Iterator[Spot]:
    """The lowest index of a device is not 0.

    Indices start at 0, so the beginning of the state is missing.

    Receiver: it hangs: the load thread waits for index 0 without a timeout.

    Usual cause: the first buffers are not in the capture; otherwise a bug in the source.
    """
    elsewhere = _Elsewhere(migration)
    for device in elsewhere.meant:
        buffers, _ = _split(device, migration)
        lowest = min(buffers.idx, default=0)
        if lowest and not elsewhere.has(0, lowest - 1):
            text = f"the lowest idx is {lowest}{_cut_off(device, 0, lowest - 1)}"
            frame = buffers.frame[buffers.idx.index(lowest)]
            yield elsewhere.missing(device, text, lowest, frame=frame, index=lowest)


@migration_rule("MF509", "vfio-no-config", ERROR, holes="GXEC", forgiven=True)
def vfio_no_config(migration: Migration) -> Iterator[Spot]:
    """A device's config state never came.

    It is the last buffer, and its index gives the number of data buffers; without it the receiver
    cannot know that it has everything.

    Receiver: it hangs after main's EOF byte: the load thread waits for the next index without a
    timeout.

    Usual cause: the source shut a channel down before its last buffers were sent; without the
    ``return-path`` capability it does not wait for them.
    """
    elsewhere = _Elsewhere(migration)
    for device in elsewhere.meant:
        if device.buffers.configs or elsewhere.has_config():
            continue
        highest = max(device.buffers.idx, default=-1)
        text = f"no CONFIG_STATE in {counted(len(device.buffers), 'buffer')}"
        text += _cut_off(device, highest + 1, IDX_MAX)
        frame = device.last.frame if device.last is not None else None
        yield elsewhere.missing(device, text, 1, frame=frame)


@device_rule("MF510", "vfio-config-twice", ERROR)
def vfio_config_twice(device: Device, migration: Migration) -> Iterator[Spot]:
    """A device has two buffers with CONFIG_STATE.

    There is exactly one config state, and its index marks the end of the data.

    Receiver: with the same index ``state buffer %u already filled``; with a higher one the first
    config state is written to the device as if it were data; QEMU may abort.

    Usual cause: a bug in the source that sets CONFIG_STATE on a data buffer.
    """
    configs = device.buffers.configs
    for buffer in configs[1:]:
        first = configs[0]
        text = f"CONFIG_STATE again with idx {buffer.idx}; "
        yield _spot(text + f"idx {first.idx} has it in frame {first.frame}", buffer)


@device_rule("MF511", "vfio-config-not-last", ERROR)
def vfio_config_not_last(device: Device, migration: Migration) -> Iterator[Spot]:
    """The config state's index is not the highest of its device.

    It must be one above the last data buffer's.  Here a data buffer has the same index or a higher
    one.

    Receiver: an abort (``load_buf_idx <= load_buf_idx_last``) when the indices are equal or the
    config state comes late; otherwise the data above it are never loaded (MF507).

    Usual cause: a bug in the source, which numbers buffers and config state separately.
    """
    buffers, _ = _split(device, migration)
    config = config_of(buffers)
    if config is None:
        return
    alike = sum(b.idx == config.idx for b in buffers.configs)
    same = buffers.idx.count(config.idx) > alike
    above = sum(idx > config.idx for idx in buffers.idx)
    if same:
        yield _spot(f"the config state has idx {config.idx}, and a data buffer too", config)
    elif above:
        more = f"{counted(above, 'data buffer')} {'is' if above == 1 else 'are'} above"
        yield _spot(f"the config state has idx {config.idx}, {more}", config)


@device_rule("MF521", "vfio-idx-huge", ERROR)
def vfio_idx_huge(device: Device, migration: Migration) -> Iterator[Spot]:
    """An index is larger than the capture can justify.

    It has no neighbours, and the channels did not carry enough bytes for so many buffers.  The
    rules about gaps ignore it.

    Receiver: it allocates an array of that many entries, and waits for all of them.

    Usual cause: a damaged header, the wrong byte order (MF503), or an attack on the destination's
    memory.
    """
    for buffer in _split(device, migration)[1]:
        if buffer.idx != IDX_MAX:
            have = counted(len(device.buffers), "buffer")
            yield _spot(f"idx {buffer.idx}, in a device with {have}", buffer)


# -- the receiver's queue --------------------------------------------------------------------------


@limit_rule("MF519", "vfio-queue-bytes", WARNING, holes="X")
def vfio_queue_bytes(migration: Migration, selection: Selection) -> Iterator[Spot]:
    """The receiver had to hold more bytes of a device than its limit allows.

    Buffers that arrive before an earlier index are held back.  The figure is a lower bound: the
    receiver also counts buffers that it has not yet written to the device.

    Receiver: ``queuing state buffer %u would exceed the size max of %lu`` (10.1 on); the migration
    fails.

    Usual cause: ``x-migration-max-queued-buffers-size`` is too small for this device and number of
    channels.
    """
    limit = selection.max_queued_bytes
    if limit is None:
        return
    for device in migration.devices.values():
        peak = device.queue().peak_bytes
        if peak > limit:
            yield Spot(_held(counted(peak, "byte"), limit), device=device.name)


@limit_rule("MF520", "vfio-queue-count", WARNING, holes="X")
def vfio_queue_count(migration: Migration, selection: Selection) -> Iterator[Spot]:
    """The receiver had to hold more buffers of a device than its limit allows.

    Buffers that arrive before an earlier index are held back.  Only v2 to v6 of the series limit
    their number; the figure is a lower bound.

    Receiver: ``queuing state buffer %u would exceed the max of %u``; the migration fails.

    Usual cause: ``x-migration-max-queued-buffers`` is too small for this device and number of
    channels.
    """
    limit = selection.max_queued_buffers
    if limit is None:
        return
    for device in migration.devices.values():
        peak = device.queue().peak_buffers
        if peak > limit:
            yield Spot(_held(counted(peak, "buffer"), limit), device=device.name)


def _held(what: str, limit: int) -> str:
    return f"held {what} while an earlier idx was missing, the limit is {limit}"


@device_rule("MF522", "vfio-starved", INFO, holes="X")
def vfio_starved(device: Device, migration: Migration) -> Iterator[Spot]:
    """The receiver had later buffers of a device but had to wait for an earlier one.

    Meanwhile nothing is written to the device; the message gives the longest wait.

    Receiver: normal; it traces ``vfio_load_state_device_buffer_starved``.

    Usual cause: channels with different speeds, or packet loss on one of them.
    """
    queue = device.queue()
    if queue.waited_for is None:
        return
    yield Spot(
        f"waited {duration(queue.longest_wait)} for idx {queue.waited_for}, with "
        f"{counted(queue.meanwhile, 'later buffer')} queued",
        index=queue.waited_for,
    )


# -- order of arrival ------------------------------------------------------------------------------


@device_rule("MF523", "vfio-reordered", INFO)
def vfio_reordered(device: Device, migration: Migration) -> Iterator[Spot]:
    """Buffers of a device arrived after buffers with a higher index.

    They travel on several channels; the index exists to restore their order.

    Receiver: normal; it holds back those that arrive early.

    Usual cause: several channels.
    """
    late = device.out_of_order()
    if late:
        distance = device.queue().distance
        text = f"{counted(late, 'buffer')} after a higher idx, which came at most {distance} early"
        yield Spot(text)


@migration_rule("MF524", "vfio-config-load-ready-mismatch", WARNING, holes="XEC", forgiven=True)
def vfio_config_load_ready_mismatch(migration: Migration) -> Iterator[Spot]:
    """DEV_CONFIG_LOAD_READY on main and the config state on multifd do not match.

    A destination with ``x-migration-load-config-after-iter`` holds the config state back until this
    tag comes on main.  Here the tag came without a config state, or other devices of the migration
    have the tag but this one has only the config state.  It is an error if the tag came in an END
    section, where only the RFC, v1 and v2 of the series have it, as DATA_STATE_COMPLETE.

    Receiver: it hangs, waiting for the missing part; in an END section the tag ends the body, so
    that the footer is missing (10.0: ``%s: Unknown tag 0x%lx``).

    Usual cause: a lost buffer (MF509); devices of one guest with different settings; a sender that
    writes the tag too early.
    """
    facts = migration.main_facts
    if facts is None:
        return
    if migration.framing.device_flag == MultifdFlag.DEVICE_STATE:
        text = "DEV_CONFIG_LOAD_READY in an END section"
        for early in facts.devices.values():
            for mark in early.completes[:1]:
                yield Spot(text, device=early.name, mark=mark, severity=ERROR)
    if not any(section.load_ready for section in facts.devices.values()):
        return
    for key, device in migration.devices.items():
        section = facts.devices.get(key)
        if section is None or section.announced != "multifd":
            continue
        config = bool(device.buffers.configs)
        if section.load_ready and not config:
            frame = section.load_ready[0].frame
            text = "DEV_CONFIG_LOAD_READY on main, no config state on multifd"
            yield Spot(text, device=device.name, frame=frame)
        elif config and not section.load_ready:
            text = "no DEV_CONFIG_LOAD_READY on main, which other devices have"
            yield Spot(text, device=device.name)


@device_rule("MF525", "vfio-config-before-data", INFO)
def vfio_config_before_data(device: Device, migration: Migration) -> Iterator[Spot]:
    """A device's config state arrived before some of its data.

    It is queued last, but may travel on a faster channel.

    Receiver: normal; it is applied when the data before it are loaded.

    Usual cause: several channels.
    """
    config = device.config
    if config is None:
        return
    buffers, end = device.buffers, config.end_frame
    ends = zip(buffers.idx, buffers.end_frame, strict=True)
    if later := sum(idx < config.idx and frame > end for idx, frame in ends):
        data = counted(later, "buffer")
        yield _spot(f"the config state came before {data} with a lower idx", config)


@device_rule("MF526", "vfio-idx-falls", WARNING)
def vfio_idx_falls(device: Device, migration: Migration) -> Iterator[Spot]:
    """On one channel a buffer follows one with a higher index.

    The source queues a device's buffers in the order of their indices, and a channel sends them in
    the order in which they were queued: only buffers on different channels can overtake each other.

    Receiver: silent; it loads them by index.

    Usual cause: a source with several save threads for one device, or something in between that
    rearranges the stream.
    """
    ids = [channel.id for channel in migration.multifd]
    if len(set(ids)) < len(ids):
        return  # MF106; a buffer does not record which of the two carried it
    last: dict[int, int] = {}
    buffers, _ = _split(device, migration)
    for place, (number, idx) in enumerate(zip(buffers.channel, buffers.idx, strict=True)):
        before = last.get(number, 0)
        if idx < before:
            text = f"idx {idx} after idx {before} on {multifd_name(number)}"
            yield _spot(text, buffers[place])
        last[number] = idx
