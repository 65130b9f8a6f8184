"""Main: the main channel's records and the return path's messages, decoded."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from rich.text import Text
from textual.binding import Binding, BindingType
from textual.worker import get_current_worker

from analyzer.report.escape import terminal
from analyzer.report.main_lines import MainTrees, main_lines
from analyzer.tui.dialogs.ask import Answer
from analyzer.tui.field_panes import FieldPanes
from analyzer.tui.messages import Selected
from analyzer.tui.record_rows import RecordRows
from analyzer.tui.reread import SHOWN_MAX
from analyzer.tui.row_list import RowList
from analyzer.tui.search import pattern_of, shorter
from analyzer.tui.tree_list import TreeList
from analyzer.tui.views.view import View

if TYPE_CHECKING:
    from collections.abc import Callable

    from textual.app import ComposeResult

    from analyzer.migration.channel import Channel
    from analyzer.migration.replay import Excerpt
    from analyzer.report.main_lines import MainLine
    from dissectors.tree import Node

__all__ = ["RECORDED", "MainView"]

RECORDED = ("main", "return-path")
"""Kinds of channels whose contents are listed here."""

NOTHING_SOUGHT = Answer("", "")


class MainView(View):
    """The list of records; below it the selected one's fields and bytes."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("n", "next(1)", "Next", tooltip="Next match, or next record of this section"),
        Binding("N", "next(-1)", "Previous match, or previous record of this section", show=False),
        Binding("escape", "forget", "End the search, or go back", show=False),
    ]
    DEFAULT_CSS = """
    MainView #records { height: 4fr; }
    MainView FieldPanes { height: 5fr; }
    MainView.-wide #records, MainView.-wide FieldPanes { height: 1fr; }
    """

    def __init__(self, *, id: str | None = None) -> None:  # noqa: A002 - Textual's name
        super().__init__(id=id)
        self._trees = MainTrees()
        self.sought = NOTHING_SOUGHT

    def compose(self) -> ComposeResult:
        """The panes."""
        yield RowList(id="records", empty="no main channel in this capture")
        yield FieldPanes()

    def home(self) -> None:
        """Focus the list, with the cursor on the last record that had begun at the selected time,
        unless one of that very time is selected.
        """
        time, lines = self.state.time, self.rows.lines if self.rows is not None else []
        if time and lines and lines[self.records.cursor].place.time != time:
            begun = [at for at, line in enumerate(lines) if line.place.time <= time]
            self.state.record = begun[-1] if begun else 0
            self.show_selection()
        self.screen.set_focus(self.records)

    @property
    def records(self) -> RowList:
        """The list."""
        return self.query_one("#records", RowList)

    @property
    def rows(self) -> RecordRows | None:
        """The rows of the list; ``None`` if there are none."""
        rows = self.records.rows
        return rows if isinstance(rows, RecordRows) and len(rows) else None

    # -- what is shown ------------------------------------------------------------------------

    def show_document(self) -> None:
        """List the records again."""
        document = self.document
        self._trees = MainTrees()
        migrations = document.migrations(self.state.migration)
        silent = any(migration.silent_main is not None for migration in migrations)
        absent = "main never carried a byte" if silent else "no main channel in this capture"
        self.records.empty = document.obstacle() or absent
        several = len(migrations) > 1
        timed = document.saved is None
        lines = main_lines(migrations)
        self._stay(lines)
        self.records.show_rows(RecordRows(lines, document.start, several, timed))
        self.show_selection()

    def _stay(self, lines: list[MainLine]) -> None:
        """Find the selected record in other lines, as when another migration was chosen."""
        if self.rows is None:
            return
        here = self.rows.lines[self.records.cursor]
        for at, line in enumerate(lines):
            if (line.channel, line.offset) == (here.channel, here.offset):
                self.state.record = at
                return

    def show_growth(self) -> None:
        """Update the list as long as there are few records."""
        records = sum(len(m.main_facts.records) for m in self.document.migrations() if m.main_facts)
        if records < 2000:
            self.show_document()

    def show_selection(self) -> None:
        """Show the selected record."""
        rows = self.rows
        if rows is None:
            self.query_one(FieldPanes).clear()
            return
        self.records.go(min(self.state.record, len(rows) - 1), centre=True)
        self._read(rows.lines[self.records.cursor])

    def go_to(self, channel: Channel | None, until: Callable[[MainLine], bool] | None) -> None:
        """Select the last record or message of a channel (``None``: of any) for which ``until``
        holds, or its first one if that holds for none; with ``None`` the first one, unless one of
        the channel is selected.
        """
        lines = self.rows.lines if self.rows is not None else []
        own = [at for at, line in enumerate(lines) if channel in (None, line.channel)]
        if not own or (until is None and self.records.cursor in own):
            return
        known = [at for at in own if until is not None and until(lines[at])]
        self._go(known[-1] if known else own[0])  # the last match is the innermost

    # -- fields and bytes ---------------------------------------------------------------------

    def _read(self, line: MainLine) -> None:
        document, trees = self.document, self._trees
        self.query_one(FieldPanes).expect(line)

        def work() -> None:
            worker = get_current_worker()
            place, length = line.place, line.length
            excerpt = self.mfshark.reread.stretch(line.channel, line.offset, length, place)
            if worker.is_cancelled or document is not self.document:
                return
            nodes = trees.nodes(line, excerpt.data)
            self.app.call_from_thread(self._show_fields, line, nodes, excerpt)

        self.run_worker(work, thread=True, exclusive=True, group="record")

    def _show_fields(self, line: MainLine, nodes: list[Node], excerpt: Excerpt) -> None:
        length = line.record.length if line.record is not None else len(excerpt.data)
        note = self.mfshark.reread.error if not excerpt.data else ""
        if length > SHOWN_MAX:
            note = f"{length - SHOWN_MAX} more bytes are not shown"
        title = "Record"
        if line.record is not None:
            title = line.text.rstrip()
        elif line.message is not None:
            title = f"{line.message.name} (return path)"
        self.query_one(FieldPanes).show(line, nodes, excerpt, title, note)

    @property
    def behind(self) -> bool:
        """Whether the panes still show another record than the selected one."""
        return self.query_one(FieldPanes).behind

    def copied(self, form: str) -> str | None:
        """The selected record with its fields as ``text``, the record as ``json``, or its bytes as
        a ``hex`` dump.
        """
        panes = self.query_one(FieldPanes)
        if form == "text":
            return f"{self.records.copied('text')}\n{panes.copied('text') or ''}"
        return self.records.copied(form) if form == "json" else panes.copied(form)

    # -- what the user does -------------------------------------------------------------------

    def on_row_list_moved(self, message: RowList.Moved) -> None:
        """Select another record."""
        message.stop()
        if message.sender is self.records and self.rows is not None:
            line = self.rows.lines[message.position]
            self.state.record = message.position
            self.state.stream = line.channel.stream
            self.state.time = line.place.time
            self._read(line)
            self._link(line)

    def _link(self, line: MainLine) -> None:
        """Select the device of a record in a VFIO section."""
        facts, record = line.migration.main_facts, line.record
        if facts is None or record is None or record.section_id is None:
            return
        section = facts.sections.get(record.section_id)
        if section is not None and section.key in facts.devices:
            self.post_message(Selected(device=(line.migration.number, *section.key)))

    def on_row_list_chosen(self, message: RowList.Chosen) -> None:
        """Enter: go to the fields."""
        message.stop()
        self.screen.set_focus(self.query_one(TreeList))

    def on_tree_list_as_filter(self, message: TreeList.AsFilter) -> None:
        """Say that display filters apply to packets only."""
        message.stop()
        self.mfshark.tell(Text("display filters apply to multifd packets only"))

    def find(self, answer: Answer) -> None:
        """Search for text in kinds and names, or for bytes; ``n`` and ``N`` then repeat it."""
        self.sought = answer
        self.action_next(1)

    def action_forget(self) -> None:
        """End the search, so that ``n`` and ``N`` go by section, or go back."""
        searched, self.sought = bool(self.sought.text), NOTHING_SOUGHT
        self.mfshark.action_step_back(leave=not searched)

    def action_next(self, by: int) -> None:
        """Go to the next or previous match of the search or, without one, record of the section."""
        rows = self.rows
        if rows is None:
            self.mfshark.tell(Text("there is no record"))
        elif self.sought.text:
            text = self.sought.text
            wanted = text.casefold()
            here, count = self.records.cursor, len(rows)
            order = [(here + by * step) % count for step in range(1, count + 1)]
            pattern = pattern_of(self.sought.mode, text)
            if pattern is not None:
                self._look_for(pattern, rows.lines, order)
                return
            self._go_to_first(
                order,
                lambda line: wanted in line.text.casefold(),
                f"{terminal(text)} not found",
            )
        else:
            record = rows.lines[self.records.cursor].record
            if record is None or not record.name:
                self.mfshark.tell(Text("this record belongs to no section; ^f finds records"))
                return
            name = record.name
            order = list(range(self.records.cursor + by, len(rows) if by > 0 else -1, by))
            self._go_to_first(
                order,
                lambda line: line.record is not None and line.record.name == name,
                f"no {'later' if by > 0 else 'earlier'} record of this section",
            )

    def _look_for(self, pattern: bytes, lines: list[MainLine], order: list[int]) -> None:
        """Search records for bytes in a thread; ``order`` are their positions in ``lines``."""
        tell, reread = self.mfshark.tell, self.mfshark.reread
        what = terminal(shorter(self.sought.text))
        tell(Text(f"looking for {what}; Escape stops"))

        def work() -> None:
            worker = get_current_worker()
            for position in order:
                line = lines[position]
                data = reread.stretch(line.channel, line.offset, line.length, line.place).data
                at = data.find(pattern)
                if worker.is_cancelled:
                    return
                if at >= 0:
                    span = line.offset + at, len(pattern)
                    self.app.call_from_thread(self._found, lines, position, *span)
                    return
            self.app.call_from_thread(tell, Text(f"{what} not found"))

        self.run_worker(work, thread=True, exclusive=True, group="find")

    def _found(self, lines: list[MainLine], position: int, offset: int, size: int) -> None:
        """Select the innermost record that contains bytes found in a stream, and mark them.

        ``offset`` is the offset of the bytes in the stream, ``position`` that of the record in
        which they were found.
        """
        if self.rows is None or self.rows.lines is not lines:
            return
        channel, best = lines[position].channel, position
        for at in range(position, len(lines)):
            line = lines[at]
            if line.channel is channel and line.offset <= offset < line.offset + line.length:
                best = at
            elif line.channel is channel and line.offset > offset:
                break
        self._go(best)
        at = offset - lines[best].offset
        self.query_one(FieldPanes).mark_bytes(lines[best], at, size)
        self.mfshark.tell(Text(f"found at byte {at} ({at:#x}) of the record"))

    def _go_to_first(
        self, order: list[int], wanted: Callable[[MainLine], bool], otherwise: str
    ) -> None:
        """Select the first record in ``order`` that is ``wanted``; if none, say ``otherwise``."""
        lines = self.rows.lines if self.rows is not None else []
        position = next((position for position in order if wanted(lines[position])), None)
        if position is None:
            self.mfshark.tell(Text(otherwise))
            self.app.bell()
            return
        self._go(position)

    def _go(self, position: int) -> None:
        self.records.go(position, centre=True)
        self.on_row_list_moved(RowList.Moved(self.records, position))
