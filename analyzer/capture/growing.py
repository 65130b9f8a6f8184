"""A capture that is still being written: a file that grows, or a pipe."""

from __future__ import annotations

import fcntl
import os
import select
import stat
import sys
import time

from analyzer.capture.source import GZIP_MAGIC, ZSTD_MAGICS, Source
from analyzer.errors import CaptureError, reason_of
from dissectors.main_stream import MAGIC_BYTES

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["Feed", "GrowingSource", "NotFollowedError", "follow", "keep"]

PAUSE = 0.05
"""Seconds between polls.  What arrives in the meantime is read in one go, so that a slow stream
makes few batches.
"""
HASTE_MAX = 64
"""How many times as often a pipe is polled whose writer would have to wait."""
PIPE_SIZE = 1 << 20
PIPE_USUAL = 1 << 16
GRACE = 1.0
"""Seconds after a file was removed or replaced until its end counts as final."""
PACKED = (GZIP_MAGIC, *ZSTD_MAGICS)
HEAD = 28
"""Bytes that a reader needs to recognise the format."""


class NotFollowedError(CaptureError):
    """The data can be read only when all of them have come."""


class Feed:
    """The bytes of a descriptor that another process writes to, until :meth:`finish` is called.

    ``room`` is how many of them may wait before the writer has to; 0 if it never has to.
    :meth:`read` raises :class:`OSError` where they cannot be read.
    """

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        self._finished = False
        self._regular = stat.S_ISREG(os.fstat(descriptor).st_mode)
        self.room = 0 if self._regular else _widened(descriptor)
        self._poll = select.poll()
        self._poll.register(descriptor, select.POLLIN)

    def finish(self) -> None:
        """End with the bytes written by now."""
        self._finished = True

    def ended(self) -> bool:
        """Whether nothing will be written any more."""
        return self._finished

    def failure(self) -> str:
        """Why the writer failed; empty if it did not."""
        return ""

    def notes(self) -> list[str]:
        """Notes for the report, known at the end."""
        return []

    def lost(self) -> int:
        """How many frames the capturing process dropped, known at the end."""
        return 0

    def read(self, size: int) -> bytes | None:
        """What is available, at most ``size`` bytes; ``None`` while more may come, ``b""`` at the
        end.
        """
        ended = self.ended()  # asked first, so that everything written before the end is read
        if not self._regular and not self._poll.poll(0):
            return b"" if ended else None
        data = os.read(self._descriptor, size)
        if data or ended or not self._regular:
            return data
        if os.fstat(self._descriptor).st_size < os.lseek(self._descriptor, 0, os.SEEK_CUR):
            raise OSError("it shrank while it was read")
        return None

    def close(self) -> None:
        """Close it; a second time does nothing."""
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1


class _FileFeed(Feed):
    """A file opened by name, which also ends when it is removed or replaced.

    The end counts ``GRACE`` seconds later, since the writer may go on for a moment, as in log
    rotation.
    """

    def __init__(self, path: str, descriptor: int) -> None:
        super().__init__(descriptor)
        self._path = path
        found = os.fstat(descriptor)
        self._identity = found.st_dev, found.st_ino
        self._gone_at = 0.0
        self._gone = False

    def read(self, size: int) -> bytes | None:
        """As :meth:`Feed.read`."""
        data = super().read(size)
        if data is None and self._elsewhere():
            now = time.monotonic()
            self._gone_at = self._gone_at or now
            self._gone = now - self._gone_at >= GRACE
            return b"" if self._gone else None
        self._gone_at = 0.0
        return data

    def _elsewhere(self) -> bool:
        try:
            found = os.stat(self._path)
        except OSError:
            return True
        return (found.st_dev, found.st_ino) != self._identity

    def notes(self) -> list[str]:
        """A note if the name no longer leads to the file."""
        text = (
            "the file was removed or replaced while it was followed: what it held until then is "
            "reported"
        )
        return [text] * self._gone


class _KeptFeed(Feed):
    """A pipe whose bytes are also written to a file, to be read again."""

    def __init__(self, descriptor: int, file: str) -> None:
        super().__init__(descriptor)
        self._file = open(file, "wb", buffering=0)  # noqa: SIM115 - closed by close()

    def read(self, size: int) -> bytes | None:
        """As :meth:`Feed.read`."""
        data = super().read(size)
        if data:
            self._file.write(data)
        return data

    def close(self) -> None:
        """See the base class."""
        super().close()
        self._file.close()


