"""Textual's command palette, which by itself breaks on paging keys while its list is empty."""

from __future__ import annotations

from textual.command import CommandPalette
from textual.widgets import OptionList

from analyzer.tui.dialogs.window import show_keys

__all__ = ["Commands"]


class Commands(CommandPalette):
    """Ignores the keys of the list while there is no list on the screen."""

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        """See the base class."""
        lists = self.query(OptionList)
        if action == "command_list" and not any(one.scrollable_content_region for one in lists):
            return False
        return super().check_action(action, parameters)

    def on_screen_resume(self) -> None:
        """The palette is on top."""
        show_keys(self.app)

    def on_unmount(self) -> None:
        """What is below the palette is on top again."""
        show_keys(self.app)
