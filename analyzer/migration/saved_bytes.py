"""Bytes of a saved migration, read again where its records lie."""

from __future__ import annotations

import weakref
from contextlib import closing

from analyzer.capture.replayable import copied
from analyzer.capture.source import open_source
from analyzer.migration.replay import reopening

TYPE_CHECKING = False
if TYPE_CHECKING:
    import os
    from typing import IO

    from analyzer.capture.source import Source

__all__ = ["SavedBytes"]


class SavedBytes:
    """Reads bytes of the saved migration at ``path`` (or of the bytes of one) again.

    A plain file is read where they are; a compressed one is unpacked once, to a temporary file that
    lasts as long as this object, and as far as it is not damaged.  Not thread-safe.  Raises
    :class:`CaptureError`, also for a file that can be read only once.
    """

    def __init__(self, path: str | os.PathLike[str] | bytes) -> None:
        self._reopen = reopening(path)
        self._source: Source | None = None
        self._unpacked: IO[bytes] | None = None

    def read(self, offset: int, size: int) -> bytes:
        """``size`` bytes at ``offset`` (uncompressed), fewer at the file's end."""
        if self._source is None:
            self._source = self._opened()
        return self._source.read_at(offset, size) or b""

    def _opened(self) -> Source:
        source = self._reopen()
        if source.size:
            return source
        with closing(source):
            self._unpacked = copied(source, whole=False)
        weakref.finalize(self, self._unpacked.close)  # also at interpreter exit
        return open_source(self._unpacked.name)

    def close(self) -> None:
        """Close the files."""
        for file in (self._source, self._unpacked):
            if file is not None:
                file.close()
        self._source = self._unpacked = None
