"""MF95x: measures with thresholds (wire-format page, sections 8 and 11).

Findings are info beyond a default threshold, and warnings beyond one that the user sets, or where
nobody can tell whether that one is kept.
"""

from __future__ import annotations

from analyzer.checks.rule import INFO, WARNING, Spot, limit_rule, metric_rule
from analyzer.checks.wording import counted, duration, names
from analyzer.migration.fairness import jain, ram_channels, state_channels
from analyzer.migration.intervals import Coverage, total, union
from analyzer.migration.outcome import outcome_of
from analyzer.migration.switchover import switchover_of

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

    from analyzer.checks.selection import Selection
    from analyzer.migration.device import Device
    from analyzer.migration.intervals import Span
    from analyzer.migration.migration import Migration
    from analyzer.migration.scan import Scan

PACKETS_JUDGED = 8
"""Average packets per channel below which fairness is not meaningful."""


@limit_rule("MF951", "fairness-ram", INFO)
def fairness_ram(migration: Migration, selection: Selection) -> Iterator[Spot]:
    """RAM was spread unevenly over the multifd channels.

    Measured with Jain's index over the bytes of each channel: 1 is even, 1/n means everything on
    one of n.  The source gives a packet to the first idle channel after the last one used, so under
    load the spread is even; if channels finish before the next packet is ready, few channels carry
    everything.
    Reported below 0.5; ``--limit fairness-ram=SHARE`` sets another limit, below which it is a
    warning.

    Receiver: not affected; but the channel that carries most determines the speed.

    Usual cause: more channels than the source can fill; one slower connection.
    """
    channels = ram_channels(migration.multifd)
    packets = sum(channel.ram_packets for channel in channels)
    if len(channels) < 2 or packets < PACKETS_JUDGED * len(channels):
        return
    yield from _unfair("fairness-ram", "RAM", [c.ram_bytes for c in channels], selection)


@limit_rule("MF952", "fairness-device", INFO)
def fairness_device(migration: Migration, selection: Selection) -> Iterator[Spot]:
    """Device state was spread unevenly over the multifd channels.

    Measured with Jain's index as in MF951, over device-state bytes.  A device whose state fits into
    few buffers cannot use all channels.
    Reported below 0.5; ``--limit fairness-device=SHARE`` sets another
    limit, below which it is a warning.

    Receiver: not affected; but the channel that carries most determines the downtime.

    Usual cause: few large buffers; channels that still had RAM to send.
    """
    channels = state_channels(migration.multifd)
    packets = sum(channel.device_packets for channel in channels)
    if len(channels) < 2 or packets < PACKETS_JUDGED * len(channels):
        return
    shares = [channel.device_bytes for channel in channels]
    yield from _unfair("fairness-device", "device state", shares, selection)


@limit_rule("MF953", "device-starved", INFO)
def device_starved(migration: Migration, selection: Selection) -> Iterator[Spot]:
    """A device had to wait while others transferred their state.

    The measure is the share of time, from the first device-state byte of all devices to the
    device's last one, in which packets of other devices were in transfer but none of its own.
    Reported above 0.9; ``--limit device-starved=SHARE`` sets another limit, above which it is a
    warning.

    Receiver: its load thread for that device waits for the next buffer.

    Usual cause: large devices that keep all channels busy; a device that is slow to read.
    """
    devices = [device for device in migration.devices.values() if device.buffers]
    if len(devices) < 2:
        return
    yield from unmeasured("device-starved", migration, selection)
    limit, level = selection.limit("device-starved"), selection.level("device-starved")
    moving = Coverage(union(span for device in devices for span in _spans(device)))
    for device in devices:
        own = union(_spans(device))
        waited = moving.until(own[-1][1]) - total(own)
        lasted = own[-1][1] - moving.spans[0][0]
        if lasted and waited > limit * lasted:
            text = f"{waited / lasted:.0%} of its time the device waited for other devices"
            frame = device.first.frame if device.first is not None else None
            yield Spot(text, device=device.name, frame=frame, severity=level)


@limit_rule("MF954", "downtime", INFO)
def downtime(migration: Migration, selection: Selection) -> Iterator[Spot]:
    """The downtime was long.

    From SWITCHOVER_START (before 10.0: the end of the first section) to the destination's SHUT or
    the last byte of the state.  QEMU's own measurement starts and ends earlier, so it can be larger
    or smaller.
    Reported above 0.3 s; ``--limit downtime=TIME`` sets another limit, above which it is a warning.

    Receiver: not affected; the guest notices.

    Usual cause: device state that is large for the link; devices that load slowly; a
    ``downtime-limit`` that allows it.
    """
    switchover = switchover_of(migration)
    if switchover is None:
        yield from _no_switchover("downtime", migration, selection)
        return
    limit = selection.limit("downtime")
    if switchover.duration <= limit * 1e9:
        return
    text = (
        f"downtime at least {duration(switchover.duration)} (limit {limit * 1e3:g} ms), from "
        f"{switchover.began_by} to {switchover.ended_by}"
    )
    yield Spot(text, frame=switchover.first, severity=selection.level("downtime"))


