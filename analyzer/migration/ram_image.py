"""Rebuilds guest memory from the pages of a migration, while the capture streams by.

The last version of a page counts: the one of the highest SYNC round, and within a round the last in
the capture, since a channel may be a round ahead of another.  A postcopy that was paused and
recovered is one transfer.  Wire-format page, sections 3.6 and 6.6.
"""

from __future__ import annotations

from array import array

from analyzer.migration.consumers import Watcher
from analyzer.migration.sendings import (
    GROWTH,
    Sendings,
    record_page_size,
    record_round,
    sync_round,
)
from dissectors import xbzrle
from dissectors.multifd import PAGE_SIZES, name_of

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
        """Storage for an image, zero wherever nothing was written."""

        def span(self, size: int) -> bool:
            """Make room for an image of ``size`` bytes; ``False`` if that is too much."""

        def fill(self, size: int) -> bool:
            """Reserve room for ``size`` more bytes of content; ``False`` if that is too much."""

        def read(self, offset: int, size: int) -> bytes:
            """Read back bytes; fewer where nothing was written."""

        def write(self, offset: int, data: Content) -> None:
            """Write bytes at an offset."""


__all__ = ["RamImage", "RamImages"]

FULL, LOST = 1, 2
"""Bits of a page's state: it has content; the version sent last could not be decoded."""


