"""MF801 to MF809: the contents of RAM packets' payloads and the pages of main's RAM records,
verified with ``check --deep``.

Wire-format page, sections 3.8 and 6.6.
"""

from __future__ import annotations

from analyzer.checks.rule import ERROR, INFO, WARNING, Spot, walker_rule
from analyzer.checks.wording import counted
from dissectors.multifd import Compression, text_of

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from analyzer.migration.channel import Channel
    from analyzer.migration.migration import Migration
    from analyzer.migration.ram_facts import RamBlock, RamFacts
    from analyzer.migration.rows import RamPacket
    from analyzer.tcp.requests import Sink
    from dissectors.compression import Decoded


# -- rules -----------------------------------------------------------------------------------------


@walker_rule("MF801", "zlib-bad", ERROR, holes="LG")
def zlib_bad() -> None:
    """A zlib payload does not inflate to the pages that its packet announces.

    A channel's payloads form one zlib stream; each must yield normal_pages times the page size.
    After one that does not, no later payload of the channel can be inflated.

    Receiver: ``inflate generated too few output``, ``inflate returned %d instead of Z_OK`` or
    ``packet size received %u size expected %u``; the migration fails.

    Usual cause: damaged bytes, or a sender that begins a new stream in the middle of a channel.
    """


@walker_rule("MF802", "zlib-no-flush", WARNING, holes="G")
def zlib_no_flush() -> None:
    """A zlib payload does not end with a sync flush (00 00 ff ff).

    The flush ensures that all of a packet's pages can be inflated before the next packet arrives.

    Receiver: it accepts the payload if the pages are complete.

    Usual cause: a sender that is not QEMU.
    """


@walker_rule("MF803", "zstd-bad", ERROR, holes="LG")
def zstd_bad() -> None:
    """A zstd payload does not decompress to the pages that its packet announces.

    A channel's payloads form one zstd frame; each must yield normal_pages times the page size.
    After one that does not, no later payload of the channel can be decompressed.

    Receiver: ``decompressStream buffer too small``, ``decompressStream returned %s`` or
    ``packet size received %u size expected %u``; the migration fails.

    Usual cause: damaged bytes.
    """


@walker_rule("MF804", "zstd-new-frame", WARNING, holes="G")
def zstd_new_frame() -> None:
    """A new zstd frame begins in the middle of a channel.

    QEMU uses one frame for the whole life of a channel.

    Receiver: normal; zstd continues with the new frame.

    Usual cause: a sender that is not QEMU.
    """


@walker_rule("MF805", "lengths-do-not-sum", ERROR)
def lengths_do_not_sum() -> None:
    """The lengths of the compressed pages do not add up to the payload size (QPL, UADK).

    The payload begins with an array of page lengths; the array and the pages together must make up
    its size.

    Receiver: ``header len %u >= packet size %u`` or ``packet size %u != header %u + data %u``; the
    migration fails.  10.2.2 aborts with an assertion.

    Usual cause: damaged bytes.
    """


@walker_rule("MF806", "page-length-too-big", ERROR)
def page_length_too_big() -> None:
    """The length of a compressed page is 0 or exceeds the page size (QPL, UADK).

    A page that does not shrink is sent uncompressed, so no length exceeds the page size.

    Receiver: ``page %d compressed len %u too large``; the migration fails.  10.2.2 aborts with an
    assertion.

    Usual cause: damaged bytes, or source and destination with different page sizes.
    """


@walker_rule("MF807", "page-bad", ERROR)
def page_bad() -> None:
    """A page does not decompress to its size (QPL, UADK, QATzip, COMPRESS_PAGE on main).

    With these methods every page can be decompressed on its own (with QATzip, in groups).

    Receiver: QPL ``qpl job failed with error %d`` or ``qpl decompressed len %u, expected len %u``;
    UADK ``failed decompression, ret %d status %d`` or ``decompressed length error``; QATzip
    ``qzDecompress failed`` or ``packet size received %u size expected %u``; on main (up to 9.0)
    ``decompress data failed``.  The migration fails.

    Usual cause: damaged bytes, or a fault of the accelerator.
    """


@walker_rule("MF808", "zero-page-sent-normal", INFO)
def zero_page_sent_normal() -> None:
    """Pages that are all zero were sent as normal pages.

    A zero page only needs its offset; sending its content wastes a page of payload.

    Receiver: accepts them.

    Usual cause: ``zero-page-detection=none``, or the guest cleared pages between the zero-page test
    and the send.
    """


