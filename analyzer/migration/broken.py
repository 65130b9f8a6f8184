"""Why a walker could not finish a record: a value, handed up to who can go on behind it."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Generator
    from typing import TypeAlias

    from analyzer.tcp.requests import Reply, Request

    Steps: TypeAlias = "Generator[Request, Reply, Broken | None]"

__all__ = ["Broken"]


class Broken:
    """A record that breaks off.

    ``reply`` is the hole or the end of the stream that cut it (``None``: its bytes make no sense),
    ``path`` names the record and field, ``good`` is the offset up to which it was understood.
    """

    __slots__ = ("good", "path", "reply")

    def __init__(self, reply: Reply, path: str, good: int) -> None:
        self.reply = reply
        self.path = path
        self.good = good

    def inside(self, what: str) -> Broken:
        """The same, seen from one level up."""
        self.path = f"{what} > {self.path}"
        return self
