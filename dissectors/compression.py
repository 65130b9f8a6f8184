"""Decodes the payloads of RAM packets, by ``multifd-compression`` method: bytes in, pages out.

Wire-format page, section 3.8.  zlib and zstd use one compressed stream for the whole life of a
channel, so a decoder belongs to one channel and must be given its payloads in order.  Faults in a
payload are returned as values: whatever the payload holds, a decoder neither raises nor returns
more pages than the packet announces.
"""

from __future__ import annotations

import struct
import zlib

from dissectors.multifd import Compression

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Protocol, TypeAlias

    Payload: TypeAlias = bytes | bytearray

    class Decoder(Protocol):
        """Decodes the payloads of one channel; ``memory`` is the approximate size of its state in
        bytes.
        """

        memory: int

        def decode(self, payload: Payload, pages: int, page_size: int) -> Decoded:
            """Decode the next payload, which should hold ``pages`` pages."""


__all__ = ["STREAMS", "Decoded", "Problem", "decoder_of", "inflated_page", "inflated_size"]

STREAMS = frozenset({Compression.zlib, Compression.zstd})
"""Methods whose payloads can be decoded only after all earlier payloads of the channel."""

SYNC_FLUSH = b"\x00\x00\xff\xff"
"""The last bytes that ``deflate(Z_SYNC_FLUSH)`` writes."""
ZLIB_MEMORY = 48 << 10
ZSTD_MEMORY = 256 << 10
WINDOW_MAX = 1 << 25
"""Window size in bytes of zstd level 20, the highest level that QEMU accepts."""
ZSTD_HEADER_MAX = 18
ZSTD_SLICE = 256
"""Bytes of input per step: they expand to at most 64 blocks of 128 KiB each."""
QATZIP_INPUT_MIN = 1 << 10
"""The smallest ``hw_buff_sz``, bytes: only the last gzip member may hold less."""


class Problem:
    """A fault in a payload; ``slug`` names the rule."""

    __slots__ = ("detail", "slug")

    def __init__(self, slug: str, detail: str) -> None:
        self.slug = slug
        self.detail = detail

    def __repr__(self) -> str:
        return f"Problem({self.slug!r}, {self.detail!r})"


