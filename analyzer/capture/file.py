"""Capture files: pcap and pcapng, read in chunks, as batches of frames."""

from __future__ import annotations

import struct
from bisect import bisect_left

from analyzer.capture.frames import RECORD, SLACK, Batch, Contents, Interface
from analyzer.capture.pcapng import BLOCK_MAX, SECTION, WORDS, Blocks
from analyzer.capture.runs import Runs
from analyzer.errors import CaptureError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from analyzer.capture.read_ahead import ReadAhead
    from analyzer.capture.source import Source

__all__ = ["PCAP_MAGICS", "CaptureFile"]

CHUNK = 1 << 18
"""Read size in bytes for a small capture: it fits the processor's cache."""
CHUNK_MAX = 1 << 21
LARGE = 1 << 22
"""Once this many bytes have been read, larger chunks pay off although they exceed the cache."""
FAR, LONG = 1 << 27, 1 << 12
"""A plain file of which more than ``FAR`` bytes are left is read ahead if its frames have more than
``LONG`` bytes on average: then copying takes longer than looking at headers, which slows down while
another processor copies, and the time saved exceeds what a thread and its buffers cost.
"""
PCAP_MAGICS = {
    b"\xa1\xb2\xc3\xd4": (">", 1000),
    b"\xd4\xc3\xb2\xa1": ("<", 1000),
    b"\xa1\xb2\x3c\x4d": (">", 1),
    b"\x4d\x3c\xb2\xa1": ("<", 1),
}
PCAPNG_MAGIC = b"\x0a\x0d\x0d\x0a"


