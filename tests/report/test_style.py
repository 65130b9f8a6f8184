"""Tables of text."""

from __future__ import annotations

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

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


@given(
    words=st.lists(st.text("abcdef", max_size=9), min_size=1, max_size=30),
    width=st.integers(1, 60),
    indent=st.integers(1, 8),
)
@example(words=["ab", "cd", "ef", ""], width=6, indent=2)
def test_folding_changes_only_blanks(words: list[str], width: int, indent: int) -> None:
    line = " ".join(words)
    parts = list(Style(width=width).folded(line, indent))
    assert " ".join(parts).split() == line.split()
    assert all(part.startswith(" " * indent) for part in parts[1:])
    for part in parts:
        assert len(part) <= width or len(part.split()) <= 1


def test_a_folded_line_keeps_its_colours_which_take_no_cells() -> None:
    style = Style(colour=True, width=20)
    line = f"  {style.severity('error', 'error')} a message of some words"
    assert list(style.folded(line)) == [
        f"  {style.severity('error', 'error')} a message of",
        "    some words",
    ]
    assert list(style.folded(style.dim("x" * 20))) == [style.dim("x" * 20)]


def test_without_a_width_no_line_is_folded() -> None:
    line = "word " * 500
    assert list(Style().folded(line)) == [line]
