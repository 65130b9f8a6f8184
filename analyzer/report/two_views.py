"""One migration in two captures: what both, or only one of them, show; as text and JSON."""

from __future__ import annotations

from analyzer.checks.wording import counted
from analyzer.migration.two_views import BEFORE, CUT, END, HOLE, UNDECODED
from analyzer.report.escape import terminal
from analyzer.report.style import table

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from analyzer.migration.channel import Channel
    from analyzer.migration.migration import Migration
    from analyzer.migration.sightings import Sighting
    from analyzer.migration.two_views import Absent, ChannelPair, Clock, MigrationPair
    from analyzer.report.parts import Json
    from analyzer.report.style import Style

__all__ = ["SCHEMA", "strangers_text", "two_views_json", "two_views_text"]

SCHEMA = "mfshark/same-migration/1"
SHOWN = 10
"""The number of packets of one channel and kind that the text shows."""
WHY = {
    BEFORE: "the other capture begins later",
    HOLE: "the other capture has a hole there",
    END: "the stream ended before",
    CUT: "the other capture ends before",
    UNDECODED: "the bytes there cannot be decoded",
}


# -- text ------------------------------------------------------------------------------------------


def two_views_text(
    paths: tuple[str, str],
    pairs: Sequence[MigrationPair],
    notes: Sequence[str],
    style: Style,
    *,
    verbose: bool = False,
) -> Iterator[str]:
    """The lines; ``verbose`` lists every packet that only one side has."""
    yield _verdict(paths, pairs, style)
    for number, pair in enumerate(pairs):
        yield ""
        yield from _migration(number, pair, style, verbose)
    if notes:
        yield ""
        for note in notes:
            yield style.dim("note: ") + terminal(note)


def strangers_text(paths: tuple[str, str], reason: str, style: Style) -> str:
    """The only line for captures that do not belong together."""
    word = style.severity("warning", style.bold("DIFFERENT"))
    return f"{word}  {terminal(paths[0])} -> {terminal(paths[1])}: {reason}"


def _verdict(paths: tuple[str, str], pairs: Sequence[MigrationPair], style: Style) -> str:
    channels = [channel for pair in pairs for channel in pair.channels]
    parts = [counted(sum(channel.both for channel in channels), "packet") + " in both"]
    lost, late = 0, 0
    for channel in channels:
        lost += sum(not absent.acknowledged for absent in channel.sent_only)
        late += sum(bool(absent.acknowledged) for absent in channel.sent_only)
    differing = sum(len(channel.differing) for channel in channels)
    strange = sum(len(channel.arrived_only) for channel in channels)
    unread = sum(channel.unread for channel in channels)
    parts += [f"{unread} of them unread, because both captures lack bytes"] if unread else []
    parts += [f"{lost} sent and never arrived"] if lost else []
    parts += [f"{late} acknowledged, but not in the receiver's capture"] if late else []
    parts += [f"{strange} arrived, but not in the sender's capture"] if strange else []
    parts += [f"{differing} not the same in both"] if differing else []
    one_sided = sum(pair.source is None or pair.destination is None for pair in pairs)
    parts += [f"{counted(one_sided, 'migration')} in one capture only"] if one_sided else []
    same = all(pair.same for pair in pairs)
    word = style.bold("SAME") if same else style.severity("warning", style.bold("DIFFERENT"))
    names = f"{terminal(paths[0])} -> {terminal(paths[1])}"
    return f"{word}  {names}: {', '.join(parts)}"


def _migration(number: int, pair: MigrationPair, style: Style, verbose: bool) -> Iterator[str]:
    source, destination = pair.source, pair.destination
    head = style.bold(f"Migration {number}")
    if source is None or destination is None:
        side = "destination" if source is None else "source"
        yield f"{head}  {_ends(source or destination)}  only in the {side}'s capture"
        return
    yield f"{head}  {_ends(source)}" + (
        f" at the source, {_ends(destination)} at the destination"
        if _ends(source) != _ends(destination)
        else ""
    )
    yield f"  {_clock(pair.clock)}"
    yield ""
    yield from table(HEAD, [_row(channel, pair.clock) for channel in pair.channels], style)
    for channel in pair.channels:
        yield from _details(channel, style, verbose)


def _ends(migration: Migration | None) -> str:
    assert migration is not None
    return f"{migration.source} -> {migration.destination}"


def _clock(clock: Clock) -> str:
    if clock.offset is None or clock.round_trip is None:
        return (
            "clocks cannot be compared (no packets of both directions in both captures): "
            "delays count from the smallest delay in each direction"
        )
    if clock.swapped:
        return (
            f"packets came back {_ms(-clock.round_trip)} before they left: "
            "SRC and DST are swapped, or not taken at the two ends"
        )
    ahead = "ahead of" if clock.offset >= 0 else "behind"
    return (
        f"destination's clock {_ms(abs(clock.offset))} {ahead} the source's, "
        f"give or take {_ms(clock.round_trip // 2)} (half the shortest round trip, from "
        f"{clock.there} packets there and {clock.back} back); delays are corrected by that"
    )


HEAD = (
    "channel", "in both", "never arrived", "not captured", "never sent", "differ",
    "delay min", "median", "max",
)  # fmt: skip


