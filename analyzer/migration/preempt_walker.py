"""The postcopy preempt channel: RAM records without section framing.

Wire-format page, section 6.6.
"""

from __future__ import annotations

from analyzer.migration.account import Account
from analyzer.migration.anomaly_list import AnomalyList
from analyzer.migration.main_ram import RamWalk
from analyzer.migration.ram_facts import RamFacts
from analyzer.migration.room import Room
from analyzer.tcp.requests import REST, End

TYPE_CHECKING = False
if TYPE_CHECKING:
    from analyzer.tcp.reader import Reader
    from analyzer.tcp.requests import Walker

__all__ = ["PreemptChannel", "walk_preempt"]


class PreemptChannel:
    """What the walk of the preempt channel found.

    ``ram`` may have the page size and block list from the main channel; its ``section_ends`` have
    the EOS record with which older senders end the channel.  Bytes are accounted for as on the main
    channel; after a hole everything is skipped, as there are no footers to resume from.
    """

    __slots__ = ("anomalies", "decoded", "missing", "ram", "skipped")

    def __init__(self, room: Room | None = None) -> None:
        self.anomalies = AnomalyList()
        self.ram = RamFacts(self.anomalies, room or Room())
        self.ram.postcopy = True
        self.decoded = 0
        self.skipped = 0
        self.missing = 0


def walk_preempt(reader: Reader, preempt: PreemptChannel) -> Walker:
    """Walk the whole channel, from its first byte on."""
    account = Account(reader, preempt)
    walk = RamWalk(reader, preempt.ram, framed=False, strict=preempt.ram.mem_size is not None)
    broken = yield from walk.walk()
    good = reader.offset
    if broken is not None and isinstance(broken.reply, End):
        where = f"the stream ends in {broken.path}"
        preempt.anomalies.note("main-truncated", broken.good, reader.last, where)
    elif broken is not None:
        good = broken.good
    account.settle(good)
    yield REST
    account.settle(good)
