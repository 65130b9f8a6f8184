"""The TCP view: one row per direction of a connection, and the details of one."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.text import Text

from analyzer.checks.wording import duration
from analyzer.report.escape import terminal
from analyzer.report.saved_file import saved_notes
from analyzer.report.style import size_text
from analyzer.tui.columns import Column
from analyzer.tui.quantities import count, seconds
from analyzer.tui.state import ALL

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rich.style import Style

    from analyzer.migration.channel import Channel
    from analyzer.migration.migration import Migration
    from analyzer.migration.saved_file import SavedFile
    from analyzer.migration.scan import Scan
    from analyzer.tcp.flow import Connection, Flow, Hole
    from analyzer.tui.columns import Cell
    from analyzer.tui.document import Document
    from analyzer.tui.palette import Palette

__all__ = [
    "StreamLine",
    "StreamRows",
    "capture_text",
    "end_word",
    "file_text",
    "stream_lines",
    "stream_text",
]

HOLES_SHOWN = 200
LISTED_MAX = 10_000


class StreamLine:
    """One direction of a connection.

    ``channel`` is the channel that it carries (``None``: none); ``back``: the other direction
    carries one; ``migration`` is the number of the migration it belongs to, if any.
    """

    __slots__ = ("back", "channel", "flow", "migration")

    def __init__(
        self, flow: Flow, channel: Channel | None, migration: int | None, back: bool
    ) -> None:
        self.back = back
        self.flow = flow
        self.channel = channel
        self.migration = migration

    @property
    def number(self) -> int:
        """Wireshark's ``tcp.stream``."""
        return self.flow.connection.number

    @property
    def what(self) -> str:
        """What it is, or why it is ignored."""
        channel = self.channel
        if channel is None:
            if not self.flow.carries:
                return "no payload"
            return "the other direction" if self.back else "not part of a migration"
        if self.migration is not None and channel.kind != "unknown":
            return channel.name
        if channel.kind == "tls":
            return "TLS, not decrypted"
        head = channel.head[:8].hex(" ")
        return f"ignored: begins with {head}" if head else "ignored: not recognised"


def stream_lines(document: Document, only: int = ALL) -> list[StreamLine]:
    """The directions that carry payload, and the forward one of connections without payload.

    ``only`` limits them to one migration; :data:`ALL` includes those of no migration.
    """
    scan = document.scan
    if scan is None or document.saved is not None:  # a saved migration has no connection
        return []
    known: dict[int, tuple[Channel, int | None]] = {}
    for alone in (*scan.grouper.tls, *scan.grouper.unknown):
        known[id(alone.flow)] = alone, None
    for migration in document.migrations():
        for own in (*migration.strangers, *migration.channels):
            known[id(own.flow)] = own, migration.number
    lines = []
    for connection in _listed(scan, document.migrations()):
        flows = [flow for flow in connection.flows if flow.carries] or [connection.forward]
        for flow in flows:
            channel, number = known.get(id(flow), (None, None))
            back = id(flow.peer) in known
            if channel is None and back:
                number = known[id(flow.peer)][1]
            if only in (ALL, number):
                lines.append(StreamLine(flow, channel, number, back))
    return lines


def _listed(scan: Scan, migrations: Sequence[Migration]) -> list[Connection]:
    """The first :data:`LISTED_MAX` connections, and in any case those of migrations."""
    listed = scan.engine.connections[:LISTED_MAX]
    known = {id(connection) for connection in listed}
    for migration in migrations:
        for channel in migration.channels:
            connection = channel.flow.connection
            if id(connection) not in known:
                known.add(id(connection))
                listed.append(connection)
    return sorted(listed, key=lambda connection: connection.number)


class StreamRows:
    """One row per direction."""

    def __init__(self, lines: list[StreamLine], several: bool = False) -> None:
        """``several`` adds a column with the migration's number."""
        self.lines = lines
        self._several = several
        migration = (Column("Mig", 3, right=True),) if several else ()
        flows = [line.flow for line in lines]
        holes = any(flow.hole_count for flow in flows)
        again = any(flow.retransmissions for flow in flows)
        order = any(flow.reordered for flow in flows)
        closed = any(flow.zero_window for flow in flows)
        self.columns: Sequence[Column] = (
            *migration,
            Column("Stream", 6, right=True),
            Column("What", 20, grow=2, most=34),
            Column("From", 17, grow=1, most=47, optional=3),
            Column("To", 17, grow=1, most=47, optional=4),
            Column("Bytes", 10, right=True),
            Column("Frames", 8, right=True, optional=5),
            Column("Holes", 6, right=True, filled=holes),
            Column("Missing", 10, right=True, filled=holes),
            Column("Again", 6, right=True, filled=again),
            Column("Order", 6, right=True, optional=2, filled=order),
            Column("Closed window", 13, right=True, optional=6, filled=closed),
            Column("End", 5, grow=1, optional=1),
        )

    def __len__(self) -> int:
        return len(self.lines)

    def row(self, position: int, palette: Palette) -> tuple[Sequence[Cell], Style]:
        """One direction."""
        line = self.lines[position]
        flow = line.flow
        ours = line.migration is not None and line.channel is not None
        number = str(line.migration) if line.migration is not None else ""
        end = end_word(flow)
        cells: list[Cell] = [
            *([number] if self._several else []),
            str(line.number),
            (line.what, palette.plain if ours else palette.muted),
            flow.source,
            flow.destination,
            size_text(flow.offset),
            count(flow.seen),
            (str(flow.hole_count or ""), palette.error),
            (size_text(flow.missing) if flow.missing else "", palette.error),
            (str(flow.retransmissions or ""), palette.warning),
            (str(flow.reordered or ""), palette.warning),
            (duration(flow.zero_window) if flow.zero_window else "", palette.warning),
            (end, palette.warning if "RST" in end else palette.muted),
        ]
        return cells, palette.plain


