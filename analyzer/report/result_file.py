"""Files for results: they appear only when complete, and never replace an input."""

from __future__ import annotations

import os
import stat
from contextlib import contextmanager, suppress

from analyzer.errors import UsageError, reason_of
from analyzer.report.escape import terminal

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from typing import IO, Any, BinaryIO

__all__ = ["ResultFile"]

STANDARD_INPUT = "/dev/stdin"
STREAMS = ("/dev/std", "/dev/fd/", "/proc/")
"""Prefixes of stream names, which may refer to a file that others write too."""


class ResultFile:
    """The file ``path``, which must not be one of the ``inputs`` (``-`` is standard input).  It is
    written to a temporary file beside it, which replaces it when complete, so that a failed run
    keeps the old file.  What is not a regular file (a pipe, a terminal, ``/dev/null``) is written
    directly, and so is a ``live`` file, which others read while it grows.  Raises
    :class:`UsageError` for an input, for ``-``, which is no file, and if it cannot be written.
    """

    def __init__(self, path: str, inputs: Iterable[str] = (), *, live: bool = False) -> None:
        if path == "-":
            raise UsageError("this cannot go to standard output (-): name a file")
        if path.endswith("/"):
            raise UsageError(f"{terminal(path)} cannot be written: it names a folder")
        self.path = path
        self._target = os.path.realpath(path)
        ordinary = os.path.isfile(path) or os.path.isdir(path)
        special = os.path.exists(path) and not ordinary
        self._mode = "a" if os.path.abspath(path).startswith(STREAMS) else "w"
        self._direct = live or special or self._mode == "a"
        if not special and any(self._is(other) for other in inputs):
            raise UsageError(f"{terminal(path)} is an input: results must not overwrite it")
        with self._told():
            if ordinary:
                with open(path, "ab"):  # allowed to?
                    pass
            if not self._direct:
                os.unlink(self._begin())

    def _is(self, other: str) -> bool:
        """Whether both are the same file."""
        other = STANDARD_INPUT if other == "-" else other
        with suppress(OSError, ValueError):
            return os.path.samefile(self.path, other)
        return os.path.realpath(other) == self._target

    def _begin(self) -> str:
        """Create the temporary file; returns its name."""
        folder = os.path.dirname(self._target)
        number = 0
        while True:
            name = os.path.join(folder, f".mfshark-{os.getpid()}-{number}.part")
            with suppress(FileExistsError), open(name, "xb"):
                return name
            number += 1

    @contextmanager
    def text(self) -> Iterator[IO[str]]:
        """A stream for text."""
        with self._open("", encoding="utf-8", newline="\n") as stream:
            yield stream

    @contextmanager
    def binary(self) -> Iterator[BinaryIO]:
        """A stream for bytes."""
        with self._open("b") as stream:
            yield stream

    @contextmanager
    def _open(self, kind: str, **how: Any) -> Iterator[Any]:
        mode = self._mode + kind
        with self._told():
            if self._direct:
                with open(self.path, mode, **how) as stream:
                    yield stream
                return
            name = self._begin()
            try:
                with open(name, mode, **how) as stream:
                    yield stream
                with suppress(FileNotFoundError):
                    os.chmod(name, stat.S_IMODE(os.stat(self._target).st_mode))
                os.replace(name, self._target)
            except BaseException:
                with suppress(OSError):
                    os.unlink(name)
                raise

    @contextmanager
    def _told(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            told = f"{terminal(self.path)} cannot be written: {reason_of(error)}"
            raise UsageError(told) from error
