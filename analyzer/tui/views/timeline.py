"""Timeline: throughput on the wire by kind."""

from __future__ import annotations

from typing import TYPE_CHECKING

from analyzer.tui.time_panes import ThroughputPane
from analyzer.tui.views.time_view import TimeView

if TYPE_CHECKING:
    from textual.app import ComposeResult

__all__ = ["TimelineView"]


class TimelineView(TimeView):
    """Throughput by kind, with the phases."""

    def compose(self) -> ComposeResult:
        """The pane."""
        yield ThroughputPane(id="throughput")

    def copied(self, form: str) -> str | None:
        """The numbers at the cursor, see :meth:`ThroughputPane.copied`."""
        return self.query_one(ThroughputPane).copied(form)

    def on_mount(self) -> None:
        """Title."""
        self.query_one(ThroughputPane).border_title = "Throughput"
