"""Guest memory as files: the RAM blocks of every migration, with the last sent content."""

from __future__ import annotations

from analyzer.checks.wording import counted
from analyzer.extraction.folder import Sparse
from analyzer.migration.page_payloads import PagePayloads
from analyzer.migration.ram_image import RamImages
from dissectors.multifd import text_of

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from typing import Any

    from analyzer.extraction.folder import Folder
    from analyzer.migration.migration import Migration
    from analyzer.migration.ram_image import RamImage

__all__ = ["RamFiles"]


class RamFiles:
    """The memory of the blocks named ``wanted``, ``length`` bytes from offset ``first`` on.

    ``images`` is a watcher of the scan, ``payloads`` its page collector.  Pages that were never
    sent, and zero pages, are holes of the files.
    """

    def __init__(
        self, folder: Folder, wanted: Sequence[str], first: int, length: int | None
    ) -> None:
        self._folder = folder
        self._wanted = wanted
        self._files: dict[tuple[int, bytes], Sparse] = {}
        self._seen: set[str] = set()
        self.images = RamImages(self._open, first, length)
        self.payloads = PagePayloads(self.images, self.images.records)

    def _open(self, migration: Migration, name: bytes) -> Sparse | None:
        text = text_of(name)
        self._seen.add(text)
        if text not in self._wanted:
            return None
        stem = self._folder.stem(f"m{migration.number}-{text}")
        file = Sparse(self._folder, f"{stem}.ram", what="ram", block=text)
        file.facts["migration"] = migration.number
        self._files[migration.number, name] = file
        return file

    def unknown(self) -> list[str]:
        """The wanted names that no block has."""
        return [text for text in self._wanted if text not in self._seen]

    def blocks(self) -> list[str]:
        """Names of the blocks there are."""
        return sorted(self._seen)

    def finish(self, migrations: Sequence[Migration]) -> Iterator[str]:
        """Complete files and manifest entries; returns a list of complaints."""
        for channel, why in self.images.stops:
            yield f"{channel.name} could not be decompressed completely: {why}"
        for (number, name), image in self.images.images.items():
            file = self._files.get((number, name))
            if image is None or file is None:
                continue
            migration = migrations[number]
            attempts = [migrations[own] for own in self.images.attempts(number)]
            size = self._size(image, migration, name)
            file.close(size)
            file.facts |= _figures(image, size)
            file.facts["recovered_in"] = [attempt.number for attempt in attempts[1:]]
            if image.first and not size:
                yield f"{file.name}: the block ends before --offset"
            yield from _complaints(file.name, image, attempts, file.facts)
            yield from _order_complaints(file.name, name, migration)

    def _size(self, image: RamImage, migration: Migration, name: bytes) -> int:
        """The length of a file: that of the block, within the wanted range and the size limit."""
        facts = migration.main_facts
        block = facts.ram.blocks.get(name) if facts is not None else None
        end = image.end
        if block is not None and block.listed:
            end = max(end, block.used_length)
        size = end - image.first
        if image.length is not None:
            size = min(size, image.length)
        if not image.target.span(size):
            image.beyond += 1
            size = image.end - image.first
        return max(0, size)


def _figures(image: RamImage, size: int) -> dict[str, Any]:
    """The manifest's entry about an image."""
    pages = -(-size // image.page_size)
    sent = image.sent.pages
    return {
        "offset": image.first,
        "page_size": image.page_size,
        "pages_sent": sent,
        "pages_never_sent": max(0, pages - sent),
        "pages_lost": image.lost_pages,
        **image.sent.report(),
    }


def _complaints(
    name: str, image: RamImage, attempts: Sequence[Migration], facts: dict[str, Any]
) -> Iterator[str]:
    """What the image of a transfer lacks, which took one attempt or, recovered, several."""
    if image.lost_pages:
        lost = counted(image.lost_pages, "page")
        yield f"{name}: {lost} could not be decoded; the file has their previous content"
    if image.misplaced:
        yield f"{name}: {counted(image.misplaced, 'page')} at impossible offsets were left out"
    if image.beyond:
        yield f"{name}: not all of the block was written, --max-size allows more"
    elif facts["pages_never_sent"]:
        never = counted(facts["pages_never_sent"], "page")
        yield f"{name}: {never} never sent"
    if attempts[0].resumes_postcopy:
        yield f"{name}: a paused postcopy continues here, earlier pages are not in this file"
    elif attempts[0].began_late or any(attempt.lacks_bytes for attempt in attempts):
        yield f"{name}: the capture lacks bytes of the migration, so pages may be missing or old"


def _order_complaints(file: str, name: bytes, migration: Migration) -> Iterator[str]:
    """Whether the words of a block's bitmap may have been read in the wrong byte order."""
    facts = migration.main_facts
    block = facts.ram.blocks.get(name) if facts is not None else None
    if facts is None or block is None or block.mapped is None:
        return
    taken, told = block.mapped.byte_order, facts.ram.byte_order
    if not told:
        yield f"{file}: the byte order of the bitmap is unknown, {taken} endian was assumed"
    elif told != taken:
        yield f"{file}: the bitmap was read as {taken} endian, but a later one is {told} endian"