class CaptureFile(Contents):
    """A pcap or pcapng file, read once from front to back in fixed memory.

    ``format`` is ``pcap`` or ``pcapng``; ``frames`` counts the frames handed out so far; ``bytes``
    is the length of what was read, set once :meth:`batches` has ended; ``damage`` is the error that
    ended reading early, if any.  Raises :class:`CaptureError` for a file that is not a capture.
    """

    def __init__(self, source: Source) -> None:
        super().__init__()
        self.source = source
        self.frames = 0
        self.bytes = 0
        self.damage: CaptureError | None = None
        self._from = 0  # file position of the frame to begin at; 0 is the first frame
        self._known: Sequence[int] = ()
        size = source.size
        self._buffer = bytearray((min(CHUNK, size + 1) if size else CHUNK) + SLACK)
        self._end = 0  # bytes of the buffer in use
        self._pos = 0  # next unread byte of the buffer
        self._base = 0  # file position of buffer[0]
        self._passed = 0  # bytes read without the read-ahead thread
        self._ahead: ReadAhead | None = None
        self._was_ahead = False
        self._fill()
        head = bytes(self._buffer[:4])
        if head in PCAP_MAGICS and self._end >= 24:
            self.format = "pcap"
        elif head == PCAPNG_MAGIC and self._end >= 28:
            self.format = "pcapng"
        elif self.damage is not None:
            raise self.damage
        else:
            raise CaptureError(
                "is empty" if not self._end else "is not a pcap or pcapng file",
                path=source.path,
                offset=0,
                advice="mfshark reads pcap and pcapng, also gzip or zstd compressed, and with "
                "--via tshark what Wireshark reads",
            )

    # -- the buffer ---------------------------------------------------------------------------

    def _fill(self) -> bool:
        """Move the unread bytes to the front of the buffer and read more; whether any came."""
        if self._passed > LARGE and not self._was_ahead and self._pays_to_read_ahead():
            from analyzer.capture.read_ahead import read_ahead

            self._was_ahead = True
            self._ahead = read_ahead(self.source, self._base + self._end)
        if self._ahead is not None:
            if self._fill_from(self._ahead):
                return True
            self._stop_ahead()  # the file may have grown: read on without the thread
        if self.damage is not None:
            return False
        buffer = self._buffer
        left = self._end - self._pos
        if self._pos:
            buffer[:left] = buffer[self._pos : self._end]
            self._base += self._pos
            self._pos = 0
            self._end = left
        room = len(buffer) - SLACK - left
        if not room or (self._passed > LARGE and len(buffer) < CHUNK_MAX):
            buffer.extend(bytes(len(buffer)))
            room = len(buffer) - SLACK - left
        view = memoryview(buffer)
        try:
            count = self.source.readinto(view[left : left + room])
        except CaptureError as error:
            self.damage = error
            count = 0
        view.release()
        self._end += count
        self._passed += count
        return count > 0

    def _pays_to_read_ahead(self) -> bool:
        left = self.source.size - self._base - self._end
        return left > FAR and self._passed > LONG * self.frames

    def _fill_from(self, ahead: ReadAhead) -> bool:
        try:
            found = ahead.next(self._buffer[self._pos : self._end])
        except CaptureError as error:
            self.damage = error
            return False
        if found is None:
            return False
        buffer, begin, end = found
        self._base += self._pos - begin
        self._buffer, self._pos, self._end = buffer, begin, end
        return True

    def _stop_ahead(self) -> None:
        if self._ahead is not None:
            self._ahead.close()
            self._ahead = None

    def _stop(self, reason: str) -> None:
        self.damage = CaptureError(
            reason,
            path=self.source.path,
            offset=self._base + self._pos,
            frame=self.frames,
            advice="what came before is reported",
        )

    def begin_at(self, position: int, declarations: Sequence[int] = ()) -> None:
        """Make :meth:`batches` begin with the frame at file position ``position`` (a Place's
        ``pos``), and count frames from there.

        ``declarations`` are those of an earlier reader of the same file.  If the source cannot
        seek, or a pcapng file comes without declarations, the preceding frames are given too.
        """
        self._from = position
        self._known = declarations

    def batches(self) -> Iterator[Batch]:
        """All frames, in order; ends early with ``damage`` set when the file is damaged."""
        try:
            yield from self._pcap() if self.format == "pcap" else self._pcapng()
        finally:
            self._stop_ahead()
        self.bytes = self._base + self._end
        if self.damage is None and self._pos < self._end:
            self.notes.append(
                f"the file ends inside a record: {self._end - self._pos} bytes left at byte "
                f"{self._base + self._pos}, after frame {self.frames}"
            )

    def _jump(self, position: int) -> bool:
        if not self.source.seek(position):
            return False
        self._base, self._pos, self._end = position, 0, 0
        return True

    # -- pcap ---------------------------------------------------------------------------------

    def _pcap(self) -> Iterator[Batch]:
        order, scale = PCAP_MAGICS[bytes(self._buffer[:4])]
        snaplen, link = struct.unpack_from(order + "II", self._buffer, 16)
        interface = Interface(
            link & 0x03FFFFFF, snaplen, lambda a, b: a * 1_000_000_000 + b * scale
        )
        self.interfaces.append(interface)
        record = struct.Struct(order + "IIII").unpack_from
        captured = struct.Struct(order + "8xI").unpack_from
        runs = Runs(0)
        self._pos = 24
        if self._from:
            self._jump(self._from)
        while True:
            usual = runs.stride - RECORD
            heads: list[int] = []
            ends: list[int] = []
            begin, finish, search = heads.append, ends.append, runs.search
            buffer, pos, end = self._buffer, self._pos, self._end
            while (body := pos + 16) <= end:
                size = captured(buffer, pos)[0]
                after = body + size
                if after > end or size > BLOCK_MAX:
                    break
                begin(body)
                finish(after)
                pos = after if size != usual else search(buffer, pos, end)
            self._pos = pos
            if heads:
                first = self.frames + 1
                batch = Batch(buffer, self._base, heads, ends, first, interface, record, runs)
                self.frames += batch.count
                yield batch
                runs.learn(batch)
            if pos + 16 <= self._end and (size := captured(self._buffer, pos)[0]) > BLOCK_MAX:
                return self._stop(f"a frame claims {size} captured bytes")
            if not self._fill():
                return None

    # -- pcapng -------------------------------------------------------------------------------

    def _pcapng(self) -> Iterator[Batch]:
        blocks = Blocks(self)
        if self._from and self._known and self._jump(self._from - WORDS):
            try:
                self._declare(blocks)
            except CaptureError as error:  # the file is not the one it was
                return self._stop(error.reason)
        while True:
            heads, ends, special = blocks.scan(self._buffer, self._pos, self._end)
            self._pos = blocks.pos
            if heads:
                batch = blocks.batch(self._buffer, self._base, heads, ends, self.frames + 1)
                self.frames += batch.count
                yield batch
                blocks.runs.learn(batch)
            if not special:
                # The run may be followed by frames of another interface that are still in the
                # buffer.
                if not heads and not self._fill():
                    return
                continue
            place = self._base + self._pos
            try:
                block = blocks.special(self._block(blocks), place)
            except CaptureError as error:
                return self._stop(error.reason)
            if block is not None:  # a simple packet block, laid out like the others
                self.frames += 1
                base = place + WORDS
                heads, ends = [RECORD], [len(block) - SLACK]
                yield blocks.batch(block, base, heads, ends, self.frames)

    def _declare(self, blocks: Blocks) -> None:
        """Read the section header and interface blocks that apply at the position to begin at."""
        places: list[int] = []
        for place in reversed(self._known[: bisect_left(self._known, self._from)]):
            places.append(place)
            if self._head_at(blocks, place)[0] == SECTION:
                break
        for place in reversed(places):
            _, size = self._head_at(blocks, place)
            blocks.special(self.source.read_at(place, min(size, BLOCK_MAX)) or b"", place)

    def _head_at(self, blocks: Blocks, place: int) -> tuple[int, int]:
        """Type and total length of the block at file position ``place``; zeros where the file no
        longer has one.
        """
        return blocks.head((self.source.read_at(place, 12) or b"").ljust(12, b"\0"), 0)

    def _block(self, blocks: Blocks) -> bytes:
        """The whole block at the reading position; empty if the file ends inside it or it is
        skipped.

        Raises :class:`CaptureError` for an invalid size.
        """
        kind, size = blocks.head(self._buffer, self._pos)
        if size < 12 or size % 4:
            raise CaptureError(f"a block of type {kind:#x} claims {size} bytes")
        if size > BLOCK_MAX:
            return self._passed_over(kind, size)
        while self._pos + size > self._end:
            if not self._fill():
                self._pos, left = self._end, self._end - self._pos
                self.notes.append(
                    f"the file ends inside a block of type {kind:#x}: {left} of {size} bytes"
                )
                return b""
        data = bytes(self._buffer[self._pos : self._pos + size])
        self._pos += size
        return data

    def _passed_over(self, kind: int, size: int) -> bytes:
        """Skip a block that is too large to hold.

        Raises :class:`CaptureError` where it claims to be an interface or packet block: these are
        never that large.
        """
        if kind in (1, 2, 3, 6):
            raise CaptureError(f"a block of type {kind:#x} claims {size} bytes")
        left = size
        while left:
            step = min(left, self._end - self._pos)
            self._pos += step
            left -= step
            if left and not self._fill():
                self.notes.append(f"the file ends inside a block of type {kind:#x}")
                break
        return b""
