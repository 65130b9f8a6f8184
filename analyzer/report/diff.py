"""Two captures, or two saved reports, compared as plain data.

Both sides are turned into facts: for every migration, sections (``parameters``, ``channels``, ...)
of things with fields.  Facts that only one side can provide are left out; times and addresses are
compared only on request.
"""

from __future__ import annotations

from analyzer.errors import CaptureError, UsageError
from analyzer.report.model import SCHEMA as REPORT
from analyzer.report.stats_json import SCHEMA as STATS

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator, Sequence
    from typing import Any, TypeAlias

    from analyzer.report.parts import Json

    Facts: TypeAlias = dict[str, dict[str, Json]]

__all__ = ["SCHEMA", "SECTIONS", "Content", "Difference", "Side", "compare", "diff_json"]

SCHEMA = "mfshark/diff/1"

MIGRATION = ("uuid", "dialect", "ram_era", "page_size", "machine", "outcome")
CHANNEL = (
    "compression", "bytes", "packets", "ram_packets", "sync_packets", "device_state_packets",
    "normal_pages", "zero_pages", "holes", "missing_bytes", "skipped_bytes",
)  # fmt: skip
CHANNEL_ADDRESSES = ("client", "server", "tcp_stream")
PAGES = ("normal_pages", "zero_pages")
DEVICE = (
    "buffers", "bytes", "first_index", "last_index", "missing", "duplicates", "config_index",
    "complete", "main_bytes", "config_bytes",
)  # fmt: skip
DIGESTS = ("digest", "config_digest", "state_digest")
DEVICE_TIMES = (
    "out_of_order", "channels", "queue_peak_buffers", "queue_peak_bytes", "longest_wait",
)  # fmt: skip
PHASE = ("bytes", "main_bytes", *PAGES)
SAVED = ("uuid", "machine", "page_size", "capabilities", "complete")
SAVED_BLOCK = ("used_length", "mapped", *PAGES, "encoded_pages")
SAVED_SECTION = ("version", "records", "bytes")
SECTIONS = (
    "parameters", "channels", "ram", "devices", "phases", "sections", "migrations", "findings",
    "contents",
)  # fmt: skip
"""The sections that can be compared; ``migrations`` is their number, ``sections`` those of saved
migrations, ``contents`` the places where the state of devices begins to differ.
"""


class Side:
    """One side: its name, and the parts of the reports of ``check`` and ``stats`` that are
    available (else ``None``).
    """

    def __init__(self, path: str, capture: Json | None, stats: Json | None) -> None:
        self.path = path
        self.capture = capture
        self.stats = stats

    @classmethod
    def of_saved(cls, path: str, loaded: object) -> Side:
        """The side made from a saved report.  Raises :class:`CaptureError` for anything else."""
        advice = "diff reads captures, and reports of check and stats written with --format json"
        schema = loaded.get("schema") if isinstance(loaded, dict) else None
        if schema == STATS:
            assert isinstance(loaded, dict)
            return cls(path, None, loaded)
        captures = loaded.get("captures") if isinstance(loaded, dict) else None
        if schema != REPORT or not isinstance(captures, list):
            raise CaptureError("is not a report of mfshark", path=path, advice=advice)
        if len(captures) != 1 or not isinstance(captures[0], dict) or "error" in captures[0]:
            raise CaptureError(
                f"reports on {len(captures)} captures, or on none that could be read",
                path=path,
                advice="diff compares one with one",
            )
        return cls(path, captures[0], None)

    def notes(self) -> Iterator[str]:
        """What ``check`` notes about the file: that it ends inside a record, lacks frames, ..."""
        notes = self.capture.get("notes") if self.capture is not None else None
        if isinstance(notes, list):
            yield from (f"{self.path}: {note}" for note in notes)


