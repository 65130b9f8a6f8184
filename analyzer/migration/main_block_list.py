"""The list of RAM blocks that begins the ``ram`` section.

Wire-format page, section 6.6.
"""

from __future__ import annotations

from analyzer.migration.broken import Broken
from analyzer.migration.looking import window
from analyzer.migration.mapped_ram import walk_mapped_ram
from analyzer.tcp.requests import Take
from dissectors.main_stream import (
    IGNORE_SHARED,
    MAPPED_RAM,
    can_follow_block,
    is_mapped_header,
    page_size_follows,
)
from dissectors.multifd import text_of

TYPE_CHECKING = False
if TYPE_CHECKING:
    from analyzer.migration.broken import Steps
    from analyzer.migration.ram_facts import RamBlock, RamFacts
    from analyzer.tcp.reader import Reader

__all__ = ["walk_block_list"]


def walk_block_list(reader: Reader, ram: RamFacts, total: int, capabilities: list[str]) -> Steps:
    """Walk the list of RAM blocks, whose lengths add up to ``total`` bytes."""
    ram.mem_size = total
    ram.current = None
    left, number = total, 0
    while left > 0:
        at = reader.offset
        size = yield Take(1)
        if not isinstance(size, bytes):
            return Broken(size, "block list", at)
        row = yield Take(size[0] + 8)
        if not isinstance(row, bytes):
            return Broken(row, "block list", at)
        used = int.from_bytes(row[-8:], "big")
        name = row[:-8]
        block = ram.block(name) if name and used <= left else None
        if block is None:
            ram.anomalies.note(
                "ram-block-list-sum",
                at,
                reader.last,
                f"block {text_of(name)!r} of {used:#x} bytes, of {total:#x} announced "
                f"{left:#x} are left",
            )
            return Broken(None, "block list", at)
        left -= used
        if block is not ram.unnamed:
            block.index = number
            number += 1
            block.used_length = used
            block.listed = True
        broken = yield from _extras(reader, ram, block, capabilities, last=left == 0)
        if broken is not None:
            return broken.inside(f"block {text_of(name)!r}")
    return None


def _extras(
    reader: Reader, ram: RamFacts, block: RamBlock, capabilities: list[str], *, last: bool
) -> Steps:
    """Walk what may follow a block's length: page size, guest address, mapped-ram header."""
    ahead, _ = yield from window(16)
    if not block.index:
        _compare(reader, ram, capabilities, ahead, last)
    mapped, shared = (
        name in capabilities and name not in ram.belied for name in (MAPPED_RAM, IGNORE_SHARED)
    )
    if not mapped and not shared and is_mapped_header(ahead):
        mapped = True
        _note_contradiction(
            reader, ram, "a mapped-ram header, but the configuration does not announce mapped-ram"
        )
    if not mapped and page_size_follows(ahead, shared=shared, last=last):
        yield Take(8)
    if shared:
        address = yield Take(8)
        if not isinstance(address, bytes):
            return Broken(address, "guest physical address", reader.offset)
    if mapped:
        return (yield from walk_mapped_ram(reader, ram, block))
    return None


def _compare(
    reader: Reader, ram: RamFacts, capabilities: list[str], ahead: bytes, last: bool
) -> None:
    """Check the announced capabilities against ``ahead``, the bytes that follow the first block's
    length; one that does not fit is ignored from then on.
    """
    bare = can_follow_block(ahead, last=last)
    if IGNORE_SHARED in capabilities:
        if bare or (MAPPED_RAM in capabilities and is_mapped_header(ahead)):
            ram.belied.add(IGNORE_SHARED)
            what = "x-ignore-shared is announced, but no address follows a block's length"
            _note_contradiction(reader, ram, what)
        else:
            bare = can_follow_block(ahead[8:], last=last)
    if MAPPED_RAM in capabilities and bare:
        ram.belied.add(MAPPED_RAM)
        what = "mapped-ram is announced, but no header of it follows a block's length"
        _note_contradiction(reader, ram, what)


def _note_contradiction(reader: Reader, ram: RamFacts, what: str) -> None:
    ram.anomalies.note("capabilities-differ", reader.offset, reader.last, what)
