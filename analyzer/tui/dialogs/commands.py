"""The command palette: Textual's, which breaks when it is paged before it lists anything."""

from __future__ import annotations

from typing import ClassVar

from textual.binding import Binding, BindingType
from textual.command import CommandPalette
from textual.widgets import OptionList

__all__ = ["Commands"]


class Commands(CommandPalette):
    """Stays where it is when there is no page to turn."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("pageup", "page('page_up')", "Previous page", show=False),
        Binding("pagedown", "page('page_down')", "Next page", show=False),
    ]

    async def action_page(self, action: str) -> None:
        """Turn a page of the list, if any is shown."""
        commands = self.query_one(OptionList)
        if commands.scrollable_content_region:
            await commands.run_action(action)
