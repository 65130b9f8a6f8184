"""Errors with the details that a user needs: the file, the frame, the byte and what to do."""

from __future__ import annotations

import os

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

__all__ = [
    "DEBUG",
    "CaptureError",
    "ToolUnavailable",
    "UsageError",
    "did_you_mean",
    "reason_of",
    "unforeseen",
]

DEBUG = "MFSHARK_DEBUG"
"""The environment variable that lets internal errors propagate, with their traceback."""
MESSAGE_MAX = 300


class CaptureError(Exception):
    """A capture cannot be read, or not beyond some point.

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
    """The command line, a filter or a scenario is invalid; the text says what is valid."""


class ToolUnavailable(CaptureError):
    """A program that this capture needs is not installed; ``advice`` says how to get it."""


def reason_of(error: Exception) -> str:
    """Why a file cannot be read or written, without its name, which the message already has."""
    return (isinstance(error, OSError) and error.strerror) or str(error)


def unforeseen(error: Exception) -> str:
    """The message for an exception that nothing else handles; if ``MFSHARK_DEBUG`` is set it is
    raised again instead.
    """
    if os.environ.get(DEBUG):
        raise error
    if isinstance(error, OSError) and error.strerror:
        return f"{error.filename}: {error.strerror}" if error.filename else error.strerror
    return (
        f"internal error: {type(error).__name__}: {str(error)[:MESSAGE_MAX]}; please report it "
        "(run with --debug for the traceback)"
    )


def did_you_mean(name: str, names: Iterable[str], *, others: str = "") -> str:
    """The end of an "unknown name" message: the closest of ``names``, ignoring case, or, if none is
    close, ``others`` (by default the list of names).
    """
    from difflib import get_close_matches

    names = tuple(names)
    lower = {known.lower(): known for known in names}
    near = get_close_matches(name.lower(), lower, 1)
    if near:
        return f"; did you mean {lower[near[0]]}?"
    return f"; {others or 'there are ' + ', '.join(names)}"
