"""Tables of text."""

from __future__ import annotations

import pytest

from analyzer.report.style import Style, pages_text, table

HEAD = ("name", "stream", "bytes", "holes", "note")


def test_columns_of_nothing_are_left_out() -> None:
    rows = [("main", "0", "12", "0", ""), ("multifd 0", "1", "7", "0", "")]
    assert list(table(HEAD, rows, Style(), left=2)) == [
        "  name       stream  bytes",
        "  main       0          12",
        "  multifd 0  1           7",
    ]


def test_zero_is_a_name_like_others() -> None:
    """A capture with one connection has tcp.stream 0 alone."""
    lines = list(table(HEAD, [("main", "0", "0", "", "")], Style(), left=2))
    assert lines == ["  name  stream", "  main  0"]


def test_no_rows_are_no_table() -> None:
    assert not list(table(HEAD, [], Style()))


def test_a_wide_table_goes_on_below_itself() -> None:
    rows = [("main", "0", "12", "1", "late"), ("multifd 0", "1", "7", "0", "")]
    assert list(table(HEAD, rows, Style(width=28), left=2)) == [
        "  name       stream  bytes",
        "  main       0          12",
        "  multifd 0  1           7",
        "  name       holes  note",
        "  main           1  late",
        "  multifd 0      0",
    ]


def test_a_column_wider_than_the_terminal_stands_beside_the_first_all_the_same() -> None:
    lines = list(table(("name", "a", "b"), [("x" * 9, "1", "2")], Style(width=10)))
    assert lines == ["  name       a", "  xxxxxxxxx  1", "  name       b", "  xxxxxxxxx  2"]


@pytest.mark.parametrize(
    ("size", "text"),
    [(256, "256-byte pages"), (1024, "1 KiB pages"), (65536, "64 KiB pages")],
)
def test_pages_smaller_than_a_kilobyte_are_counted_in_bytes(size: int, text: str) -> None:
    assert pages_text(size) == text