class Decoded:
    """The result of decoding a payload.

    ``data`` holds the pages back to back, as far as they could be decoded; ``bad`` are the numbers
    of pages in it whose content is not what was sent.  ``broken``: the decoder's state is lost, so
    no later payload of the channel can be decoded.
    """

    __slots__ = ("bad", "broken", "data", "page_size", "problems")

    def __init__(
        self,
        data: Payload,
        page_size: int,
        problems: list[Problem] | None = None,
        *,
        bad: set[int] | None = None,
        broken: bool = False,
    ) -> None:
        self.data = data
        self.page_size = page_size
        self.problems = problems or []
        self.bad = bad or set()
        self.broken = broken

    def page(self, number: int) -> memoryview | None:
        """Content of one page, ``None`` if it could not be decoded."""
        begin, end = number * self.page_size, (number + 1) * self.page_size
        if end > len(self.data) or number in self.bad:
            return None
        return memoryview(self.data)[begin:end]

    def spoil(self, first: int, end: int) -> None:
        """Bytes ``first`` to before ``end`` of the pages are missing: count their pages as bad."""
        self.bad.update(range(first // self.page_size, -(-end // self.page_size)))

    def is_zero(self, number: int) -> bool:
        """Whether a page was decoded and is all zero."""
        size = self.page_size
        zero = ZEROS if size == len(ZEROS) else bytes(size)
        return number not in self.bad and self.data.startswith(zero, number * size)


ZEROS = bytes(4096)


def decoder_of(method: int) -> Decoder:
    """A decoder for a new channel; ``method`` is the compression field of its packets' flags.

    Raises :class:`KeyError` for an unknown method.
    """
    makers: dict[int, Callable[[], Decoder]] = {
        Compression.none: Stored,
        Compression.zlib: ZlibStream,
        Compression.zstd: ZstdStream,
        Compression.qpl: lambda: PageByPage(-zlib.MAX_WBITS),
        Compression.uadk: lambda: PageByPage(zlib.MAX_WBITS),
        Compression.qatzip: GzipMembers,
    }
    return makers[method]()


class Stored:
    """No compression: the pages themselves."""

    memory = 0

    def decode(self, payload: Payload, pages: int, page_size: int) -> Decoded:
        """The payload is the pages."""
        return Decoded(payload[: pages * page_size], page_size)


# -- one stream per channel ------------------------------------------------------------------------


class ZlibStream:
    """One zlib stream for the channel's life, flushed after every packet."""

    memory = ZLIB_MEMORY

    def __init__(self) -> None:
        self._stream = zlib.decompressobj()

    def decode(self, payload: Payload, pages: int, page_size: int) -> Decoded:
        """Decompress the next part of the stream."""
        expected = pages * page_size
        try:
            data = self._stream.decompress(payload, expected + 1)
        except zlib.error as error:
            problem = Problem("zlib-bad", f"inflate fails: {_reason(error)}")
            return Decoded(b"", page_size, [problem], broken=True)
        if len(data) > expected:
            return Decoded(data[:expected], page_size, [_bomb(expected)], broken=True)
        if self._stream.eof:
            problem = Problem("zlib-bad", "the zlib stream ends before the channel does")
            return Decoded(data, page_size, [problem], broken=True)
        if len(data) < expected:
            return Decoded(data, page_size, [_short("zlib-bad", data, expected)], broken=True)
        problems = []
        if not payload.endswith(SYNC_FLUSH):
            end = bytes(payload[-4:]).hex(" ")
            problems.append(Problem("zlib-no-flush", f"the payload ends with {end}"))
        return Decoded(data, page_size, problems)


class ZstdStream:
    """One zstd frame for the channel's life, flushed after every packet."""

    def __init__(self) -> None:
        import zstandard  # only where there is something to decompress

        self.memory = ZSTD_MEMORY
        self._zstandard = zstandard
        self._maker = zstandard.ZstdDecompressor(max_window_size=WINDOW_MAX)
        self._frame = self._maker.decompressobj()
        self._began = False

    def decode(self, payload: Payload, pages: int, page_size: int) -> Decoded:
        """Decompress the next part of the frame; a new frame behind its end is a problem."""
        expected = pages * page_size
        parts: list[bytes] = []
        if not self._began:
            self._began = True
            self._measure(payload)
        frames = 0
        size = at = 0
        piece = b""
        while (piece or at < len(payload)) and size <= expected:
            if not piece:
                piece = bytes(payload[at : at + ZSTD_SLICE])
                at += len(piece)
            if self._frame.eof:
                frames += 1
                if frames > pages:
                    problem = Problem("zstd-bad", f"more than {pages} frames in one payload")
                    return Decoded(b"".join(parts), page_size, [problem], broken=True)
                self._frame = self._maker.decompressobj()
            try:
                parts.append(self._frame.decompress(piece))
            except self._zstandard.ZstdError as error:
                problem = Problem("zstd-bad", f"decompression fails: {_reason(error)}")
                return Decoded(b"".join(parts), page_size, [problem], broken=True)
            size += len(parts[-1])
            piece = self._frame.unused_data if self._frame.eof else b""
        return self._whole(b"".join(parts), expected, page_size, frames)

    @staticmethod
    def _whole(data: bytes, expected: int, page_size: int, frames: int) -> Decoded:
        problems = []
        if frames:
            problems.append(Problem("zstd-new-frame", "a new frame begins, the one before is over"))
        if len(data) > expected:
            return Decoded(data[:expected], page_size, [*problems, _bomb(expected)], broken=True)
        if len(data) < expected:
            short = _short("zstd-bad", data, expected)
            return Decoded(data, page_size, [*problems, short], broken=True)
        return Decoded(data, page_size, problems)

    def _measure(self, payload: Payload) -> None:
        """Add the window size, which the frame header states, to ``memory``."""
        try:
            header = self._zstandard.get_frame_parameters(bytes(payload[:ZSTD_HEADER_MAX]))
        except self._zstandard.ZstdError:
            return
        self.memory += min(header.window_size, WINDOW_MAX)


# -- payloads that stand alone ---------------------------------------------------------------------


class PageByPage:
    """QPL and UADK: the lengths of all pages, then the pages, each compressed on its own, or stored
    raw where its length is the page size.  ``wbits`` as in :mod:`zlib`: negative for QPL's raw
    deflate.
    """

    memory = 0

    def __init__(self, wbits: int) -> None:
        self._wbits = wbits

    def decode(self, payload: Payload, pages: int, page_size: int) -> Decoded:
        """Decode each page; those that cannot be decoded are zeros and listed in ``bad``."""
        header = 4 * pages
        if header >= len(payload):
            text = f"{pages} lengths take {header} bytes, the payload has {len(payload)}"
            return Decoded(b"", page_size, [Problem("lengths-do-not-sum", text)])
        lengths = struct.unpack_from(f">{pages}I", payload)
        for number, length in enumerate(lengths):
            if not 0 < length <= page_size:
                text = f"page {number} of {pages} has length {length}, pages have {page_size}"
                return Decoded(b"", page_size, [Problem("page-length-too-big", text)])
        if header + sum(lengths) != len(payload):
            text = (
                f"{header} bytes of lengths and {sum(lengths)} of pages are announced, the payload "
                f"has {len(payload)}"
            )
            return Decoded(b"", page_size, [Problem("lengths-do-not-sum", text)])
        return self._pages(payload, lengths, page_size)

    def _pages(self, payload: Payload, lengths: tuple[int, ...], page_size: int) -> Decoded:
        view = memoryview(payload)
        at = 4 * len(lengths)
        parts: list[bytes] = []
        bad: dict[int, Problem] = {}
        for number, length in enumerate(lengths):
            piece = bytes(view[at : at + length])
            at += length
            page = piece if length == page_size else self._page(piece, number, page_size)
            if isinstance(page, Problem):
                bad[number] = page
                page = bytes(page_size)
            parts.append(page)
        problems = list(bad.values())[:1]
        if len(bad) > 1:
            problems[0].detail += f"; so do {len(bad) - 1} more of {len(lengths)} pages"
        return Decoded(b"".join(parts), page_size, problems, bad=set(bad))

    def _page(self, piece: bytes, number: int, page_size: int) -> bytes | Problem:
        page = inflated_page(piece, page_size, self._wbits)
        if isinstance(page, Problem):
            page.detail = f"page {number} {page.detail}"
        return page


def inflated_page(data: Payload, page_size: int, wbits: int = zlib.MAX_WBITS) -> bytes | Problem:
    """One page that was compressed on its own, or what is wrong with it."""
    stream = zlib.decompressobj(wbits)
    try:
        page = stream.decompress(data, page_size + 1)
    except zlib.error as error:
        return Problem("page-bad", f"does not inflate: {_reason(error)}")
    if len(page) > page_size:
        return Problem("bomb", f"inflates to more than {page_size} bytes")
    if len(page) < page_size or not stream.eof:
        return Problem("page-bad", f"inflates to {len(page)} of {page_size} bytes")
    return page


def inflated_size(data: Payload, limit: int) -> int | None:
    """How many bytes data inflate to; ``None`` if that is more than ``limit``, or not all is
    there.
    """
    stream = zlib.decompressobj()
    try:
        size = len(stream.decompress(data, limit + 1))
    except zlib.error:
        return None
    return size if stream.eof and size <= limit else None


class GzipMembers:
    """QATzip: one blob for all pages, gzip members back to back."""

    memory = 0

    def decode(self, payload: Payload, pages: int, page_size: int) -> Decoded:
        """Decompress all members, up to the first bad one."""
        expected = pages * page_size
        rest = bytes(payload)
        parts: list[bytes] = []
        size = members = 0
        problem = None
        while rest and problem is None:
            members += 1
            stream = zlib.decompressobj(zlib.MAX_WBITS | 16)
            try:
                parts.append(stream.decompress(rest, expected - size + 1))
            except zlib.error as error:
                problem = Problem("page-bad", f"behind {size} bytes of pages: {_reason(error)}")
                break
            size += len(parts[-1])
            rest = stream.unused_data
            if size > expected:
                problem = _bomb(expected)
            elif not stream.eof:
                problem = Problem("page-bad", f"the payload ends inside gzip member {members}")
            elif not parts[-1] or members > expected // QATZIP_INPUT_MIN:
                problem = Problem("page-bad", f"gzip member {members} is too small to be QATzip's")
        data = b"".join(parts)[:expected]
        if problem is None and size < expected:
            problem = _short("page-bad", data, expected)
        return Decoded(data, page_size, [problem] if problem is not None else [])


# -- texts -----------------------------------------------------------------------------------------


def _short(slug: str, data: bytes, expected: int) -> Problem:
    return Problem(slug, f"the payload decompresses to {len(data)} of {expected} bytes of pages")


def _bomb(expected: int) -> Problem:
    return Problem("bomb", f"the payload decompresses to more than {expected} bytes of pages")


def _reason(error: Exception) -> str:
    """What zlib or zstd says, without the prefix that names its Python function."""
    return str(error).rpartition(": ")[2]
