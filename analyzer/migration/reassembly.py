"""Reassembly by index: what buffers are to a receiver that loads them strictly by index.

Wire-format page, sections 5.2 and 5.4.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from analyzer.migration.rows import Buffer

__all__ = [
    "CONFIG",
    "DUPLICATE",
    "IN_ORDER",
    "LATE",
    "MISSING",
    "STATES",
    "Queue",
    "arrival_states",
    "config_of",
    "gaps",
    "index_states",
    "last_needed",
]

IN_ORDER, CONFIG, LATE, DUPLICATE, MISSING = range(5)
"""What became of an index, the worst last: it is shown where there is room for one of several."""
STATES = ("in order", "config", "late", "duplicate", "missing")


def arrival_states(arrivals: Iterable[tuple[int, bool]]) -> Iterator[int]:
    """What each buffer is, in order of arrival, as (idx, whether it is the config state).

    A late one came after one of a higher index; of a duplicate the index was there already.
    """
    seen: set[int] = set()
    highest = -1
    for idx, is_config in arrivals:
        if idx in seen:
            yield DUPLICATE
        elif idx < highest:
            yield LATE
        else:
            yield CONFIG if is_config else IN_ORDER
        seen.add(idx)
        highest = max(highest, idx)


def index_states(arrivals: Sequence[tuple[int, bool]]) -> dict[int, int]:
    """What became of every index that arrived."""
    # The last buffer of an index speaks for all: if it is not the only one, it is a duplicate.
    return dict(zip((idx for idx, _ in arrivals), arrival_states(arrivals), strict=True))


def config_of(buffers: Sequence[Buffer]) -> Buffer | None:
    """The buffer with the config state; the one of the highest index if there are several."""
    return max((b for b in buffers if b.is_config), key=lambda b: b.idx, default=None)


def last_needed(buffers: Sequence[Buffer]) -> int | None:
    """The index up to which every one is needed: the config's, else the highest seen."""
    config = config_of(buffers)
    if config is not None:
        return config.idx
    return max((buffer.idx for buffer in buffers), default=None)


def gaps(buffers: Sequence[Buffer]) -> Iterator[tuple[int, int]]:
    """Ranges (first, last) of indices that are missing below the last needed one, ascending."""
    top = last_needed(buffers)
    expected = 0
    for idx in sorted({buffer.idx for buffer in buffers}):
        if top is None or idx > top:
            return
        if idx > expected:
            yield expected, idx - 1
        expected = idx + 1


class Queue:
    """What a receiver had to hold because an earlier index was missing: the arrivals, replayed as
    QEMU's load thread saw them.

    ``peak_buffers`` and ``peak_bytes`` are lower bounds of what ``x-migration-max-queued-buffers``
    and its size twin would have to allow; ``longest_wait`` (ns) is how long the next index kept
    the receiver waiting while later ones were there, ``waited_for`` that index, ``meanwhile`` how
    many were there when it came; ``waits`` are all such times, (begin, end) in ns, ascending;
    ``waited`` says of every buffer, in order of arrival, how long (ns) later ones had to wait for
    it; ``distance`` is the largest (idx - next expected).
    """

    __slots__ = (
        "distance",
        "longest_wait",
        "meanwhile",
        "peak_buffers",
        "peak_bytes",
        "waited",
        "waited_for",
        "waits",
    )

    def __init__(self, arrived: Iterable[Buffer]) -> None:
        self.peak_buffers = 0
        self.peak_bytes = 0
        self.longest_wait = 0
        self.waited_for: int | None = None
        self.meanwhile = 0
        self.waits: list[tuple[int, int]] = []
        self.waited: list[int] = []
        self.distance = 0
        held: dict[int, int] = {}
        held_bytes = 0
        expected = 0
        since: int | None = None  # the first one that is held came
        for buffer in arrived:
            wait = 0
            if buffer.idx > expected and buffer.idx not in held:
                self.distance = max(self.distance, buffer.idx - expected)
                held[buffer.idx] = buffer.size
                held_bytes += buffer.size
                since = buffer.end_time if since is None else since
                self.peak_buffers = max(self.peak_buffers, len(held))
                self.peak_bytes = max(self.peak_bytes, held_bytes)
            elif buffer.idx == expected:
                if since is not None and buffer.end_time > since:
                    wait = self._waited(buffer, since, len(held))
                expected += 1
                while expected in held:
                    held_bytes -= held.pop(expected)
                    expected += 1
                since = buffer.end_time if held else None
            self.waited.append(wait)

    def _waited(self, buffer: Buffer, since: int, meanwhile: int) -> int:
        wait = buffer.end_time - since
        self.waits.append((since, buffer.end_time))
        if wait > self.longest_wait:
            self.longest_wait, self.waited_for, self.meanwhile = wait, buffer.idx, meanwhile
        return wait
