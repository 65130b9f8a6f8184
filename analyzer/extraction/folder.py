"""The target folder of an extraction: safe names, nothing overwritten unless requested, nothing
written outside, a limited size, and no partial files.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import os
from pathlib import Path

from analyzer.errors import UsageError
from analyzer.report.escape import file_name
from analyzer.report.json_text import json_text
from analyzer.report.parts import iso_time
from analyzer.report.style import size_text

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import IO, Any

    from analyzer.migration.ram_image import Content

__all__ = ["SIZE_MAX", "Folder", "Sparse", "seen"]

SIZE_MAX = 16 << 30
"""The default limit of the total size of all files."""

OPEN_MAX = 64
PIECE = 1 << 20
ZEROS = bytes(PIECE)
MANIFEST = "manifest.json"


class Folder:
    """Files below ``root``, which is created.  Names must already be safe: begin them with the
    result of :meth:`stem`.  ``max_size`` limits the bytes written to all files together, and the
    total span of all sparse files.  Files are always created under temporary names and renamed by
    :meth:`write_manifest`, when all of them are complete.  With ``force`` they replace existing
    files of the same name, so symbolic links are never followed.  Raises :class:`FileExistsError`
    for a file that exists and :class:`UsageError` if ``max_size`` is exceeded.
    """

    def __init__(self, root: Path, *, force: bool, max_size: int) -> None:
        self.root = root
        self.force = force
        self.max_size = max_size
        self.files: dict[str, dict[str, Any]] = {}
        self._written = 0
        self._spanned = 0
        self._open: dict[str, tuple[IO[bytes], Any]] = {}
        self._given: list[IO[bytes]] = []
        self._stems: set[str] = set()
        self._parts: dict[str, Path] = {}  # where files are until they are complete
        self._number = 0
        self._made = not root.exists()
        try:
            root.mkdir(parents=True, exist_ok=True)
        except FileExistsError as error:
            raise NotADirectoryError(errno.ENOTDIR, "it is not a folder", str(root)) from error
        self._free(MANIFEST)

    def stem(self, text: str) -> str:
        """A prefix for file names made from any text; never the same for two texts, even on
        case-insensitive file systems.
        """
        safe = stem = file_name(text)
        number = len(self._stems)
        while stem.lower() in self._stems:
            stem = f"{safe}-{number}"
            number += 1
        self._stems.add(stem.lower())
        return stem

    def _free(self, name: str) -> Path:
        """The final path of a file, if it may be used."""
        path = self.root / name
        if self.force:
            if path.is_dir() and not path.is_symlink():
                raise IsADirectoryError(errno.EISDIR, "it is a folder", str(path))
        elif path.is_symlink() or path.exists():
            raise FileExistsError(errno.EEXIST, "exists already", str(path))
        return path

    def _part(self, name: str) -> IO[bytes]:
        """A new temporary file that will be renamed to ``name``."""
        self._free(name)
        while True:
            path = self.root / f".mfshark-{os.getpid()}-{self._number}.part"
            self._number += 1
            self._parts[name] = path  # before it exists: a signal may come in between
            try:
                return path.open("xb+")
            except FileExistsError:
                del self._parts[name]

    def add(self, name: str, **facts: Any) -> IO[bytes]:
        """A new file, to be closed by the caller when it is complete."""
        stream = self._begin(name, facts)
        self._given.append(stream)
        return stream

    def _begin(self, name: str, facts: dict[str, Any]) -> IO[bytes]:
        stream = self._part(name)
        self.files[name] = {"file": name, **facts, "bytes": 0}
        return stream

    def append(self, name: str, data: bytes, **facts: Any) -> None:
        """Append bytes to a file; the first ones create it."""
        if name not in self._open:
            if len(self._open) > OPEN_MAX:
                self.close()
            stream: IO[bytes]
            if name in self.files:
                stream = self._parts[name].open("ab")
                digest = self.files[name]["_sha256"]
            else:
                stream = self._begin(name, facts)
                digest = self.files[name]["_sha256"] = hashlib.sha256()
            self._open[name] = stream, digest
        if not self.fill(len(data)):
            raise UsageError(
                f"{self.root / name} would make it more than {size_text(self.max_size)}; "
                "--max-size allows more"
            )
        stream, digest = self._open[name]
        stream.write(data)
        digest.update(data)
        self.files[name]["bytes"] += len(data)

    def fill(self, size: int) -> bool:
        """Count ``size`` bytes about to be written; ``False`` if that exceeds the limit."""
        if self._written + size > self.max_size:
            return False
        self._written += size
        return True

    def stretch(self, size: int) -> bool:
        """Count ``size`` more bytes spanned by sparse files; ``False`` if that exceeds the
        limit.
        """
        if self._spanned + size > self.max_size:
            return False
        self._spanned += size
        return True

    def close(self) -> None:
        """Close the open files; they are reopened if more bytes come."""
        for stream, _ in self._open.values():
            stream.close()
        self._open.clear()

    def withdraw(self) -> None:
        """Remove incomplete files, and the folder if it was created and is empty."""
        for stream in (*(stream for stream, _ in self._open.values()), *self._given):
            with contextlib.suppress(OSError):  # what a full disk has no room for
                stream.close()
        self._open.clear()
        for path in self._parts.values():
            with contextlib.suppress(OSError):
                path.unlink()
        self._parts.clear()
        if self._made:
            with contextlib.suppress(OSError):  # it is not empty
                self.root.rmdir()

    def entries(self) -> Iterator[dict[str, Any]]:
        """The files with sizes and digests, by name."""
        self.close()
        for name in sorted(self.files):
            entry = self.files[name]
            digest = entry.pop("_sha256", None)
            if digest is not None:
                entry["sha256"] = digest.hexdigest()
            elif "sha256" not in entry:
                entry["sha256"] = _digest(self._parts[name])
            yield entry

    def write_manifest(self, manifest: dict[str, Any]) -> None:
        """Write the manifest and rename all files to their final names, since they are complete."""
        text = json_text({**manifest, "files": list(self.entries())}, 1)
        with self._part(MANIFEST) as stream:
            stream.write(f"{text}\n".encode("ascii"))
        for name in self._parts:
            self._free(name)
        if self.force:
            (self.root / MANIFEST).unlink(missing_ok=True)  # it is of what goes now
        for name in list(self._parts):  # the manifest's is the last
            self._parts[name].replace(self.root / name)
            del self._parts[name]


class Sparse:
    """A sparse file of the folder: only written parts take space."""

    def __init__(self, folder: Folder, name: str, **facts: Any) -> None:
        self.name = name
        self.size = 0
        self._folder = folder
        self._stream = folder.add(name, **facts)
        self.facts = folder.files[name]

    def span(self, size: int) -> bool:
        """Extend the file to ``size``; ``False`` if that exceeds the limit."""
        if size > self.size and not self._folder.stretch(size - self.size):
            return False
        self.size = max(self.size, size)
        return True

    def fill(self, size: int) -> bool:
        """Count ``size`` more bytes of content; ``False`` if that exceeds the limit."""
        return self._folder.fill(size)

    def read(self, offset: int, size: int) -> bytes:
        """Bytes written before."""
        self._stream.seek(offset)
        return self._stream.read(size)

    def write(self, offset: int, data: Content) -> None:
        """Put bytes at an offset."""
        self._stream.seek(offset)
        self._stream.write(data)

    def close(self, size: int) -> None:
        """The file is complete, with this many bytes."""
        with contextlib.closing(self._stream):
            self._stream.truncate(size)
        self.facts["bytes"] = size


def _digest(path: Path) -> str:
    """SHA-256 of a file; the zeros of its holes, most of a guest's memory, are not read."""
    digest = hashlib.sha256()
    with path.open("rb", buffering=0) as stream:
        for start, stop, is_hole in _stretches(stream.fileno()):
            stream.seek(start)
            for at in range(start, stop, PIECE):
                size = min(PIECE, stop - at)
                digest.update(ZEROS[:size] if is_hole else stream.read(size))
    return digest.hexdigest()


def _stretches(descriptor: int) -> Iterator[tuple[int, int, bool]]:
    """The holes of a file and the data between them: first byte, end, whether it is a hole."""
    at, end = 0, os.fstat(descriptor).st_size
    while at < end:
        try:
            data = os.lseek(descriptor, at, os.SEEK_DATA)
        except OSError as error:
            if error.errno != errno.ENXIO:
                raise
            data = end  # only a hole up to there
        yield at, data, True
        if data < end:
            at = os.lseek(descriptor, data, os.SEEK_HOLE)
            yield data, at, False
        else:
            at = end


def seen(first_frame: int, first_time: int, last_frame: int, last_time: int) -> dict[str, Any]:
    """Manifest entries: where bytes were seen; empty for a saved migration, which has no frames."""
    if not first_frame:
        return {}
    return {
        "first_frame": first_frame,
        "last_frame": last_frame,
        "first_time": iso_time(first_time),
        "last_time": iso_time(last_time),
    }
