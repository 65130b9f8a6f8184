"""The postcopy preempt channel: RAM records without section framing.

Wire-format page, section 6.6.
"""

from __future__ import annotations

from analyzer.migration.account import Account
from analyzer.migration.anomaly import AnomalyList
from analyzer.migration.main_ram import RamWalk
from analyzer.migration.ram_facts import RamFacts
from analyzer.migration.room import Room
from analyzer.tcp.requests import REST, End

TYPE_CHECKING = False
if TYPE_CHECKING:
    from analyzer.migration.broken import Broken, Steps
    from analyzer.tcp.reader import Reader
    from analyzer.tcp.requests import Walker

__all__ = ["Burst", "PreemptFacts", "walk_preempt"]

QUIET = 5_000_000
"""A pause of more than so many ns ends a burst."""
BURSTS_KEPT = 10_000


class Burst:
    """Bytes that came without a longer pause, between two times in ns since the epoch."""

    __slots__ = ("bytes", "end", "start")

    def __init__(self, start: int) -> None:
        self.start = start
        self.end = start
        self.bytes = 0


class PreemptFacts:
    """What the walk of the preempt channel found.

    ``ram`` may have the page size and block list from the main channel; its ``section_ends`` have
    the EOS record with which older senders end the channel.  Bytes are accounted for as on the main
    channel; after a hole everything is skipped, as there are no footers to resume from.  ``bursts``
    say when records came; those beyond :data:`BURSTS_KEPT` count to the last.
    """

    __slots__ = ("anomalies", "bursts", "decoded", "missing", "ram", "skipped")

    def __init__(self, room: Room | None = None) -> None:
        self.anomalies = AnomalyList()
        self.ram = RamFacts(self.anomalies, room or Room())
        self.ram.postcopy = True
        self.bursts: list[Burst] = []
        self.decoded = 0
        self.skipped = 0
        self.missing = 0

    def note(self, reader: Reader, size: int) -> None:
        """Note the ``size`` bytes that the last request took."""
        bursts, came = self.bursts, reader.last.time
        if not bursts or (came - bursts[-1].end > QUIET and len(bursts) < BURSTS_KEPT):
            bursts.append(Burst(reader.first.time))
        bursts[-1].end = max(bursts[-1].end, came)
        bursts[-1].bytes += size


def walk_preempt(reader: Reader, preempt: PreemptFacts) -> Walker:
    """Walk the whole channel, from its first byte on."""
    account = Account(reader, preempt)
    walk = RamWalk(reader, preempt.ram, framed=False, strict=preempt.ram.mem_size is not None)
    broken = yield from _timed(reader, preempt, walk.walk())
    good = reader.offset
    if broken is not None and isinstance(broken.reply, End):
        where = f"the stream ends in {broken.path}"
        preempt.anomalies.note("main-truncated", broken.good, reader.last, where)
    elif broken is not None:
        good = broken.good
    account.settle(good)
    yield REST
    account.settle(good)


def _timed(reader: Reader, preempt: PreemptFacts, steps: Steps) -> Steps:
    """The steps of a walk; notes when the bytes came that it asks for."""
    request = next(steps)
    while True:
        before = reader.offset
        reply = yield request
        if reader.offset > before:
            preempt.note(reader, reader.offset - before)
        try:
            request = steps.send(reply)
        except StopIteration as end:
            broken: Broken | None = end.value
            return broken
