"""Runs the rules: packet rules while the capture streams by, the others at its end.

A finding that a hole in the capture could explain is never an error.
"""

from __future__ import annotations

from analyzer.checks.families import load
from analyzer.checks.finding import FORGIVEN, Finding
from analyzer.checks.main_description import description_anomalies
from analyzer.checks.ordinary import ANSWERED, is_ordinary, is_ordinary_buffer
from analyzer.checks.rule import BY_SLUG, INFO, RULES, Spot, rules_of
from analyzer.checks.selection import Selection, names_rule
from analyzer.checks.tally import Tally
from analyzer.checks.traces import Traced
from analyzer.checks.wording import counted
from analyzer.migration.absent_channels import lacks_channels
from analyzer.migration.anomaly import Anomaly, AnomalyList
from analyzer.migration.consumers import Watcher
from analyzer.migration.outcome import outcome_of
from analyzer.migration.rows import DevicePacket

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from analyzer.checks.payload import PayloadRules
    from analyzer.checks.rule import Rule
    from analyzer.migration.channel import Channel
    from analyzer.migration.consumers import PageCollector
    from analyzer.migration.main_channel import MainFacts
    from analyzer.migration.migration import Migration
    from analyzer.migration.outcome import Outcome
    from analyzer.migration.rows import RamPacket
    from analyzer.migration.scan import Scan
    from analyzer.tcp.flow import Hole

__all__ = ["Checker", "main_spots", "unknown_rules"]

AT_END = ("capture", "channel", "device", "flow", "limit", "metric", "migration")
"""The subjects of rules that run when the capture has been read; those about main, which saved
migrations have too, are :func:`main_spots`'s.
"""


