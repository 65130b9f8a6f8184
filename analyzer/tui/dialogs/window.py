"""Base class of the modal windows."""

from __future__ import annotations

from textual.await_complete import AwaitComplete
from textual.screen import ModalScreen, ScreenResultType

from analyzer.tui.lines import KeyLine

__all__ = ["Window"]


class Window(ModalScreen[ScreenResultType]):
    """A modal window that can be dismissed only once: a key that is pressed twice may reach it
    twice before it is gone.

    While it is on top, the key line at the bottom shows its keys.
    """

    def on_screen_resume(self) -> None:
        """The window is on top, or on top again: show its keys."""
        for line in self.app.screen_stack[0].query(KeyLine):
            line.show_keys_of(self)

    def on_unmount(self) -> None:
        """Show the keys of the window or screen below again."""
        if self.app.screen_stack:
            for line in self.app.screen_stack[0].query(KeyLine):
                line.show_keys_of(self.app.screen)

    def dismiss(self, result: ScreenResultType | None = None) -> AwaitComplete:
        """See the base class; does nothing once it has been called."""
        return super().dismiss(result) if self.is_active else AwaitComplete()
