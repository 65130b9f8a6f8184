"""Shows saved migrations on the same screens as captures: one migration with only a main channel.

Wire-format page, section 7.
"""

from __future__ import annotations

import os
import struct

from analyzer.analysis import is_saved
from analyzer.capture.source import open_source
from analyzer.migration.scan import Scan
from analyzer.migration.settings import Settings

TYPE_CHECKING = False
if TYPE_CHECKING:
    from analyzer.migration.saved_file import SavedFile

__all__ = ["holds_saved_migration", "scan_of"]

NO_FRAMES = struct.pack("<IHHiIII", 0xA1B2C3D4, 2, 4, 0, 0, 65535, 1)
"""A pcap file without frames."""


def holds_saved_migration(path: str) -> bool:
    """Whether a file is a saved migration, perhaps compressed.

    Raises :class:`analyzer.errors.CaptureError` when it cannot be opened.
    """
    if not os.path.isfile(path):
        return False
    source = open_source(path)
    try:
        return is_saved(source)
    finally:
        source.close()


def scan_of(saved: SavedFile) -> Scan:
    """A scan of an empty capture with the saved migration added, as if found in a capture."""
    scan = Scan(NO_FRAMES, Settings()).run()
    scan.grouper.migrations.append(saved.migration)
    return scan