@metric_rule("MF955", "switchover-gap", INFO)
def switchover_gap(migration: Migration, selection: Selection, scan: Scan) -> Iterator[Spot]:
    """There was no traffic at all for a while during the switchover.

    Neither side sent a frame: both were busy with something other than the transfer.
    Reported above 0.1 s; ``--limit switchover-gap=TIME`` sets another limit, above which it is a
    warning.

    Receiver: it loads devices, or waits; or the source reads state from a device.

    Usual cause: a device that takes long to save or to load its state; a synchronous flush of
    disks.
    """
    switchover = switchover_of(migration)
    if switchover is None:
        yield from _no_switchover("switchover-gap", migration, selection)
        return
    limit = selection.limit("switchover-gap") * 1e9
    for begin, end, frame in scan.engine.pauses:
        inside = min(end, switchover.end) - max(begin, switchover.begin)
        if inside > limit:
            text = f"no frame for {duration(inside)}"
            yield Spot(text, frame=frame, severity=selection.level("switchover-gap"))


@limit_rule("MF956", "iterations", INFO)
def iterations(migration: Migration, selection: Selection) -> Iterator[Spot]:
    """The guest's memory was scanned many times, or many pages were sent again.

    Each scan sends the pages that the guest has written since the last one.  Many scans mean that
    the guest dirties memory nearly as fast as the link transfers it.  Scans that found no page are
    not counted, nor are pages sent after the guest has stopped.
    Reported above 30 scans; ``--limit iterations=N`` and ``--limit resent-pages=N`` set limits,
    above which it is a warning.

    Receiver: not affected; it loads pages more than once.

    Usual cause: a busy guest, a slow link, a small ``downtime-limit``; without auto-converge or
    postcopy such a migration may never end.
    """
    from analyzer.migration.memory_scans import scans_of  # only needed once the capture is read

    scans = sum(scan.has_pages for scan in scans_of(migration))
    if scans > selection.limit("iterations"):
        level = selection.level("iterations")
        yield Spot(f"{counted(scans, 'scan')} over the guest's memory", severity=level)
    resent = migration.pages.resent
    if resent > selection.limit("resent-pages"):
        level = selection.level("resent-pages")
        yield Spot(f"{counted(resent, 'page')} sent again", severity=level)


@limit_rule("MF957", "channels-unused", INFO)
def channels_unused(migration: Migration, selection: Selection) -> Iterator[Spot]:
    """Some channels carried no data, only SYNCs.

    They cost memory and a thread on both sides without any benefit.
    Reported above 0 channels; ``--limit channels-unused=N`` sets another limit, above which it is a
    warning.

    Receiver: not affected.

    Usual cause: more channels than the source can fill.
    """
    idle = [
        c
        for c in migration.multifd
        if not c.ram_packets and not c.device_packets and not c.cut_bytes
    ]
    if len(idle) > selection.limit("channels-unused") and not migration.lacks_bytes:
        text = f"no data on {names(idle)}, of {counted(len(migration.multifd), 'channel')}"
        yield Spot(text, severity=selection.level("channels-unused"))


@limit_rule("MF958", "checkpoint-pause", INFO)
def checkpoint_pause(migration: Migration, selection: Selection) -> Iterator[Spot]:
    """A COLO checkpoint paused both guests for a long time.

    Measured from CHECKPOINT_REPLY, when the secondary stops, to VMSTATE_LOADED.  The primary stops
    and resumes a little later.
    Reported above 0.1 s; ``--limit checkpoint-pause=TIME`` sets another limit, above which it is a
    warning.

    Receiver: not affected; clients of the guest wait.

    Usual cause: a long interval between checkpoints in which much memory was written; device state
    that loads slowly; small writes that wait for a delayed ACK (``mfshark stats`` shows how much of
    a pause was silence).
    """
    if migration.main_facts is None or migration.main_facts.colo is None:
        return
    from analyzer.migration.colo_handshake import handshakes_of  # seldom needed

    yield from unmeasured("checkpoint-pause", migration, selection)
    limit = selection.limit("checkpoint-pause") * 1e9
    handshakes = handshakes_of(migration)
    pauses = [(pause, n) for n, h in enumerate(handshakes) if (pause := h.pause) and pause > limit]
    if pauses:
        longest, number = max(pauses)
        loaded = handshakes[number].loaded
        text = f"checkpoint {number + 1} of {len(handshakes)} paused both guests for "
        text += duration(longest)
        if len(pauses) > 1:
            text += f"; {len(pauses)} did so for more than {duration(round(limit))}"
        frame = loaded.frame if loaded is not None else None
        yield Spot(text, frame=frame, severity=selection.level("checkpoint-pause"))


# -- thresholds and measures -----------------------------------------------------------------------


def _unfair(name: str, what: str, shares: list[int], selection: Selection) -> Iterator[Spot]:
    index = jain(shares)
    if index is not None and index < selection.limit(name):
        text = f"Jain's index of {what} over {len(shares)} channels is {index:.2f}"
        yield Spot(text, severity=selection.level(name))


def unmeasured(
    name: str, migration: Migration, selection: Selection, otherwise: str = ""
) -> Iterator[Spot]:
    """A warning that nobody can tell whether a limit on a time, if the user set it, is kept: the
    frames carry no times, or for the reason that the caller knows.
    """
    why = otherwise if migration.timed else "the frames carry no times"
    if why and name in selection.limits:
        text = f"cannot tell whether {name} is within its limit: {why}"
        yield Spot(text, severity=WARNING)


def _no_switchover(name: str, migration: Migration, selection: Selection) -> Iterator[Spot]:
    """The same about a time of the switchover, without which no migration completes."""
    if outcome_of(migration).name == "completed" and not migration.resumes_postcopy:
        why = "the capture does not show the whole switchover"
        yield from unmeasured(name, migration, selection, why)


def _spans(device: Device) -> Iterator[Span]:
    return zip(device.buffers.time, device.buffers.end_time, strict=True)
