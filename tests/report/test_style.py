"""Tables of text."""

from __future__ import annotations

from analyzer.report.style import Style, table

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