def _row(pair: ChannelPair, clock: Clock) -> tuple[str, ...]:
    name = pair.channel.name
    if pair.source is None or pair.destination is None:
        side = "source" if pair.destination is None else "destination"
        return (f"{name} (only at the {side})", *[""] * (len(HEAD) - 1))
    if pair.shift is None:
        return (f"{name} (nothing in common)", *[""] * (len(HEAD) - 1))
    delays = _delays(pair, clock)
    lost = sum(not absent.acknowledged for absent in pair.sent_only)
    return (
        name,
        str(pair.both),
        str(lost or ""),
        str(len(pair.sent_only) - lost or ""),
        str(len(pair.arrived_only) or ""),
        str(len(pair.differing) or ""),
        *(_ms(delay) for delay in delays or ()),
        *([""] * 3 if delays is None else []),
    )


def _delays(pair: ChannelPair, clock: Clock) -> tuple[int, int, int] | None:
    """Shortest, median and longest, ns."""
    delays = clock.corrected(pair)
    return (delays[0], delays[len(delays) // 2], delays[-1]) if delays else None


def _ms(ns: int) -> str:
    return f"{ns / 1e6:.3f} ms"


def _details(pair: ChannelPair, style: Style, verbose: bool) -> Iterator[str]:
    there, here = ("source", "destination") if pair.backwards else ("destination", "source")
    lost = [absent for absent in pair.sent_only if not absent.acknowledged]
    kept = [absent for absent in pair.sent_only if absent.acknowledged]
    for title, absents, at in (
        ("sent and never arrived", lost, here),
        ("acknowledged, but not in the receiver's capture", kept, here),
        ("arrived, but not in the sender's capture", pair.arrived_only, there),
    ):
        if absents:
            yield ""
            yield style.bold(f"  {pair.channel.name}: {title}")
            shown = absents if verbose else absents[:SHOWN]
            yield from (f"    {_line(absent, at)}" for absent in shown)
            if len(shown) < len(absents):
                yield f"    ... {len(absents) - len(shown)} more; --verbose shows all"
    if pair.differing:
        yield ""
        yield style.bold(f"  {pair.channel.name}: not the same in both")
        differing = pair.differing if verbose else pair.differing[:SHOWN]
        for one, other in differing:
            what = terminal(one.name)
            if one.name != other.name:
                what += f" became {terminal(other.name)}"
            yield f"    {what}, offset {one.offset}: frames {one.frame} and {other.frame}"
        if len(differing) < len(pair.differing):
            yield f"    ... {len(pair.differing) - len(differing)} more; --verbose shows all"


def _line(absent: Absent, at: str) -> str:
    packet = absent.packet
    text = f"{terminal(packet.name)}, {packet.length} bytes, frame {packet.frame} at the {at}: "
    text += WHY[absent.why]
    return f"{text}; {absent.seen} of its bytes are there" if absent.seen else text


# -- JSON ------------------------------------------------------------------------------------------


def two_views_json(
    paths: tuple[str, str], pairs: Sequence[MigrationPair], notes: Sequence[str]
) -> Json:
    """The same as data, in the format of ``schema/same-migration-1.json``; times in seconds."""
    return {
        "schema": SCHEMA,
        "source": paths[0],
        "destination": paths[1],
        "same": all(pair.same for pair in pairs),
        "migrations": [_migration_json(pair) for pair in pairs],
        "notes": list(notes),
    }


def _migration_json(pair: MigrationPair) -> Json:
    clock = pair.clock
    return {
        "same": pair.same,
        "source": _side(pair.source),
        "destination": _side(pair.destination),
        "clock": {
            "offset": _seconds(clock.offset),
            "round_trip": _seconds(clock.round_trip),
            "packets_there": clock.there,
            "packets_back": clock.back,
        },
        "channels": [_channel_json(channel, clock) for channel in pair.channels],
    }


def _side(migration: Migration | None) -> Json | None:
    if migration is None:
        return None
    return {
        "migration": migration.number,
        "source": migration.source,
        "destination": migration.destination,
    }


def _seconds(ns: int | None) -> float | None:
    return None if ns is None else ns / 1e9


def _channel_json(pair: ChannelPair, clock: Clock) -> Json:
    channel = pair.channel
    delays = _delays(pair, clock)
    return {
        "kind": channel.kind,
        "id": channel.known_id,
        "source_stream": _stream(pair.source),
        "destination_stream": _stream(pair.destination),
        "shift": pair.shift,
        "both": pair.both,
        "unread": pair.unread,
        "sent_only": [_absent_json(absent) for absent in pair.sent_only],
        "arrived_only": [_absent_json(absent) for absent in pair.arrived_only],
        "differing": [
            {
                "source": {"packet": one.name, "frame": one.frame, "offset": one.offset},
                "destination": {"packet": other.name, "frame": other.frame, "offset": other.offset},
            }
            for one, other in (_by_side(pair, both) for both in pair.differing)
        ],
        "delay": delays and dict(zip(("min", "median", "max"), map(_seconds, delays), strict=True)),
    }


def _by_side(pair: ChannelPair, both: tuple[Sighting, Sighting]) -> tuple[Sighting, Sighting]:
    return (both[1], both[0]) if pair.backwards else both


def _stream(channel: Channel | None) -> int | None:
    return None if channel is None else channel.stream


def _absent_json(absent: Absent) -> Json:
    packet = absent.packet
    return {
        "packet": packet.name,
        "frame": packet.frame,
        "offset": packet.offset,
        "bytes": packet.length,
        "why": absent.why,
        "acknowledged": absent.acknowledged,
        "seen_bytes": absent.seen,
    }
