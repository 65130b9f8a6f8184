"""``mfshark extract``: the reassembled state of devices as files."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

from analyzer.commands.common import BROKEN, CLEAN, complain, failure, no_migration, open_analysis
from analyzer.errors import UsageError
from analyzer.migration.assembly import Assembler
from analyzer.report.escape import file_name, terminal

TYPE_CHECKING = False
if TYPE_CHECKING:
    from argparse import Namespace
    from collections.abc import Callable
    from typing import IO, Any

    from analyzer.migration.migration import Migration

__all__ = ["extract"]


class _Folder:
    """The files of one extraction: names made safe, nothing overwritten unless asked."""

    def __init__(self, root: Path, *, buffers: bool, force: bool) -> None:
        self.root = root
        self.buffers = buffers
        self.force = force
        self.files: dict[str, dict[str, Any]] = {}
        self._open: dict[str, tuple[IO[bytes], Any]] = {}
        self._names: dict[tuple[int, str], str] = {}
        root.mkdir(parents=True, exist_ok=True)

    def sink_of(self, migration: Migration, name: str) -> Callable[[str, int | None, bytes], None]:
        """Where a device's bytes go."""
        stem = f"m{migration.number + 1}-{file_name(name)}"
        if stem in self._names.values():  # different names that look alike once made safe
            stem += f"-{len(self._names)}"
        self._names[migration.number, name] = stem

        def sink(what: str, idx: int | None, data: bytes) -> None:
            if what == "state":
                self._write(f"{stem}.state", data, device=name, what="state")
            elif what == "config":
                self._write(f"{stem}.config", data, device=name, what="config", index=idx)
            elif self.buffers:
                self._write(f"{stem}.{idx:06d}.buffer", data, device=name, what=what, index=idx)

        return sink

    def _write(self, name: str, data: bytes, **facts: Any) -> None:
        if name not in self._open:
            if len(self._open) > 64:
                self.close()
            mode = "ab" if name in self.files else "wb" if self.force else "xb"
            try:
                stream = (self.root / name).open(mode)
            except FileExistsError:
                raise UsageError(
                    f"{self.root / name} exists; --force overwrites existing files"
                ) from None
            entry = self.files.setdefault(name, {"file": name, **facts, "bytes": 0})
            self._open[name] = stream, entry.setdefault("_sha256", hashlib.sha256())
        stream, digest = self._open[name]
        stream.write(data)
        digest.update(data)
        self.files[name]["bytes"] += len(data)

    def close(self) -> None:
        """Close the files that are open; they are continued when more comes."""
        for stream, _ in self._open.values():
            stream.close()
        self._open.clear()

    def manifest(self) -> list[dict[str, Any]]:
        """The files with sizes and digests, by name."""
        entries = []
        for name in sorted(self.files):
            entry = dict(self.files[name])
            entry["sha256"] = entry.pop("_sha256").hexdigest()
            entries.append(entry)
        return entries


def extract(options: Namespace) -> int:
    """Run it.  Raises :class:`CaptureError` and :class:`UsageError`."""
    folder = _Folder(Path(options.output), buffers=options.buffers, force=options.force)
    wanted = options.device or []

    def chosen(name: str) -> bool:
        return not wanted or any(name in (text, f"{text}#0") for text in wanted)

    assembler = Assembler(chosen, folder.sink_of)
    analysis = open_analysis(options.capture, options, assembler=assembler)
    folder.close()
    damage = analysis.scan.file.damage
    if damage is not None:
        complain(failure(damage))
    if not analysis.migrations:
        complain(no_migration(analysis))
        return BROKEN
    seen = {assembly.name for assembly in assembler.assemblies.values()}
    for text in wanted:
        if not any(name in (text, f"{text}#0") for name in seen):
            names = sorted(
                device.name for m in analysis.migrations for device in m.devices.values()
            )
            raise UsageError(
                f"no device is called {terminal(text)!r}; the capture has "
                f"{terminal(', '.join(names)) or 'none'}"
            )
    return _finish(folder, assembler, options, damaged=damage is not None)


def _finish(folder: _Folder, assembler: Assembler, options: Namespace, *, damaged: bool) -> int:
    incomplete = [a for a in assembler.assemblies.values() if a.state_digest is None]
    manifest = {
        "capture": options.capture,
        "files": folder.manifest(),
        "devices": [
            {
                "name": assembly.name,
                "main_bytes": assembly.main_bytes,
                "data_bytes": assembly.data_bytes,
                "state_digest": assembly.state_digest,
                "digest": assembly.data_digest,
                "config_digest": assembly.config_digest,
            }
            for assembly in assembler.assemblies.values()
        ],
    }
    target = folder.root / "manifest.json"
    if target.exists() and not options.force:
        raise UsageError(f"{target} exists; --force overwrites existing files")
    target.write_text(json.dumps(manifest, indent=1) + "\n", encoding="utf-8")
    for entry in folder.manifest():
        if not options.quiet:
            print(f"{folder.root / entry['file']}  {entry['bytes']} bytes  {entry['sha256']}")
    for assembly in incomplete:
        complain(
            f"{terminal(assembly.name)} is not complete: what could be put together was written"
        )
    return BROKEN if damaged or incomplete else CLEAN
