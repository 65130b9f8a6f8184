"""Writes a device's state to files, as ``mfshark extract`` does."""

from __future__ import annotations

from typing import TYPE_CHECKING

from analyzer.analysis import analyze_saved_file
from analyzer.extraction.devices import DeviceFiles
from analyzer.extraction.folder import SIZE_MAX, Folder
from analyzer.migration.scan import Scan
from analyzer.report.style import size_text
from analyzer.tui.quantities import count

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from analyzer.migration.migration import Migration
    from analyzer.tui.document import Document

__all__ = ["extract"]


def extract(
    document: Document,
    name: str,
    number: int,
    folder: Path,
    *,
    buffers: bool,
    rest: Callable[[], bool],
) -> str:
    """Write the state of the device ``name`` (``idstr#instance``) of migration ``number``.

    Reads the capture again, so run it in a thread; ``rest`` returns whether to stop.  Returns a
    sentence about what was written.  Raises :class:`OSError`, also if a file exists,
    :class:`analyzer.errors.CaptureError`, and :class:`analyzer.errors.UsageError` if the files
    would exceed the size limit.
    """
    target = Folder(folder, force=False, max_size=SIZE_MAX)
    files = DeviceFiles(target, (name,), buffers=buffers, number=number)
    try:
        migrations = _read(document, files, rest)
        if migrations is None:
            return "stopped"
        devices = files.finish(migrations)
        target.write_manifest({"capture": document.path, "devices": devices})
    finally:
        target.withdraw()
    digest = devices[0]["state_digest"] if devices else None
    whole = f"sha256 {digest}" if digest else "it is not complete"
    total = sum(entry["bytes"] for entry in target.files.values())
    return f"{count(len(target.files), 'file')}, {size_text(total)} in {folder}; {whole}"


def _read(
    document: Document, files: DeviceFiles, rest: Callable[[], bool]
) -> list[Migration] | None:
    """Read the capture; returns its migrations, ``None`` when stopped."""
    assembler = files.assembler
    if document.saved is not None:
        return analyze_saved_file(document.path, assembler=assembler).migrations
    scan = Scan(document.path, document.settings, device_collector=assembler)
    for _ in scan.steps():
        if rest():
            return None
    assembler.finish()
    return scan.migrations
