"""One pass over a capture: frames in, migrations out."""

from __future__ import annotations

import os

from analyzer.capture.file import CaptureFile
from analyzer.capture.source import Source, open_source
from analyzer.errors import CaptureError
from analyzer.migration.framing import Settings
from analyzer.migration.grouping import ENCRYPTED_MAX, KNOWN_MAX, MIGRATIONS_MAX, Grouper
from analyzer.tcp.engine import Engine, Multipath

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from analyzer.capture.multipath import Rejoined
    from analyzer.capture.tshark import Conversion, Spool
    from analyzer.migration.migration import Collector, Migration, PageCollector
    from analyzer.migration.watcher import Watcher
    from analyzer.tcp.requests import Sink

__all__ = ["Scan"]

MULTIPATH_NOTE = "connections of Multipath TCP are not put together; --via mptcp does that"

UNCOMPARED = (
    "not all bytes that were sent again were compared with the first: it would take too long"
)


class Scan:
    """A capture on its way through the machines.

    ``path`` is a file name, ``-`` for standard input, the capture's bytes, or an open source.
    :meth:`steps` does the work, a batch of frames at a time, and gives the fraction read;
    :meth:`run` does it all.  ``through`` says why tshark reads the capture, empty where it does
    not; ``converted`` is what it, or putting Multipath TCP together, makes of it, and ``plaintext``
    what was decrypted of TLS connections, to be read again; ``tool`` is who does that.  Raises
    :class:`analyzer.errors.CaptureError` when the file is no capture; damage further in ends the
    pass and stands in ``file.damage``.
    """

    def __init__(
        self,
        path: str | os.PathLike[str] | bytes | Source,
        settings: Settings | None = None,
        *,
        watchers: tuple[Watcher, ...] = (),
        collector: Collector | None = None,
        page_collector: PageCollector | None = None,
        device_data: Callable[[Migration], Callable[[tuple[bytes, int]], Sink]] | None = None,
    ) -> None:
        self.settings = settings or Settings()
        self.source = open_source(path)
        self.path = path.file or path.path if isinstance(path, Source) else path
        self.tool = "pyshark" if self.settings.via == "pyshark" else "tshark"
        asked = self.settings.via in ("mptcp", "tshark", "pyshark")
        if not self._again() and (
            self.settings.keylog is not None
            or (not self.source.growing and (asked or self._secrets_ahead()))
        ):
            self._keep()
        self.through = ""
        self.plaintext: Spool | None = None
        self.converted: Spool | None = None
        self.rejoined: Rejoined | None = None
        self.done = False
        self._run: Conversion | None = None

        def grouper() -> Grouper:
            return Grouper(
                self.settings,
                lambda: self.engine.connections,
                watchers=watchers,
                collector=collector,
                page_collector=page_collector,
                device_data=device_data,
            )

        self._grouper = grouper
        if self.settings.via == "mptcp":
            self._read_rejoined(self.source)
        elif asked:
            self._read_through_tshark("as asked")
        else:
            self._read_natively()

    def _read_natively(self) -> None:
        try:
            self.file = CaptureFile(self.source)
        except CaptureError as error:
            if self.settings.via != "auto" or error.offset or not self._retry(str(error.reason)):
                raise
        else:
            self._start()

    def _start(self) -> None:
        self.grouper = self._grouper()
        self.engine = Engine(
            self.source, self.grouper.attach, self.grouper.forget, self._found_multipath
        )

    def _read_through_tshark(self, reason: str) -> None:
        from analyzer.capture.dissected import open_dissected
        from analyzer.capture.tshark import Spool
        from analyzer.migration.foreign import open_foreign

        note = self._without_pyshark()
        path, tool = self.path, self.tool
        growing = self.source if self.source.growing else None
        self.file, self._run = open_foreign(growing or path, tool)
        self.file.notes += note
        name = self.source.path
        self._original = self.source
        if not growing:
            self.source.close()
        self.source = self.file.source
        self.source.path = name
        self.through = reason
        self.converted = Spool(name, lambda: open_dissected(path, tool)[0])
        self._start()

    def _read_rejoined(self, capture: str | os.PathLike[str] | bytes | Source) -> None:
        """Read it with its connections of Multipath TCP put together."""
        from analyzer.capture.multipath import open_rejoined
        from analyzer.capture.tshark import Spool

        path = self.path
        self.source, self.rejoined = open_rejoined(capture)
        self.file = CaptureFile(self.source)
        self.converted = Spool(self.source.path, lambda: open_rejoined(path)[0])
        self._start()

    def _without_pyshark(self) -> list[str]:
        """Where pyshark is missing or broken, tshark serves, and a note says so."""
        if self.tool == "tshark":
            return []
        from analyzer.capture.tshark import find, pyshark_fault

        find()
        fault = pyshark_fault()
        if not fault:
            return []
        self.tool = "tshark"
        return [f"read through tshark itself: pyshark cannot be used: {fault}"]

    def _retry(self, reason: str) -> bool:
        """Read again through tshark, if that is there and knows the file."""
        if isinstance(self.path, bytes) or not self._again() or not self.source.raw_size:
            return False
        try:
            self._read_through_tshark(reason)
        except CaptureError:
            return False
        return True

    def _again(self) -> bool:
        """Whether the capture can be read a second time."""
        return isinstance(self.path, bytes) or os.path.isfile(self.path)  # noqa: PTH113

    def _secrets_ahead(self) -> bool:
        from analyzer.capture.secrets import holds_secrets

        return holds_secrets(self.source)

    def _keep(self) -> None:
        """Take all of a pipe into a temporary file, which goes away with the scan."""
        from analyzer.capture.tshark import Spool

        pipe = self.source
        self._kept = Spool(pipe.path, lambda: pipe)
        self.source = self._kept.open()
        self.path = self._kept.name

    @property
    def migrations(self) -> list[Migration]:
        """The migrations found so far."""
        return self.grouper.migrations

    @property
    def format(self) -> str:
        """``pcap`` or ``pcapng``; ``tshark`` for what only tshark reads."""
        file = self.file if self.rejoined is None else self.rejoined.file
        return "tshark" if self.through else file.format

    def steps(self) -> Iterator[float]:
        """Work through the capture; gives the fraction of the file read, 0 where unknown."""
        try:
            yield from self._pass()
        except Multipath:
            self.source.close()
            self._read_rejoined(self.path)
            yield from self._pass()
        if self.settings.via == "auto" and not self.through and self._nothing_found():
            from analyzer.migration.foreign import why_foreign

            reason = why_foreign(self)
            if reason and self._retry(reason):
                yield from self._pass()
            elif reason:
                self.file.notes.append(f"{reason}; --via tshark may find more in them")
        if self.grouper.untold:
            self.file.notes.append(
                f"channels not read: {self.grouper.untold}, for no more than {MIGRATIONS_MAX} "
                f"migrations are told apart, with {KNOWN_MAX} channels altogether, "
                f"{ENCRYPTED_MAX} of them encrypted"
            )
        if self.grouper.tls:
            from analyzer.migration.tls import decrypt

            yield from decrypt(self)
        self.done = True

    def _found_multipath(self) -> None:
        """A connection of Multipath TCP begins: read anew, while nobody has been told anything."""
        known = self.rejoined is not None or MULTIPATH_NOTE in self.file.notes
        if known or self.settings.via != "auto":
            return
        if self._again() and not self.source.growing and self._nothing_found():
            raise Multipath
        self.file.notes.append(MULTIPATH_NOTE)

    def _nothing_found(self) -> bool:
        return not self.grouper.migrations and not self.grouper.tls

    def _pass(self) -> Iterator[float]:
        feed = self.engine.feed
        source = self.source if self.rejoined is None else self.rejoined.file.source
        size = source.raw_size
        try:
            for batch in self.file.batches():
                feed(batch)
                yield min(1.0, source.position / size) if size else 0.0
        finally:
            if self._run is not None:
                self._run.close()
        self.engine.end()
        if self.engine.copies.gave_up:
            self.file.notes.append(UNCOMPARED)
        if self._run is not None:
            from analyzer.migration.foreign import note_end

            note_end(self.file, self._run, self._original)
            self.file.bytes = self._size()
        elif self.rejoined is not None:
            self.rejoined.tell(self.file)
        else:
            self.file.notes += self.source.notes

    def _size(self) -> int:
        """Of the capture that tshark read."""
        if self._original.growing:
            return self._original.position
        return len(self.path) if isinstance(self.path, bytes) else os.path.getsize(self.path)  # noqa: PTH202

    def run(self) -> Scan:
        """Work through the whole capture."""
        for _ in self.steps():
            pass
        return self
