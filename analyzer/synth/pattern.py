"""Page contents and device state: bytes that depend on the seed alone, without copying them.

``docs/synth.md`` states the formula, so that a reader of a capture can rebuild every byte.
"""

from __future__ import annotations

import struct
from random import Random
from typing import Final, TypeAlias
from zlib import crc32

__all__ = ["Bytes", "Pattern"]

Bytes: TypeAlias = "bytes | memoryview"

PERIOD: Final = 1 << 20
BLOCK: Final = 4096
STAMP: Final = struct.Struct(">QQ")


class Pattern:
    """A period of 1 MiB of bytes, repeated; slices of it are views.

    ``sparse`` blocks of 4 KiB hold 64 random bytes and then one fill byte, ``random`` ones are
    random throughout.  ``longest`` is the largest slice that will be asked for.
    """

    __slots__ = ("_view", "seed")

    def __init__(self, seed: int, kind: str, longest: int) -> None:
        self.seed = seed
        rng = Random(seed)
        if kind == "random":
            period = rng.randbytes(PERIOD)
        else:
            period = b"".join(
                rng.randbytes(64) + bytes([1 + number % 255]) * (BLOCK - 64)
                for number in range(PERIOD // BLOCK)
            )
        self._view = memoryview(period * (2 + longest // PERIOD))

    def pages(self, number: int, size: int) -> Bytes:
        """``size`` bytes of page contents for the RAM packet ``number``."""
        start = number * 7 % (PERIOD // BLOCK) * BLOCK
        return self._view[start : start + size]

    def buffer(self, device: str, index: int, size: int) -> tuple[Bytes, ...]:
        """``size`` bytes of device state: a stamp of 16 bytes, then a slice of the period."""
        key = crc32(device.encode()) ^ self.seed & 0xFFFFFFFF
        stamp = STAMP.pack(key, index)[:size]
        start = (key + index * 11) % (PERIOD // BLOCK) * BLOCK
        return stamp, self._view[start : start + size - len(stamp)]