@walker_rule("MF809", "bomb", ERROR)
def bomb() -> None:
    """A payload decompresses to more than its pages.

    Decompression stopped at normal_pages times the page size; the real size is unknown.

    Receiver: it stops at the end of its buffer; the rest is ignored, or the migration fails.

    Usual cause: a damaged page count, or a decompression bomb.
    """


# -- the verification ------------------------------------------------------------------------------


class PayloadRules:
    """Receives the pages of every payload and applies the rules above.

    ``note(slug, spot, migration)`` is called for each finding.
    """

    def __init__(self, note: Callable[[str, Spot, Migration], None]) -> None:
        self._note = note
        self._zero: dict[Channel, tuple[Migration, Spot, list[int]]] = {}
        self._records: list[_RecordPages] = []

    def records(self, migration: Migration, ram: RamFacts) -> _RecordPages:
        """The receiver for pages of main's RAM records, or those of the preempt channel."""
        pages = _RecordPages(migration, ram)
        self._records.append(pages)
        return pages

    def pages(
        self, migration: Migration, channel: Channel, packet: RamPacket, decoded: Decoded
    ) -> None:
        """A payload was decompressed, or could not be."""
        for problem in decoded.problems:
            text = problem.detail
            if decoded.broken and problem is decoded.problems[-1]:
                text += "; later payloads of the channel are not verified"
            self._note(problem.slug, _spot(text, channel, packet), migration)
        zero = sum(map(decoded.is_zero, range(packet.normal_pages)))
        if zero:
            if channel not in self._zero:
                self._zero[channel] = migration, _spot("", channel, packet), [0, 0]
            counts = self._zero[channel][2]
            counts[0] += zero
            counts[1] += 1

    def stopped(self, migration: Migration, channel: Channel, packet: RamPacket, why: str) -> None:
        """A channel's payloads cannot be decompressed any more."""
        slug = "zlib-bad" if packet.compression == Compression.zlib else "zstd-bad"
        spot = _spot(
            f"payloads from here on cannot be decompressed and are not verified: {why}",
            channel,
            packet,
        )
        spot.severity = INFO
        self._note(slug, spot, migration)

    def ends(self) -> Iterator[tuple[str, Spot, Migration]]:
        """The findings that are known once the capture has been read."""
        for channel, (migration, spot, (zero, packets)) in self._zero.items():
            spot.message = (
                f"{zero} of {counted(channel.normal_pages, 'page')} with content are all zero, in "
                f"{counted(packets, 'packet')}; this is the first"
            )
            yield "zero-page-sent-normal", spot, migration
        for pages in self._records:
            if pages.all_zero:
                yield "zero-page-sent-normal", pages.spot(), pages.migration


class _RecordPages:
    """Counts the all-zero pages among one stream's RAM records with content."""

    def __init__(self, migration: Migration, ram: RamFacts) -> None:
        self.migration = migration
        self.all_zero = 0
        self._ram = ram
        self._first = ""

    def content(self, block: RamBlock, address: int, size: int) -> Sink:
        """Checks a page as it arrives, without storing it."""
        left, zero = size, True

        def sink(piece: bytes | memoryview | None, count: int) -> None:
            nonlocal left, zero
            # Compared at once: any() looks at a page that is zero byte by byte.
            zero = zero and piece is not None and bytes(piece) == bytes(count)
            left -= count
            if zero and not left:
                self._first = self._first or f"{address:#x} of {text_of(block.name)!r}"
                self.all_zero += 1

        return sink

    def zeros(self, block: RamBlock, addresses: Sequence[int]) -> None:
        """Zero pages sent as such are correct."""

    def encoded(self, block: RamBlock, address: int, delta: bytes) -> None:
        """The walker verifies them."""

    def unread(self, block: RamBlock, address: int) -> None:
        """The walker has reported it."""

    def spot(self) -> Spot:
        """The finding about them."""
        facts = self.migration.main_facts
        on_main = facts is not None and facts.ram is self._ram
        sent = counted(self._ram.sent_pages, "page")
        return Spot(
            f"{self.all_zero} of {sent} with content are all zero; the first is {self._first}",
            channel=self.migration.main if on_main else self.migration.preempt,
        )


def _spot(text: str, channel: Channel, packet: RamPacket) -> Spot:
    return Spot(text, channel=channel, mark=packet.mark)
