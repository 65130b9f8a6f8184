"""TCP's sequence numbers: 32 bits, with wrap-around."""

from __future__ import annotations

__all__ = ["MASK", "ahead_of"]

MASK = 0xFFFFFFFF
HALF = 0x80000000


def ahead_of(seq: int, expected: int) -> int:
    """How far ``seq`` is ahead of ``expected``, modulo 2**32; negative if it is behind."""
    return (seq - expected + HALF & MASK) - HALF
