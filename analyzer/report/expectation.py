"""Expectations: the facts of a capture, written to a file, edited into bounds, and compared with
other captures.  Times, addresses and uuids only count if the user says so; the order of migrations,
channels and devices never does.
"""

from __future__ import annotations

import json
import sys
import tomllib
from itertools import islice

from analyzer.checks.families import load
from analyzer.checks.rule import BY_SLUG, RULES
from analyzer.checks.selection import no_such_rule
from analyzer.errors import UsageError, did_you_mean
from analyzer.filter.error import FilterError
from analyzer.report.bounds import Bound, shown
from analyzer.report.escape import terminal
from dissectors.multifd import device_name

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from typing import Any, TypeAlias

    from analyzer.filter.filter import Filter
    from analyzer.migration.table import PacketTable
    from analyzer.report.parts import Json

    Bounds: TypeAlias = dict[str, Bound]
    """By the names of facts."""
    Key: TypeAlias = tuple[Any, Any]
    """A device's idstr and instance id."""

__all__ = ["SCHEMA", "Expectation", "facts_of", "written"]

SCHEMA = "mfshark/expect/1"
MASKED = frozenset((
    "downtime", "longest_wait", "out_of_order", "queue_peak_buffers", "uuid", "source",
    "destination",
))  # fmt: skip
"""Facts that differ from run to run: written as ``any``, with the value in a comment."""
SECONDS = frozenset(("downtime", "longest_wait"))
MIGRATION = (
    "uuid", "source", "destination", "outcome", "dialect", "page_size", "machine",
    "multifd_channels", "compression", "iterations", "sync_rounds", "normal_pages", "zero_pages",
    "holes", "missing_bytes", "downtime", "phases",
)  # fmt: skip
DEVICE = (
    "idstr", "instance_id", "transfer", "complete", "buffers", "bytes", "main_bytes", "missing",
    "duplicates", "state_digest", "out_of_order", "queue_peak_buffers", "longest_wait",
)  # fmt: skip
CARRIERS = ("multifd", "main", "postcopy")
"""What carries pages, in figures of stats."""
SAVED = ("uuid", "machine", "page_size", "complete", "sections", "normal_pages", "zero_pages")
KEY = ("idstr", "instance_id")
"""The facts that say which device it is."""
SAVED_DEVICE = ("idstr", "instance_id", "complete", "main_bytes", "config_bytes")
DEVICES = {"migration": DEVICE, "saved": SAVED_DEVICE}
TABLES = {"migration": MIGRATION, "saved": SAVED}
"""The facts that can be expected of migrations in captures, and of saved ones."""
NAMES = {"migration": "migration", "saved": "saved migration"}
FILTER = ("must", "never", "count")


# -- what a capture shows --------------------------------------------------------------------------


def facts_of(report: Json, stats: Json | None) -> Json:
    """The facts that can be expected of a file, from its part of the report and, for a capture, its
    statistics.
    """
    counts: dict[str, int] = {}
    for finding in report["findings"]:
        if finding["severity"] != "info":
            counts[finding["rule"]] = counts.get(finding["rule"], 0) + 1 + finding["repeats"]
    figures = stats["migrations"] if stats is not None else ()
    saved = report.get("saved_migration")
    return {
        "findings": dict(sorted(counts.items())),
        "migration": [
            _migration(*both) for both in zip(report["migrations"], figures, strict=True)
        ],
        "saved": [_saved(saved)] if saved is not None else [],
    }


