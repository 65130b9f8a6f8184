"""RAM and SYNC packets as each era's sender fills them (wire-format page, sections 3.3 to 3.7)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from analyzer.synth.compression import compressor
from analyzer.synth.units import Unit
from dissectors.multifd import PACKET_BYTES, Compression, MultifdFlag, page_count_of
from dissectors.scapy_layers import ram_layer

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from analyzer.synth.compression import Compressor
    from analyzer.synth.pattern import Bytes, Pattern
    from analyzer.synth.scenario import Migration

__all__ = ["Pages", "RamSender", "dirty_scan", "full_scan", "held_back"]


class Pages:
    """What one packet is to carry: offsets in ``block`` of pages with content and of zero pages."""

    __slots__ = ("block", "normal", "zero")

    def __init__(self, block: str, normal: list[int], zero: list[int]) -> None:
        self.block = block
        self.normal = normal
        self.zero = zero


def full_scan(migration: Migration) -> Iterator[Pages]:
    """The first round: every page of every block, at most one packet's worth at a time.

    The pages with content are spread evenly over the blocks.
    """
    ram = migration.ram
    size = ram.page_size
    total = ram.pages
    wanted = total if ram.normal_pages < 0 else ram.normal_pages
    before = 0
    for block, length in ram.blocks.items():
        for start in range(0, length, PACKET_BYTES):
            offsets = range(start, min(start + PACKET_BYTES, length), size)
            if wanted == total:
                yield Pages(block, list(offsets), [])
                continue
            parts: tuple[list[int], list[int]] = ([], [])
            for place, offset in enumerate(offsets, before + start // size):
                is_zero = place * wanted // total == (place + 1) * wanted // total
                parts[is_zero].append(offset)
            yield Pages(block, *parts)
        before += length // size


def dirty_scan(migration: Migration, number: int) -> Iterator[Pages]:
    """A later round: the dirtied pages, spread over the first block and moving with ``number``."""
    ram = migration.ram
    block, length = next(iter(ram.blocks.items()))
    total = length // ram.page_size
    count = min(ram.dirty_pages, total)
    offsets = [(place * total // count + number) % total * ram.page_size for place in range(count)]
    capacity = page_count_of(ram.page_size)
    for at in range(0, count, capacity):
        yield Pages(block, offsets[at : at + capacity], [])


def held_back(pages: Iterable[Pages], later: Iterable[Pages]) -> Iterator[Pages]:
    """``pages`` without those that ``later`` sends in the same round: the sender goes through
    memory once between two SYNCs, as the order across channels is undefined there.
    """
    again = {(some.block, offset) for some in later for offset in some.normal}
    for some in pages:
        normal, zero = (
            [offset for offset in offsets if (some.block, offset) not in again]
            for offsets in (some.normal, some.zero)
        )
        if normal or zero:
            yield Pages(some.block, normal, zero)


class RamSender:
    """Builds and numbers packets, and remembers the stale values that an old sender leaves in them.

    Before 9.2 the header is not cleared between packets: unused offsets, the block name of SYNC
    packets and (up to 8.1) the size of an empty packet are those of the channel's previous packet.
    """

    def __init__(self, migration: Migration, pattern: Pattern) -> None:
        self._migration = migration
        self._pattern = pattern
        self._layer = ram_layer(migration.ram.page_size)
        self._method = Compression[migration.compression]
        self._compressors: dict[str, Compressor] = {}
        self._last: dict[str, tuple[str, int, list[int]]] = {}
        self._number = 0

    def _next_number(self) -> int:
        self._number += 1
        return self._number - 1

    def sync(self, channel: str, round_: int) -> Unit:
        """A pure SYNC packet."""
        packet = self._layer(flags=int(MultifdFlag.SYNC), packet_num=self._next_number())
        packet.pages_alloc = packet.next_packet_size = 0
        since = self._migration.since
        if since < (9, 2):
            block, size, offsets = self._last.get(channel, ("", 0, []))
            packet.pages_alloc = packet.page_count
            packet.ramblock = block
            packet.offset = offsets
            packet.next_packet_size = size if since < (8, 2) else 0
        return Unit(channel, "sync", packet, round=round_)

    def data(self, channel: str, pages: Pages, round_: int = 0, number: int | None = None) -> Unit:
        """A packet with pages; takes the next number unless one is given."""
        content = [self._content(pages)] if pages.normal else []
        if self._migration.compression != "none" and content:
            made = self._compressors.setdefault(channel, compressor(self._migration.compression))
            content = list(made(self._single_pages(content[0])))
        offsets = pages.normal + pages.zero
        size = sum(map(len, content))
        packet = self._layer(
            flags=int(self._method),
            pages_alloc=self._layer.page_count,
            normal_pages=len(pages.normal),
            zero_pages=len(pages.zero),
            next_packet_size=size,
            packet_num=self._next_number() if number is None else number,
            ramblock=pages.block,
        )
        if self._migration.since < (9, 2):
            offsets = offsets + self._last.get(channel, ("", 0, []))[2][len(offsets) :]
            self._last[channel] = (pages.block, size, offsets)
        packet.offset = offsets
        return Unit(channel, "ram", packet, tuple(content), round=round_)

    def _content(self, pages: Pages) -> Bytes:
        return self._pattern.pages(self._number, len(pages.normal) * self._migration.ram.page_size)

    def _single_pages(self, content: Bytes) -> list[Bytes]:
        size = self._migration.ram.page_size
        return [content[at : at + size] for at in range(0, len(content), size)]