class Difference:
    """A fact that differs between the sides.  ``field`` is ``None`` if one side lacks the whole
    item: ``a`` and ``b`` then say whether it exists.
    """

    __slots__ = ("a", "b", "field", "migration", "section", "thing")

    def __init__(
        self, migration: int | None, section: str, thing: str, field: str | None, a: Any, b: Any
    ) -> None:
        self.migration = migration
        self.section = section
        self.thing = thing
        self.field = field
        self.a = a
        self.b = b


class Content:
    """Where the state of a device begins to differ: ``part`` is ``main``, ``buffer`` or
    ``config``, ``index`` that of the buffer, ``byte`` the offset in the part or the buffer
    (``None`` where the captures could not be read again).  ``a`` and ``b`` are the bytes there.
    """

    __slots__ = ("a", "b", "byte", "device", "index", "migration", "part")

    def __init__(self, migration: int, device: str, part: str, index: int | None) -> None:
        self.migration = migration
        self.device = device
        self.part = part
        self.index = index
        self.byte: int | None = None
        self.a: bytes | None = None
        self.b: bytes | None = None


# -- facts -----------------------------------------------------------------------------------------


class _Reading:
    """Turns one side into facts.  Raises :class:`CaptureError` for a report with the wrong
    structure.
    """

    def __init__(self, side: Side, *, times: bool, addresses: bool) -> None:
        self.side = side
        self.times = times
        self.addresses = addresses

    def migrations(self) -> list[Facts]:
        """The facts of every migration, or those of a saved migration's main stream."""
        capture, stats = self.side.capture, self.side.stats
        phases = self._list(stats, "migrations") if stats is not None else []
        if capture is None:
            return [self._timed(migration, {}) for migration in phases]
        if "saved_migration" in capture:
            return [self._saved(self._dict(capture, "saved_migration"))]
        found = [self._migration(migration) for migration in self._list(capture, "migrations")]
        for facts, migration in zip(found, phases, strict=False):
            self._timed(migration, facts)
        return found

    def _migration(self, migration: Json) -> Facts:
        channels = self._list(migration, "channels")
        parameters = _pick(migration, MIGRATION)
        multifd = [channel for channel in channels if channel.get("kind") == "multifd"]
        parameters["multifd_channels"] = len(multifd)
        methods = sorted({str(c.get("compression")) for c in multifd})
        parameters["compression"] = ", ".join(methods) or "none"
        ram = self._dict(migration, "ram")
        parameters |= _pick(ram, ("sync_rounds", "resent_pages"))
        if self.addresses:
            parameters |= _pick(migration, ("source", "destination"))
        fields = CHANNEL + (CHANNEL_ADDRESSES if self.addresses else ())
        device_fields = DEVICE + (DEVICE_TIMES if self.times else ())
        devices = self._list(migration, "devices")
        return {
            "parameters": {"": parameters},
            "channels": _things((_channel_name(c), _pick(c, fields)) for c in channels),
            "ram": _things(
                (str(block.get("name")), _pick(block, PAGES)) for block in self._list(ram, "blocks")
            ),
            "devices": _things(
                (_device_name(d), _pick(d, device_fields) | _known(d, DIGESTS)) for d in devices
            ),
        }

    def _timed(self, migration: Json, facts: Facts) -> Facts:
        """Add the facts from ``stats``."""
        facts["phases"] = _things(self._phase(phase) for phase in self._list(migration, "phases"))
        parameters = facts.setdefault("parameters", {}).setdefault("", {})
        parameters |= _pick(migration, ("outcome", "iterations"))
        if self.times:
            parameters |= _pick(migration, ("wire_downtime",))
        return facts

    def _phase(self, phase: Json) -> tuple[str, Json]:
        number = phase.get("number")
        name = str(phase.get("name")) + (f" {number}" if number else "")
        fields = _pick(phase, PHASE)
        start, end = phase.get("start"), phase.get("end")
        if self.times and isinstance(start, int | float) and isinstance(end, int | float):
            fields["duration"] = round(end - start, 9)
        return name, fields

    def _saved(self, saved: Json) -> Facts:
        return {
            "parameters": {"": _pick(saved, SAVED)},
            "ram": _things(
                (str(b.get("name")), _pick(b, SAVED_BLOCK)) for b in self._list(saved, "ram_blocks")
            ),
            "sections": _things(
                (_device_name(s), _pick(s, SAVED_SECTION)) for s in self._list(saved, "sections")
            ),
            "devices": _things(
                (_device_name(d), _pick(d, DEVICE)) for d in self._list(saved, "devices")
            ),
        }

    def findings(self) -> Facts:
        """How often each rule fired on each channel and device."""
        counts: dict[str, Json] = {}
        listed = self._list(self.side.capture, "findings") if self.side.capture is not None else []
        for finding in listed:
            if not self.times and _is_timing(finding):
                continue
            words = [str(finding.get("rule")), str(finding.get("name"))]
            number, channel = finding.get("migration"), finding.get("channel")
            if isinstance(number, int):
                words.append(f"in migration {number}")
            if channel is not None:
                words.append(f"on multifd {channel}")
            if finding.get("device") is not None:
                words.append(f"of {finding['device']}")
            severity = str(finding.get("severity"))
            fields = counts.setdefault(" ".join(words), {})
            repeats = finding.get("repeats", 0)
            more = repeats if isinstance(repeats, int) else 0
            fields[severity] = fields.get(severity, 0) + 1 + more
        return {"findings": counts}

    # -- shapes -------------------------------------------------------------------------------

    def _list(self, owner: Json | None, key: str) -> list[Json]:
        value = owner.get(key) if owner is not None else None
        if not isinstance(value, list) or not all(isinstance(entry, dict) for entry in value):
            raise CaptureError(
                f"is not a report of mfshark: {key!r} is not a list", path=self.side.path
            )
        return value

    def _dict(self, owner: Json, key: str) -> Json:
        value = owner.get(key)
        if not isinstance(value, dict):
            raise CaptureError(
                f"is not a report of mfshark: {key!r} is not an object", path=self.side.path
            )
        return value


