"""Going to places: by number, frame or time, what is searched for, findings, and marks."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any, cast

from rich.text import Text
from textual.worker import get_current_worker

from analyzer.errors import CaptureError
from analyzer.report.escape import terminal
from analyzer.tui import goto, search
from analyzer.tui.dialogs.ask import Answer, AskDialog
from analyzer.tui.dialogs.find import FindDialog
from analyzer.tui.messages import Selected
from analyzer.tui.palette import SEVERITY_GLYPHS
from analyzer.tui.part import Part
from analyzer.tui.quantities import count
from analyzer.tui.views.main_channel import MainView

if TYPE_CHECKING:
    from collections.abc import Callable

    from analyzer.tui.document import Document
    from analyzer.tui.matching import Matching
    from analyzer.tui.views.packets import PacketsView

__all__ = ["Places"]

AGAIN = "n and N find the next and previous one."
IN_PACKETS = (
    "text: in names, kinds, indexes and findings; hex bytes, as 1122 33:44, and text in bytes: "
    f"in the packets, header and payload. {AGAIN}"
)
IN_RECORDS = (
    "text: in the kinds and names of records; hex bytes, as 1122 33:44, and text in bytes: in the "
    f"records. {AGAIN}"
)
SEARCH_TOLD = 0.2
"""Seconds between two progress messages of a search."""


class Places(Part):
    """The actions that go to a packet or a record."""

    sought: Answer | None = None
    _gone_by = ""
    """What the last place gone to was given by: one of the modes."""

    def action_go_to(self) -> None:
        """Go to a packet, frame or time."""
        dialog = AskDialog(
            "Go to",
            f"The packet's number, a frame's number, or {goto.TIME_HINT}.",
            mode=self._gone_by,
            modes=goto.MODES,
            check=goto.complaint,
        )
        self._app.push_screen(dialog, self._go_to)

    def _go_to(self, answer: Answer | None) -> None:
        if answer is None:
            return
        app, self._gone_by = self._app, answer.mode
        row = goto.row_of(app.document, answer.mode, answer.text)
        if row is None:
            app.tell(Text("there are no packets"))
            return
        app.on_selected(Selected(row=row, screen="packets"))
        beyond = goto.beyond(app.document, answer.mode, answer.text)
        if beyond and app.state.row == row:
            app.tell(Text(beyond))

    def action_find(self) -> None:
        """Find text or bytes; on Main, a record."""
        view = self._app.view
        if isinstance(view, MainView):
            self._app.push_screen(FindDialog(IN_RECORDS, view.sought), self._find_record)
        else:
            self._app.push_screen(FindDialog(IN_PACKETS, self.sought), self._find)

    def _find_record(self, answer: Answer | None) -> None:
        view = self._app.view
        if answer is not None and isinstance(view, MainView):
            view.find(answer)

    def _find(self, answer: Answer | None) -> None:
        if answer is not None:
            self.sought = answer
            self.action_find_again(1)

    def action_find_again(self, by: int) -> None:
        """Go to the next or previous match of the last search."""
        app, sought = self._app, self.sought
        if sought is None:
            self.action_find()
            return
        document, shown, start = app.document, app.filters.matching, app.state.row
        pattern = search.pattern_of(sought.mode, sought.text)
        if pattern is None:
            self.found(search.find_text(document, shown, sought.text, start, by), start, by)
        else:
            what = terminal(search.shorter(sought.text))
            app.tell(Text(f"looking for {what}; Escape stops"))
            app.run_worker(
                lambda: self._find_bytes(document, shown, what, pattern, start, by),
                thread=True,
                exclusive=True,
                group="find",
            )

    def _find_bytes(
        self,
        document: Document,
        shown: Matching | None,
        what: str,
        pattern: bytes,
        start: int,
        by: int,
    ) -> None:
        app = self._app
        worker = get_current_worker()
        told = time.monotonic()

        def unless_cancelled(tell: Callable[[Any], None], what: Any) -> None:
            """Runs in the application's thread, so that no cancel can come in between."""
            if not worker.is_cancelled:
                tell(what)

        def go_on(share: float) -> bool:
            nonlocal told
            now = time.monotonic()
            if now - told > SEARCH_TOLD and not worker.is_cancelled:
                told = now
                text = f"looking for {what}: {share:.0%}; Escape stops"
                app.call_from_thread(unless_cancelled, app.tell, Text(text))
            return not worker.is_cancelled

        try:
            found = search.find_bytes(document, shown, pattern, start, by, go_on)
        except CaptureError as error:
            text = terminal(str(error))
            app.call_from_thread(unless_cancelled, app.tell, Text(text))
        else:
            row, at = found if found is not None else (None, 0)
            span = at, len(pattern)
            app.call_from_thread(
                unless_cancelled, lambda row: self.found(row, start, by, span), row
            )

    def stop_searching(self) -> bool:
        """Cancel a running search for bytes; returns whether there was one."""
        running = [worker for worker in self._app.workers if worker.group == "find"]
        for worker in running:
            worker.cancel()
        return bool(running)

    def found(
        self, row: int | None, start: int, by: int, span: tuple[int, int] | None = None
    ) -> None:
        """Show the result of a search from row ``start`` on: the packet at ``row``, or none.

        ``by`` is the direction (1 or -1), ``span`` offset and length of the bytes in the packet.
        """
        app = self._app
        if row is None or row >= len(app.document.table):
            what = self.sought.text if self.sought is not None else ""
            hidden = " in the packets that are shown" if app.filters.matching is not None else ""
            app.tell(Text(terminal(f"{search.shorter(what)} not found{hidden}")))
            app.bell()
            return
        app.on_selected(Selected(row=row, screen="packets"))
        if row != app.state.row:
            return
        text = f"found in packet {row + 1}"
        if span is not None:
            text += f" at byte {span[0]} ({span[0]:#x})"
            cast("PacketsView", app.view).mark_bytes(row, *span)
        if (row <= start) if by > 0 else (row >= start):
            text += f", wrapped around to the {'beginning' if by > 0 else 'end'}"
        app.tell(Text(text))

    def action_finding(self, by: int) -> None:
        """Go to the next or previous packet with a finding, of those that are shown."""
        app = self._app
        by_row = app.document.near_row
        rows = sorted(filter(app.filters.shows, by_row))
        if not rows:
            others = count(len(app.document.findings), "finding")
            which = "packet that is shown" if by_row else "packet"
            app.tell(Text(f"no {which} has a finding; {others} on Findings (5)"))
            return
        row = _neighbour(rows, app.state.row, by)
        app.on_selected(Selected(row=row, screen="packets"))
        finding = max(by_row[row], key=lambda finding: finding.rank)
        if app.state.row == row:
            severity = finding.rank + 1
            rule = f"{SEVERITY_GLYPHS[severity]} {finding.rule.id}"
            style = app.view.palette.severity(severity)
            app.tell(Text.assemble((rule, style), f" {terminal(finding.message)}"))

    def action_mark(self) -> None:
        """Mark the packet, or clear its mark."""
        app = self._app
        if lack := app.view.lack():
            app.tell(Text(lack))
            return
        app.state.toggle_mark(app.state.row)
        app.view.show_marks()
        app.show_status()

    def action_to_mark(self, by: int) -> None:
        """Go to the next or previous marked packet, of those that are shown."""
        app = self._app
        marks = sorted(filter(app.filters.shows, app.state.marks))
        if marks:
            row = _neighbour(marks, app.state.row, by)
            app.on_selected(Selected(row=row, screen="packets"))
        elif app.state.marks:
            app.tell(Text("no packet that is shown is marked"))
        else:
            app.tell(Text("nothing is marked; m marks a packet"))


def _neighbour(rows: list[int], row: int, by: int) -> int:
    """The next (``by`` 1) or previous (-1) one of some ascending rows, wrapping around."""
    if by > 0:
        return next((found for found in rows if found > row), rows[0])
    return next((found for found in reversed(rows) if found < row), rows[-1])
