"""Reads a large file's next bytes while the last ones are processed."""

from __future__ import annotations

from queue import SimpleQueue
from threading import Thread

from analyzer.capture.frames import SLACK

TYPE_CHECKING = False
if TYPE_CHECKING:
    from analyzer.capture.source import Source

__all__ = ["ReadAhead", "read_ahead"]

CHUNK = 1 << 22
FRONT = 1 << 17
"""Room in front of a chunk for the rest of the one before, mostly less than a frame."""


class ReadAhead:
    """A plain file's bytes from ``position`` on, chunk by chunk: a thread fills one buffer while
    the other is read.

    The kernel copies without the interpreter lock; the thread needs the lock only between reads,
    when the reader is waiting for the next chunk anyway.  The source is positioned after the last
    chunk given, as if there were no thread.  Raises :class:`RuntimeError` where no thread can be
    started.
    """

    def __init__(self, source: Source, position: int) -> None:
        self._source = source
        self._position = position
        self._empty: SimpleQueue[bytearray | None] = SimpleQueue()
        self._filled: SimpleQueue[tuple[bytearray, int, Exception | None]] = SimpleQueue()
        self._shown: bytearray | None = None
        self._ended = False
        for _ in range(2):
            self._empty.put(bytearray(FRONT + CHUNK + SLACK))
        self._thread = Thread(target=self._fill, args=(position,), name="read-ahead", daemon=True)
        try:
            self._thread.start()
        except BaseException:  # it may have started all the same
            self._empty.put(None)
            raise

    def _fill(self, position: int) -> None:
        while (buffer := self._empty.get()) is not None:
            count, error = 0, None
            try:
                with memoryview(buffer) as whole, whole[FRONT:-SLACK] as room:
                    count = self._source.readinto_at(room, position)
            except Exception as failure:  # raised again by next()
                error = failure
            position += count
            self._filled.put((buffer, count, error))
            if not count:
                return

    def next(self, left: bytearray) -> tuple[bytearray, int, int] | None:
        """A buffer, the index where ``left`` begins in it, and the index where the bytes after
        ``left`` end; ``None`` at the end of the file.

        ``left`` are the bytes not consumed yet.  The buffer given before is reused.  Raises what
        reading raises.
        """
        if self._ended:
            return None
        if self._shown is not None:
            self._empty.put(self._shown)
        self._shown, count, error = self._filled.get()
        self._ended = not count
        if error is not None:
            raise error
        if self._ended:
            return None
        self._position += count
        self._source.seek(self._position)
        begin, end = FRONT - len(left), FRONT + count
        if begin < 0:  # a block larger than any frame
            return left + self._shown[FRONT:end] + bytes(SLACK), 0, len(left) + count
        self._shown[begin:FRONT] = left
        return self._shown, begin, end

    def close(self) -> None:
        """Stop reading; when this returns, the thread has ended."""
        self._ended = True
        self._empty.put(None)
        self._thread.join()


def read_ahead(source: Source, position: int) -> ReadAhead | None:
    """Read ahead of a plain file; ``None`` if no thread can be started."""
    try:
        return ReadAhead(source, position)
    except RuntimeError:
        return None
