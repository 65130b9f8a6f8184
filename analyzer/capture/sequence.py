"""TCP's sequence numbers, which have 32 bits and begin anew behind the last one."""

from __future__ import annotations

__all__ = ["MASK", "ahead_of"]

MASK = 0xFFFFFFFF
HALF = 0x80000000


def ahead_of(seq: int, expected: int) -> int:
    """How far ``seq`` lies ahead of ``expected``: negative behind it."""
    return (seq - expected + HALF & MASK) - HALF
