"""One pass over a capture: frames in, migrations out."""

from __future__ import annotations

import os

from analyzer.capture.file import CaptureFile
from analyzer.capture.source import Source, open_source
from analyzer.migration.framing import Settings
from analyzer.migration.grouping import Grouper
from analyzer.tcp.engine import Engine

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from analyzer.capture.tshark import Spool
    from analyzer.migration.migration import Collector, Migration, Watcher
    from analyzer.tcp.requests import Sink

__all__ = ["Scan"]


class Scan:
    """A capture on its way through the machines.

    ``path`` is a file name, ``-`` for standard input, the capture's bytes, or an open source.
    :meth:`steps` does the work, a batch of frames at a time, and gives the fraction read;
    :meth:`run` does it all.  ``plaintext`` is what was decrypted of TLS connections, to be read
    again.  Raises :class:`analyzer.errors.CaptureError` when the file is no capture; damage further
    in ends the pass and stands in ``file.damage``.
    """

    def __init__(
        self,
        path: str | os.PathLike[str] | bytes | Source,
        settings: Settings | None = None,
        *,
        watchers: tuple[Watcher, ...] = (),
        collector: Collector | None = None,
        device_data: Callable[[Migration], Callable[[tuple[bytes, int]], Sink]] | None = None,
    ) -> None:
        self.settings = settings or Settings()
        self.source = open_source(path)
        self.path = path.path if isinstance(path, Source) else path
        if self.settings.keylog is not None and not self._again():
            self._keep()
        self.file = CaptureFile(self.source)
        self.grouper = Grouper(
            self.settings, watchers=watchers, collector=collector, device_data=device_data
        )
        self.engine = Engine(self.source, self.grouper.attach)
        self.plaintext: Spool | None = None
        self.done = False

    def _again(self) -> bool:
        """Whether the capture can be read a second time."""
        return isinstance(self.path, bytes) or os.path.isfile(self.path)  # noqa: PTH113

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

    def steps(self) -> Iterator[float]:
        """Work through the capture; gives the fraction of the file read, 0 where unknown."""
        feed = self.engine.feed
        size = self.source.raw_size
        for batch in self.file.batches():
            feed(batch)
            yield min(1.0, self.source.position / size) if size else 0.0
        self.engine.end()
        if self.grouper.tls:
            from analyzer.migration.tls import decrypt

            yield from decrypt(self)
        self.done = True

    def run(self) -> Scan:
        """Work through the whole capture."""
        for _ in self.steps():
            pass
        return self