def _pick(owner: Json, fields: Iterable[str]) -> Json:
    return {field: owner[field] for field in fields if field in owner}


def _known(owner: Json, fields: Iterable[str]) -> Json:
    """Fields that are not null: digests, for example, are optional."""
    return {field: owner[field] for field in fields if owner.get(field) is not None}


def _things(pairs: Iterable[tuple[str, Json]]) -> dict[str, Json]:
    """Items by name; repeated names get a number."""
    found: dict[str, Json] = {}
    counts: dict[str, int] = {}
    for name, fields in pairs:
        count = counts[name] = counts.get(name, 0) + 1
        found[name if count == 1 else f"{name} ({count})"] = fields
    return found


def _is_timing(finding: Json) -> bool:
    """Whether a finding is a measure or info, which mostly depend on timing."""
    return finding.get("severity") == "info" or str(finding.get("rule")).startswith("MF95")


def _channel_name(channel: Json) -> str:
    number = channel.get("id")
    return str(channel.get("kind")) + ("" if number is None else f" {number}")


def _device_name(device: Json) -> str:
    return f"{device.get('idstr')}#{device.get('instance_id')}"


# -- comparison ------------------------------------------------------------------------------------


def compare(
    a: Side,
    b: Side,
    *,
    times: bool = False,
    addresses: bool = False,
    sections: Collection[str] = SECTIONS,
) -> tuple[list[Difference], list[str]]:
    """The differences in some sections, and notes about the captures and about what could not be
    compared.

    Raises :class:`CaptureError`, and :class:`UsageError` if nothing at all could be compared.
    """
    one, other = (_Reading(s, times=times, addresses=addresses) for s in (a, b))
    ours, theirs = one.migrations(), other.migrations()
    if not _comparable(a, b, ours, theirs).intersection(sections):
        raise UsageError(
            f"{a.path} and {b.path}: there is nothing to compare: "
            + (f"no {' or '.join(sorted(sections))} in both" if sections else "no section is left")
        )
    differences: list[Difference] = []
    for number in range(max(len(ours), len(theirs))):
        if number >= min(len(ours), len(theirs)):
            there = number < len(ours), number < len(theirs)
            differences.append(Difference(number, "migrations", "", None, *there))
        else:
            differences += _compared(number, ours[number], theirs[number])
    notes = list(_notes(a, b, ours, theirs))
    if a.capture is not None and b.capture is not None:
        differences += _compared(None, one.findings(), other.findings())
    return [d for d in differences if d.section in sections], notes


