"""A stream that is produced once and can be read again: from a pipe, or from another program."""

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
    """A pcap stream kept in a temporary file, so that it can be read again from any position.

    ``make`` starts the stream when the file is first opened.  The file is deleted with the object.
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
            weakref.finalize(self, self._file.close)  # also at interpreter exit
        return self._file.name


def copied(source: Source, *, whole: bool = True) -> IO[bytes]:
    """A temporary file with all bytes of a source, or those before its damage unless the ``whole``
    is wanted.

    Raises :class:`CaptureError`, also where there is no room for it.
    """
    kept = tempfile.NamedTemporaryFile(prefix="mfshark-", suffix=".pcap")  # noqa: SIM115
    try:
        view = memoryview(bytearray(CHUNK))
        while count := _more(source, view, whole):
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


def _more(source: Source, view: memoryview, whole: bool) -> int:
    try:
        return source.readinto(view)
    except CaptureError:
        if whole:
            raise
        return 0
