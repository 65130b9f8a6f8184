"""What is wrong with a filter is said with its column; hostile text is no risk."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from analyzer.errors import UsageError
from analyzer.filter.error import FilterError
from analyzer.filter.filter import Filter
from analyzer.filter.grammar import LENGTH_MAX
from dissectors.registry import FIELDS
from tests.filter.tables import table

WRONG = {
    # text: column, found, a word of what is expected, the nearest field
    "multfd.flags": (0, "multfd.flags", "a field", "multifd.flags"),
    "frame == 1 && idx > 3": (14, "idx", "a field", "vfio.idx"),
    "3 == 3": (0, "3", "a field", None),
    '"x"': (0, '"x"', "a field", None),
    "vfio.idx == abc": (12, "abc", "a number", None),
    "vfio.idx == frames": (12, "frames", "a number", "frame"),
    'vfio.idx == "x"': (12, '"x"', "a number", None),
    "frame == 1.5": (9, "1.5", "a number", None),
    "frame == 08": (9, "08", "a number", None),
    "frame == 1X": (9, "1X", "a number", None),
    "frame == 0x": (9, "0x", "a number", None),
    f"frame == {'9' * 50}": (9, "9" * 50, "a number", None),
    "multifd.flags.sync == 2": (22, "2", "true or false", None),
    "kind == rma": (8, "rma", "ram, sync, device-state or init", None),
    "kind < sync": (7, "sync", "no order", None),
    "kind in {ram..syn}": (14, "syn", "ram", None),
    "severity > bad": (11, "bad", "none, info, warning or error", None),
    "time > yesterday": (7, "yesterday", "a time", None),
    "time > 2025-13-01": (7, "2025-13-01", "a time", None),
    "time.relative > 3parsecs": (16, "3parsecs", "a time", None),
    'multifd.ramblock > "a"': (0, "multifd.ramblock", "a number field", None),
    "multifd.ramblock == multifd.idstr": (20, "multifd.idstr", "a value", None),
    "frame == multifd.ramblock": (9, "multifd.ramblock", "compares with frame", None),
    "frame == time": (9, "time", "compares with frame", None),
    "multifd.flags & 1 == frame": (21, "frame", "a number", None),
    "channel & 1": (0, "channel", "a number field", None),
    "multifd.flags & x": (16, "x", "a number", None),
    "multifd.flags & -1": (16, "-1", "a number", None),
    "frame contains 3": (0, "frame", "a text or bytes field", None),
    'multifd.init.uuid ~ "0"': (0, "multifd.init.uuid", "a text field", None),
    "multifd.init.uuid == xx": (21, "xx", "a uuid", None),
    'device in {"a".."b"}': (16, '"b"', "no ranges", None),
    "frame ==": (8, "", "a field or a value", None),
    "frame == 1 and": (14, "", "'('", None),
    "(frame": (6, "", "')'", None),
    "frame)": (5, ")", "the end", None),
    "frame 3": (6, "3", "an operator", None),
    "frame in 3": (9, "3", "'{'", None),
    "frame in {": (10, "", "a field or a value", None),
    "frame in {}": (10, "}", "a field or a value", None),
    "frame = 3": (6, "=", "'=='", None),
    "frame | 3": (6, "|", "'||'", None),
    "frame == §": (9, "§", "", None),
}
REASONS = {
    '"abc': (0, "not closed"),
    "device == 'abc": (10, "not closed"),
    "channel in {5..3}": (12, "5..3 is empty"),
    'device matches "("': (15, "not a regular expression"),
    'device matches "(a+)+$"': (15, "forever"),
    'device matches "(a|a)*$"': (15, "forever"),
    'device matches "(a?){40}"': (15, "forever"),
    'device matches "((a*)b)+"': (15, "forever"),
    'device matches ".*.*.*.*x"': (15, "too many"),
    f'device matches "{"a?" * 30}"': (15, "too many"),
    f'device matches "{"(a|a)" * 30}"': (15, "too many"),
    'device matches "(?x)(a+) +"': (15, "verbose"),
    'device matches "(?P<n>a+)+"': (15, "forever"),
    f'device matches "{"a" * 300}"': (15, "longer"),
    "!" * 300 + "frame": (0, "nested"),
    "frame " * 5000: (LENGTH_MAX, "longer"),
}


@pytest.mark.parametrize("text", WRONG)
def test_column_found_expected_nearest(text: str) -> None:
    column, found, expected, nearest = WRONG[text]
    with pytest.raises(FilterError) as caught:
        Filter(text)
    error = caught.value
    assert (error.column, error.found, error.nearest) == (column, found, nearest)
    assert expected in error.expected
    assert f"column {column + 1}:" in str(error)
    assert (nearest or "") in str(error)


@pytest.mark.parametrize("text", REASONS, ids=lambda text: text[:30])
def test_an_error_tells_its_column_and_its_reason(text: str) -> None:
    column, reason = REASONS[text]
    with pytest.raises(FilterError) as caught:
        Filter(text)
    assert caught.value.column == column
    assert reason in str(caught.value)


@pytest.mark.parametrize(
    "pattern",
    [
        r"^0000:00:\d+\.\d/vfio",
        r"(02|03)\.0",
        r"(ab){2,}",
        r"[]a*+?{](x)",
        r"a{2}b{,3}",
        r"(?i:x)",
        r"(?:[0-9a-f]{4}:)+",
        r"\(a\)+",
        r"(?=.*vfio)",
        r"(a)\1",
    ],
)
def test_usual_patterns_pass(pattern: str) -> None:
    Filter(f'device matches r"{pattern}"').mask(table())


def test_the_slowest_pattern_that_passes_comes_to_an_end_on_the_longest_name() -> None:
    from analyzer.filter.pattern import Pattern

    assert not Pattern("a*a*a?a?b", 0).matches("a" * 300)


def test_a_pattern_that_takes_too_long_is_given_up() -> None:
    from analyzer.filter.pattern import Pattern

    pattern = Pattern("a*b", 0)
    pattern._spent = 3.0
    with pytest.raises(FilterError, match="too long"):
        pattern.matches("a")


def test_it_is_a_usage_error() -> None:
    assert issubclass(FilterError, UsageError)


def test_control_characters_of_a_filter_do_not_reach_a_terminal() -> None:
    with pytest.raises(FilterError) as caught:
        Filter("frame == '\x1b[31m'")
    assert "\x1b" not in str(caught.value)


WORDS = [
    *FIELDS, "&&", "||", "!", "and", "or", "not", "(", ")", "in", "{", "}", ",", "..", "==", "!=",
    "<", ">=", "&", "~", "contains", "matches", "1", "0x10", "-3", "1.5", "2K", "5ms", "true",
    "ram", '"ram"', "'(a|b)'", '"\\x41\\0\\u00e9"', "2025-01-01", "aa:bb", "warning", "eq", "\x00",
]  # fmt: skip


@given(st.lists(st.sampled_from(WORDS), max_size=14).map(" ".join))
@settings(max_examples=400)
def test_any_words_give_a_mask_or_an_error(text: str) -> None:
    _harmless(text)


@given(st.text(max_size=60))
@settings(max_examples=300)
def test_any_text_gives_a_mask_or_an_error(text: str) -> None:
    _harmless(text)


@given(st.text("()[]{}|*+?.\\^$ab0,:=!<>P#-iLmsux", max_size=24))
@settings(max_examples=300)
def test_any_pattern_gives_a_mask_or_an_error(pattern: str) -> None:
    escaped = pattern.replace("\\", "\\\\")
    _harmless(f'device matches "{escaped}" || multifd.ramblock matches "{escaped}"')


@pytest.mark.parametrize(
    "text",
    [
        "(" * 4000 + "frame" + ")" * 4000,
        "(" * 8000,
        "!" * 8000,
        "frame in {" + "1," * 2000 + "1}",
        "frame == " + "9" * 8000,
        '"' + "\\" * 8000,
        "&&" * 4000,
        "a." * 4000,
        " < ".join(["frame"] * 1000),
        "frame == 0" + "7" * 39,
        "frame == 1e400",
        "time == 99999999999999999999999",
    ],
    ids=lambda text: text[:12],
)
def test_large_and_deep_text(text: str) -> None:
    _harmless(text)


def _harmless(text: str) -> None:
    error: FilterError | None = None
    try:
        mask = Filter(text).mask(table())
    except FilterError as caught:
        error = caught
    if error is None:
        assert mask.size == len(table())
    else:
        assert 0 <= error.column <= len(text)
        assert len(str(error)) < 20_000
