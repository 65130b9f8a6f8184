"""What is kept comes back as it was written, wherever it was kept meanwhile."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from analyzer.migration.spool import PIECE, Kept, Spool

ROOM = 3 * PIECE
SIZES = st.one_of(st.integers(1, 300), st.integers(PIECE - 2, 2 * PIECE))
STEPS = st.lists(
    st.tuples(st.integers(0, 2), st.sampled_from(["write", "skip", "settle", "drop"]), SIZES),
    max_size=40,
)


def content(kept: Kept) -> list[bytes | int]:
    """Bytes joined, gaps as numbers."""
    found: list[bytes | int] = []
    for data, size in kept.pieces():
        last = found[-1] if found else None
        if data is None:
            found.append(size)
        elif isinstance(last, bytes):
            found[-1] = last + data
        else:
            found.append(data)
        assert data is None or len(data) == size <= PIECE
    return found


@given(steps=STEPS)
@settings(max_examples=150)
def test_everything_comes_back(steps: list[tuple[int, str, int]]) -> None:
    spool = Spool(ROOM)
    kept = [Kept(spool) for _ in range(3)]
    wanted: list[list[bytes | int]] = [[], [], []]
    for number, (which, step, size) in enumerate(steps):
        if step == "write":
            data = bytes([number % 251]) * size
            kept[which].write(data)
            last = wanted[which][-1] if wanted[which] else None
            if isinstance(last, bytes):
                wanted[which][-1] = last + data
            else:
                wanted[which].append(data)
        elif step == "skip":
            kept[which].skip(size)
            wanted[which].append(size)
        elif step == "settle":
            kept[which].settle()
        else:
            kept[which].drop()
            wanted[which] = []
        assert spool.used <= ROOM + 3 * PIECE
    for one, expected in zip(kept, wanted, strict=True):
        assert content(one) == expected
        assert content(one) == expected
        one.drop()
    assert spool.used == 0


def test_a_gap_takes_no_room() -> None:
    spool = Spool(0)
    kept = Kept(spool)
    kept.write(b"begin")
    kept.skip(1 << 40)
    kept.write(b"end")
    assert content(kept) == [b"begin", 1 << 40, b"end"]


def test_the_file_is_emptied_when_nothing_of_it_is_needed() -> None:
    spool = Spool(0)
    first, second = Kept(spool), Kept(spool)
    for kept in (first, second):
        kept.write(bytes(PIECE))
    first.drop()
    assert content(second) == [bytes(PIECE)]
    second.drop()
    third = Kept(spool)
    third.write(b"x" * PIECE)
    assert spool.load(0, PIECE) == b"x" * PIECE
