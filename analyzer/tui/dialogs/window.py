"""Base class of the modal windows."""

from __future__ import annotations

from typing import TYPE_CHECKING

from textual.await_complete import AwaitComplete
from textual.screen import ModalScreen, ScreenResultType

from analyzer.tui.lines import KeyLine

if TYPE_CHECKING:
    from typing import Any

    from textual.app import App

__all__ = ["Window", "show_keys"]


def show_keys(app: App[Any]) -> None:
    """Let the line at the bottom show the keys of the window, or screen, that is on top."""
    if app.screen_stack:
        for line in app.screen_stack[0].query(KeyLine):
            line.show_keys_of(app.screen)


class Window(ModalScreen[ScreenResultType]):
    """A modal window that can be dismissed only once: a key that is pressed twice may reach it
    twice before it is gone.

    While it is on top, the key line at the bottom shows its keys.
    """

    def on_screen_resume(self) -> None:
        """The window is on top, or on top again."""
        show_keys(self.app)

    def on_unmount(self) -> None:
        """What is below the window is on top again."""
        show_keys(self.app)

    def action_leave(self) -> None:
        """Close the window without a result."""
        self.dismiss(None)

    def dismiss(self, result: ScreenResultType | None = None) -> AwaitComplete:
        """See the base class; does nothing once it has been called."""
        return super().dismiss(result) if self.is_active else AwaitComplete()
