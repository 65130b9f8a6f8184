"""The display filter in force, its history, and filters that were saved."""

from __future__ import annotations

from typing import TYPE_CHECKING

from analyzer.tui.matching import Matching

if TYPE_CHECKING:
    from collections.abc import Callable

    from analyzer.tui.document import Document
    from dissectors.tree import Node

__all__ = ["Filters"]


class Filters:
    """What filters the packet list; ``matching`` is ``None`` when all packets are shown."""

    def __init__(self) -> None:
        self.history: list[str] = []
        self.saved: list[str] = []
        self.matching: Matching | None = None

    def complain(self, text: str) -> tuple[int, str] | None:
        return None

    def complete(self, text: str, cursor: int) -> tuple[int, list[str]]:
        return cursor, []

    def apply(self, document: Document, text: str, migration: int) -> None:
        self.matching = None

    def advance(self, document: Document, cancelled: Callable[[], bool] = lambda: False) -> None:
        pass

    def of_field(self, node: Node) -> str | None:
        return None

    def of_channel(self, document: Document, row: int) -> str | None:
        return None

    def of_device(self, document: Document, row: int) -> str | None:
        return None

    def save(self, text: str) -> None:
        pass
