"""The pages of one RAM packet, read again from the capture and decompressed on demand.

zlib and zstd payloads can only be decompressed in the order of their channel, so all payloads
before the wanted one come first.  Wire-format page, sections 3.3 and 3.8.
"""

from __future__ import annotations

from analyzer.migration.rows import RAM_PACKET
from dissectors.compression import STREAMS, decoder_of
from dissectors.multifd import COMPRESSION_MASK, METHODS, RAM, ram_header_size

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from analyzer.migration.channel import Channel
    from analyzer.migration.framing import Framing
    from analyzer.migration.replay import Excerpt
    from analyzer.migration.table import PacketTable
    from dissectors.compression import Decoded, Decoder

__all__ = ["PacketPages", "Page", "PageReader"]


class Page:
    """One page that a packet lists.

    ``offset`` is its offset in the RAM block (bytes), ``zero`` says that it was sent as a zero
    page, without content; ``content`` is ``None`` if there is none or it could not be decoded.
    """

    __slots__ = ("content", "offset", "zero")

    def __init__(self, offset: int, zero: bool, content: bytes | None) -> None:
        self.offset = offset
        self.zero = zero
        self.content = content


class PacketPages:
    """The decoded contents of a RAM packet.

    ``pages`` has the pages with content first; ``method`` is the compression method, ``packed`` the
    size of the payload in bytes, ``wrong`` what is wrong with it, in words.
    """

    __slots__ = ("method", "packed", "pages", "wrong")

    def __init__(self, method: int) -> None:
        self.method = method
        self.packed = 0
        self.pages: list[Page] = []
        self.wrong: list[str] = []


class _Chain:
    """A channel's decoder, and the row of the last packet it decoded; ``broken`` once one was
    damaged.
    """

    __slots__ = ("broken", "decoder", "flow", "method", "row")

    def __init__(self, flow: int, method: int) -> None:
        self.flow = flow
        self.method = method
        self.row = -1
        self.broken = False
        self.decoder: Decoder = decoder_of(method)


class PageReader:
    """Reads RAM packets of a table, whose bytes ``fetch(row)`` gives.

    The decoder of the last packet is kept: going forward on its channel decodes each packet once.
    Not thread-safe.
    """

    def __init__(self, table: PacketTable, fetch: Callable[[int], Excerpt]) -> None:
        self._table = table
        self._fetch = fetch
        self._chain: _Chain | None = None

    def pages(
        self, row: int, framing: Framing, channel: Channel, go_on: Callable[[float], bool]
    ) -> PacketPages | None:
        """The pages of a RAM packet; ``None`` if ``go_on`` stopped the work.

        ``go_on`` is called with the share of the preceding packets that is decoded, and returns
        whether to continue.
        """
        method = self._table.column("flags")[row] & COMPRESSION_MASK
        found = PacketPages(method)
        excerpt = self._fetch(row)
        normal, zero = (self._table.column(name)[row] for name in ("normal_pages", "zero_pages"))
        offsets = _offsets(excerpt.data, normal + zero, framing)
        decoded = None
        if method not in METHODS:
            found.wrong.append(f"{method:#x} is not a compression method")
        elif normal and framing.page_size:
            why = self._hindered(row, channel, framing, excerpt, method)
            if why:
                found.wrong.append(why)
            elif not self._catch_up(row, method, framing, go_on):
                return None
            else:
                decoded = self._decode(row, excerpt, framing)
                if decoded is None:
                    found.wrong.append("an earlier payload of the channel is damaged")
        header = ram_header_size(framing.page_count)
        found.packed = max(0, self._table.column("length")[row] - header)
        if decoded is not None:
            found.wrong += [f"{problem.slug}: {problem.detail}" for problem in decoded.problems]
            for first, end in excerpt.holes:
                if end > header:
                    decoded.spoil(max(0, first - header), end - header)
        for number, offset in enumerate(offsets):
            view = decoded.page(number) if decoded is not None and number < normal else None
            content = None if view is None else bytes(view)
            found.pages.append(Page(offset, number >= normal, content))
        return found

    def _hindered(
        self, row: int, channel: Channel, framing: Framing, excerpt: Excerpt, method: int
    ) -> str:
        """Why a packet's payload cannot be decompressed; empty if it can."""
        header = ram_header_size(framing.page_count)
        if len(excerpt.data) < self._table.column("length")[row]:
            return "the packet could not be read completely"
        if method and any(end > header for _, end in excerpt.holes):
            return "the capture lacks bytes of its payload"
        if method not in STREAMS:
            return ""
        if channel.midstream:
            return "the beginning of the channel is not in the capture"
        at = self._table.column("offset")[row]
        passed = any(end <= at for _, end, _ in channel.resyncs)
        if passed or any(hole.first < at for hole in channel.flow.holes):
            return "earlier bytes of the channel are missing or could not be decoded"
        return ""

    # -- decoding -----------------------------------------------------------------------------

    def _catch_up(
        self, row: int, method: int, framing: Framing, go_on: Callable[[float], bool]
    ) -> bool:
        """Decode the channel's payloads before that of ``row``; false if ``go_on`` stopped it."""
        flow = self._table.column("flow")[row]
        chain = self._chain
        if chain is None or (chain.flow, chain.method) != (flow, method) or chain.row >= row:
            chain = self._chain = _Chain(flow, method)
        if method not in STREAMS:
            return True
        before = self._before(row, chain)
        for done, earlier in enumerate(before):
            if not go_on(done / len(before)):
                self._chain = None
                return False
            if self._decode(earlier, self._fetch(earlier), framing) is None:
                break
        return True

    def _before(self, row: int, chain: _Chain) -> list[int]:
        """The rows after the chain's last one whose payloads precede that of ``row``."""
        import numpy

        first = chain.row + 1
        kind, flow, flags, normal = (
            self._table.view(name, first, row) for name in ("kind", "flow", "flags", "normal_pages")
        )
        wanted = (kind == RAM_PACKET) & (flow == chain.flow) & (normal > 0)
        wanted &= (flags & COMPRESSION_MASK) == chain.method
        rows: list[int] = (numpy.flatnonzero(wanted) + first).tolist()
        return rows

    def _decode(self, row: int, excerpt: Excerpt, framing: Framing) -> Decoded | None:
        """Decode a payload; ``None`` after a damaged one."""
        chain = self._chain
        assert chain is not None
        if chain.broken:
            return None
        chain.row = row
        payload = excerpt.data[ram_header_size(framing.page_count) :]
        normal = self._table.column("normal_pages")[row]
        decoded = chain.decoder.decode(payload, normal, framing.page_size)
        chain.broken = decoded.broken
        return decoded


def _offsets(data: bytes, count: int, framing: Framing) -> list[int]:
    """The first ``count`` page offsets, as far as the header has them and they were read."""
    count = min(count, framing.page_count, max(0, len(data) - RAM.size) // 8)
    return [
        int.from_bytes(data[at : at + 8], "big") for at in range(RAM.size, RAM.size + 8 * count, 8)
    ]
