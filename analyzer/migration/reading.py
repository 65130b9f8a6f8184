"""The ways to read a capture: natively, through tshark, or with Multipath TCP reassembled."""

from __future__ import annotations

import os

from analyzer.capture.file import CaptureFile

TYPE_CHECKING = False
if TYPE_CHECKING:
    from analyzer.capture.replayable import ReplayableStream
    from analyzer.capture.source import Source

    Name = str | os.PathLike[str] | bytes
    """A file name, or the capture's bytes."""

__all__ = ["Dissected", "MultipathReading", "Reading"]


class Reading:
    """A capture that is read natively.

    ``file`` gives the frames, and ``source`` are the bytes they are in.  ``through`` says why
    tshark reads the capture, empty if it does not; ``converted`` is what is made of the capture
    before it is read, kept to be read again, or ``None`` if it is read directly.  Raises
    :class:`analyzer.errors.CaptureError` when it is not a capture.
    """

    through = ""
    converted: ReplayableStream | None = None

    def __init__(self, source: Source, name: Name) -> None:
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

    def readable(self) -> Name:
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

    def __init__(self, original: Source, name: Name, tool: str, through: str) -> None:
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

    def __init__(self, capture: Source | Name, name: Name) -> None:
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

    def readable(self) -> Name:
        """See the base class."""
        return self._again.name

    def end(self) -> None:
        """See the base class."""
        self._rejoined.tell(self.file)
