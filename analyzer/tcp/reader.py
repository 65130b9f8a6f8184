"""Drives one channel walker over one byte stream, in whatever pieces the stream comes."""

from __future__ import annotations

from collections import deque

from analyzer.tcp.requests import Deliver, End, Gap, Glance, Peek, Place, Push, Skip, Take

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from analyzer.tcp.requests import Reply, Request, Sink, Walker

__all__ = ["UNREAD", "Reader"]

NOWHERE = Place(0, 0, 0)
FOREVER = 1 << 62
TRAIL = 1 << 18
"""How many bytes back the places of consumed bytes are remembered: no walker pushes back more."""
TRAIL_PIECES = 1024
SOME_MAX = 1 << 16
"""Most bytes given at once: a walker may push nearly all of them back, again and again."""


class _Piece:
    """Bytes (``data``) or a hole (``data is None``) of ``size`` bytes, the first ``used`` of them
    consumed.
    """

    __slots__ = ("data", "place", "size", "used")

    def __init__(self, data: bytes | memoryview | None, size: int, place: Place) -> None:
        self.data = data
        self.size = size
        self.place = place
        self.used = 0


class Reader:
    """The reading end of a byte stream: serves a walker's requests from the bytes fed in.

    ``start`` is called with the reader and gives the walker.  While the walker runs, ``offset`` is
    the stream offset of the next unread byte, ``missing`` how many of the bytes before it were in
    holes, ``first`` the place of the first byte of the last request and ``last`` the place of the
    last byte consumed.  ``done`` says that the walker has returned.

    Feed with :meth:`feed`, :meth:`gap` and :meth:`end`.  A stream engine need not feed up to
    ``skippable`` bytes, if it accounts for them with :meth:`passed` before it calls anything else.
    """

    __slots__ = (
        "_ahead",
        "_began",
        "_ended",
        "_left",
        "_missing",
        "_pieces",
        "_request",
        "_sink",
        "_trail",
        "_walker",
        "done",
        "first",
        "last",
        "missing",
        "offset",
    )

    def __init__(self, start: Callable[[Reader], Walker]) -> None:
        self.offset = 0
        self.missing = 0
        self.first = NOWHERE
        self.last = NOWHERE
        self.done = False
        self._ended = False
        # What is not consumed yet.  A hole is always the last piece: it answers any request, so the
        # walker is behind it before more is fed.
        self._pieces: deque[_Piece] = deque()
        # Offset and place of the pieces consumed last.
        self._trail: deque[tuple[int, Place]] = deque(maxlen=TRAIL_PIECES)
        self._ahead = 0  # bytes in _pieces, without a hole
        self._missing = 0
        self._sink: Sink | None = None
        self._began = False
        self._left = 0
        self._request: Request = Skip(0)
        self._walker = start(self)
        self._resume(None)

    # -- feeding ------------------------------------------------------------------------------

    @property
    def skippable(self) -> int:
        """How many bytes need not be fed: the rest of a Skip, less its last byte."""
        if type(self._request) is Skip and self._began and not self._pieces:
            return self._left - 1
        return 0

    def passed(self, count: int) -> None:
        """Account for ``count`` bytes, at most ``skippable``, that were not fed."""
        self._left -= count
        self.offset += count

    def feed(self, data: bytes | memoryview, place: Place) -> None:
        """Feed the next bytes of the stream.  ``data`` may be a view that is only valid during the
        call.
        """
        size = len(data)
        if not size:
            return
        pieces = self._pieces
        self._ahead += size
        pieces.append(_Piece(data, size, place))
        self._pump()
        if pieces:
            piece = pieces[-1]
            if type(piece.data) is memoryview:  # kept bytes must outlive the caller's buffer
                piece.data = bytes(piece.data[piece.used :])
                piece.size -= piece.used
                piece.used = 0

    def gap(self, missing: int, place: Place) -> None:
        """Feed a hole of ``missing`` bytes; ``place`` is that of the bytes after it."""
        if missing > 0:
            self._pieces.append(_Piece(None, missing, place))
            self._pump()

    def end(self, last: Place = NOWHERE) -> None:
        """End the stream; ``last`` is the place of its last byte, in case that was not fed."""
        if last.frame > self.last.frame and not self._pieces:
            self.last = last
        self._ended = True
        self._pump()

    def leave(self) -> None:
        """End the walker: the rest of the stream is ignored."""
        self._walker.close()
        self._resume(None)

    # -- the machine --------------------------------------------------------------------------

    def _resume(self, reply: Reply) -> None:
        try:
            request = self._walker.send(reply)
            while type(request) is Push:
                self._push(request.data)
                request = self._walker.send(None)
        except StopIteration:
            self.done = True
            request = Skip(FOREVER)
        self._request = request
        self._began = False
        self._missing = 0
        self._sink = None
        kind = type(request)
        if kind is Take or kind is Skip or kind is Peek or kind is Glance:
            self._left = request.size  # type: ignore[union-attr]
        elif kind is Deliver:
            self._sink = request.sink  # type: ignore[union-attr]
            self._left = request.size  # type: ignore[union-attr]
        else:
            self._left = 1

    def place_of(self, offset: int) -> Place:
        """The place of the byte at a stream offset, one of those consumed last."""
        place = self.last
        for first, place in reversed(self._trail):  # noqa: B007 - falls back to the oldest known
            if first <= offset:
                break
        return place

    def _push(self, data: bytes) -> None:
        """Push bytes back, each with its place."""
        end = len(data)
        self._ahead += end
        self.offset -= end
        trail = self._trail
        while end:
            begin, place = 0, self.last
            if trail:
                first, place = trail[-1]
                begin = max(0, first - self.offset) if len(trail) > 1 else 0
                if first >= self.offset:
                    trail.pop()
            if begin < end:
                self._pieces.appendleft(_Piece(data[begin:end], end - begin, place))
                end = begin
        if trail:
            self.last = trail[-1][1]

    def _note(self, place: Place) -> None:
        """Remember the place of the bytes at the reading position, which are about to be
        consumed.
        """
        trail = self._trail
        if trail and trail[-1][1] is place:
            return
        trail.append((self.offset, place))
        while trail[0][0] < self.offset - TRAIL:
            trail.popleft()

    def _consume(self, piece: _Piece, count: int) -> None:
        """Advance over ``count`` bytes of the head piece."""
        if not self._began:
            self._began = True
            self.first = piece.place
        self.last = piece.place
        self.offset += count
        piece.used += count
        if piece.data is not None:
            self._ahead -= count
        else:
            self.missing += count
        if piece.used == piece.size:
            self._pieces.popleft()

    def _pump(self) -> None:
        while True:
            request = self._request
            kind = type(request)
            if kind is Take:
                if not self._pump_take():
                    return
            elif kind is Skip or kind is Deliver:
                if not self._pump_skip():
                    return
            elif kind is Peek:
                if not self._pump_take(keep=True):
                    return
            elif kind is Glance:
                self._resume(self._peeked(self._left))
            elif not self._pump_some():
                return

    def _pump_take(self, *, keep: bool = False) -> bool:
        size = self._left
        joined = self._peeked if keep else self._joined
        pieces = self._pieces
        if self._ahead >= size:
            piece = pieces[0] if pieces else None
            if piece is None or piece.data is None or keep or piece.size - piece.used <= size:
                self._resume(joined(size))
            else:
                self._resume(self._whole(piece, size))
            return True
        hole = pieces[-1] if pieces else None
        if hole is not None and hole.data is None:
            first = self.offset + self._ahead
            self.first = pieces[0].place
            self._resume(Gap(first, first + hole.size - hole.used - 1, self._ahead))
            return True
        if self._ended and not self.done:
            have = self._ahead
            self._resume(End(have, joined(have)))
            return True
        return False

    def _whole(self, piece: _Piece, size: int) -> bytes:
        """Take ``size`` bytes from a piece that has more: a faster :meth:`_joined` for this
        case.
        """
        place, trail, used = piece.place, self._trail, piece.used
        if not trail or trail[-1][1] is not place:
            self._note(place)
        self._began = True
        self.first = self.last = place
        self.offset += size
        self._ahead -= size
        piece.used = used + size
        assert piece.data is not None
        return bytes(piece.data[used : used + size])

    def _peeked(self, size: int) -> bytes:
        parts = []
        if self._pieces:
            self.first = self._pieces[0].place
        for piece in self._pieces:
            data = piece.data
            if data is None or not size:
                break
            part = data[piece.used : piece.used + size]
            parts.append(part)
            size -= len(part)
        return b"".join(parts)

    def _joined(self, size: int) -> bytes:
        parts = []
        while size:
            piece = self._pieces[0]
            data = piece.data
            assert data is not None
            count = min(size, piece.size - piece.used)
            parts.append(data[piece.used : piece.used + count])
            self._note(piece.place)
            self._consume(piece, count)
            size -= count
        if len(parts) == 1:
            return bytes(parts[0])
        return b"".join(parts)

    def _pump_skip(self) -> bool:
        pieces = self._pieces
        while self._left and pieces:
            piece = pieces[0]
            count = min(self._left, piece.size - piece.used)
            sink = self._sink
            if piece.data is None:
                self._missing += count
                if sink is not None:
                    sink(None, count)
            elif sink is not None:
                sink(piece.data[piece.used : piece.used + count], count)
            self._left -= count
            if not self._left:
                self._note(piece.place)
            self._consume(piece, count)
        if not self._left:
            self._resume(self._missing)
            return True
        if self._ended and not self.done:
            request = self._request
            size = request.size if isinstance(request, Skip | Deliver) else 0
            self._resume(End(size - self._left))
            return True
        return False

    def _pump_some(self) -> bool:
        if self._pieces:
            piece = self._pieces[0]
            if piece.data is None:
                self._resume(Gap(self.offset, self.offset + piece.size - piece.used - 1, 0))
            else:
                data = bytes(piece.data[piece.used : piece.used + SOME_MAX])
                self._note(piece.place)
                self._consume(piece, len(data))
                self._resume(data)
            return True
        if self._ended and not self.done:
            self._resume(End(0))
            return True
        return False


class _Unread(Reader):
    """A reader that ignores all bytes."""

    __slots__ = ()

    def __init__(self) -> None:
        super().__init__(lambda _reader: _nothing())

    @property
    def skippable(self) -> int:
        """See the base class."""
        return FOREVER - 1

    def passed(self, count: int) -> None:
        """See the base class."""

    def feed(self, data: bytes | memoryview, place: Place) -> None:
        """See the base class."""

    def gap(self, missing: int, place: Place) -> None:
        """See the base class."""

    def end(self, last: Place = NOWHERE) -> None:
        """See the base class."""


def _nothing() -> Walker:
    return
    yield


UNREAD = _Unread()
"""The reader of every stream that has no walker, or no longer has one."""
