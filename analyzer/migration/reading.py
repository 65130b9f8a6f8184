"""The ways to read a capture (natively, through tshark, or with Multipath TCP reassembled), and
which of them to take.
"""

from __future__ import annotations

import os

from analyzer.capture.file import CaptureFile
from analyzer.capture.source import Source
from analyzer.errors import CaptureError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from analyzer.capture.replayable import ReplayableStream
    from analyzer.migration.settings import Settings

    Path = str | os.PathLike[str] | bytes
    """A file name, or the capture's bytes."""

__all__ = ["THROUGH_TSHARK", "Dissected", "MultipathReading", "Reading", "Ways"]

THROUGH_TSHARK = ("tshark", "pyshark")
"""Values of ``Settings.via`` that read through tshark."""


class Reading:
    """A capture that is read natively.

    ``file`` gives the frames, and ``source`` are the bytes they are in.  ``through`` says why
    tshark reads the capture, empty if it does not; ``converted`` is what is made of the capture
    before it is read, kept to be read again, or ``None`` if it is read directly.  Raises
    :class:`analyzer.errors.CaptureError` when it is not a capture.
    """

    through = ""
    converted: ReplayableStream | None = None

    def __init__(self, source: Source, name: Path) -> None:
        self.source = source
        self.file = CaptureFile(source)
        self._name = name

    @property
    def format(self) -> str:
        """``pcap`` or ``pcapng``; ``tshark`` for a capture read through tshark."""
        return self.file.format

    @property
    def fraction(self) -> float:
        """The fraction read so far, 0 where that is unknown."""
        source = self._measured
        return min(1.0, source.position / source.raw_size) if source.raw_size else 0.0

    @property
    def _measured(self) -> Source:
        return self.source

    def readable(self) -> Path:
        """A file, or bytes, in which another program finds the same connections."""
        return self._name

    def end(self) -> None:
        """All frames were read: add the notes about the source to ``file``."""
        self.file.notes += self.source.notes

    def close(self) -> None:
        """Nothing more will be read."""


class Dissected(Reading):
    """A capture read through ``tool``, tshark or pyshark, for the reason ``through``.

    Raises what :func:`analyzer.migration.foreign.open_foreign` does; ``original`` then stays open.
    """

    def __init__(self, original: Source, name: Path, tool: str, through: str) -> None:
        from analyzer.capture.dissected import open_dissected
        from analyzer.capture.replayable import ReplayableStream
        from analyzer.migration.foreign import open_foreign

        self._name = name
        self.through = through
        self.file, self._run = open_foreign(original if original.growing else name, tool)
        self._original = original
        if not original.growing:
            original.close()
        self.source = self.file.source
        self.source.path = original.path
        self.converted = ReplayableStream(original.path, lambda: open_dissected(name, tool)[0])

    @property
    def format(self) -> str:
        """See the base class."""
        return "tshark"

    def end(self) -> None:
        """See the base class."""
        from analyzer.migration.foreign import note_end

        note_end(self.file, self._run, self._original)
        if self._original.growing:
            self.file.bytes = self._original.position
        elif isinstance(self._name, bytes):
            self.file.bytes = len(self._name)
        else:
            self.file.bytes = self._original.raw_size

    def close(self) -> None:
        """See the base class."""
        self._run.close()


class MultipathReading(Reading):
    """A capture with its Multipath TCP connections reassembled.

    It is first read from ``capture``, and read again from ``name``.
    """

    def __init__(self, capture: Source | Path, name: Path) -> None:
        from analyzer.capture.multipath import open_rejoined
        from analyzer.capture.replayable import ReplayableStream

        self.source, self._rejoined = open_rejoined(capture)
        self.file = CaptureFile(self.source)
        self._again = ReplayableStream(self.source.path, lambda: open_rejoined(name)[0])
        self.converted = self._again

    @property
    def format(self) -> str:
        """See the base class."""
        return self._rejoined.file.format

    @property
    def _measured(self) -> Source:
        return self._rejoined.file.source

    def readable(self) -> Path:
        """See the base class."""
        return self._again.name

    def end(self) -> None:
        """See the base class."""
        self._rejoined.tell(self.file)


class Ways:
    """Chooses how to read a capture, which is given as for :class:`analyzer.migration.scan.Scan`.

    ``path`` is what to open in order to read it again, ``tool`` the program that dissects and
    decrypts.
    """

    def __init__(self, path: Path | Source, settings: Settings) -> None:
        self.path: Path = path.file or path.path if isinstance(path, Source) else path
        self.tool = "pyshark" if settings.via == "pyshark" else "tshark"
        self._settings = settings
        self._kept: ReplayableStream | None = None  # deletes its file when nothing refers to it

    @property
    def again(self) -> bool:
        """Whether the capture can be read a second time."""
        return isinstance(self.path, bytes) or os.path.isfile(self.path)

    def first(self, capture: Source) -> Reading:
        """The reading that the settings ask for, else the first one to try.

        Raises :class:`analyzer.errors.CaptureError`.
        """
        capture = self._repeatable(capture)
        via = self._settings.via
        if via == "mptcp":
            return MultipathReading(capture, self.path)
        if via in THROUGH_TSHARK:
            return self._dissected(capture, "as asked")
        try:
            return Reading(capture, self.path)
        except CaptureError as error:
            other = None
            if via == "auto" and not error.offset:
                other = self.dissected_instead(capture, str(error.reason))
            if other is None:
                raise
            return other

    def multipath(self) -> Reading:
        """The capture, read again, with Multipath TCP reassembled."""
        return MultipathReading(self.path, self.path)

    def dissected_instead(self, capture: Source, reason: str) -> Reading | None:
        """The capture through tshark; ``None`` if that is not installed or does not know the
        file.
        """
        if isinstance(self.path, bytes) or not self.again or not capture.raw_size:
            return None
        try:
            return self._dissected(capture, reason)
        except CaptureError:
            return None

    def _dissected(self, capture: Source, reason: str) -> Reading:
        note = self._without_pyshark()
        reading = Dissected(capture, self.path, self.tool, reason)
        reading.file.notes += note
        return reading

    def _without_pyshark(self) -> list[str]:
        """Fall back to tshark if pyshark is missing or broken; gives the notes that say so."""
        if self.tool == "tshark":
            return []
        from analyzer.capture.tshark import find, pyshark_fault

        find()
        fault = pyshark_fault()
        if not fault:
            return []
        self.tool = "tshark"
        return [f"read through tshark itself: pyshark cannot be used: {fault}"]

    def _repeatable(self, pipe: Source) -> Source:
        """The capture, or a copy of it in a temporary file if it comes through a pipe and will have
        to be read again.
        """
        asked = self._settings.via in ("mptcp", *THROUGH_TSHARK)
        if self.again or (
            self._settings.keylog is None and (pipe.growing or not (asked or _secrets_ahead(pipe)))
        ):
            return pipe
        from analyzer.capture.replayable import ReplayableStream

        self._kept = ReplayableStream(pipe.path, lambda: pipe)
        source = self._kept.open()
        self.path = self._kept.name
        return source


def _secrets_ahead(source: Source) -> bool:
    from analyzer.capture.secrets import holds_secrets

    return holds_secrets(source)
