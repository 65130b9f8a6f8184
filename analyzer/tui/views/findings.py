"""Findings, grouped by rule."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from rich.text import Text
from textual.binding import Binding, BindingType

from analyzer.report.escape import terminal
from analyzer.tui.finding_rows import FindingRows, groups_of
from analyzer.tui.messages import Selected
from analyzer.tui.row_list import RowList
from analyzer.tui.state import ALL
from analyzer.tui.text_pane import TextPane
from analyzer.tui.views.main_channel import RECORDED
from analyzer.tui.views.view import View
from dissectors.multifd import device_name

if TYPE_CHECKING:
    from textual.app import ComposeResult

    from analyzer.checks.finding import Finding
    from analyzer.checks.rule import Spot
    from analyzer.migration.channel import Channel
    from analyzer.report.main_lines import MainLine
    from analyzer.tui.finding_rows import Line

__all__ = ["FindingsView"]

ROOMY = 34
"""Height of the terminal, in lines, above which paragraphs are separated by blank lines."""
LINES_EMPTY = 5
"""Height of the list when it only says why there are no findings."""
OPEN_AT_FIRST = 10
"""A group of at most this many findings is open at first, unless they are of severity info."""


class FindingsView(View):
    """The findings, and below them the explanation of the rule under the cursor."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("left,h", "fold(False)", "Close the group", show=False),
        Binding("right,l", "fold(True)", "Open the group", show=False),
        Binding(
            "space", "fold_group", "Open/close", priority=True, tooltip="Open or close the group"
        ),
    ]
    DEFAULT_CSS = """
    FindingsView #finding-list { max-height: 55%; }
    """

    def __init__(self, *, id: str | None = None) -> None:  # noqa: A002 - Textual's name
        super().__init__(id=id)
        self.opened: set[tuple[str, int]] = set()
        self._known: set[tuple[str, int]] = set()

    def compose(self) -> ComposeResult:
        """The panes."""
        yield RowList(id="finding-list", empty="no findings")
        yield TextPane()

    def home(self) -> None:
        """Focus the list."""
        self.screen.set_focus(self._list)

    # -- what is shown ------------------------------------------------------------------------

    def show_document(self) -> None:
        """Group the findings again; open groups stay open."""
        findings = self._list
        document = self.document
        if not document.done:
            findings.empty = "the rules are checked when the whole capture has been read"
        else:
            lack = document.error or document.obstacle()
            findings.empty = lack or "no findings: nothing the rules object to"
        number = self.state.migration
        groups = groups_of(document.findings, None if number == ALL else number)
        for group in groups:
            if group.key not in self._known:
                self._known.add(group.key)
                if group.rank and group.count <= OPEN_AT_FIRST:
                    self.opened.add(group.key)
        self._groups = groups
        self._show_rows()
        self._explain()

    def _show_rows(self) -> FindingRows:
        """Show groups and findings; lines that the list does not need go to the explanation."""
        several = len(self.document.migrations()) > 1
        rows = FindingRows(self._groups, self.opened, several)
        findings = self._list
        findings.styles.height = len(rows) + 1 if len(rows) else LINES_EMPTY
        findings.show_rows(rows)
        return rows

    @property
    def _list(self) -> RowList:
        return self.query_one("#finding-list", RowList)

    @property
    def _line(self) -> Line | None:
        """The group under the cursor, and the finding, which may be the only one of the group."""
        rows = self._list.rows
        if not isinstance(rows, FindingRows) or not len(rows):
            return None
        group, entry = rows.lines[self._list.cursor]
        return group, group.findings[0] if entry is None and group.count == 1 else entry

    def _explain(self) -> None:
        pane, line = self.query_one(TextPane), self._line
        if line is None:
            pane.border_title = ""
            pane.show_text(Text())
            return
        group, entry = line
        text = Text()
        between = "\n\n" if self.app.size.height > ROOMY else "\n"
        if entry is not None:
            text.append(terminal(entry[1].message) + "\n", "bold")
            text.append(self._where(entry[1]) + between, "dim")
        pane.border_title = f"{group.rule.id} {group.rule.slug}"
        for head, paragraph in group.rule.paragraphs:
            if head:
                text.append(f"{head}: ", "bold")
            text.append(paragraph + between)
        text.rstrip()
        pane.show_text(text, (group.key, entry))

    def _where(self, finding: Finding) -> str:
        spot = finding.spot
        parts = []
        if finding.migration is not None and len(self.document.migrations()) > 1:
            parts.append(f"migration {finding.migration.number}")
        if spot.channel is not None:
            parts.append(f"{spot.channel.name} (stream {spot.channel.stream})")
        if spot.offset is not None:
            parts.append(f"stream offset {spot.offset}")
        if spot.frame is not None:
            parts.append(f"frame {spot.frame}")
        if spot.device is not None:
            parts.append(terminal(spot.device))
        if spot.index is not None:
            parts.append(f"index {spot.index}")
        return ", ".join(parts)

    # -- what the user does -------------------------------------------------------------------

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        """Leave the explanation its keys."""
        if action in ("fold", "fold_group") and isinstance(self.app.focused, TextPane):
            return False
        return super().check_action(action, parameters)

    def on_row_list_moved(self, message: RowList.Moved) -> None:
        """Explain the rule under the cursor."""
        message.stop()
        self._explain()

    def on_row_list_chosen(self, message: RowList.Chosen) -> None:
        """Enter: go to the place of a finding, or open or close a group of several."""
        message.stop()
        line = self._line
        if line is not None and line[1] is not None:
            self._visit(*line[1])
        else:
            self.action_fold_group()

    def _visit(self, at: int, finding: Finding) -> None:
        spot, document = finding.spot, self.document
        number = finding.migration.number if finding.migration is not None else 0
        device = None
        for migration in document.migrations(number):
            facts = migration.main_facts
            for key in (*migration.devices, *(facts.devices if facts is not None else ())):
                if device_name(*key) == spot.device:
                    device = (number, *key)
        row = document.row_of.get(at)
        if row is not None:
            self.post_message(Selected(row=row, screen="packets"))
        elif device is not None:
            self.post_message(Selected(device=device, index=spot.index, screen="devices"))
        elif document.saved is not None or _recorded(spot) is not None:
            self._show_record(spot)
        elif spot.frame is not None:
            stream = spot.channel.stream if spot.channel is not None else None
            row = document.row_at_frame(spot.frame, stream)
            if row is not None:
                self.post_message(Selected(row=row, screen="packets"))
            else:
                self._show_record(spot)
        else:
            self.mfshark.tell(Text("this finding has no place in the capture"))

    def _show_record(self, spot: Spot) -> None:
        """Go to the record or message at the offset of a finding, or else at its frame."""
        offset, frame = spot.offset, spot.frame

        def begun(line: MainLine) -> bool:
            if offset is not None:
                return line.offset <= offset
            return frame is not None and line.place.frame <= frame

        self.mfshark.show_main(_recorded(spot), begun)

    def action_fold_group(self) -> None:
        """Open or close the group under the cursor."""
        if (line := self._line) is not None:
            self._fold(line[0].key, line[0].key not in self.opened)

    def action_fold(self, opening: bool) -> None:
        """Open or close the group of the line under the cursor."""
        if (line := self._line) is not None:
            self._fold(line[0].key, opening)

    def _fold(self, key: tuple[str, int], opening: bool) -> None:
        if opening:
            self.opened.add(key)
        else:
            self.opened.discard(key)
        rows = self._show_rows()
        if not opening:
            at = next(at for at, (group, _) in enumerate(rows.lines) if group.key == key)
            self._list.go(at)
        self._explain()


def _recorded(spot: Spot) -> Channel | None:
    """The channel of a finding, if Main lists what it carried."""
    return spot.channel if spot.channel is not None and spot.channel.kind in RECORDED else None
