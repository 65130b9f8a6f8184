"""The captures that the project ships, for tests that go over all of them."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

CAPTURES = Path(__file__).resolve().parent.parent / "captures"


def stem(path: Path) -> str:
    """The capture's name without its file type."""
    return re.sub(r"\.pcap(ng)?(\.gz|\.zst)?$", "", path.name)


FILES = sorted(path for path in CAPTURES.iterdir() if stem(path) != path.name)


def capture(name: str) -> Path:
    """The file of the capture with that name."""
    return next(path for path in FILES if stem(path) == name)


def truth(name: str) -> dict[str, Any]:
    """What QEMU and the kernel reported about a capture; see captures/MANIFEST.md."""
    loaded: dict[str, Any] = json.loads(
        (CAPTURES / f"{name}.truth.json").read_text(encoding="utf-8")
    )
    return loaded
