"""Values in filters."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from analyzer.filter import values
from analyzer.filter.filter import Filter
from analyzer.filter.grammar import parse


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("0", 0), ("00", 0), ("42", 42), ("-42", -42), ("+42", 42), ("0x2A", 42), ("0b101010", 42),
        ("052", 42), ("0o52", 42), ("1K", 1024), ("1.5k", 1536), ("2MiB", 2 << 20), ("1G", 1 << 30),
        ("2mib", 2 << 20), ("2m", 2 << 20),
        ("3B", 3), ("0x10K", 16384), ("08", None), ("1.2", None), ("0.0001K", None), ("", None),
        ("K", None), ("1 K", None), ("0x", None), ("--1", None), ("1e3", None), ("9" * 41, None),
        ("\u0663", None),
    ],
)  # fmt: skip
def test_a_number_may_have_a_sign_base_and_unit(text: str, value: int | None) -> None:
    assert values.number(text) == value


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("1", 10**9), ("1.5", 15 * 10**8), ("20ms", 2 * 10**7), ("3us", 3000), ("7ns", 7),
        ("2min", 12 * 10**10), ("1h", 36 * 10**11), ("0.5ns", None), ("1 ms", None), ("x", None),
    ],
)  # fmt: skip
def test_a_duration_is_a_whole_number_of_nanoseconds(text: str, value: int | None) -> None:
    assert values.duration(text) == value


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("1970-01-02", 86400 * 10**9),
        ("1970-01-01T00:00:01", 10**9),
        ("1970-01-01 00:00:01.000000007", 10**9 + 7),
        ("1970-01-01T01:00:00.5+01:00", 5 * 10**8),
        ("1970-01-01T00:01Z", 60 * 10**9),
        ("1.25", 1250 * 10**6),
        ("1969-12-31T23:59:59.9", -(10**8)),
        ("1970-02-30", None),
        ("1970-01-01T25:00", None),
        ("0001-01-01T00:00+14:00", None),
        ("soon", None),
    ],
)
def test_a_moment_is_a_date_or_seconds_since_1970(text: str, value: int | None) -> None:
    assert values.moment(text) == value


@given(st.datetimes(timezones=st.just(UTC)))
def test_moment_reads_what_datetime_writes(when: datetime) -> None:
    epoch = datetime(1970, 1, 1, tzinfo=UTC)
    text = f"{when:%H:%M:%S.%f}"
    found = values.moment(f"{when.date().isoformat()}T{text}Z")
    delta = when - epoch
    assert found == (delta.days * 86400 + delta.seconds) * 10**9 + delta.microseconds * 1000


@pytest.mark.parametrize(
    ("text", "data"),
    [
        ("0102ff", b"\1\2\xff"), ("01:02:ff", b"\1\2\xff"), ("01-02.FF", b"\1\2\xff"),
        ("0x0102", b"\1\2"), ("12345678-1234-1234-1234-123456789abc",
        bytes.fromhex("12345678123412341234123456789abc")), ("1", None), ("xy", None), ("", None),
    ],
)  # fmt: skip
def test_bytes_are_hexadecimal_with_or_without_separators(text: str, data: bytes | None) -> None:
    assert values.hexadecimal(text) == data


@pytest.mark.parametrize(
    ("token", "text"),
    [
        ("plain", "plain"), ('"a"', "a"), ("'a'", "a"), (r'"\x41\u00e9\U0001F600\101"', "Aé😀A"),
        (r'"\n\t\\\"\q"', '\n\t\\"q'), (r'r"\x41"', r"\x41"), ("ram", "ram"), ("r", "r"),
        ('""', ""),
        (r'"\UFFFFFFFF"', "\ufffd"), ('r""', ""),
    ],
)  # fmt: skip
def test_a_string_loses_its_quotes_and_escapes(token: str, text: str) -> None:
    assert values.unquoted(token) == text


@given(st.text(st.characters(exclude_categories=["Cs"])))
@example("offset")
@example("multifd.flags.sync")
def test_quoted_text_comes_back(text: str) -> None:
    token = values.quoted(text)
    assert values.unquoted(token) == text
    assert token.isprintable()
    if len(token) < 1000:
        parse(f"device == {token}")
        Filter(f"device == {token}")
