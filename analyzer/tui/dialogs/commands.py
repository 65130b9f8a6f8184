"""The command palette: Textual's, which breaks when it is paged before it lists anything."""

from __future__ import annotations

from textual.command import CommandPalette
from textual.widgets import OptionList

__all__ = ["Commands"]


class Commands(CommandPalette):
    """Moves in the list only while there is one."""

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        """See the base class."""
        lists = self.query(OptionList)
        if action == "command_list" and not any(one.scrollable_content_region for one in lists):
            return False
        return super().check_action(action, parameters)
