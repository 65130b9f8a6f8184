"""Where a capture's bytes come from: a file, a compressed file, standard input, or memory."""

from __future__ import annotations

import io
import os
import sys
from collections import deque

from analyzer.errors import CaptureError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Protocol

    class Raw(Protocol):
        """The stream that a source reads from."""

        def read1(self, size: int, /) -> bytes:
            """At most ``size`` bytes, from one read; ``b""`` at the end."""
            ...


__all__ = [
    "ENDINGS",
    "GZIP_MAGIC",
    "WINDOW",
    "ZSTD_MAGICS",
    "Source",
    "is_called_capture",
    "open_source",
]

ENDINGS = (".pcap", ".pcapng", ".cap", ".mig")
"""File name endings of captures and saved migrations, without that of a compression."""
PACKED_ENDINGS = tuple(ending + packed for ending in ENDINGS for packed in ("", ".gz", ".zst"))
WINDOW = 1 << 22
"""The last bytes of a compressed or piped source that can be read again, at least."""
GZIP_MAGIC = b"\x1f\x8b"
ZSTD_MAGICS = b"\x28\xb5\x2f\xfd", *(b"%c\x2a\x4d\x18" % first for first in range(0x50, 0x60))
"""And those of the skippable frames, which pzstd puts before each of the others."""


class Source:
    """A sequence of bytes, read once from front to back.

    ``path`` names it in messages; ``file`` is the path where its bytes can be read again if that is
    another one, else empty.  ``size`` is the length in bytes where it is known before reading
    (plain files), else 0; ``position`` counts the raw bytes read, for progress against
    ``raw_size``.  :meth:`read_at` gives bytes again: any bytes of a plain file, the last few MiB of
    other sources.  A ``growing`` source gives what is available at once rather than waiting for a
    full buffer.  ``notes`` are remarks for the report, known at the end; ``lost`` counts frames
    dropped while capturing, where the bytes themselves may not tell.  ``unpacking`` are the
    exceptions, besides :class:`OSError`, that ``raw`` raises for damaged compression.
    """

    file = ""
    growing = False
    lost = 0
    notes: Sequence[str] = ()

    def __init__(
        self,
        path: str,
        raw: Raw | None = None,
        *,
        seekable: io.FileIO | None = None,
        outer: io.IOBase | None = None,
        unpacking: tuple[type[Exception], ...] = (),
    ) -> None:
        self.path = path
        self._raw = raw
        self._failures: tuple[type[Exception], ...] = (OSError, *unpacking)
        self._damage = "damaged compression: " if unpacking else ""
        self._file = seekable
        self._outer = outer if outer is not None else seekable
        self._window: deque[tuple[int, bytes]] = deque()
        self._offset = 0
        self._error: CaptureError | None = None
        self._ahead = b""  # bytes peeked at and not read yet
        self.size = os.fstat(seekable.fileno()).st_size if seekable is not None else 0
        self.raw_size = _size_of(self._outer)

    @property
    def position(self) -> int:
        """Raw bytes read so far, of ``raw_size``."""
        if self._outer is None or self._file is not None:
            return self._offset
        try:
            return self._outer.tell()
        except OSError:
            return self._offset

    def peek(self, size: int) -> bytes:
        """The first bytes, fewer if there are no more; only before anything was read."""
        if self._file is not None:
            return os.pread(self._file.fileno(), size, 0)
        if len(self._ahead) >= size:
            return self._ahead[:size]
        data = bytearray(size)
        try:
            count = self.readinto(memoryview(data))
        except CaptureError:
            return b""  # readinto() raises it again
        self._offset -= count
        self._window.clear()
        self._ahead = bytes(data[:count])
        return self._ahead

    def readinto(self, view: memoryview) -> int:
        """Fill ``view`` from its start; gives the number of bytes read, 0 at the end.

        Raises :class:`CaptureError` when the file or its compression is damaged; bytes before the
        damage were given by earlier calls.
        """
        if self._error is not None and not self._ahead:
            raise self._error
        count = 0
        try:
            if self._file is not None:
                count = self._file.readinto(view)
            else:
                count = self._decompressed(view)
        except OSError as error:
            raise self._broken(str(error)) from error
        self._offset += count
        return count

    def _decompressed(self, view: memoryview) -> int:
        """Read in small steps, so that all bytes before damage are given."""
        ahead = self._ahead[: len(view)]
        parts = [ahead] if ahead else []
        count = len(ahead)
        self._ahead = self._ahead[count:]
        try:
            assert self._raw is not None
            while (
                self._error is None
                and count < len(view)
                and (data := self._raw.read1(len(view) - count))
            ):
                parts.append(data)
                count += len(data)
                if self.growing:
                    break
        except self._failures as error:
            self._error = self._broken(f"{self._damage}{error}", self._offset + count)
            if not count:
                raise self._error from error
        if count:
            joined = b"".join(parts)
            view[:count] = joined
            self._keep(joined)
        return count

    def _keep(self, data: bytes) -> None:
        """Keep ``data``, which follow at the offset, and forget what is too long ago."""
        window, end = self._window, self._offset + len(data)
        window.append((self._offset, data))
        while len(window) > 1 and window[1][0] <= end - WINDOW:
            window.popleft()

    def _broken(self, reason: str, offset: int | None = None) -> CaptureError:
        return CaptureError(
            f"cannot be read further: {reason}",
            path=self.path,
            offset=self._offset if offset is None else offset,
            advice="what came before is reported",
        )

    def read_at(self, position: int, size: int) -> bytes | None:
        """``size`` bytes from ``position`` (fewer at the end of a file); ``None`` when they are no
        longer available.
        """
        if self._file is not None:
            return os.pread(self._file.fileno(), size, position)
        parts: list[bytes] = []
        wanted = position
        end = position + size
        for start, data in self._window:
            if start <= wanted < start + len(data):
                parts.append(data[wanted - start : end - start])
                wanted += len(parts[-1])
                if wanted >= end:
                    return b"".join(parts)
        return None

    def readinto_at(self, view: memoryview, position: int) -> int:
        """Fill ``view`` with a plain file's bytes from ``position`` on; gives their number.

        The reading position does not move, so another thread may call it.  Raises
        :class:`CaptureError`.
        """
        assert self._file is not None
        try:
            return os.preadv(self._file.fileno(), [view], position)
        except OSError as error:
            raise self._broken(str(error), position) from error

    def seek(self, position: int) -> bool:
        """Continue reading at ``position``; false, with nothing done, where seeking is
        impossible.
        """
        if self._file is None:
            return False
        self._file.seek(position)
        self._offset = position
        return True

    def finish(self) -> None:
        """Stop waiting for more bytes; does nothing unless the source is growing."""

    def close(self) -> None:
        """Close the file."""
        stdin = getattr(sys.stdin, "buffer", None)  # some programs have none, or one of their own
        for handle in (self._raw, self._file, self._outer):
            if handle is not None and handle is not stdin:
                getattr(handle, "close", lambda: None)()


