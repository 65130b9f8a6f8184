"""Iterable sections of the main channel other than RAM and VFIO.

Wire-format page, section 6.7.
"""

from __future__ import annotations

from enum import IntFlag

from dissectors.fields import Field, Layout

__all__ = [
    "BITMAP_BITS",
    "BITMAP_START",
    "BLOCK",
    "BLOCK_CHUNK",
    "BLOCK_FLAGS",
    "HTAB",
    "HTAB_ENTRY",
    "HTAB_RUN",
    "STORAGE_ATTRIBUTES",
    "STORAGE_FLAGS",
    "BitmapFlag",
    "BlockFlag",
    "StorageFlag",
]

HTAB = b"spapr/htab"
STORAGE_ATTRIBUTES = b"s390-storage_attributes"
BLOCK = b"block"
"""Idstrs of the sections; that of dirty bitmaps is in :mod:`dissectors.main_stream`."""

HTAB_RUN = Layout(
    "spapr/htab run",
    "main.htab",
    "6.7",
    (
        Field("index", "I", "the first entry"),
        Field("valid", "H", "entries whose content follows"),
        Field("invalid", "H", "entries behind them that are invalid"),
    ),
)
HTAB_ENTRY = 16
"""Size in bytes of an entry of the hash table."""


class StorageFlag(IntFlag):
    """Flags in the low bits of an address of s390's storage attributes; one per address."""

    EOS = 0x01
    MORE = 0x02
    ERROR = 0x04
    DONE = 0x08


STORAGE_FLAGS = 0x0F
"""Mask of the flag bits."""


class BitmapFlag(IntFlag):
    """The flags byte that begins every chunk of a dirty-bitmap section."""

    EOS = 0x01
    ZEROES = 0x02
    BITMAP_NAME = 0x04
    DEVICE_NAME = 0x08
    START = 0x10
    COMPLETE = 0x20
    BITS = 0x40
    EXTRA_FLAGS = 0x80


BITMAP_START = Layout(
    "dirty-bitmap START",
    "main.dirty_bitmap",
    "6.7",
    (
        Field("granularity", "I", "bytes of the disk that a bit stands for"),
        Field("flags", "B", "enabled, persistent", "hex"),
    ),
)
BITMAP_BITS = Layout(
    "dirty-bitmap BITS",
    "main.dirty_bitmap",
    "6.7",
    (
        Field("sector", "Q", "first sector"),
        Field("sectors", "I", "number of sectors"),
    ),
)
"""Followed by the size of the bitmap data and the data, unless the flags have ZEROES."""


class BlockFlag(IntFlag):
    """Flags in the low bits of the word that begins every record of a ``block`` section."""

    DEVICE_BLOCK = 0x01
    EOS = 0x02
    PROGRESS = 0x04
    ZERO_BLOCK = 0x08


BLOCK_FLAGS = 0x1FF
"""Mask of the flag bits."""
BLOCK_CHUNK = 1 << 20
"""Bytes of content in a DEVICE_BLOCK record."""
