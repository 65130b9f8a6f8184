"""Errors that carry what a person needs: the file, the frame, the byte and what to do."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

__all__ = ["CaptureError", "ToolUnavailable", "UsageError", "nearest"]


class CaptureError(Exception):
    """A capture cannot be read, or not beyond a place.

    ``path`` is the file, ``offset`` the byte in it (uncompressed), ``frame`` the last frame that
    was read; ``advice`` says what to do.
    """

    def __init__(
        self,
        reason: str,
        *,
        path: str = "",
        offset: int | None = None,
        frame: int | None = None,
        advice: str = "",
    ) -> None:
        super().__init__(reason)
        self.reason = reason
        self.path = path
        self.offset = offset
        self.frame = frame
        self.advice = advice

    def __str__(self) -> str:
        where = []
        if self.frame is not None:
            where.append(f"after frame {self.frame}")
        if self.offset is not None:
            where.append(f"at byte {self.offset}")
        text = f"{self.path}: {self.reason}" if self.path else self.reason
        if where:
            text += f" ({', '.join(where)})"
        return f"{text}; {self.advice}" if self.advice else text


class UsageError(Exception):
    """The command line, a filter or a scenario does not make sense; the text says what would."""


class ToolUnavailable(CaptureError):
    """A program that this capture needs is not on the machine; ``advice`` says how to get it."""


def nearest(name: str, names: Iterable[str], *, others: str = "") -> str:
    """How the message goes on that nothing is called ``name``: what is called nearly so, else
    ``others``, by default which names there are.
    """
    from difflib import get_close_matches

    names = tuple(names)
    near = get_close_matches(name, names, 1)
    if near:
        return f"; did you mean {near[0]}?"
    return f"; {others or 'there are ' + ', '.join(names)}"