def _migration(told: Json, figures: Json) -> Json:
    channels = [channel for channel in told["channels"] if channel["kind"] == "multifd"]
    methods = sorted({channel["compression"] for channel in channels})
    pages = figures["pages"]
    return {
        "uuid": told["uuid"],
        "source": told["source"],
        "destination": told["destination"],
        "outcome": told["outcome"],
        "dialect": told["dialect"],
        "page_size": told["page_size"],
        "machine": told["machine"],
        "multifd_channels": len(channels),
        "compression": ", ".join(methods) or None,
        "iterations": figures["iterations"],
        "sync_rounds": told["ram"]["sync_rounds"],
        "normal_pages": sum(pages[f"{where}_normal"] for where in CARRIERS),
        "zero_pages": sum(pages[f"{where}_zero"] for where in CARRIERS),
        "holes": sum(channel["holes"] for channel in told["channels"]),
        "missing_bytes": sum(channel["missing_bytes"] for channel in told["channels"]),
        "downtime": figures["wire_downtime"],
        "phases": list(dict.fromkeys(phase["name"] for phase in figures["phases"])),
        "device": [_device(device) for device in told["devices"]],
    }


def _device(told: Json) -> Json:
    return {
        "idstr": told["idstr"],
        "instance_id": told["instance_id"],
        "transfer": told["transfer"],
        "complete": told["complete"],
        "buffers": told["buffers"],
        "bytes": told["bytes"],
        "main_bytes": told["main_bytes"],
        "missing": told["missing_count"],
        "duplicates": told["duplicate_count"],
        "state_digest": told["state_digest"],
        "out_of_order": told["out_of_order"],
        "queue_peak_buffers": told.get("queue_peak_buffers", 0),
        "longest_wait": told.get("longest_wait", 0.0),
    }


def _saved(told: Json) -> Json:
    blocks = told["ram_blocks"]
    return {
        "uuid": told["uuid"],
        "machine": told["machine"],
        "page_size": told["page_size"],
        "complete": told["complete"],
        "sections": len(told["sections"]),
        "normal_pages": sum(block["normal_pages"] for block in blocks),
        "zero_pages": sum(block["zero_pages"] for block in blocks),
        "device": told["devices"],
    }


# -- as TOML ---------------------------------------------------------------------------------------


def written(facts: Json, capture: str) -> Iterator[str]:
    """The facts as the lines of an expectation, to be edited."""
    yield f"# What mfshark found in {_string(capture)[1:-1]}."
    yield '# Make bounds of values: ">= 20", "10..20", "<= 300 ms", "any"; leave out what does not'
    yield "# matter. Filters: [[filter]] with must = or never = and a display filter."
    yield f"schema = {_string(SCHEMA)}"
    yield ""
    yield "[findings]  # errors and warnings by rule: these, and no others"
    for rule, count in facts["findings"].items():
        yield f"{rule} = {count}"
    for kind, names in TABLES.items():
        for migration in facts[kind]:
            yield ""
            yield f"[[{kind}]]"
            yield from _pairs(migration, names)
            for device in migration["device"]:
                yield ""
                yield f"[[{kind}.device]]"
                yield from _pairs(device, DEVICES[kind])


def _pairs(values: Json, names: Iterable[str]) -> Iterator[str]:
    for name in names:
        value = values[name]
        if value is None:
            continue
        if name in MASKED:
            found = _milliseconds(value) if name in SECONDS else _value(value)
            yield f'{name} = "any"  # {found} here'
        else:
            yield f"{name} = {_value(value)}"


def _milliseconds(seconds: float) -> str:
    """A time with digits enough to tell it from a bound that it misses."""
    return f"{seconds * 1000:.6g} ms"


def _value(value: Any) -> str:
    if isinstance(value, list):
        return f"[{', '.join(map(_value, value))}]"
    return _string(value) if isinstance(value, str) else json.dumps(value)


def _string(text: str) -> str:
    """Text as a TOML string that a terminal may show; a surrogate, which TOML cannot hold, becomes
    a question mark.
    """
    whole = json.dumps(text.encode("utf-8", "replace").decode("utf-8"), ensure_ascii=False)
    return "".join(c if terminal(c) == c else _escaped(ord(c)) for c in whole)


def _escaped(code: int) -> str:
    return f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"


# -- compared --------------------------------------------------------------------------------------


