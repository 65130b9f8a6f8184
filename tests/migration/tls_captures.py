"""The shipped captures of migrations over TLS."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tests import shipped

if TYPE_CHECKING:
    from pathlib import Path

EMBEDDED = "10.0.13-tls13-x509-2ch-secrets-embedded"
KEYS = shipped.CAPTURES / f"{EMBEDDED}.keys.log"
NO_KEYS = "10.0.13-tls13-x509-2ch-nokeys"


def stripped(path: Path) -> Path:
    """The capture with the block of its secrets taken out: the same frames."""
    data = shipped.capture(EMBEDDED).read_bytes()
    kept = bytearray()
    at = 0
    while at < len(data):
        size = int.from_bytes(data[at + 4 : at + 8], "little")
        if data[at : at + 4] != (10).to_bytes(4, "little"):
            kept += data[at : at + size]
        at += size
    path.write_bytes(kept)
    return path
