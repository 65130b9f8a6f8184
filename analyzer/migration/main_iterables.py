"""The iterable sections that are neither RAM nor VFIO.

Wire-format page, section 6.7.
"""

from __future__ import annotations

from analyzer.migration.broken import Broken
from analyzer.tcp.requests import End, Peek, Skip, Take
from dissectors.main_stream import DIRTY_BITMAP, RecordType

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from analyzer.migration.broken import Steps
    from analyzer.tcp.reader import Reader

__all__ = ["ITERABLES"]

HTAB_ENTRY = 16
STORAGE_FLAGS = 0x0F
STORAGE_EOS, STORAGE_MORE, STORAGE_ERROR, STORAGE_DONE = 1, 2, 4, 8
STORAGE_END = STORAGE_EOS.to_bytes(8, "big")
BITMAP_EOS, BITMAP_ZEROES, BITMAP_NAME, BITMAP_DEVICE = 0x01, 0x02, 0x04, 0x08
BITMAP_START, BITMAP_BITS = 0x10, 0x40
BITMAP_MORE_FLAGS = 0x80
BLOCK_FLAGS = 0x1FF
BLOCK_DEVICE, BLOCK_EOS, BLOCK_PROGRESS, BLOCK_ZERO = 0x01, 0x02, 0x04, 0x08
BLOCK_CHUNK = 1 << 20


def walk_htab(reader: Reader, kind: int) -> Steps:
    """``spapr/htab``: the hash table's shift, then runs of entries."""
    head = yield Take(4)
    if not isinstance(head, bytes):
        return Broken(head, "htab header", reader.offset)
    if kind == RecordType.SECTION_START or int.from_bytes(head, "big"):
        return None
    while True:
        at = reader.offset
        run = yield Take(8)
        if not isinstance(run, bytes):
            return Broken(run, "htab run", at)
        if not any(run):
            return None
        missing = yield Skip(int.from_bytes(run[4:6], "big") * HTAB_ENTRY)
        if isinstance(missing, End):
            return Broken(missing, "htab entries", at)


def walk_storage_attributes(reader: Reader, _kind: int) -> Steps:
    """``s390-storage_attributes``: addresses with flags, some with a block of keys."""
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
        elif flags in (STORAGE_EOS, STORAGE_ERROR):
            return None
        elif flags == STORAGE_DONE:  # an EOS may follow, or not
            following = yield Peek(8)
            if following == STORAGE_END:
                yield Take(8)
            return None
        else:
            return Broken(None, "storage attributes flags", at)


def walk_dirty_bitmap(reader: Reader, _kind: int) -> Steps:
    """``dirty-bitmap``: chunks of the block layer's bitmaps."""
    while True:
        at = reader.offset
        flags = yield Take(1)
        if not isinstance(flags, bytes):
            return Broken(flags, "dirty bitmap flags", at)
        if flags[0] & BITMAP_MORE_FLAGS:
            return Broken(None, "dirty bitmap flags", at)
        if flags[0] & BITMAP_EOS:
            return None
        for flag in (BITMAP_DEVICE, BITMAP_NAME):
            if flags[0] & flag:
                length = yield Take(1)
                if not isinstance(length, bytes):
                    return Broken(length, "dirty bitmap name", at)
                missing = yield Skip(length[0])
                if isinstance(missing, End):
                    return Broken(missing, "dirty bitmap name", at)
        size = 5 if flags[0] & BITMAP_START else 12 if flags[0] & BITMAP_BITS else 0
        missing = yield Skip(size)
        if isinstance(missing, End):
            return Broken(missing, "dirty bitmap chunk", at)
        if flags[0] & BITMAP_BITS and not flags[0] & BITMAP_ZEROES:
            length = yield Take(8)
            if not isinstance(length, bytes):
                return Broken(length, "dirty bitmap bits", at)
            missing = yield Skip(int.from_bytes(length, "big"))
            if isinstance(missing, End):
                return Broken(missing, "dirty bitmap bits", at)


def walk_block(reader: Reader, _kind: int) -> Steps:
    """``block``: disks, chunk by chunk, and how far they are."""
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
        elif not flags & (BLOCK_PROGRESS | BLOCK_EOS):
            return Broken(None, "block flags", at)
        if flags & BLOCK_EOS:
            return None


ITERABLES: dict[bytes, Callable[[Reader, int], Steps]] = {
    b"spapr/htab": walk_htab,
    b"s390-storage_attributes": walk_storage_attributes,
    DIRTY_BITMAP: walk_dirty_bitmap,
    b"block": walk_block,
}
"""By idstr; ``(reader, record type)`` gives the walk of one body."""