def _comparable(a: Side, b: Side, ours: Sequence[Facts], theirs: Sequence[Facts]) -> set[str]:
    """The sections that both sides have."""
    pairs = zip(ours, theirs, strict=False)
    found = {"migrations", *(section for x, y in pairs for section in x if section in y)}
    if a.capture is not None and b.capture is not None:
        found.add("findings")
        if a.stats is not None and b.stats is not None:  # both are captures, not reports
            found.add("contents")
    return found


def _compared(migration: int | None, ours: Facts, theirs: Facts) -> Iterator[Difference]:
    for section in [section for section in ours if section in theirs]:
        one, other = ours[section], theirs[section]
        things = list(dict.fromkeys([*one, *other]))
        if section == "channels":
            things.sort(key=_by_number)
        for thing in things:
            if thing not in one or thing not in other:
                there = thing in one, thing in other
                yield Difference(migration, section, thing, None, *there)
                continue
            fields = dict.fromkeys([*one[thing], *other[thing]])
            for field in fields:
                known = field in one[thing] and field in other[thing]
                pair = one[thing].get(field), other[thing].get(field)
                if (known or section == "findings") and pair[0] != pair[1]:
                    yield Difference(migration, section, thing, field, *pair)


def _by_number(channel: str) -> tuple[str, int, str]:
    """By kind, then by number."""
    kind, _, number = channel.partition(" ")
    digits = number.partition(" ")[0]
    return kind, int(digits) if digits.isdecimal() and len(digits) < 10 else -1, number


def _notes(a: Side, b: Side, ours: Sequence[Facts], theirs: Sequence[Facts]) -> Iterator[str]:
    for side in (a, b):
        yield from side.notes()
    if a.capture is None or b.capture is None:
        if a.stats is None or b.stats is None:
            yield "only outcomes were compared: one is a report of check, the other of stats"
        else:
            yield "only outcomes and phases were compared: a report of stats has nothing else"
        return
    for side, other in ((a, b), (b, a)):
        if side.stats is None and other.stats is not None:
            yield f"phases were not compared: {side.path} has none"
    digests = [_has_digests(facts) for facts in (ours, theirs)]
    if digests[0] != digests[1]:
        side = b if digests[0] else a
        yield f"digests were not compared: {side.path} has none (check --digest sha256)"


def _has_digests(migrations: Sequence[Facts]) -> bool:
    return any(
        field in DIGESTS
        for facts in migrations
        for device in facts.get("devices", {}).values()
        for field in device
    )


# -- output ----------------------------------------------------------------------------------------


def diff_json(
    a: Side,
    b: Side,
    differences: Sequence[Difference],
    contents: Sequence[Content],
    notes: Sequence[str],
) -> Json:
    """The whole comparison, in the shape of ``analyzer/report/schema/diff-1.json``."""
    return {
        "schema": SCHEMA,
        "a": a.path,
        "b": b.path,
        "same": not differences and not contents,
        "differences": [
            {
                "migration": d.migration,
                "section": d.section,
                "thing": d.thing,
                "field": d.field,
                "a": d.a,
                "b": d.b,
            }
            for d in differences
        ],
        "contents": [
            {
                "migration": c.migration,
                "device": c.device,
                "part": c.part,
                "index": c.index,
                "byte": c.byte,
                "a": None if c.a is None else c.a.hex(),
                "b": None if c.b is None else c.b.hex(),
            }
            for c in contents
        ],
        "notes": list(notes),
    }
