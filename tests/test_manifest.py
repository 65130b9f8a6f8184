"""Every shipped capture is described, has its truth file, and is the one that was described."""

from __future__ import annotations

import hashlib
import re
from pathlib import Path

import pytest

from tests.shipped import CAPTURES, FILES, NAMES, truth

MANIFEST = (CAPTURES / "MANIFEST.md").read_text(encoding="utf-8")
CHECKSUMS = {
    name: digest for digest, name in re.findall(r"^([0-9a-f]{64})  (\S+)$", MANIFEST, re.MULTILINE)
}


TRACES = sorted(CAPTURES.glob("*.trace.log.gz"))


def test_the_list_is_complete() -> None:
    assert sorted(CHECKSUMS) == sorted(path.name for path in (*FILES.values(), *TRACES))


@pytest.mark.parametrize("path", TRACES, ids=lambda path: path.name)
def test_traces_are_unchanged_and_of_a_capture(path: Path) -> None:
    assert hashlib.sha256(path.read_bytes()).hexdigest() == CHECKSUMS[path.name]
    assert path.name.rpartition(".trace")[0][:-4] in FILES


@pytest.mark.parametrize("name", NAMES)
def test_described_and_unchanged(name: str) -> None:
    path = FILES[name]
    assert f"| `{name}` |" in MANIFEST
    assert hashlib.sha256(path.read_bytes()).hexdigest() == CHECKSUMS[path.name]
    assert truth(name)