class Expectation:
    """An expectation, read from the TOML ``text`` of the file ``path``.

    Raises :class:`UsageError` that says what is wrong, with the closest name for a misspelt one.
    """

    def __init__(self, text: str, path: str) -> None:
        self.path = path
        try:
            read = tomllib.loads(text)
        except (ValueError, RecursionError) as error:
            raise UsageError(f"{path}: {error}") from None
        if read.get("schema") != SCHEMA:
            raise UsageError(
                f"{path}: schema is not {SCHEMA!r}: 'mfshark expect' writes such files"
            )
        self._check(read, ("schema", "findings", *TABLES, "filter"), "")
        found = read.get("findings")
        self._findings = None if found is None else self._rules(found)
        self._wanted = {
            kind: self._migrations(read[kind], kind) for kind in filter(read.__contains__, TABLES)
        }
        self._filters = self._tables(read.get("filter"), FILTER, "filter")
        for wanted in self._filters:
            if ("must" in wanted) == ("never" in wanted):
                raise UsageError(f"{path}: a filter has either must or never")
            self._compiled(wanted)
            wanted["count"] = self._bound(wanted.get("count", ">= 1"))

    @property
    def needs_packets(self) -> bool:
        """Whether filters need the packets."""
        return bool(self._filters)

    def knows(self, rule: str) -> bool:
        """Whether findings of a rule are expected (in any number)."""
        return self._findings is not None and rule in self._findings

    def differences(self, facts: Json, table: PacketTable | None) -> Iterator[str]:
        """One sentence for each difference from the expectation."""
        if self._findings is not None:
            yield from self._of_findings(facts["findings"])
        for kind, wanted in self._wanted.items():
            yield from self._of_migrations(kind, wanted, facts[kind])
        for condition in self._filters:
            yield from self._of_filter(condition, table)

    def _rules(self, findings: Any) -> Bounds:
        """How often a rule may fire, by its id; the table may have slugs."""
        if not isinstance(findings, dict):
            raise UsageError(f"{self.path}: findings: a table is expected, not {findings!r}")
        load()
        for name in findings:
            if name not in RULES and name not in BY_SLUG:
                raise UsageError(f"{self.path}: findings: {no_such_rule(name)}")
        rules = {name: BY_SLUG[name].id if name in BY_SLUG else name for name in findings}
        return {rule: self._bound(findings[name]) for name, rule in rules.items()}

    def _of_findings(self, found: dict[str, int]) -> Iterator[str]:
        assert self._findings is not None
        for rule, count in self._findings.items():
            yield from _compared("findings of ", rule, count, found.get(rule, 0))
        for rule, number in found.items():
            if rule not in self._findings:
                yield f"findings of {rule}: none expected, found {number}"

    def _of_migrations(self, kind: str, wanted: list[_Wanted], found: list[Json]) -> Iterator[str]:
        """Each expected migration is compared with the one that differs least from it."""
        if len(found) != len(wanted):
            yield f"{NAMES[kind]}s: expected {len(wanted)}, found {len(found)}"
        left = dict(enumerate(found))
        for one in wanted[: len(found)]:
            best, least, fewest = 0, list[str](), sys.maxsize
            for number, got in left.items():
                # As there may be thousands, no more is compared than decides which is the best.
                told = one.differences(f"{NAMES[kind]} {number}", got)
                differences = list(islice(told, fewest))
                if len(differences) < fewest:
                    best, least, fewest = number, differences, len(differences)
                if not fewest:
                    break
            yield from least
            del left[best]

    def _of_filter(self, wanted: Json, table: PacketTable | None) -> Iterator[str]:
        """``table`` is ``None`` if there are no packets: for a saved migration."""
        condition = self._compiled(wanted)
        count = int(condition.mask(table).sum()) if table is not None else 0
        if "never" in wanted and count:
            yield f"filter {condition.text}: no packet may match, {count} do"
        elif "must" in wanted:
            bound = wanted["count"]
            if not bound.holds(count):
                yield f"filter {condition.text}: {bound.text} packets must match, {count} do"

    def _compiled(self, wanted: Json) -> Filter:
        from analyzer.filter.filter import Filter  # seldom needed

        try:
            return Filter(str(wanted.get("must", wanted.get("never"))))
        except FilterError as error:
            raise UsageError(f"{self.path}: {error}") from None

    # -- what a person may have got wrong ---------------------------------------------------------

    def _check(self, table: Any, names: Iterable[str], where: str) -> None:
        place = f"{self.path}: {where}: " if where else f"{self.path}: "
        if not isinstance(table, dict):
            raise UsageError(f"{place}a table is expected, not {table!r}")
        names = tuple(names)
        for name in table:
            if name not in names:
                raise UsageError(f"{place}nothing is called {name!r}{did_you_mean(name, names)}")

    def _tables(self, tables: Any, names: Iterable[str], where: str) -> list[Json]:
        """A list of tables with only these keys; an empty one for ``None``."""
        if not isinstance(tables, list | None):
            raise UsageError(f"{self.path}: [[{where}]]: tables are expected, not {tables!r}")
        for table in tables or ():
            self._check(table, names, where)
        return tables or []

    def _migrations(self, tables: Any, kind: str) -> list[_Wanted]:
        """What is expected of each migration."""
        made = []
        for table in self._tables(tables, (*TABLES[kind], "device"), kind):
            devices = None
            if "device" in table:
                devices = self._devices(table.pop("device"), DEVICES[kind], f"{kind}.device")
            made.append(_Wanted(self._bounds(table), devices))
        return made

    def _devices(self, tables: Any, names: Iterable[str], where: str) -> list[tuple[Key, Bounds]]:
        """Likewise, of devices by their names, which are not bounds."""
        made = []
        for device in self._tables(tables, names, where):
            idstr, instance = key = _key(device)
            if not isinstance(idstr, str) or not isinstance(instance, int):
                raise UsageError(
                    f"{self.path}: [[{where}]]: idstr is a text and instance_id a number, not "
                    f"{idstr!r} and {instance!r}"
                )
            facts = {name: value for name, value in device.items() if name not in KEY}
            made.append((key, self._bounds(facts)))
        return made

    def _bounds(self, table: Json) -> Bounds:
        return {name: self._bound(value) for name, value in table.items()}

    def _bound(self, value: Any) -> Bound:
        """Made before any capture is read, so that an unknown unit is reported."""
        try:
            return Bound(value)
        except ValueError as error:
            raise UsageError(f"{self.path}: {value!r}: {error}") from None


