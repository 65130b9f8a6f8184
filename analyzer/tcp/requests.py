"""What a channel walker requests, and the replies it gets.

A walker is a generator: it yields a request, the stream engine sends back a reply.

============  =================================================================================
request       reply
============  =================================================================================
``Take(n)``   ``bytes`` of length n; or :class:`Gap` (a hole in them: nothing is consumed);
              or :class:`End` (the stream ended first: the rest is consumed)
``Peek(n)``   as ``Take``, but nothing is ever consumed, not even at the end of the stream
``Glance(n)`` ``bytes``: at most n of the next bytes, those at hand, perhaps none; nothing is
              consumed.  The only reply that depends on how the stream was cut into pieces
``Skip(n)``   ``int``: how many of the n bytes were missing from the capture; or :class:`End`
``Deliver``   as ``Skip``; the bytes go to ``sink(piece, size)`` as they come, holes as
              ``sink(None, missing)``
``Some()``    ``bytes``: the next bytes available (at least one); or :class:`Gap` (the hole is next:
              nothing is consumed); or :class:`End`
``Push(b)``   ``None``: bytes consumed before are put back to the front of the stream
============  =================================================================================

After a :class:`Gap` a walker may take less than it asked for (``gap.before`` bytes precede the
hole), step over the hole with ``Skip``, or look for the next header after it.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Generator
    from typing import TypeAlias

    Sink: TypeAlias = Callable[[bytes | memoryview | None, int], None]
    Request: TypeAlias = "Take | Peek | Glance | Skip | Deliver | Some | Push"
    Reply: TypeAlias = "bytes | int | Gap | End | None"
    Walker: TypeAlias = Generator[Request, Reply, None]

__all__ = [
    "REST",
    "Deliver",
    "End",
    "Gap",
    "Glance",
    "Peek",
    "Place",
    "Push",
    "Skip",
    "Some",
    "Take",
]


class Take:
    """The next ``size`` bytes as one object.  ``size`` should be small: the bytes are joined in
    memory.
    """

    __slots__ = ("size",)

    def __init__(self, size: int) -> None:
        self.size = size


class Peek:
    """The next ``size`` bytes as one object, without consuming them."""

    __slots__ = ("size",)

    def __init__(self, size: int) -> None:
        self.size = size


class Glance:
    """At most ``size`` of the next bytes, as far as they are there, without waiting for more."""

    __slots__ = ("size",)

    def __init__(self, size: int) -> None:
        self.size = size


class Skip:
    """Skip ``size`` bytes without looking at them."""

    __slots__ = ("size",)

    def __init__(self, size: int) -> None:
        self.size = size


REST = Skip(1 << 62)
"""Skip the rest of the stream."""


class Deliver:
    """Hand ``size`` bytes to ``sink`` in pieces of any length: ``sink(piece, len(piece))``.

    A hole is handed over as ``sink(None, missing)``.  A piece may be a view that is only valid
    during the call.
    """

    __slots__ = ("sink", "size")

    def __init__(self, size: int, sink: Sink) -> None:
        self.size = size
        self.sink = sink


class Some:
    """The bytes available next, in one piece of any length."""

    __slots__ = ()


class Push:
    """Push ``data``, the last bytes consumed, back to the front of the stream."""

    __slots__ = ("data",)

    def __init__(self, data: bytes) -> None:
        self.data = data


class Gap:
    """A hole in the capture: stream offsets ``first`` to ``last`` (inclusive) are missing.

    ``before`` bytes lie between the reading position and the hole.
    """

    __slots__ = ("before", "first", "last")

    def __init__(self, first: int, last: int, before: int) -> None:
        self.first = first
        self.last = last
        self.before = before


class End:
    """The stream ended: only ``have`` bytes of the request were left.

    ``data`` holds them for a Take, which consumed them, or a Peek.
    """

    __slots__ = ("data", "have")

    def __init__(self, have: int, data: bytes = b"") -> None:
        self.have = have
        self.data = data


class Place:
    """Where in the capture a byte was seen: frame number (Wireshark's), time in ns since the epoch,
    and file position.

    Re-reading from file position ``pos`` finds the byte and all bytes that follow it in the stream,
    even those that arrived before it (see :meth:`analyzer.capture.frames.Batch.position` for what
    is there).
    """

    __slots__ = ("frame", "pos", "time")

    def __init__(self, frame: int, time: int, pos: int) -> None:
        self.frame = frame
        self.time = time
        self.pos = pos

    def __repr__(self) -> str:
        return f"Place(frame={self.frame}, time={self.time}, pos={self.pos})"
