"""The reader against a plain model: whatever pieces a stream comes in, the replies are the same."""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING

from hypothesis import given
from hypothesis import strategies as st

from analyzer.tcp.reader import SOME_MAX, Reader
from analyzer.tcp.requests import Deliver, End, Gap, Glance, Peek, Place, Push, Skip, Some, Take

if TYPE_CHECKING:
    from analyzer.tcp.requests import Reply, Walker

DATA = bytes(range(200))


def place(number: int) -> Place:
    return Place(number, number * 10, number * 100)


def test_a_large_piece_is_given_in_parts() -> None:
    """A walker may push all but a byte of it back, time and again."""
    found = []

    def walk(_reader: Reader) -> Walker:
        while isinstance(data := (yield Some()), bytes):
            found.append(data)

    reader = Reader(walk)
    data = bytes(range(256)) * 2048
    reader.feed(memoryview(data), place(1))
    reader.end()
    assert b"".join(found) == data
    assert max(map(len, found)) <= SOME_MAX < len(data)


def test_a_glance_waits_for_nothing() -> None:
    """It ends at what is there, at a hole, and at the end of the stream."""
    seen: list[Reply] = []

    def walk(_reader: Reader) -> Walker:
        for size in (1, 5):
            yield Skip(size)
            seen.append((yield Glance(4)))
        assert isinstance((yield Take(3)), Gap)
        for size in (0, 5, 3):
            yield Skip(size)
            seen.append((yield Glance(4)))

    reader = Reader(walk)
    reader.feed(b"abcdefgh", place(1))
    assert seen == [b"bcde", b"gh"]
    reader.gap(2, place(2))
    reader.feed(b"ijkl", place(2))
    assert seen == [b"bcde", b"gh", b"gh", b"jkl", b""]


class Log:
    """A walker that follows a script and notes every reply."""

    def __init__(self, script: list[tuple[str, int]]) -> None:
        self.script = script
        self.replies: list[tuple[object, int, int]] = []
        self.delivered: list[bytes] = []

    def sink(self, piece: bytes | memoryview | None, size: int) -> None:
        self.delivered.append(b"?" * size if piece is None else bytes(piece))

    def walk(self, reader: Reader) -> Walker:
        for kind, size in self.script:
            reply: Reply
            if kind == "take":
                reply = yield Take(size)
            elif kind == "peek":
                reply = yield Peek(size)
            elif kind == "skip":
                reply = yield Skip(size)
            else:
                reply = yield Deliver(size, self.sink)
            self.replies.append((self.shown(reply), reader.offset, reader.missing))
            if isinstance(reply, Gap):
                yield Skip(size)
            elif isinstance(reply, End):
                return

    @staticmethod
    def shown(reply: Reply) -> object:
        if isinstance(reply, Gap):
            return "gap", reply.first, reply.last, reply.before
        if isinstance(reply, End):
            return "end", reply.have, reply.data
        return reply


SCRIPT = st.lists(
    st.tuples(st.sampled_from(["take", "peek", "skip", "deliver"]), st.integers(0, 40)), max_size=12
)
HOLE = st.tuples(st.integers(0, 150), st.integers(1, 40)) | st.none()


def run(script: list[tuple[str, int]], hole: tuple[int, int] | None, cuts: list[int]) -> Log:
    log = Log(script)
    reader = Reader(log.walk)
    first, size = hole or (len(DATA), 0)
    number = 1
    for start, stop in ((0, first), (first + size, len(DATA))):
        if start >= len(DATA):
            break
        if start and size:
            reader.gap(size, place(number))
        edges = sorted({start, stop, *(c for c in cuts if start < c < stop)})
        for a, b in pairwise(edges):
            reader.feed(memoryview(DATA)[a:b], place(number))
            number += 1
    reader.end()
    return log