class _Wanted:
    """The bounds on a migration's facts, and on those of its devices; ``None`` if any may be
    there.
    """

    def __init__(self, facts: Bounds, devices: list[tuple[Key, Bounds]] | None) -> None:
        self._facts = facts
        self._devices = devices

    def differences(self, where: str, found: Json) -> Iterator[str]:
        """A sentence for each fact that is out of bounds."""
        for name, bound in self._facts.items():
            yield from _compared(f"{where}: ", name, bound, found[name])
        if self._devices is None:
            return
        left = {_key(device): device for device in found["device"]}
        for key, bounds in self._devices:
            got = left.pop(key, None)
            if got is None:
                yield f"{where}: device {device_name(*key)}: expected, not found"
                continue
            for name, bound in bounds.items():
                yield from _compared(f"{where}: {device_name(*key)}: ", name, bound, got[name])
        for key in left:
            yield f"{where}: device {device_name(*key)}: not expected, found"


def _key(device: Json) -> Key:
    return device.get("idstr", ""), device.get("instance_id", 0)


def _compared(where: str, name: str, bound: Bound, found: Any) -> Iterator[str]:
    if not bound.holds(found):
        timed = name in SECONDS and found is not None
        told = _milliseconds(found) if timed else shown(found)
        yield f"{where}{name}: expected {bound.text}, found {told}"
