"""The run lengths of XBZRLE pages."""

from __future__ import annotations

import pytest

from dissectors.xbzrle import fault, lengths


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\0\1x",
        b"\4\1x",
        b"\4\2ab\5\1z",
        b"\x80\x10\1x",
        b"\0\x80\x20" + bytes(4096),
        b"\xff\x1f\1x",
    ],
)
def test_good_pages(data: bytes) -> None:
    assert fault(data, 4096) == ""


@pytest.mark.parametrize(
    ("data", "told"),
    [
        (b"\4", "a zero run ends the page"),
        (b"\4\0", "bad run at byte 1"),
        (b"\4\1", "the run at byte 1 is longer than the record"),
        (b"\4\2a", "the run at byte 1 is longer than the record"),
        (b"\4\1x\0\1y", "bad zero run at byte 3"),
        (b"\x80", "bad zero run at byte 0"),
        (b"\x80\x80\1\1x", "bad zero run at byte 0"),
        (b"\xff\x1f\2xy", "runs cover 4097 bytes, more than a page"),
        (b"\0\x81\x20" + bytes(4097), "runs cover 4097 bytes, more than a page"),
        (b"\4\1x\4", "a zero run ends the page"),
    ],
)
def test_a_damaged_page_is_told_with_its_fault(data: bytes, told: str) -> None:
    assert fault(data, 4096) == told


@pytest.mark.parametrize(
    ("data", "spans"),
    [
        (b"", []),
        (b"\0\1x", [(0, 2)]),
        (b"\4\2ab\x85\0\1z", [(0, 2), (4, 7)]),
        (b"\4", [(0, 1)]),
        (b"\4\1x\4", [(0, 2), (3, 4)]),
        (b"\xff\xfe\xfd\xfc", [(0, 2)]),
        (b"\4\xff\xfe\xfd", [(0, 3)]),
        (b"\4\1x\xff", [(0, 2), (3, 4)]),
    ],
)
def test_lengths_are_told_apart_from_changes(data: bytes, spans: list[tuple[int, int]]) -> None:
    """Of a malformed page nothing behind its first malformed length is taken for one."""
    assert list(lengths(data)) == spans
