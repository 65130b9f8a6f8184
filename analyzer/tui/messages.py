"""Messages between the parts of the application."""

from __future__ import annotations

from typing import TYPE_CHECKING

from textual.message import Message

if TYPE_CHECKING:
    from analyzer.tui.document import Document

__all__ = ["FilterChosen", "Jump", "Loaded", "Selected"]


class Selected(Message):
    """The user selected something; all screens follow.

    One of ``row`` (of the packet table), ``device`` (migration, idstr, instance id) with an
    optional ``index``, or ``moment`` (ns since the epoch) with an optional ``stream``.
    ``screen`` is the screen to show, ``None`` for the current one.
    """

    def __init__(
        self,
        *,
        row: int | None = None,
        device: tuple[int, bytes, int] | None = None,
        index: int | None = None,
        moment: int | None = None,
        stream: int | None = None,
        screen: str | None = None,
    ) -> None:
        super().__init__()
        self.row = row
        self.device = device
        self.index = index
        self.moment = moment
        self.stream = stream
        self.screen = screen


class Jump(Message):
    """Show a screen; the selection stays as it is."""

    def __init__(self, screen: str) -> None:
        super().__init__()
        self.screen = screen


class FilterChosen(Message):
    """Show the packets that match ``text``."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.text = text


class Loaded(Message):
    """A document was read to its end."""

    def __init__(self, document: Document) -> None:
        super().__init__()
        self.document = document