class GrowingSource(Source):
    """A source that waits for more at its end.

    Each poll calls the conditions in ``stops``; once one is true, the feed is told to finish, and
    the source ends with the bytes written by then.  Nothing read is kept in memory.
    """

    growing = True

    def __init__(self, path: str, feed: Feed) -> None:
        super().__init__(path)
        self.stops: list[Callable[[], bool]] = []
        self._feed = feed
        self._finishing = False
        self._haste = 1

    def readinto(self, view: memoryview) -> int:
        """Fill ``view`` with what is available; waits for the first bytes.  Gives the count, 0 at
        the end.

        Raises :class:`CaptureError` when the feed or its writer fails; bytes before that were given
        by earlier calls.  Raises :class:`NotFollowedError` for data that cannot be read as they
        come; if they are kept in :attr:`file`, when all of them have come.
        """
        count, waited = 0, False
        try:
            while count < len(view):
                self._look()
                data = self._feed.read(len(view) - count)
                if data:
                    view[count : count + len(data)] = data
                    count += len(data)
                elif data is not None or (count and self._offset + count >= HEAD):
                    break
                else:
                    time.sleep(PAUSE / self._haste)
                    waited = True
        except OSError as error:
            raise self._broken(reason_of(error)) from error
        if not count:
            if not self._finishing and (reason := self._feed.failure()):
                raise self._broken(reason)
            self.notes, self.lost = self._feed.notes(), self._feed.lost()
        if waited:
            self._adapt(count)
        begins = not self._offset
        self._offset += count
        if begins and (refusal := _refusal(self.path, bytes(view[:4]))) is not None:
            while self.file and self.readinto(view):
                pass  # the feed keeps what comes
            raise refusal
        return count

    def _adapt(self, count: int) -> None:
        """Make shorter pauses after one in which half of a pipe was filled, and longer ones again
        after others: while a pipe is full, its writer waits, and one that captures loses frames.
        """
        hurried = 2 * self._haste if 0 < self._feed.room <= 2 * count else self._haste // 2
        self._haste = max(1, min(hurried, HASTE_MAX))

    def _look(self) -> None:
        if not self._finishing and any(stop() for stop in self.stops):
            self.finish()

    def finish(self) -> None:
        """Stop waiting: end with the bytes written by now.  May be called from another thread."""
        self._finishing = True
        self._feed.finish()

    def peek(self, size: int) -> bytes:  # noqa: ARG002
        """Always empty: the first bytes may be long in coming."""
        return b""

    @property
    def position(self) -> int:
        """Bytes read so far; the total is unknown."""
        return self._offset

    def close(self) -> None:
        """Close the feed."""
        self._feed.close()


def follow(path: str) -> GrowingSource:
    """Open a file that is being written, from its start, or standard input (``-``).

    Raises :class:`CaptureError`, also for a compressed file.
    """
    if path == "-":
        return GrowingSource("<stdin>", Feed(os.dup(sys.stdin.fileno())))
    try:
        descriptor = os.open(path, os.O_RDONLY)
        regular = stat.S_ISREG(os.fstat(descriptor).st_mode)
        head = os.pread(descriptor, 4, 0) if regular else b""
    except OSError as error:
        raise CaptureError(
            f"cannot be opened: {error.strerror}", path=path, advice="check the path"
        ) from error
    if (refusal := _refusal(path, head)) is not None:
        os.close(descriptor)
        raise refusal
    return GrowingSource(path, _FileFeed(path, descriptor))


def keep(path: str, descriptor: int, file: str) -> GrowingSource:
    """Read the pipe ``descriptor``, called ``path`` in messages, and keep its bytes in ``file``.

    Raises :class:`OSError`.
    """
    source = GrowingSource(path, _KeptFeed(descriptor, file))
    source.file = file
    return source


def _widened(descriptor: int) -> int:
    """Make a pipe hold more bytes, if possible; gives how many it holds."""
    try:
        if (size := fcntl.fcntl(descriptor, fcntl.F_GETPIPE_SZ)) < PIPE_SIZE:
            size = fcntl.fcntl(descriptor, fcntl.F_SETPIPE_SZ, PIPE_SIZE)
    except OSError:
        return PIPE_USUAL
    return size


def _refusal(path: str, head: bytes) -> NotFollowedError | None:
    """Why what begins with ``head`` cannot be read as it comes; ``None`` if it can."""
    if head.startswith(PACKED):
        what = "is compressed"
    elif head == MAGIC_BYTES:
        what = "is a saved migration"
    else:
        return None
    return NotFollowedError(
        f"{what}, and cannot be followed", path=path, advice="check it without --follow"
    )