def _size_of(handle: io.IOBase | None) -> int:
    if handle is None:
        return 0
    try:
        return os.fstat(handle.fileno()).st_size
    except (OSError, io.UnsupportedOperation):
        return 0


def is_called_capture(path: str) -> bool:
    """Whether a path has the name of a capture and is not a pipe or other special file, which might
    block forever.
    """
    if not path.lower().endswith(PACKED_ENDINGS):
        return False
    return os.path.isfile(path) or not os.path.exists(path)


def open_source(path: str | os.PathLike[str] | bytes | Source) -> Source:
    """Open a capture: a path (``-`` for standard input), or its bytes; an open source is given
    back.

    gzip and zstd are recognised by content.  Raises :class:`CaptureError`.
    """
    if isinstance(path, Source):
        return path
    if isinstance(path, bytes):
        return _unpacked("<memory>", io.BytesIO(path), path[:4])
    name = os.fspath(path)
    if name == "-":
        stdin = sys.stdin.buffer
        assert isinstance(stdin, io.BufferedReader)
        return _unpacked("<stdin>", stdin, stdin.peek(4)[:4])
    try:
        handle = open(name, "rb", buffering=0)  # noqa: SIM115 - closed by Source
        if not os.path.isfile(name):
            stream = io.BufferedReader(handle)
            return _unpacked(name, stream, stream.peek(4)[:4])
        head = os.pread(handle.fileno(), 4, 0)
    except OSError as error:
        raise CaptureError(
            f"cannot be opened: {error.strerror}", path=name, advice="check the path"
        ) from error
    return _unpacked(name, handle, head)


def _unpacked(path: str, handle: io.FileIO | io.BufferedIOBase, head: bytes) -> Source:
    if head.startswith(GZIP_MAGIC):
        import gzip
        import zlib

        unpacked = gzip.GzipFile(fileobj=handle, mode="rb")
        return Source(path, unpacked, outer=handle, unpacking=(EOFError, zlib.error))
    if head in ZSTD_MAGICS:
        from analyzer.capture.zstd_stream import BROKEN, ZstdStream

        return Source(path, ZstdStream(handle), outer=handle, unpacking=BROKEN)
    if isinstance(handle, io.FileIO):
        return Source(path, seekable=handle, outer=handle)
    return Source(path, handle, outer=handle)