def stream_text(line: StreamLine, start: int, palette: Palette) -> Text:
    """The details of a direction: frames, oddities and holes; ``start`` is the time 0 (ns)."""
    flow, text = line.flow, Text()
    text.append(f"Stream {line.number}: {flow.source} → {flow.destination}\n", "bold")
    text.append(f"{line.what}; {count(flow.offset)} bytes")
    if flow.carries:
        text.append(
            f" in frames {flow.first.frame} to {flow.last.frame}, "
            f"{seconds(flow.first.time - start)} to {seconds(flow.last.time - start)} s"
        )
    text.append("\n")
    for words in _oddities(flow):
        text.append(f"{words}\n", palette.warning)
    if flow.hole_count:
        holes = f"{count(flow.hole_count, 'hole')}, {count(flow.missing, 'byte')} missing"
        text.append(f"{holes}:\n", "bold")
    for hole in flow.holes[:HOLES_SHOWN]:
        text.append(f"  {_hole(hole, flow)}\n", palette.error)
    if flow.hole_count > HOLES_SHOWN:
        text.append(f"  and {flow.hole_count - HOLES_SHOWN} more\n", palette.muted)
    return text


def end_word(flow: Flow) -> str:
    """How a direction ended: FIN, RST, (RST) where the other side reset it, or open."""
    if flow.reset is not None:
        return "RST"
    if flow.fin is not None or flow.fin_lost:
        return "FIN"
    return "(RST)" if flow.peer.reset is not None else "open"


def _oddities(flow: Flow) -> list[str]:
    found = []
    if flow.midstream:
        found.append("the capture began after the connection did")
    if flow.connection.reused:
        found.append("the ports were used by an earlier connection")
    if flow.retransmissions or flow.duplicate_bytes:
        found.append(
            f"{count(flow.retransmissions, 'segment')} sent again, "
            f"{count(flow.duplicate_bytes, 'byte')} seen twice; the first copy counts"
        )
    if flow.differences:
        found.append(f"{len(flow.differences)} of them differ from the first copy")
    if flow.unverified:
        found.append(f"{count(flow.unverified, 'byte')} of them could not be compared")
    if flow.reordered:
        found.append(f"{count(flow.reordered, 'segment')} came out of order")
    if flow.keep_alives:
        found.append(f"{count(flow.keep_alives, 'keep-alive')} ignored")
    if flow.data_after_end:
        found.append(f"{count(flow.data_after_end, 'byte')} after the end ignored")
    if flow.zero_window:
        found.append(
            f"its window was closed for {duration(flow.zero_window)}, "
            f"at most {duration(flow.zero_window_longest)} at a time"
        )
    if flow.reset is not None:
        found.append(f"reset in frame {flow.reset.frame}")
    if flow.peer.reset is not None:
        found.append(f"reset by the other side in frame {flow.peer.reset.frame}")
    return found


def _hole(hole: Hole, flow: Flow) -> str:
    why = "cut off by the snaplen" if hole.cut else "lost by the capture"
    if not hole.cut and not flow.acknowledged(hole):
        why = "lost, and no acknowledgement of it was seen"
    return (
        f"offsets {count(hole.first)} to {count(hole.last)} ({size_text(hole.size)}) between "
        f"frames {hole.before} and {hole.after}: {why}"
    )


def file_text(saved: SavedFile) -> Text:
    """What is known about the file of a saved migration."""
    text = Text()
    text.append(f"file, {size_text(saved.size)}\n", "bold")
    for note in saved_notes(saved):
        text.append(f"{terminal(note)}\n")
    if saved.damage is not None:
        text.append(f"{terminal(str(saved.damage))}\n", "bold")
    return text


def capture_text(scan: Scan) -> Text:
    """What was ignored in the whole capture, and why."""
    engine, file, text = scan.engine, scan.file, Text()
    text.append(f"{scan.reading.format}, {count(engine.frames, 'frame')}", "bold")
    if engine.truncated:
        text.append(f", {count(engine.truncated)} cut off by the snaplen")
    text.append("\n")
    listed = len(_listed(scan, scan.migrations))
    if listed < engine.streams:
        text.append(f"{count(listed)} of {count(engine.streams, 'connection')} listed\n")
    for reason, number in sorted(engine.ignored.items()):
        text.append(f"ignored {count(number, 'frame')}: {terminal(reason)}\n")
    for note in file.notes:
        text.append(f"{terminal(note)}\n")
    if file.damage is not None:
        text.append(f"{terminal(str(file.damage))}\n", "bold")
    return text