@given(SCRIPT, HOLE, st.lists(st.integers(0, 200), max_size=8))
def test_replies_do_not_depend_on_the_pieces(
    script: list[tuple[str, int]], hole: tuple[int, int] | None, cuts: list[int]
) -> None:
    whole = run(script, hole, [])
    pieces = run(script, hole, cuts)
    single = run(script, hole, list(range(200)))
    assert whole.replies == pieces.replies == single.replies
    assert b"".join(whole.delivered) == b"".join(pieces.delivered) == b"".join(single.delivered)


@given(SCRIPT)
def test_takes_give_the_bytes_in_order(script: list[tuple[str, int]]) -> None:
    log = run(script, None, [7, 50, 51])
    at = 0
    for (kind, size), (reply, offset, missing) in zip(script, log.replies, strict=False):
        if isinstance(reply, tuple):
            assert reply[0] == "end"
            break
        if kind in ("take", "peek"):
            assert reply == DATA[at : at + size]
        if kind != "peek":
            at += size
        assert offset == at
        assert missing == 0


def test_places_are_those_of_the_first_and_last_byte() -> None:
    seen: list[tuple[int, int]] = []

    def walk(reader: Reader) -> Walker:
        for request in (Take(3), Take(2), Skip(6), Take(1)):
            yield request
            seen.append((reader.first.frame, reader.last.frame))

    reader = Reader(walk)
    for number in range(1, 7):
        reader.feed(b"ab", place(number))
    assert seen == [(1, 2), (2, 3), (3, 6), (6, 6)]
    assert reader.done


def test_pushed_back_bytes_come_again() -> None:
    seen: list[object] = []

    def walk(reader: Reader) -> Walker:
        seen.append((yield Take(4)))
        yield Push(b"cd")
        seen.append(reader.offset)
        seen.append((yield Take(3)))
        piece = yield Some()
        seen.append(piece)

    reader = Reader(walk)
    reader.feed(b"abcdef", place(1))
    assert seen == [b"abcd", 2, b"cde", b"f"]


STEPS = st.tuples(st.sampled_from((Take, Skip)), st.integers(1, 9), st.integers(0, 9))


@given(st.lists(STEPS), st.lists(st.integers(1, 7), min_size=1))
def test_last_is_where_the_byte_before_the_offset_was_seen(
    steps: list[tuple[type[Take] | type[Skip], int, int]], sizes: list[int]
) -> None:
    frames = [number for number, size in enumerate(sizes, 1) for _ in range(size)]
    data = bytes(at & 255 for at in range(len(frames)))

    def walk(reader: Reader) -> Walker:
        for request, size, back in steps:
            begin = reader.offset
            reply = yield request(size)
            if type(reply) is End:
                return
            assert reader.first.frame == frames[begin]
            assert reader.last.frame == frames[reader.offset - 1]
            if type(reply) is bytes and back:
                assert reply == data[begin : begin + size]
                yield Push(reply[-back:])
                if reader.offset:
                    assert reader.last.frame == frames[reader.offset - 1]

    reader = Reader(walk)
    at = 0
    for number, size in enumerate(sizes, 1):
        reader.feed(data[at : at + size], place(number))
        at += size
    reader.end()


def test_bytes_of_a_skip_may_pass_unseen() -> None:
    seen: list[object] = []

    def walk(_reader: Reader) -> Walker:
        seen.append((yield Skip(100)))
        seen.append((yield Take(2)))

    reader = Reader(walk)
    reader.feed(b"x" * 10, place(1))
    assert reader.skippable == 89
    reader.passed(80)
    reader.feed(b"y" * 10 + b"ab", place(2))
    assert seen == [0, b"ab"]
    assert reader.offset == 102


def test_a_buffer_may_be_reused_after_feeding() -> None:
    seen: list[object] = []

    def walk(_reader: Reader) -> Walker:
        seen.append((yield Take(4)))

    reader = Reader(walk)
    buffer = bytearray(b"ab")
    reader.feed(memoryview(buffer), place(1))
    buffer[:] = b"XX"
    reader.feed(b"cd", place(2))
    assert seen == [b"abcd"]
