"""Looking at the bytes ahead on a stream, and for some in others."""

from __future__ import annotations

from analyzer.tcp.requests import End, Gap, Peek

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Generator, Iterator

    from analyzer.tcp.requests import Reply, Request

__all__ = ["occurrences", "window"]


def window(size: int) -> Generator[Request, Reply, tuple[bytes, Gap | End | None]]:
    """Peek at up to ``size`` bytes; gives them, and the hole or end of stream that made them fewer
    (``None`` without).
    """
    reply = yield Peek(size)
    if isinstance(reply, bytes):
        return reply, None
    if isinstance(reply, Gap):
        data = yield Peek(reply.before)
        assert isinstance(data, bytes)
        return data, reply
    assert isinstance(reply, End)
    return reply.data, reply


def occurrences(data: bytes, part: bytes, start: int = 0) -> Iterator[int]:
    """Where ``part`` is found in ``data`` from ``start`` on, ascending; the next one is looked for
    when it is asked for.
    """
    at = data.find(part, start)
    while at >= 0:
        yield at
        at = data.find(part, at + 1)
