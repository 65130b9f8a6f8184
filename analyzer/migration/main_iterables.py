"""The iterable sections that are neither RAM nor VFIO.

Wire-format page, section 6.7.
"""

from __future__ import annotations

from analyzer.migration.broken import Broken
from analyzer.tcp.requests import End, Peek, Skip, Take
from dissectors.iterables import (
    BITMAP_BITS,
    BITMAP_START,
    BLOCK,
    BLOCK_CHUNK,
    BLOCK_FLAGS,
    HTAB,
    HTAB_ENTRY,
    HTAB_RUN,
    STORAGE_ATTRIBUTES,
    STORAGE_FLAGS,
    BitmapFlag,
    BlockFlag,
    StorageFlag,
)
from dissectors.main_stream import DIRTY_BITMAP, RecordType

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from analyzer.migration.broken import Steps
    from analyzer.tcp.reader import Reader

__all__ = ["ITERABLES"]

STORAGE_MORE, STORAGE_DONE = int(StorageFlag.MORE), int(StorageFlag.DONE)
STORAGE_LAST = int(StorageFlag.EOS), int(StorageFlag.ERROR)
STORAGE_END = int(StorageFlag.EOS).to_bytes(8, "big")
EOS, ZEROES, START, BITS = (
    int(BitmapFlag.EOS),
    int(BitmapFlag.ZEROES),
    int(BitmapFlag.START),
    int(BitmapFlag.BITS),
)
EXTRA_FLAGS = int(BitmapFlag.EXTRA_FLAGS)
BITMAP_NAMES = int(BitmapFlag.DEVICE_NAME), int(BitmapFlag.BITMAP_NAME)
"""The flags that announce names, in the order in which the names follow."""
BLOCK_DEVICE, BLOCK_EOS, BLOCK_ZERO = (
    int(BlockFlag.DEVICE_BLOCK),
    int(BlockFlag.EOS),
    int(BlockFlag.ZERO_BLOCK),
)
BLOCK_SHORT = int(BlockFlag.PROGRESS | BlockFlag.EOS)


def walk_htab(reader: Reader, kind: int) -> Steps:
    """Walk ``spapr/htab``: the hash table's shift, then runs of entries."""
    head = yield Take(4)
    if not isinstance(head, bytes):
        return Broken(head, "htab header", reader.offset)
    if kind == RecordType.SECTION_START or int.from_bytes(head, "big"):
        return None
    while True:
        at = reader.offset
        run = yield Take(HTAB_RUN.size)
        if not isinstance(run, bytes):
            return Broken(run, "htab run", at)
        if not any(run):
            return None
        missing = yield Skip(HTAB_RUN.unpack(run)[1] * HTAB_ENTRY)
        if isinstance(missing, End):
            return Broken(missing, "htab entries", at)


def walk_storage_attributes(reader: Reader, _kind: int) -> Steps:
    """Walk ``s390-storage_attributes``: addresses with flags, some with a block of keys."""
    while True:
        at = reader.offset
        word = yield Take(8)
        if not isinstance(word, bytes):
            return Broken(word, "storage attributes", at)
        flags = word[7] & STORAGE_FLAGS
        if flags == STORAGE_MORE:
            count = yield Take(8)
            if not isinstance(count, bytes):
                return Broken(count, "storage attributes", at)
            missing = yield Skip(int.from_bytes(count, "big"))
            if isinstance(missing, End):
                return Broken(missing, "storage attributes", at)
        elif flags in STORAGE_LAST:
            return None
        elif flags == STORAGE_DONE:  # an EOS may follow
            following = yield Peek(8)
            if following == STORAGE_END:
                yield Take(8)
            return None
        else:
            return Broken(None, "storage attributes flags", at)


def walk_dirty_bitmap(reader: Reader, _kind: int) -> Steps:
    """Walk ``dirty-bitmap``: chunks of the block layer's dirty bitmaps."""
    while True:
        at = reader.offset
        flags = yield Take(1)
        if not isinstance(flags, bytes):
            return Broken(flags, "dirty bitmap flags", at)
        if flags[0] & EXTRA_FLAGS:
            return Broken(None, "dirty bitmap flags", at)
        if flags[0] & EOS:
            return None
        for flag in BITMAP_NAMES:
            if flags[0] & flag:
                length = yield Take(1)
                if not isinstance(length, bytes):
                    return Broken(length, "dirty bitmap name", at)
                missing = yield Skip(length[0])
                if isinstance(missing, End):
                    return Broken(missing, "dirty bitmap name", at)
        size = BITMAP_BITS.size if flags[0] & BITS else 0
        missing = yield Skip(BITMAP_START.size if flags[0] & START else size)
        if isinstance(missing, End):
            return Broken(missing, "dirty bitmap chunk", at)
        if flags[0] & BITS and not flags[0] & ZEROES:
            length = yield Take(8)
            if not isinstance(length, bytes):
                return Broken(length, "dirty bitmap bits", at)
            missing = yield Skip(int.from_bytes(length, "big"))
            if isinstance(missing, End):
                return Broken(missing, "dirty bitmap bits", at)


def walk_block(reader: Reader, _kind: int) -> Steps:
    """Walk ``block``: disk content in chunks, and progress records."""
    while True:
        at = reader.offset
        word = yield Take(8)
        if not isinstance(word, bytes):
            return Broken(word, "block record", at)
        flags = int.from_bytes(word, "big") & BLOCK_FLAGS
        if flags & BLOCK_DEVICE:
            length = yield Take(1)
            if not isinstance(length, bytes):
                return Broken(length, "block device name", at)
            missing = yield Skip(length[0] + (0 if flags & BLOCK_ZERO else BLOCK_CHUNK))
            if isinstance(missing, End):
                return Broken(missing, "block chunk", at)
        elif not flags & BLOCK_SHORT:
            return Broken(None, "block flags", at)
        if flags & BLOCK_EOS:
            return None


ITERABLES: dict[bytes, Callable[[Reader, int], Steps]] = {
    HTAB: walk_htab,
    STORAGE_ATTRIBUTES: walk_storage_attributes,
    DIRTY_BITMAP: walk_dirty_bitmap,
    BLOCK: walk_block,
}
"""By idstr: a function of reader and record type that walks one body."""
