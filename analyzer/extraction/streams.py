"""The raw bytes of channels as files."""

from __future__ import annotations

from analyzer.errors import UsageError
from analyzer.extraction.folder import Sparse, seen
from analyzer.migration.channel import id_text
from analyzer.migration.replay import Replay
from analyzer.migration.table import StreamRef

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from analyzer.extraction.folder import Folder
    from analyzer.migration.channel import Channel
    from analyzer.migration.migration import Migration
    from analyzer.migration.scan import Scan

__all__ = ["StreamFiles"]


class StreamFiles:
    """The streams of the channels called ``wanted``: ``main``, ``return-path``, ``postcopy``, or
    the number of a multifd channel.  Bytes missing from the capture are holes of the file.
    """

    def __init__(self, folder: Folder, wanted: Sequence[str]) -> None:
        self._folder = folder
        names = [text.removeprefix("multifd").strip(" -") or text for text in wanted]
        self._wanted = list(dict.fromkeys(names))

    def write(self, scan: Scan) -> Iterator[str]:
        """Read the capture again; returns a list of complaints.

        Raises :class:`analyzer.errors.CaptureError`, and :class:`UsageError` for a channel that
        does not exist.
        """
        chosen = [
            (migration, channel, text)
            for migration in scan.migrations
            for channel in migration.channels
            for text in self._wanted
            if text == _name(channel)
        ]
        found = {text for _, _, text in chosen}
        for text in self._wanted:
            if text not in found:
                names = sorted({_name(c) for m in scan.migrations for c in m.channels})
                raise UsageError(f"no channel is called {text!r}; there are {', '.join(names)}")
        replay = Replay(scan)
        try:
            for migration, channel, _ in chosen:
                yield from self._write(replay, migration, channel)
        finally:
            replay.close()

    def _write(self, replay: Replay, migration: Migration, channel: Channel) -> Iterator[str]:
        flow = channel.flow
        stem = f"m{migration.number}-{channel.name.replace(' ', '-')}"
        name = self._folder.stem(stem) + ".stream"
        file = Sparse(self._folder, name, what="stream", channel=channel.name)
        at = missing = 0
        holes: list[list[int]] = []
        for piece, size in replay.stream_bytes(
            StreamRef.of(flow), 0, flow.offset, flow.first.pos, flow.missing
        ):
            if not file.span(at + size) or (piece is not None and not file.fill(size)):
                yield f"{name}: cut off after {at} bytes, --max-size allows more"
                break
            if piece is not None:
                file.write(at, piece)
            elif holes and holes[-1][1] == at:
                holes[-1][1] = at + size
            else:
                holes.append([at, at + size])
            missing += size if piece is None else 0
            at += size
        file.close(at)
        file.facts |= {
            "migration": migration.number,
            "tcp_stream": channel.stream,
            **seen(flow.first.frame, flow.first.time, flow.last.frame, flow.last.time),
            "missing_bytes": missing,
            "holes": holes,
        }
        if missing:
            yield f"{name}: {missing} bytes are not in the capture, they are zero in the file"


def _name(channel: Channel) -> str:
    if channel.kind != "multifd":
        return channel.kind
    return id_text(channel.id, "stream-")
