"""One pass over a capture: frames in, migrations out."""

from __future__ import annotations

from analyzer.capture.source import open_source
from analyzer.migration.consumers import Consumers
from analyzer.migration.grouping import ENCRYPTED_MAX, KNOWN_MAX, MIGRATIONS_MAX, Grouper
from analyzer.migration.ram_facts import BLOCKS_MAX
from analyzer.migration.reading import MultipathReading, Ways
from analyzer.migration.settings import Settings
from analyzer.tcp.engine import Engine, Multipath

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

    from analyzer.capture.file import CaptureFile
    from analyzer.capture.replayable import ReplayableStream
    from analyzer.capture.source import Source
    from analyzer.migration.consumers import DeviceCollector, PageCollector, Watcher
    from analyzer.migration.migration import Migration
    from analyzer.migration.reading import Path, Reading

__all__ = ["Scan"]

MULTIPATH_NOTE = "Multipath TCP connections are not reassembled; use --via mptcp"

UNTIMED = "the frames carry no times: how long anything took is not known"
UNCOMPARED = "not all retransmissions were compared with the first copy: it would take too long"


class Scan:
    """A pass over a capture.

    ``path`` is a file name, ``-`` for standard input, the capture's bytes, or an open source.
    :meth:`steps` does the work, a batch of frames at a time, and yields the fraction read;
    :meth:`run` does it all.  ``reading`` is how the capture is read, which may change as long as
    nothing was found; ``ways`` chooses it.  ``plaintext`` is the decrypted plaintext of TLS
    connections, to be read again; ``done`` says that the pass is complete.  Raises
    :class:`analyzer.errors.CaptureError` when the file is not a capture; damage further in ends the
    pass and is kept in ``file.damage``.
    """

    def __init__(
        self,
        path: Path | Source,
        settings: Settings | None = None,
        *,
        watchers: tuple[Watcher, ...] = (),
        device_collector: DeviceCollector | None = None,
        page_collector: PageCollector | None = None,
    ) -> None:
        self.settings = settings or Settings()
        self.ways = Ways(path, self.settings)
        self.plaintext: ReplayableStream | None = None
        self.done = False
        self._consumers = Consumers(watchers, device_collector, page_collector)
        capture = open_source(path)
        try:
            self._read(self.ways.first(capture))
        except BaseException:
            capture.close()
            raise

    # -- how it is read -----------------------------------------------------------------------

    def _read(self, reading: Reading) -> None:
        """Set up for reading the capture this way, from the start."""
        self.reading = reading
        self.grouper = Grouper(self.settings, lambda: self.engine.connections, self._consumers)
        self.engine = Engine(
            reading.source, self.grouper.attach, self.grouper.forget, self._found_multipath
        )

    @property
    def path(self) -> Path:
        """What to open in order to read the capture again."""
        return self.ways.path

    @property
    def source(self) -> Source:
        """The source that places' file positions refer to."""
        return self.reading.source

    @property
    def file(self) -> CaptureFile:
        """The file that gives the frames."""
        return self.reading.file

    @property
    def detour(self) -> str:
        """Why the capture is read through tshark although that was not asked for; empty if it is
        not.
        """
        through = self.reading.through
        return f"read through tshark: {through}" if through and self.settings.via == "auto" else ""

    # -- what is found ------------------------------------------------------------------------

    @property
    def migrations(self) -> list[Migration]:
        """The migrations found so far."""
        return self.grouper.migrations

    def steps(self) -> Iterator[float]:
        """Work through the capture; yields the fraction of the file read, 0 where unknown."""
        try:
            yield from self._pass()
        except Multipath:
            self.source.close()
            self._read(self.ways.multipath())
            yield from self._pass()
        if self.settings.via == "auto" and not self.reading.through and self._nothing_found():
            yield from self._pass_through_tshark()
        if self.grouper.untold:
            self.file.notes.append(
                f"channels not read: {self.grouper.untold}, beyond the limits of {MIGRATIONS_MAX} "
                f"migrations, {KNOWN_MAX} channels altogether, or {ENCRYPTED_MAX} encrypted ones"
            )
        self.file.notes.extend(
            f"migration {migration.number} has more than {BLOCKS_MAX} RAM blocks: the others are "
            "not told apart"
            for migration in self.migrations
            if migration.main_facts is not None and migration.main_facts.ram.crowded
        )
        if self.grouper.tls:
            from analyzer.migration.tls import decrypt

            tool = self.ways.tool
            self.plaintext = yield from decrypt(self.reading, self.grouper, self.settings, tool)
        self.done = True

    def _found_multipath(self) -> None:
        """Called for a Multipath TCP connection: read the capture again, if nothing was found
        yet.
        """
        known = isinstance(self.reading, MultipathReading) or MULTIPATH_NOTE in self.file.notes
        if known or self.settings.via != "auto":
            return
        if self.ways.again and not self.source.growing and self._nothing_found():
            raise Multipath
        self.file.notes.append(MULTIPATH_NOTE)

    def _nothing_found(self) -> bool:
        return not self.grouper.migrations and not self.grouper.tls

    def _pass(self) -> Iterator[float]:
        feed, reading = self.engine.feed, self.reading
        try:
            for batch in reading.file.batches():
                feed(batch)
                yield reading.fraction
        finally:
            reading.close()
        self.engine.end()
        self.grouper.end()
        if self.engine.copies.gave_up:
            reading.file.notes.append(UNCOMPARED)
        if self.grouper.migrations and not self.engine.last_time:
            reading.file.notes.append(UNTIMED)
        reading.end()

    def _pass_through_tshark(self) -> Iterator[float]:
        """Make another pass, if tshark can read what native reading could not."""
        from analyzer.migration.foreign import why_foreign

        reason = why_foreign(self.file, self.engine)
        reading = self.ways.dissected_instead(self.source, reason) if reason else None
        if reading is not None:
            self._read(reading)
            yield from self._pass()
        elif reason:
            self.file.notes.append(f"{reason}; --via tshark may find more")

    def run(self) -> Scan:
        """Work through the whole capture."""
        for _ in self.steps():
            pass
        return self
