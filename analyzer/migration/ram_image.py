"""Rebuilds guest memory from the pages of a migration, while the capture streams by.

A page counts as it was sent last: in the highest SYNC round, and within one in the order of the
capture, for a channel may be a round ahead of another.  Wire-format page, sections 3.6 and 6.6.
"""

from __future__ import annotations

from array import array

from analyzer.migration.sendings import GROWTH, Sendings, record_round, sync_round
from analyzer.migration.watcher import Watcher
from dissectors import xbzrle
from dissectors.multifd import COMMON_PAGE_SIZE, PAGE_SIZES, name_of

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from typing import Protocol, TypeAlias

    from analyzer.migration.channel import Channel
    from analyzer.migration.migration import Migration
    from analyzer.migration.ram_facts import RamBlock, RamFacts, RecordTaker
    from analyzer.migration.rows import RamPacket
    from analyzer.tcp.requests import Sink
    from dissectors.compression import Decoded

    Content: TypeAlias = "bytes | bytearray | memoryview"

    class Target(Protocol):
        """What holds an image: zero wherever nothing was written."""

        def span(self, size: int) -> bool:
            """Make room for an image of ``size`` bytes; ``False`` if that is too much."""

        def fill(self, size: int) -> bool:
            """Make room for ``size`` bytes of content more."""

        def read(self, offset: int, size: int) -> bytes:
            """Bytes written before."""

        def write(self, offset: int, data: Content) -> None:
            """Put bytes at an offset."""


__all__ = ["RamImage", "RamImages"]

FULL, LOST = 1, 2
"""What is known of a page: it has content; what was sent last could not be decoded."""


