"""Every shipped capture is described, has its truth file, and is the one that was described."""

from __future__ import annotations

import hashlib
import json
import re
from pathlib import Path

import pytest

CAPTURES = Path(__file__).resolve().parent.parent / "captures"
MANIFEST = (CAPTURES / "MANIFEST.md").read_text(encoding="utf-8")
CHECKSUMS = {
    name: digest for digest, name in re.findall(r"^([0-9a-f]{64})  (\S+)$", MANIFEST, re.MULTILINE)
}
FILES = sorted(path for path in CAPTURES.iterdir() if ".pcap" in path.name)


def stem(path: Path) -> str:
    return re.sub(r"\.pcap(ng)?(\.gz|\.zst)?$", "", path.name)


def test_the_list_is_complete() -> None:
    assert sorted(CHECKSUMS) == [path.name for path in FILES]


@pytest.mark.parametrize("path", FILES, ids=stem)
def test_described_and_unchanged(path: Path) -> None:
    assert f"| `{stem(path)}` |" in MANIFEST
    assert hashlib.sha256(path.read_bytes()).hexdigest() == CHECKSUMS[path.name]
    truth = json.loads((CAPTURES / f"{stem(path)}.truth.json").read_text(encoding="utf-8"))
    assert truth
