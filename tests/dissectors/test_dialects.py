"""Which revision of the format a sender speaks, by its version."""

from __future__ import annotations

import pytest

from dissectors.dialects import DIALECTS, RAM_ERAS, era_of


@pytest.mark.parametrize(
    ("version", "name"),
    [
        ((4, 0), ""),
        ((7, 2), ""),
        ((8, 1), ""),
        ((8, 2), "8.2"),
        ((8, 12), "8.2"),
        ((9, 0), "9.0"),
        ((9, 1), "9.0"),
        ((9, 2), "9.2"),
        ((10, 0), "9.2"),
        ((11, 1), "9.2"),
        ((1, 95), ""),
        ((7, 999999), ""),
        ((999999, 0), "9.2"),
    ],
)
def test_era_of_a_version(version: tuple[int, int], name: str) -> None:
    """Also of versions that no QEMU has: they come from the capture."""
    era = era_of(version)
    assert (era.name if era is not None else "") == name


def test_eras_and_dialects_are_listed_by_age() -> None:
    since = [era.since for era in RAM_ERAS.values()]
    assert since == sorted(since)
    assert list(DIALECTS) == ["rfc0", "v1", "v3", "upstream", "10.1"]
