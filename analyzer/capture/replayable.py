"""A stream that is made once and can be read again: a pipe's, or what another program prints."""

from __future__ import annotations

import tempfile
import weakref

from analyzer.capture.source import open_source
from analyzer.errors import CaptureError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import IO

    from analyzer.capture.source import Source

__all__ = ["ReplayableStream", "copied"]

CHUNK = 1 << 20


class ReplayableStream:
    """A pcap stream kept in a temporary file, so that it can be read anywhere and again.

    ``make`` starts the stream; that happens when the file is opened for the first time.  The
    file goes away with the object.
    """

    def __init__(self, path: str, make: Callable[[], Source]) -> None:
        self._path = path
        self._make = make
        self._file: IO[bytes] | None = None

    def open(self) -> Source:
        """The stream from its beginning.  Raises :class:`CaptureError`."""
        opened = open_source(self.name)
        opened.path = self._path
        return opened

    @property
    def name(self) -> str:
        """The path of the file.  Raises :class:`CaptureError`."""
        if self._file is None:
            source = self._make()
            try:
                self._file = copied(source)
            finally:
                source.close()
            weakref.finalize(self, self._file.close)  # also where the program ends first
        return self._file.name


def copied(source: Source) -> IO[bytes]:
    """A temporary file with everything that a source has to give.

    Raises :class:`CaptureError`, also where there is no room for it.
    """
    kept = tempfile.NamedTemporaryFile(prefix="mfshark-", suffix=".pcap")  # noqa: SIM115
    try:
        view = memoryview(bytearray(CHUNK))
        while count := source.readinto(view):
            kept.write(view[:count])
        kept.flush()
    except BaseException as error:
        kept.close()
        if isinstance(error, OSError):
            raise CaptureError(
                f"cannot be kept in {tempfile.gettempdir()}: {error.strerror}",
                path=source.path,
                advice="set TMPDIR to a folder with more room",
            ) from error
        raise
    return kept
