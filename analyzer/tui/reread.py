"""Reads bytes of the capture again when they are to be shown."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

from analyzer.errors import CaptureError
from analyzer.migration.packet_pages import PageReader
from analyzer.migration.replay import Excerpt, Replay
from analyzer.migration.saved_bytes import SavedBytes
from analyzer.migration.table import StreamRef
from analyzer.report.escape import terminal

if TYPE_CHECKING:
    from collections.abc import Callable

    from analyzer.migration.channel import Channel
    from analyzer.migration.packet_pages import PacketPages
    from analyzer.tcp.requests import Place
    from analyzer.tui.document import Document

__all__ = ["NOTHING", "SHOWN_MAX", "Reread"]

SHOWN_MAX = 1 << 21
"""At most this many bytes of a packet or record are read."""
NOTHING = Excerpt(b"", [])


class Reread:
    """Reads packets and parts of streams of one document; may be used from several threads.

    If something cannot be read, no bytes are returned, and ``error`` says why, escaped for a
    terminal.
    """

    def __init__(self, document: Document) -> None:
        self._document = document
        self._lock = threading.Lock()
        self._replay: Replay | None = None
        self._saved: SavedBytes | None = None
        self._pages_lock = threading.Lock()
        self._page_reader = PageReader(document.table, self.packet)
        self.error = ""

    def _open(self) -> Replay | None:
        scan = self._document.scan
        if self._replay is None and scan is not None:
            try:
                self._replay = Replay(scan)
            except CaptureError as error:
                self.error = terminal(str(error))
        return self._replay

    def packet(self, row: int, limit: int = SHOWN_MAX) -> Excerpt:
        """The first ``limit`` bytes of a packet."""
        with self._lock:
            replay = self._open()
            if replay is None:
                return NOTHING
            try:
                return replay.packet(self._document.table, row, limit)
            except (CaptureError, OSError) as error:
                self.error = terminal(str(error))
                return NOTHING

    def pages(self, row: int, go_on: Callable[[float], bool]) -> PacketPages | None:
        """The pages of a RAM packet.

        Earlier packets of the channel may have to be decompressed first: ``go_on`` is called with
        the share of them that is done, and if it returns false the result is ``None``.
        """
        table = self._document.table
        number, stream = table.column("migration")[row], table.column("stream")[row]
        migration = self._document.migrations(number)[0]
        channel = next(c for c in list(migration.channels) if c.stream == stream)
        with self._pages_lock:
            found = self._page_reader.pages(row, migration.framing, channel, go_on)
        if found is not None:
            found.wrong[:] = map(terminal, found.wrong)
        return found

    def stretch(self, channel: Channel, offset: int, length: int, place: Place) -> Excerpt:
        """Bytes of a channel's stream; ``place`` is where the first of them was seen."""
        if self._document.saved is not None:
            return self._of_saved(offset, min(length, SHOWN_MAX))
        with self._lock:
            replay = self._open()
            if replay is None:
                return NOTHING
            try:
                stream, length = StreamRef.of(channel.flow), min(length, SHOWN_MAX)
                return replay.stretch(stream, offset, length, place.pos)
            except (CaptureError, OSError) as error:
                self.error = terminal(str(error))
                return NOTHING

    def _of_saved(self, offset: int, length: int) -> Excerpt:
        """Bytes of a saved migration, whose stream is the file."""
        with self._lock:
            try:
                if self._saved is None:
                    self._saved = SavedBytes(self._document.path)
                return Excerpt(self._saved.read(offset, length), [])
            except (CaptureError, OSError) as error:
                self.error = terminal(str(error))
                return NOTHING

    def close(self) -> None:
        """Close the files."""
        with self._lock:
            if self._replay is not None:
                self._replay.close()
                self._replay = None
            if self._saved is not None:
                self._saved.close()
                self._saved = None
