"""The captures that the project ships, for tests that go over all of them."""

from __future__ import annotations

import gzip
import json
import os
import re
import tempfile
from pathlib import Path
from typing import Any

CAPTURES = Path(__file__).resolve().parent.parent / "captures"


def stem(path: Path) -> str:
    """The capture's name without its file type."""
    return re.sub(r"\.pcap(ng)?(\.gz|\.zst)?$", "", path.name)


FILES = {stem(path): path for path in sorted(CAPTURES.iterdir()) if stem(path) != path.name}
"""Every capture's file, as it is shipped."""
NAMES = list(FILES)

UNPACKED = "MFSHARK_TEST_UNPACKED"
"""The environment variable that names the folder of captures unpacked so far, which all workers of
a test run share.
"""


def capture(name: str) -> Path:
    """The capture with that name, unpacked once and for all tests: to unpack it in each of
    them took a seventh of their time.
    """
    shipped = FILES[name]
    if shipped.suffix != ".gz":
        return shipped
    folder = Path(os.environ[UNPACKED])
    path = folder / shipped.stem
    if not path.exists():
        with tempfile.NamedTemporaryFile(dir=folder, delete=False) as file:
            file.write(gzip.decompress(shipped.read_bytes()))
        Path(file.name).replace(path)
    return path


def truth(name: str) -> dict[str, Any]:
    """What QEMU and the kernel reported about a capture; see captures/MANIFEST.md."""
    loaded: dict[str, Any] = json.loads(
        (CAPTURES / f"{name}.truth.json").read_text(encoding="utf-8")
    )
    return loaded
