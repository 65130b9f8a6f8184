"""The iterable sections of other machines and of the block layer, and unknown ones."""

from __future__ import annotations

import pytest

from tests.migration import main_streams as build
from tests.migration.main_streams import CLOSING, OPENING, RAM_START, u32, u64, walk

ID = 21
RUN = u32(3) + b"\0\2\0\1" + bytes(range(32))
HTAB_START, HTAB_PART = u32(24), u32(0) + RUN + RUN + bytes(8)
STORAGE = u64(0x3000 | 2) + u64(5) + b"12345" + u64(1)
BITMAP = (
    b"\x1c" + build.text(b"drive0") + build.text(b"bitmap0") + u32(65536) + b"\1"
    + b"\x40" + u64(0) + u32(128) + u64(4) + b"\xff\0\xff\0"
    + b"\x42" + u64(128) + u32(128) + b"\x20\1"
)  # fmt: skip
ZERO_CHUNK = u64(2048 << 9 | 9) + build.text(b"drive0")
BODIES = {
    "htab": (b"spapr/htab", HTAB_START, HTAB_PART),
    "htab absent": (b"spapr/htab", u32(0xFFFFFFFF), u32(0xFFFFFFFF)),
    "storage": (b"s390-storage_attributes", u64(1), STORAGE),
    "storage done": (b"s390-storage_attributes", u64(1), STORAGE[:-8] + u64(8)),
    "storage done and end": (b"s390-storage_attributes", u64(1), STORAGE[:-8] + u64(8) + u64(1)),
    "storage error": (b"s390-storage_attributes", u64(1), u64(4)),
    "bitmap": (b"dirty-bitmap", b"\1", BITMAP),
    "block": (b"block", u64(2), u64(50 << 9 | 4) + ZERO_CHUNK + ZERO_CHUNK + u64(2)),
    "unknown": (b"new/iterable", b"anything", b"\x7e\0\0\0\x15 at all"),
}


def stream_of(name: str) -> bytes:
    idstr, first, body = BODIES[name]
    return (
        OPENING
        + RAM_START
        + build.start(ID, idstr, first)
        + build.part(ID, body)
        + build.end(ID, body)
        + CLOSING
    )


@pytest.mark.parametrize("name", sorted(BODIES))
def test_walked_to_the_end(name: str) -> None:
    stream = stream_of(name)
    main = walk(stream)
    assert not main.anomalies
    assert main.skipped == 0
    lengths = [r.body_length for r in main.records if r.section_id == ID]
    _idstr, first, body = BODIES[name]
    assert lengths == [len(first), len(body), len(body)]
    assert {r.by_search for r in main.records if r.section_id == ID} == {name == "unknown"}


@pytest.mark.parametrize("name", sorted(BODIES))
def test_truncated_and_damaged(name: str) -> None:
    stream = stream_of(name)
    begin = len(OPENING + RAM_START)
    for at in range(begin, len(stream) - len(CLOSING)):
        walk(stream[:at])
        walk(stream[:at], 1, stream[at + 1 :])
        walk(stream[:at] + bytes((stream[at] ^ 0xFF,)) + stream[at + 1 :])


def test_unknown_flags_are_searched_past() -> None:
    faults = (
        (b"dirty-bitmap", b"\x80"),
        (b"s390-storage_attributes", u64(3)),
        (b"block", u64(0x10)),
    )
    for idstr, body in faults:
        stream = OPENING + RAM_START + build.start(ID, idstr, body) + CLOSING
        main = walk(stream)
        assert main.resync_count == 1
        assert main.description_complete


def test_the_content_of_a_disk_is_stepped_over() -> None:
    """Whatever it looks like: here, like the end of its own section."""
    chunk = u64(1) + build.text(b"drive0") + (build.footer(ID) + CLOSING).ljust(1 << 20, b"\0")
    start, part = build.start(ID, b"block", u64(2)), build.part(ID, chunk + u64(2))
    main = walk(OPENING + start + RAM_START + part + build.end(ID, u64(2)) + CLOSING)
    assert not main.anomalies
    assert [r.body_length for r in main.records if r.section_id == ID] == [8, len(chunk) + 8, 8]