class RamImage:
    """One block's memory from offset ``first`` on, ``length`` bytes at most (``None``: all of it).

    ``end`` is the offset behind the last page that was put in.  ``beyond`` counts pages that found
    no room, ``misplaced`` those at offsets that are no page's.
    """

    def __init__(self, target: Target, page_size: int, first: int, length: int | None) -> None:
        self.target = target
        self.page_size = page_size
        self.first = first
        self.length = length
        self.end = first
        self.beyond = 0
        self.misplaced = 0
        self.sent = Sendings()  # page 0 is the one at ``first``
        self._rounds = array("H")  # by page; 0 is never, n + 1 the n-th round
        self._states = bytearray()

    # -- pages --------------------------------------------------------------------------------

    def put(
        self, offset: int, content: Content | None, round_number: int, *, lost: bool = False
    ) -> None:
        """A page at a byte offset; ``content`` is ``None`` for a zero page, and for a ``lost``
        one.
        """
        size = self.page_size
        stop = None if self.length is None else self.first + self.length
        if offset % size:
            self.misplaced += 1
            return
        if offset + size <= self.first or (stop is not None and offset >= stop):
            return
        number = (offset - self.first // size * size) // size
        if offset + size > self.end and not self._grow(number, offset + size):
            self.beyond += 1
            return
        again = self.sent.count((number,), round_number, zero=content is None and not lost)
        if again and round_number + 1 < self._rounds[number]:
            return
        self._rounds[number] = round_number + 1
        if lost:
            self._states[number] |= LOST
            return
        self._store(number, offset, content, stop)

    def _store(self, number: int, offset: int, content: Content | None, stop: int | None) -> None:
        """Write what of a page lies inside; a zero page only where there is something else."""
        full = self._states[number] & FULL
        if content is None:
            self._states[number] = 0
            if not full:
                return
            content = bytes(self.page_size)
        elif not full and not self.target.fill(self.page_size):
            self.beyond += 1
            return
        else:
            self._states[number] = FULL
        begin = max(0, self.first - offset)
        until = self.page_size if stop is None else min(self.page_size, stop - offset)
        self.target.write(offset + begin - self.first, content[begin:until])

    def put_zeros(self, offset: int, count: int, round_number: int) -> None:
        """So many zero pages from a byte offset on, as far as they are wanted and find room."""
        size, beyond = self.page_size, self.beyond
        end = offset + count * size
        if self.length is not None:
            end = min(end, self.first + self.length)
        for at in range(max(offset, self.first // size * size), end, size):
            self.put(at, None, round_number)
            if self.beyond > beyond:
                break

    def change(self, offset: int, delta: bytes, round_number: int) -> None:
        """A page as what changed in it; it must lie inside whole."""
        size = self.page_size
        inside = self.first <= offset and offset + size <= self.end
        if self.length is not None:
            inside = inside and offset + size <= self.first + self.length
        number = (offset - self.first // size * size) // size
        if not inside or offset % size or self._states[number] & LOST:
            self.put(offset, None, round_number, lost=True)
            return
        page = bytearray(self.target.read(offset - self.first, size).ljust(size, b"\0"))
        xbzrle.apply(delta, page)
        self.put(offset, page, round_number)

    def _grow(self, number: int, end: int) -> bool:
        """Make room for a page that ends at offset ``end``."""
        span = end - self.first
        if not self.target.span(span if self.length is None else min(span, self.length)):
            return False
        self.end = end
        if number >= len(self._states):
            zeros = bytes((number | GROWTH - 1) + 1 - len(self._states))
            self._states += zeros
            self._rounds.frombytes(zeros + zeros)
            self.sent.reserve(len(self._states))
        return True

    # -- figures ------------------------------------------------------------------------------

    @property
    def lost_pages(self) -> int:
        """Pages whose last content could not be decoded."""
        return sum(bool(state & LOST) for state in self._states)


class RamImages(Watcher):
    """The images of all wanted blocks: give it to a scan as a watcher, and to
    :class:`analyzer.migration.page_payloads.PagePayloads` as taker, with :meth:`records`.

    ``opener(migration, name)`` gives where a block's image goes, or ``None``; ``first`` and
    ``length`` are the part of every block that is wanted.
    """

    def __init__(
        self,
        opener: Callable[[Migration, bytes], Target | None],
        first: int = 0,
        length: int | None = None,
    ) -> None:
        self.images: dict[tuple[int, bytes], RamImage | None] = {}
        self.stops: list[tuple[Channel, str]] = []
        self._opener = opener
        self._first = first
        self._length = length
        self._decoded: tuple[RamPacket, Decoded] | None = None

    def image(self, migration: Migration, name: bytes, page_size: int) -> RamImage | None:
        """The image of a block, opened at its first page; ``None`` if it is not wanted."""
        key = migration.number, name
        if key not in self.images:
            sensible = 0 < page_size <= PAGE_SIZES[-1]
            target = self._opener(migration, name) if sensible else None
            self.images[key] = (
                RamImage(target, page_size, self._first, self._length)
                if target is not None
                else None
            )
        return self.images[key]

    # -- over multifd -------------------------------------------------------------------------

    def pages(
        self, _migration: Migration, _channel: Channel, packet: RamPacket, decoded: Decoded
    ) -> None:
        """The content of a packet's pages; its row comes next."""
        self._decoded = packet, decoded

    def stopped(
        self, _migration: Migration, channel: Channel, _packet: RamPacket, why: str
    ) -> None:
        """A channel's payloads cannot be decompressed any more."""
        self.stops.append((channel, why))

    def ram(
        self, migration: Migration, channel: Channel, packet: RamPacket, pages: Sequence[int]
    ) -> None:
        """A packet is complete: its pages go where its offsets say."""
        held, self._decoded = self._decoded, None
        if not pages or packet.ramblock is None:
            return
        name = name_of(packet.ramblock)
        image = self.image(migration, name, migration.framing.page_size)
        if image is None:
            return
        if image.page_size != migration.framing.page_size:
            image.misplaced += len(pages)
            return
        decoded = held[1] if held is not None and held[0] is packet else None
        round_number = sync_round(channel, packet)
        for number, offset in enumerate(pages):
            zero = number >= packet.normal_pages
            if zero or (decoded is not None and decoded.is_zero(number)):
                image.put(offset, None, round_number)
            else:
                content = decoded.page(number) if decoded is not None else None
                image.put(offset, content, round_number, lost=content is None)

    # -- over main ----------------------------------------------------------------------------

    def records(self, migration: Migration, ram: RamFacts) -> RecordTaker:
        """Who takes the pages of main's RAM records, or those of the preempt channel."""
        return _Records(self, migration, ram)


class _Records:
    """Pages that did not go over multifd: legacy zero pages, postcopy, migrations without."""

    def __init__(self, images: RamImages, migration: Migration, ram: RamFacts) -> None:
        self._images = images
        self._migration = migration
        self._ram = ram

    def _image(self, block: RamBlock) -> RamImage | None:
        size = self._migration.framing.page_size or self._ram.page_size or COMMON_PAGE_SIZE
        return self._images.image(self._migration, block.name, size)

    def content(self, block: RamBlock, address: int, size: int) -> Sink | None:
        """Where the bytes of a page go."""
        image = self._image(block)
        if image is None:
            return None
        if image.page_size != size:
            image.misplaced += 1
            return None
        round_number = record_round(self._migration, self._ram)
        held = bytearray()
        left = size

        def sink(piece: bytes | memoryview | None, count: int) -> None:
            nonlocal left
            left -= count
            if piece is not None:
                held.extend(piece)
            if not left:
                whole = len(held) == size
                image.put(address, held if whole else None, round_number, lost=not whole)

        return sink

    def zero(self, block: RamBlock, address: int, count: int) -> None:
        """So many zero pages in a row."""
        if (image := self._image(block)) is not None:
            image.put_zeros(address, count, record_round(self._migration, self._ram))

    def encoded(self, block: RamBlock, address: int, delta: bytes) -> None:
        """A page as what changed in it."""
        if (image := self._image(block)) is not None:
            image.change(address, delta, record_round(self._migration, self._ram))

    def unread(self, block: RamBlock, address: int) -> None:
        """A page whose content could not be decoded."""
        if (image := self._image(block)) is not None:
            image.put(address, None, record_round(self._migration, self._ram), lost=True)
