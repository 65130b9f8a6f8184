"""A window over the screen, that gives one answer."""

from __future__ import annotations

from textual.await_complete import AwaitComplete
from textual.screen import ModalScreen, ScreenResultType

from analyzer.tui.lines import KeyLine

__all__ = ["Window"]


class Window(ModalScreen[ScreenResultType]):
    """Closes once: a key that was pressed twice may reach it twice before it is gone.

    As long as it is open the line of keys below shows its own.
    """

    def on_screen_resume(self) -> None:
        """On top, after others too."""
        for line in self.app.screen_stack[0].query(KeyLine):
            line.show_keys_of(self)

    def on_unmount(self) -> None:
        """The keys of what is below again."""
        if self.app.screen_stack:
            for line in self.app.screen_stack[0].query(KeyLine):
                line.show_keys_of(self.app.screen)

    def dismiss(self, result: ScreenResultType | None = None) -> AwaitComplete:
        """See the base class; does nothing once it has been called."""
        return super().dismiss(result) if self.is_active else AwaitComplete()