class Checker(Watcher):
    """Watches one scan and applies the rules.

    Pass its ``watchers`` and ``page_collector`` to the scan; when that is done, :meth:`findings`
    returns all findings, the most severe first, then in capture order.
    """

    def __init__(self, selection: Selection | None = None) -> None:
        load()
        self.selection = selection or Selection()
        self._ram = self._chosen("ram", "packet")
        self._device = self._chosen("device-packet", "packet")
        self._every_ram = [r for r in self._ram if r.id not in ANSWERED]
        self._every_device = [r for r in self._device if r.id not in ANSWERED]
        # Looked up once, as there may be thousands of channels and devices.
        self._at_end = {subject: self._chosen(subject) for subject in AT_END}
        self._tally = Tally()
        self._descriptions: dict[MainFacts, list[Anomaly]] = {}
        self._payload: PayloadRules | None = None
        self.page_collector: PageCollector | None = None
        self._traced = Traced(self.selection.traces) if self.selection.traces else None
        if self.selection.deep:
            from analyzer.checks.payload import PayloadRules
            from analyzer.migration.page_payloads import PagePayloads

            self._payload = PayloadRules(self.note)
            self.page_collector = PagePayloads(self._payload, self._payload.records)

    @property
    def watchers(self) -> tuple[Watcher, ...]:
        """Itself, and what compares the packets with trace logs, if there are any."""
        return (self,) if self._traced is None else (self, self._traced)

    def _chosen(self, *subjects: str) -> list[Rule]:
        return [rule for rule in rules_of(*subjects) if self.selection.takes(rule)]

    # -- while the capture streams by ---------------------------------------------------------

    def ram(
        self, migration: Migration, channel: Channel, packet: RamPacket, pages: Sequence[int]
    ) -> None:
        """A RAM or SYNC packet: most rules only run if something is out of the ordinary."""
        ordinary = is_ordinary(packet, channel, migration, pages)
        for rule in self._every_ram if ordinary else self._ram:
            self._packet(rule, packet, channel, migration)

    def device(self, migration: Migration, channel: Channel, packet: DevicePacket) -> None:
        """A device-state packet, likewise."""
        ordinary = is_ordinary_buffer(packet, migration)
        for rule in self._every_device if ordinary else self._device:
            self._packet(rule, packet, channel, migration)

    def clash(self, migration: Migration, channel: Channel, packet: RamPacket, page: int) -> None:
        """A page that was sent on two channels in one round."""
        text = f"offset {page:#x} of {packet.block} was sent in the same round on another channel"
        before = "8.2" if _at_edge(page, packet) else None
        spot = Spot(f"{text} too", channel=channel, mark=packet.mark, noted_before=before)
        self.note("page-twice-in-round", spot, migration)

    def doubtful_size(
        self,
        migration: Migration,
        channel: Channel,
        packet: RamPacket,
        found: int,
        receiver: int,
    ) -> None:
        """A payload whose size contradicts the header."""
        announced = packet.next_packet_size
        if packet.compression or announced == receiver:
            return
        if found == announced:
            agrees = "the next packet is where next_packet_size says"
        elif found == receiver:
            agrees = "the next packet is where the page count says"
        else:
            agrees = f"the next packet is {found} bytes further on, which matches neither"
        slug = "size-zero-with-pages" if not announced else "size-mismatch-nocomp"
        pages = counted(packet.normal_pages, "page")
        text = f"next_packet_size is {announced}, not the {receiver} bytes of {pages}; {agrees}"
        spot = Spot(text, channel=channel, mark=packet.mark)
        self.note(slug, spot, migration)

    def note(self, slug: str, spot: Spot, migration: Migration | None) -> None:
        """Add a finding of the rule with that slug."""
        rule = BY_SLUG[slug]
        if self.selection.takes(rule):
            self._tally.add(rule, spot, migration)

    def _packet(
        self,
        rule: Rule,
        packet: RamPacket | DevicePacket,
        channel: Channel,
        migration: Migration,
    ) -> None:
        result = rule.test(packet, channel, migration)
        if result is None:
            return
        spot = result if isinstance(result, Spot) else Spot(result)
        spot.channel, spot.frame, spot.offset = channel, packet.first.frame, packet.offset
        if isinstance(packet, DevicePacket):
            spot.device = migration.device(packet).name
            spot.index = packet.idx
        self._tally.add(rule, spot, migration)

    # -- at the end ---------------------------------------------------------------------------

    def findings(self, scan: Scan, only: Migration | None = None) -> list[Finding]:
        """All findings so far, or those about the migration ``only``; packet rules included.

        Can be called again after more was read.
        """
        excuses: dict[Migration, _Excuses] = {}
        tally = self._tally.copy()
        for found in self._ends(scan, only):
            tally.add(*found)

        def judge(rule: Rule, spot: Spot, migration: Migration | None) -> Finding:
            if migration is not None and migration not in excuses:
                excuses[migration] = _Excuses(migration)
            known = excuses[migration] if migration is not None else None
            return self._judged(rule, spot, migration, known)

        return tally.findings(judge, only)

    def _ends(
        self, scan: Scan, only: Migration | None
    ) -> Iterator[tuple[Rule, Spot, Migration | None]]:
        for migration in scan.migrations if only is None else [only]:
            for rule, spot in self._of_migration(migration):
                yield rule, spot, migration
            for rule, spot in self._tests("metric", migration, self.selection, scan):
                yield rule, spot, migration
        if only is None:
            for rule in self._at_end["capture"]:
                yield from ((rule, *found) for found in rule.test(scan))
        for slug, spot, owner in self._summed_up(scan):
            if self.selection.takes(rule := BY_SLUG[slug]):
                yield rule, spot, owner

    def _summed_up(self, scan: Scan) -> Iterator[tuple[str, Spot, Migration | None]]:
        """What was counted while the capture streamed by, with the slugs of the rules."""
        if self._payload is not None:
            yield from self._payload.ends()
        if self._traced is not None:
            yield from self._traced.ends(scan)

    def _tests(self, subject: str, *arguments: object) -> Iterator[tuple[Rule, Spot]]:
        """What the selected rules about a subject find, given their ``arguments``."""
        for rule in self._at_end[subject]:
            for spot in rule.test(*arguments):
                yield rule, spot

    def _of_migration(self, migration: Migration) -> Iterator[tuple[Rule, Spot]]:
        for channel in migration.channels:
            for rule, spot in self._of_channel(channel, migration):
                spot.channel = spot.channel or channel
                yield rule, spot
        for device in migration.devices.values():
            for rule, spot in self._tests("device", device, migration):
                spot.device = spot.device or device.name
                yield rule, spot
        yield from self._tests("migration", migration)
        yield from self._tests("limit", migration, self.selection)

    def _of_channel(self, channel: Channel, migration: Migration) -> Iterator[tuple[Rule, Spot]]:
        takes, facts = self.selection.takes, migration.main_facts
        if channel is migration.main and facts is not None:
            spots = main_spots(facts, channel, self._described(facts))
        else:
            spots = anomaly_spots(migration.facts_of(channel).anomalies)
        yield from (found for found in spots if takes(found[0]))
        yield from self._tests("channel", channel, migration)
        yield from self._tests("flow", channel.flow, channel)

    def _described(self, facts: MainFacts) -> list[Anomaly]:
        """Anomalies of its description, which is read only once, when it is complete."""
        if not facts.description_complete:
            return []
        if facts not in self._descriptions:
            self._descriptions[facts] = description_anomalies(facts)
        return self._descriptions[facts]

    # -- excuses ------------------------------------------------------------------------------

    def _judged(
        self, rule: Rule, spot: Spot, migration: Migration | None, excuses: _Excuses | None
    ) -> Finding:
        severity = spot.severity or rule.severity
        if spot.noted_before and migration is not None and migration.before_era(spot.noted_before):
            severity = INFO
        severity = self.selection.severity.get(rule.id, severity)
        excuse = ""
        if severity != INFO and excuses is not None and not spot.certain:
            excuse = excuses.of(rule, spot)
            if excuse:
                severity = INFO
        return Finding(rule, spot, migration, severity, excuse)


