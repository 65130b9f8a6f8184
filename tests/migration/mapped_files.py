"""Saved migrations with mapped-ram, and what is taken out of them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from analyzer.migration.main_channel import MainFacts
from analyzer.migration.main_walker import walk_main
from tests.migration import main_streams as build
from tests.migration.main_streams import CLOSING, EOS, PAGE, RAM_ID

if TYPE_CHECKING:
    from collections.abc import Sequence

    from analyzer.migration.ram_facts import ByteOrder, RamBlock
    from analyzer.tcp.requests import Sink
    from tests.migration.main_streams import Piece


def mapped_opening(count: int, machine: bytes = b"pc-q35-10.0") -> bytes:
    """What stands before the mapped-ram header of a block of ``count`` pages."""
    capability = build.u32(1) + build.text(b"mapped-ram")
    opening = build.header() + build.configuration(
        machine, build.subsection(b"configuration/capabilities", capability)
    )
    return opening + build.start(RAM_ID, b"ram", build.mem_size({b"pc.ram": count * PAGE}))[:-5]


def mapped_file(
    pages: dict[int, bytes],
    count: int = 100,
    *,
    order: ByteOrder = "little",
    machine: bytes = b"pc-q35-10.0",
    preceded_by: bytes = b"",
) -> bytes:
    """A mapped-ram file of one block of ``count`` pages; its offsets are positions in the file,
    also where something precedes the stream.
    """
    before = preceded_by + mapped_opening(count, machine)
    bitmap_at = len(before) + 28
    bits = sum(1 << number for number in pages).to_bytes(-(-count // 64) * 8, "little")
    words = (int.from_bytes(bits[at : at + 8], "little") for at in range(0, len(bits), 8))
    bitmap = b"".join(word.to_bytes(8, order) for word in words)
    region = bytearray(count * PAGE)
    for number, content in pages.items():
        region[number * PAGE : (number + 1) * PAGE] = content * PAGE
    begin = 1 << 20
    head = before + build.mapped_ram_header(bitmap_at, begin) + bitmap
    return head.ljust(begin, b"\0") + region + EOS + build.footer(RAM_ID) + CLOSING


class Taken:
    """Takes the pages of RAM records: the first byte of each by address, runs of zero pages, and
    the number of encoded bytes.
    """

    def __init__(self) -> None:
        self.encoded_bytes = 0
        self.pages: dict[int, bytes] = {}
        self.runs: list[Sequence[int]] = []
        self.unread_pages: list[int] = []

    def content(self, _block: RamBlock, address: int, _size: int) -> Sink:
        def sink(piece: bytes | memoryview | None, _count: int) -> None:
            if piece is not None:
                self.pages.setdefault(address, bytes(piece[:1]))

        return sink

    def zeros(self, _block: RamBlock, addresses: Sequence[int]) -> None:
        self.runs.append(addresses)

    def encoded(self, _block: RamBlock, _address: int, delta: bytes) -> None:
        self.encoded_bytes += len(delta)

    def unread(self, _block: RamBlock, address: int) -> None:
        self.unread_pages.append(address)


def taken(*pieces: Piece) -> tuple[MainFacts, Taken]:
    """The facts of a stream, and its pages."""
    main, taker = MainFacts(), Taken()
    main.ram.taker = taker
    build.feed(lambda reader: walk_main(reader, main), pieces)
    return main, taker