class RamImage:
    """One block's memory from offset ``first`` on, ``length`` bytes at most (``None``: all of it).

    ``end`` is the offset after the last page.  ``beyond`` counts pages for which there was no room,
    ``misplaced`` those with offsets that are not multiples of the page size.
    """

    def __init__(self, target: Target, page_size: int, first: int, length: int | None) -> None:
        self.target = target
        self.page_size = page_size
        self.first = first
        self.length = length
        self.end = first
        self.beyond = 0
        self.misplaced = 0
        self._base = first // page_size * page_size  # of page 0, which holds offset ``first``
        self.sent = Sendings()
        self._rounds = array("H")  # by page: 0 for never, n + 1 for round n
        self._states = bytearray()

    def with_page_size(self, page_size: int) -> RamImage:
        """The same image with pages of another size, if it has only zero pages so far: the size
        was a guess then.
        """
        if page_size == self.page_size or any(self._states):
            return self
        image = RamImage(self.target, page_size, self.first, self.length)
        for number, sent in enumerate(self._rounds):
            if sent:
                image.put(self._base + number * self.page_size, None, sent - 1)
        return image

    # -- pages --------------------------------------------------------------------------------

    def put(
        self, offset: int, content: Content | None, round_number: int, *, lost: bool = False
    ) -> None:
        """Put a page at a byte offset.

        ``content`` is ``None`` for a zero page, and for a ``lost`` one, whose content could not be
        decoded.
        """
        size = self.page_size
        stop = None if self.length is None else self.first + self.length
        if offset % size:
            self.misplaced += 1
            return
        if offset + size <= self.first or (stop is not None and offset >= stop):
            return
        if offset + size > self.end and not self._grow(offset + size):
            self.beyond += 1
            return
        number = (offset - self._base) // size
        self.sent.count((number,), round_number, zero=content is None and not lost)
        self._place(number, content, round_number, lost=lost)

    def _place(
        self, number: int, content: Content | None, round_number: int, *, lost: bool = False
    ) -> None:
        """Take over a page's new version, unless the one held is of a later round."""
        if round_number + 1 < self._rounds[number]:
            return
        self._rounds[number] = round_number + 1
        if lost:
            self._states[number] |= LOST
        else:
            self._store(number, content)

    def _store(self, number: int, content: Content | None) -> None:
        """Write the part of a page inside the image; a zero page only over other content."""
        size = self.page_size
        full = self._states[number] & FULL
        if content is None:
            self._states[number] = 0
            if not full:
                return
            content = bytes(size)
        elif not full and not self.target.fill(size):
            self.beyond += 1
            return
        else:
            self._states[number] = FULL
        at = self._base + number * size - self.first
        until = size if self.length is None else min(size, self.length - at)
        self.target.write(max(0, at), content[max(0, -at) : until])

    def put_zeros(self, offsets: Sequence[int], round_number: int) -> None:
        """Put zero pages at byte offsets; of a ``range``, which may be huge, as far as they are
        wanted and there is room.
        """
        if type(offsets) is not range or offsets.step != self.page_size:
            for offset in offsets:
                self.put(offset, None, round_number)
            return
        end = offsets.stop
        if self.length is not None:
            end = min(end, self.first + self.length)
        run = range(max(offsets.start, self._base), end, self.page_size)
        beyond = self.beyond
        if run and not self._put_run(run, round_number):
            for offset in run:
                self.put(offset, None, round_number)
                if self.beyond > beyond:
                    break

    def _put_run(self, run: range, round_number: int) -> bool:
        """Put zero pages that follow each other; ``False`` if their offsets are impossible, or
        there is not room for all of them.
        """
        end = run[-1] + self.page_size
        if run[0] % self.page_size or (end > self.end and not self._grow(end)):
            return False
        first = (run[0] - self._base) // self.page_size
        numbers = range(first, first + len(run))
        if self.sent.count(numbers, round_number, zero=True):
            for number in numbers:
                self._place(number, None, round_number)
        else:
            self._rounds[first : numbers.stop] = array("H", [round_number + 1]) * len(run)
        return True

    def change(self, offset: int, delta: bytes, round_number: int) -> None:
        """Apply an XBZRLE delta to a page, which must lie completely inside the image."""
        size = self.page_size
        inside = self.first <= offset and offset + size <= self.end
        if self.length is not None:
            inside = inside and offset + size <= self.first + self.length
        number = (offset - self._base) // size
        if not inside or offset % size or self._states[number] & LOST:
            self.put(offset, None, round_number, lost=True)
            return
        page = bytearray(self.target.read(offset - self.first, size).ljust(size, b"\0"))
        xbzrle.apply(delta, page)
        self.put(offset, page, round_number)

    def _grow(self, end: int) -> bool:
        """Make room for a page that ends at offset ``end``."""
        span = end - self.first
        if not self.target.span(span if self.length is None else min(span, self.length)):
            return False
        self.end = end
        pages = (end - self._base) // self.page_size
        if pages > len(self._states):
            zeros = bytes(-(-pages // GROWTH) * GROWTH - len(self._states))
            self._states += zeros
            self._rounds.frombytes(zeros + zeros)
            self.sent.reserve(len(self._states))
        return True

    # -- counts -------------------------------------------------------------------------------

    @property
    def lost_pages(self) -> int:
        """Number of pages whose last version could not be decoded."""
        return sum(bool(state & LOST) for state in self._states)


class RamImages(Watcher):
    """The images of all wanted blocks.

    A scan takes it as a watcher, and :class:`analyzer.migration.page_payloads.PagePayloads` as
    taker, with :meth:`records`.  ``opener(migration, name)`` gives the target for a block's image,
    or ``None``; ``first`` and ``length`` are the part wanted of every block.  ``stops`` are the
    channels that could not be decompressed to their end, and why.
    """

    def __init__(
        self,
        opener: Callable[[Migration, bytes], Target | None],
        first: int = 0,
        length: int | None = None,
    ) -> None:
        self.images: dict[tuple[int, bytes], RamImage | None] = {}
        self.stops: list[tuple[Channel, str]] = []
        self._origins: dict[int, Migration] = {}  # by migration: whose images it fills
        self._opener = opener
        self._first = first
        self._length = length
        self._decoded: tuple[RamPacket, Decoded] | None = None

    def image(self, migration: Migration, name: bytes, page_size: int) -> RamImage | None:
        """The image of a block, opened at its first page; ``None`` if it is not wanted.

        The page size may be known only later, from the first page with content.

        A recovered postcopy goes on with the images of the attempt that was paused.
        """
        origin = self._origins.get(migration.number)
        if origin is None:
            origin = self._origins[migration.number] = migration.origin
        key = origin.number, name
        if key not in self.images:
            sensible = 0 < page_size <= PAGE_SIZES[-1]
            target = self._opener(origin, name) if sensible else None
            self.images[key] = (
                RamImage(target, page_size, self._first, self._length)
                if target is not None
                else None
            )
        elif (image := self.images[key]) is not None:
            self.images[key] = image.with_page_size(page_size)
        return self.images[key]

    def attempts(self, number: int) -> list[int]:
        """The numbers of the migrations that filled the images of migration ``number``."""
        return sorted(own for own, origin in self._origins.items() if origin.number == number)

    # -- over multifd -------------------------------------------------------------------------

    def pages(
        self, _migration: Migration, _channel: Channel, packet: RamPacket, decoded: Decoded
    ) -> None:
        """Keep the decoded pages of a packet, which :meth:`ram` gets next."""
        self._decoded = packet, decoded

    def stopped(
        self, _migration: Migration, channel: Channel, _packet: RamPacket, why: str
    ) -> None:
        """Note that a channel's payloads can no longer be decompressed."""
        self.stops.append((channel, why))

    def ram(
        self, migration: Migration, channel: Channel, packet: RamPacket, pages: Sequence[int]
    ) -> None:
        """Put the pages of a complete packet where its offsets say."""
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
        for number, offset in enumerate(pages[: packet.normal_pages]):
            if decoded is not None and decoded.is_zero(number):
                image.put(offset, None, round_number)
            else:
                content = decoded.page(number) if decoded is not None else None
                image.put(offset, content, round_number, lost=content is None)
        image.put_zeros(pages[packet.normal_pages :], round_number)

    # -- over main ----------------------------------------------------------------------------

    def records(self, migration: Migration, ram: RamFacts) -> RecordTaker:
        """The taker of the pages in main's RAM records, or in the preempt channel's."""
        return _Records(self, migration, ram)


class _Records:
    """Takes pages that were not sent over multifd: legacy zero pages, postcopy, migrations without
    multifd.
    """

    def __init__(self, images: RamImages, migration: Migration, ram: RamFacts) -> None:
        self._images = images
        self._migration = migration
        self._ram = ram

    def _image(self, block: RamBlock) -> RamImage | None:
        size = record_page_size(self._migration, self._ram)
        return self._images.image(self._migration, block.name, size)

    def content(self, block: RamBlock, address: int, size: int) -> Sink | None:
        """The sink for the bytes of a page; ``None`` if they are not wanted."""
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

    def zeros(self, block: RamBlock, addresses: Sequence[int]) -> None:
        """Zero pages."""
        if (image := self._image(block)) is not None:
            image.put_zeros(addresses, record_round(self._migration, self._ram))

    def encoded(self, block: RamBlock, address: int, delta: bytes) -> None:
        """A page sent as an XBZRLE delta."""
        if (image := self._image(block)) is not None:
            image.change(address, delta, record_round(self._migration, self._ram))

    def unread(self, block: RamBlock, address: int) -> None:
        """A page whose content could not be decoded."""
        if (image := self._image(block)) is not None:
            image.put(address, None, record_round(self._migration, self._ram), lost=True)
