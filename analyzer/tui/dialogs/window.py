"""A window over the screen, that gives one answer."""

from __future__ import annotations

from textual.await_complete import AwaitComplete
from textual.screen import ModalScreen, ScreenResultType

__all__ = ["Window"]


class Window(ModalScreen[ScreenResultType]):
    """Closes once: a key that was pressed twice may reach it twice before it is gone."""

    def dismiss(self, result: ScreenResultType | None = None) -> AwaitComplete:
        """See the base class; does nothing once it has been called."""
        return super().dismiss(result) if self.is_active else AwaitComplete()
