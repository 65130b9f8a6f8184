"""Reassembly by index: how the order of buffers affects a receiver, which loads them strictly by
index.

Wire-format page, sections 5.2 and 5.4.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from analyzer.migration.buffers import Buffers
    from analyzer.migration.rows import Buffer

__all__ = [
    "CONFIG",
    "CUT",
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
]

IN_ORDER, CONFIG, LATE, DUPLICATE, MISSING, CUT = range(6)
"""States of an index, the worst last; where only one of several can be shown, it is the worst, but
``MISSING`` goes before ``CUT``: the end of its stream cut a buffer off, of which some arrived.
"""
STATES = ("in order", "config", "late", "duplicate", "missing", "cut off")


def arrival_states(arrivals: Iterable[tuple[int, bool]]) -> Iterator[int]:
    """The state of each buffer; ``arrivals`` are (idx, whether it is the config state) in order of
    arrival.

    A late buffer came after one with a higher index; a duplicate's index had arrived before.
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


def index_states(arrivals: Sequence[tuple[int, bool]], cut: Iterable[int] = ()) -> dict[int, int]:
    """The state of every index that arrived, at least in part; ``cut`` are the indexes of cut-off
    buffers.
    """
    # The last buffer of an index decides: if there are several, it is a duplicate.
    whole = zip((idx for idx, _ in arrivals), arrival_states(arrivals), strict=True)
    return {**dict.fromkeys(cut, CUT), **dict(whole)}


def config_of(buffers: Buffers) -> Buffer | None:
    """The buffer with the config state; of several the one with the highest index."""
    return max(buffers.configs, key=lambda b: b.idx, default=None)


def gaps(buffers: Buffers) -> Iterator[tuple[int, int]]:
    """Ranges (first, last) of missing indices below the last that a receiver needs, which is the
    config state's, else the highest seen; ascending.
    """
    if buffers.are_contiguous:
        return
    config = config_of(buffers)
    expected = 0
    for idx in sorted(set(buffers.idx)):
        if config is not None and idx > config.idx:
            return
        if idx > expected:
            yield expected, idx - 1
        expected = idx + 1


class Queue:
    """What a receiver had to hold because an earlier index was missing: the arrivals, replayed as
    QEMU's load thread sees them.

    ``peak_buffers`` and ``peak_bytes`` are the most buffers and bytes held: lower bounds of what
    ``x-migration-max-queued-buffers`` and ``x-migration-max-queued-buffers-size`` have to allow.
    ``waits`` are the times, (begin, end) in ns, ascending, in which the next index was missing
    while later ones were held; ``longest_wait`` (ns) is the longest of them, ``waited_for`` the
    index it ended with, ``meanwhile`` how many buffers were held then.  ``waited`` has for every
    buffer, in order of arrival, how long (ns) later ones waited for it; ``distance`` is the largest
    (idx - next expected).
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

    def __init__(self, arrived: Buffers) -> None:
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
        since: int | None = None  # arrival of the first buffer held
        for idx, size, time in zip(arrived.idx, arrived.size, arrived.end_time, strict=False):
            wait = 0
            if idx > expected and idx not in held:
                self.distance = max(self.distance, idx - expected)
                held[idx] = size
                held_bytes += size
                since = time if since is None else since
                self.peak_buffers = max(self.peak_buffers, len(held))
                self.peak_bytes = max(self.peak_bytes, held_bytes)
            elif idx == expected:
                if since is not None and time > since:
                    wait = self._waited(idx, since, time, len(held))
                expected += 1
                while expected in held:
                    held_bytes -= held.pop(expected)
                    expected += 1
                since = time if held else None
            self.waited.append(wait)

    def _waited(self, idx: int, since: int, until: int, meanwhile: int) -> int:
        wait = until - since
        self.waits.append((since, until))
        if wait > self.longest_wait:
            self.longest_wait, self.waited_for, self.meanwhile = wait, idx, meanwhile
        return wait
