"""The run lengths of XBZRLE pages."""

from __future__ import annotations

import pytest

from dissectors.xbzrle import fault


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
    "data",
    [
        b"\4",
        b"\4\0",
        b"\4\1",
        b"\4\2a",
        b"\4\1x\0\1y",
        b"\x80",
        b"\x80\x80\1\1x",
        b"\xff\x1f\2xy",
        b"\0\x81\x20" + bytes(4097),
        b"\4\1x\4",
    ],
)
def test_faults(data: bytes) -> None:
    assert fault(data, 4096)
