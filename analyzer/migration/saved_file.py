"""Saved migrations: the main stream that a migration to ``file:`` wrote.

Wire-format page, section 7.  Plain files and mapped-ram files, also compressed with gzip or zstd.
"""

from __future__ import annotations

from functools import partial

from analyzer.capture.source import open_source
from analyzer.errors import CaptureError
from analyzer.migration.channel import Channel
from analyzer.migration.main_channel import MainFacts
from analyzer.migration.main_walker import walk_main
from analyzer.migration.migration import Migration
from analyzer.migration.saved_beginning import find_beginning
from analyzer.migration.settings import Settings
from analyzer.tcp.flow import NEVER, Connection
from analyzer.tcp.reader import Reader
from analyzer.tcp.requests import Place, Skip

TYPE_CHECKING = False
if TYPE_CHECKING:
    import os
    from collections.abc import Iterator

    from analyzer.capture.source import Source
    from analyzer.migration.consumers import DeviceCollector, PageCollector
    from analyzer.migration.main_sections import DeviceData
    from analyzer.migration.saved_beginning import Beginning
    from analyzer.tcp.requests import Walker

__all__ = ["SavedFile", "read"]

CHUNK = 1 << 20


class SavedFile:
    """A saved migration, whose stream begins at ``begin``.

    ``main`` is what the walk of its stream found; stream offsets are positions in the uncompressed
    file.  ``size`` is the uncompressed length in bytes; ``damage`` the error that ended reading
    early.  ``migration`` represents it as a migration whose only channel is main.
    """

    __slots__ = ("begin", "damage", "main", "migration", "path", "size")

    def __init__(self, path: str, begin: Beginning) -> None:
        self.path = path
        self.begin = begin
        self.size = 0
        self.main = MainFacts()
        self.damage: CaptureError | None = None
        self.migration = Migration(0, (), Settings())
        self.migration.main = Channel("main", Connection(0, bytes(12), NEVER).forward)
        self.migration.channels.append(self.migration.main)
        self.migration.main_facts = self.main


def read(
    path: str | os.PathLike[str] | bytes | Source,
    *,
    device_collector: DeviceCollector | None = None,
    page_collector: PageCollector | None = None,
) -> SavedFile:
    """Walk the file at ``path`` (or the bytes of one, or an open source) once, front to back.

    ``device_collector`` gets the state of VFIO devices on main, ``page_collector`` the pages.  In a
    plain mapped-ram file the pages are read only if there is a ``page_collector``.  Raises
    :class:`CaptureError` for a file that is not a saved migration.
    """
    source = open_source(path)
    try:
        begin = find_beginning(source)
        if begin is None:
            raise CaptureError(
                "is not a saved migration",
                path=source.path,
                offset=0,
                advice="the stream of a file: migration begins with QEVM",
            )
        pieces = _pieces(source)
        saved = SavedFile(source.path, begin)
        main, migration = saved.main, saved.migration
        if page_collector is not None:
            main.ram.taker = page_collector.records(migration, main.ram)
        data = None
        if device_collector is not None:
            data = partial(device_collector.main_data, migration)
        reader = Reader(lambda r: _walk(r, begin.offset, main, data))
        reader.feed(next(pieces, b""), Place(0, 0, 0))
        try:
            _feed(reader, source, pieces)
        except CaptureError as error:
            saved.damage = error
        reader.end()
        saved.size = saved.migration.channels[0].flow.offset = reader.offset
        return saved
    finally:
        source.close()


def _walk(reader: Reader, begin: int, main: MainFacts, device_data: DeviceData | None) -> Walker:
    """Walk the stream that begins at byte ``begin``."""
    if begin:
        yield Skip(begin)
    yield from walk_main(reader, main, device_data=device_data)


def _pieces(source: Source) -> Iterator[bytes]:
    """The bytes of the source, in pieces."""
    buffer = bytearray(CHUNK)
    view = memoryview(buffer)
    while count := source.readinto(view):
        yield bytes(view[:count])


def _feed(reader: Reader, source: Source, pieces: Iterator[bytes]) -> None:
    """Feed everything after the first piece; a plain file is read only where bytes are needed."""
    if not source.size:
        for piece in pieces:
            reader.feed(piece, Place(0, 0, reader.offset))
        return
    position = min(CHUNK, source.size)
    while position < source.size:
        passed = min(reader.skippable, source.size - position)
        reader.passed(passed)
        position += passed
        data = source.read_at(position, CHUNK)
        if not data:
            break
        reader.feed(data, Place(0, 0, position))
        position += len(data)
