"""``--format html``: one self-contained page: verdict, findings, tables, device maps, timeline."""

from __future__ import annotations

from analyzer.checks.families import load
from analyzer.checks.rule import RULES, SEVERITIES
from analyzer.checks.wording import counted
from analyzer.report.device_map import device_map
from analyzer.report.escape import html
from analyzer.report.style import size_text
from analyzer.report.web_page import PAGE_END, html_table, page_begin
from analyzer.report.wording import STATES, channel_name, explanation_parts, placed
from analyzer.version import VERSION
from dissectors.multifd import device_name

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from analyzer.report.parts import Json
    from analyzer.report.result import Result

__all__ = ["render"]

PLACES_LISTED = 50
CLASSES = {"error": "error", "warning": "warn", "info": "soft"}
WORDS = {"OK": "", "WARNING": "warn", "CANCELLED": "warn"}
CHANNEL_COLUMNS = (
    "channel", "tcp_stream", "client", "bytes", "packets", "ram_packets", "sync_packets",
    "device_state_packets", "normal_pages", "zero_pages", "holes", "missing_bytes",
)  # fmt: skip
EMPTY = ("", "0 B")
TLS_COLUMNS = (
    "kind", "tcp_stream", "client", "server", "bytes", "bytes_back", "first_frame", "last_frame",
)  # fmt: skip
BLOCK_COLUMNS = ("name", "used_length", "normal_pages", "zero_pages", "encoded_pages")
SECTION_COLUMNS = ("idstr", "instance_id", "section_id", "version", "records", "bytes")
BYTES = frozenset(("bytes", "bytes_back", "missing_bytes", "used_length"))
COUNTS = frozenset((
    "packets", "ram_packets", "sync_packets", "device_state_packets", "normal_pages", "zero_pages",
    "encoded_pages", "holes", "records",
))  # fmt: skip
NUMBERED = frozenset(("tcp_stream", "instance_id", "section_id"))


def render(results: Iterable[Result], fail_on: str) -> Iterator[str]:  # noqa: ARG001
    """The page, in pieces."""
    load()  # results of other processes bring ids only
    results = list(results)
    count = len(results)
    title = results[0].path if count == 1 else f"{count} captures"
    yield page_begin(f"mfshark: {title}", title, f"mfshark {VERSION} check")
    if count > 1:
        yield from _summary(results)
    for number, result in enumerate(results):
        yield from _capture(result, number, count > 1)
    yield PAGE_END


def _summary(results: list[Result]) -> Iterator[str]:
    rows = [
        [
            f'<a href="#capture-{number}">{html(result.path)}</a>',
            _word(result),
            *(f"{n:,}" if (n := result.counts[s]) else "" for s in reversed(SEVERITIES)),
        ]
        for number, result in enumerate(results)
    ]
    yield from html_table(["capture", "verdict", "errors", "warnings", "infos"], rows)


def _word(result: Result) -> str:
    return f'<span class="{WORDS.get(result.label, "error")}">{html(result.label)}</span>'


def _capture(result: Result, number: int, several: bool) -> Iterator[str]:
    if several:
        yield f'<h1 id="capture-{number}">{html(result.path)}</h1>\n'
    yield f'<p class="word">{_word(result)} {html(result.sentence)}</p>\n'
    if result.failure not in (None, result.sentence):
        yield f'<p class="error">{html(str(result.failure))}</p>\n'
    report = result.report or {}
    for note in report.get("notes", ()):
        yield f'<p class="soft">note: {html(note)}</p>\n'
    yield from _findings(result.findings)
    devices = (result.devices or {}).get("migrations", [])
    for number, migration in enumerate(report.get("migrations", ())):
        yield from _migration(migration, devices[number]["devices"], number)
    yield from _records("TLS connections", report.get("tls", []), TLS_COLUMNS)
    saved = report.get("saved_migration", {})
    yield from _records("RAM blocks", saved.get("ram_blocks", []), BLOCK_COLUMNS)
    yield from _records("Sections", saved.get("sections", []), SECTION_COLUMNS)
    yield result.figures or ""