def _at_edge(page: int, packet: RamPacket) -> bool:
    """Whether it is the first or the last of a packet's pages, which senders up to 7.2 may send
    twice.
    """
    offsets, last = packet.offsets or b"", 8 * (packet.normal_pages + packet.zero_pages - 1)
    return page.to_bytes(8, "big") in (offsets[:8], offsets[last : last + 8])


def anomaly_spots(anomalies: Sequence[Anomaly]) -> Iterator[tuple[Rule, Spot]]:
    """What walkers reported, as violations of the rules they name."""
    unlisted = anomalies.unlisted() if isinstance(anomalies, AnomalyList) else {}
    last = {anomaly.slug: anomaly for anomaly in anomalies}
    for anomaly in anomalies:
        spot = Spot(
            anomaly.detail,
            frame=anomaly.place.frame or None,
            offset=anomaly.offset,
            device=anomaly.device,
            index=anomaly.index,
        )
        if anomaly is last[anomaly.slug]:
            spot.more = unlisted.get(anomaly.slug, 0)
        yield BY_SLUG[anomaly.slug], spot


def main_spots(
    facts: MainFacts, channel: Channel | None, described: list[Anomaly]
) -> Iterator[tuple[Rule, Spot]]:
    """Violations of the rules that only need a main stream; ``channel`` is ``None`` for a saved
    file.  ``described`` is the result of :func:`description_anomalies`.
    """
    for anomalies in (facts.anomalies, described):
        yield from anomaly_spots(anomalies)
    for rule in rules_of("main"):
        for spot in rule.test(facts, channel):
            yield rule, spot


