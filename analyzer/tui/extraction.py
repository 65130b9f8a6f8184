"""Writes a device's reassembled state from the Devices screen."""

from __future__ import annotations

import hashlib
import json
from typing import TYPE_CHECKING

from analyzer.migration.assembly import Assembler
from analyzer.migration.scan import Scan
from analyzer.report.escape import file_name

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path
    from typing import Any

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

    The capture is read again, for a thread.  Gives a sentence about what was written.  Raises
    :class:`OSError`, also for a file that exists, and :class:`analyzer.errors.CaptureError`.
    """
    folder.mkdir(parents=True, exist_ok=True)
    files = _Files(folder, file_name(name), number, buffers)
    assembler = Assembler(lambda found: found == name, files.sink_of)
    scan = Scan(
        document.path,
        document.settings,
        collector=assembler,
        device_data=assembler.device_data,
    )
    for _ in scan.steps():
        if rest():
            return "stopped"
    assembler.finish()
    found = next(
        (a for (own, _), a in assembler.assemblies.items() if own == number and a.name == name),
        None,
    )
    digest = found.state_digest if found is not None else None
    files.manifest(device=name, state_sha256=digest)
    total = sum(files.sizes.values())
    whole = f"sha256 {digest}" if digest else "it is not complete"
    return f"{len(files.sizes)} files, {total} bytes in {folder}; {whole}"


class _Files:
    """The files of one device."""

    def __init__(self, folder: Path, stem: str, number: int, buffers: bool) -> None:
        self._folder = folder
        self._stem = stem
        self._number = number
        self._buffers = buffers
        self._digests: dict[str, Any] = {}
        self.sizes: dict[str, int] = {}

    def sink_of(self, migration: Migration, _name: str) -> Callable[[str, int | None, bytes], None]:
        """Where the device's bytes go; those of the same device in other migrations go nowhere."""
        if migration.number != self._number:
            return lambda _what, _idx, _data: None
        return self._take

    def _take(self, what: str, idx: int | None, data: bytes) -> None:
        if what == "buffer" and not self._buffers:
            return
        name = f"{self._stem}.{idx:06d}.buffer" if what == "buffer" else f"{self._stem}.{what}"
        path = self._folder / name
        with path.open("ab" if name in self.sizes else "xb") as stream:
            stream.write(data)
        self._digests.setdefault(name, hashlib.sha256()).update(data)
        self.sizes[name] = self.sizes.get(name, 0) + len(data)

    def manifest(self, **facts: Any) -> None:
        """What was written."""
        listed = [
            {"file": name, "bytes": size, "sha256": self._digests[name].hexdigest()}
            for name, size in sorted(self.sizes.items())
        ]
        path = self._folder / f"{self._stem}.manifest.json"
        with path.open("x", encoding="utf-8") as stream:
            json.dump({**facts, "files": listed}, stream, indent=1)