def _findings(findings: list[Json]) -> Iterator[str]:
    """A collapsible section for each rule: its places and its explanation."""
    by_rule: dict[tuple[str, str], list[Json]] = {}
    for finding in findings:
        by_rule.setdefault((finding["severity"], finding["rule"]), []).append(finding)
    if by_rule:
        yield "<h3>Findings</h3>\n"
    for (severity, name), places in by_rule.items():
        rule = RULES[name]
        count = sum(1 + place["repeats"] for place in places)
        opened = " open" if severity != "info" else ""
        yield (
            f'<details{opened}><summary class="{CLASSES[severity]}">{severity} {name} '
            f"{html(rule.slug)}{f' &times; {count}' if count > 1 else ''}</summary>\n<ul>\n"
        )
        for place in places[:PLACES_LISTED]:
            known = " (known)" if place.get("known") else ""
            yield f"<li>{html(placed(place))}{known}</li>\n"
        if (more := count - min(len(places), PLACES_LISTED)) > 0:
            yield f"<li>and {more} more</li>\n"
        yield "</ul>\n"
        for text in "\n\n".join(explanation_parts(rule)).strip().split("\n\n"):
            yield f'<p class="soft">{html(text)}</p>\n'
        yield "</details>\n"


def _migration(migration: Json, devices: list[Json], number: int) -> Iterator[str]:
    channels = [
        {"channel": channel_name(channel["kind"], channel["id"], channel["tcp_stream"]), **channel}
        for channel in sorted(migration["channels"], key=_channel_order)
    ]
    yield from _records(f"Migration {number}: channels", channels, CHANNEL_COLUMNS)
    for device in devices:
        yield from _device(device)


def _channel_order(channel: Json) -> tuple[bool, bool, int]:
    number, stream = channel["id"], channel["tcp_stream"]
    return channel["kind"] == "multifd", number is None, stream if number is None else number


def _records(heading: str, entries: list[Json], columns: Sequence[str]) -> Iterator[str]:
    """The columns that are not empty."""
    if not entries:
        return
    cells = [[_cell(entry, name) for name in columns] for entry in entries]
    used = [n for n in range(len(columns)) if any(row[n] not in EMPTY for row in cells)]
    yield f"<h3>{html(heading)}</h3>\n"
    rows = ([html(row[n]) for n in used] for row in cells)
    yield from html_table([columns[n].replace("_", " ") for n in used], rows)


def _cell(entry: Json, name: str) -> str:
    value = entry[name]
    if name in BYTES:
        return size_text(value)
    if name in COUNTS:
        return f"{value:,}" if value else ""
    return str(value) if value or name in NUMBERED else ""


def _device(device: Json) -> Iterator[str]:
    name = device_name(device["idstr"], device["instance_id"])
    facts = [
        STATES[device["complete"]],
        counted(device["buffers"], "buffer"),
        f"{size_text(device['bytes'])} over multifd",
        f"{size_text(device['main_bytes'])} on main",
    ]
    if device["missing"]:
        ranges = [f"{a}" if a == b else f"{a}-{b}" for a, b in device["missing"][:PLACES_LISTED]]
        facts.append(f"missing {', '.join(ranges)}")
    for cut in device["cut"][:PLACES_LISTED]:
        which = "a buffer" if cut["index"] is None else f"index {cut['index']}"
        facts.append(f"{which} cut off after {cut['arrived']} of {cut['announced']} bytes")
    if device["buffers"] and device["config_index"] is None:
        facts.append("no config buffer")
    if device["out_of_order"]:
        facts.append(f"{device['out_of_order']} late")
    yield f"<h3>Device {html(name)}</h3>\n"
    warned = "error" if device["complete"] is False else "soft"
    yield f'<p class="{warned}">{html(", ".join(facts))}</p>\n'
    if device.get("arrivals") or device["cut"]:
        yield device_map(device)
    if device["state_digest"]:
        yield f'<p class="soft">sha256 of the whole state {html(device["state_digest"])}</p>\n'