class _Excuses:
    """What, other than the sender, could explain the findings about a migration.

    What is the same for many findings is found out once, as there may be thousands of channels and
    of findings.
    """

    def __init__(self, migration: Migration) -> None:
        self._migration = migration
        self._of_all: dict[str, str] = {}  # by rule, of findings that name no channel
        self._outcome: Outcome | None = None
        self._holed: list[tuple[Channel, str]] | None = None
        self._lacks: str | None = None
        self._uneven: bool | None = None

    def of(self, rule: Rule, spot: Spot) -> str:
        """The excuse for a finding; empty without one."""
        if spot.channel is not None:
            return self._found(rule, spot)
        if rule.id not in self._of_all:
            self._of_all[rule.id] = self._found(rule, spot)
        return self._of_all[rule.id]

    def _found(self, rule: Rule, spot: Spot) -> str:
        migration = self._migration
        if rule.forgiven:
            self._outcome = outcome = self._outcome or outcome_of(migration)
            if outcome.forgives:
                return FORGIVEN.get(outcome.name, outcome.evidence)
        channels = [spot.channel] if spot.channel is not None else migration.channels
        for channel in channels:
            if text := _own_hole(rule, spot, channel):
                return text
        if "X" in rule.holes and (text := self._elsewhere(spot.channel)):
            return text
        main = migration.main_facts
        if main is not None and not main.missing and (text := _unread(rule, main)):
            return text
        if "S" in rule.holes and self._syncs_differ():
            return "the channels carried different numbers of SYNCs"
        return self._channel_missing() if "C" in rule.holes else ""

    def _elsewhere(self, channel: Channel | None) -> str:
        """The first hole on another channel than that of a finding."""
        if self._holed is None:
            channels = self._migration.channels
            self._holed = [(c, text) for c in channels if (text := _any_hole(c))][:2]
        return next((text for other, text in self._holed if other is not channel), "")

    def _syncs_differ(self) -> bool:
        if self._uneven is None:
            counts = {len(c.syncs) for c in self._migration.multifd if c.packets}
            self._uneven = len(counts) > 1
        return self._uneven

    def _channel_missing(self) -> str:
        if self._lacks is None:
            self._lacks = ""
            if lacks_channels(self._migration):
                self._lacks = "a multifd channel is not in the capture"
                if strangers := self._migration.strangers:
                    stream = strangers[0].stream
                    self._lacks = f"stream {stream} to the same port could not be decoded"
        return self._lacks


def _own_hole(rule: Rule, spot: Spot, channel: Channel) -> str:
    if "L" in rule.holes and channel.incomplete_start:
        return f"the beginning of {channel.name} is not in the capture"
    if channel.holes:
        first = channel.holes[0]
        place = None if spot.channel is None else spot.offset
        before = "G" in rule.holes and (place is None or first.first <= place)
        if before or "A" in rule.holes:
            return _missing(first, channel)
    if "E" in rule.holes and channel.incomplete_end:
        return f"the end of {channel.name} is not in the capture"
    return ""


def _unread(rule: Rule, main: MainFacts) -> str:
    """How what would refute a finding may be in bytes of main that could not be decoded."""
    if "B" in rule.holes:
        end = main.first_section_end
    elif "M" in rule.holes:
        end = main.description
    else:
        return ""
    if main.unread_before(end):
        return f"{counted(main.skipped, 'byte')} of main could not be decoded"
    return "main ends inside a record" if end is None and main.truncated is not None else ""


def _any_hole(channel: Channel) -> str:
    if channel.incomplete_start:
        return f"the beginning of {channel.name} is not in the capture"
    return _missing(channel.holes[0], channel) if channel.holes else ""


def _missing(hole: Hole, channel: Channel) -> str:
    where = f"between frames {hole.before} and {hole.after}"
    return f"{counted(hole.size, 'byte')} of {channel.name} missing {where}"


def unknown_rules(names: Iterable[str]) -> list[str]:
    """Those of the given ids, prefixes and slugs that match no rule."""
    load()
    return [name for name in names if not any(names_rule(rule, (name,)) for rule in RULES.values())]
