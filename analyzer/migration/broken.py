"""Why a walker could not finish a record: a value, passed up to the caller that can resume after
it.
"""

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

    ``reply`` is the hole or end of stream that cut it (``None``: its bytes are invalid), ``path``
    names the record and field, ``good`` is the offset up to which it was understood.
    """

    __slots__ = ("good", "path", "reply")

    def __init__(self, reply: Reply, path: str, good: int) -> None:
        self.reply = reply
        self.path = path
        self.good = good

    def inside(self, what: str) -> Broken:
        """The same with ``what`` as the enclosing unit in its path."""
        self.path = f"{what} > {self.path}"
        return self
