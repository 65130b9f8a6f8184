"""The output of ``mfshark records``: the main channel's records as text, CSV or plain data."""

from __future__ import annotations

import csv
import io

from analyzer.report.escape import csv_cell, terminal
from analyzer.report.style import size_text

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from typing import Any

    from analyzer.report.main_lines import MainLine
    from analyzer.report.style import Style
    from dissectors.tree import Node

    Trees = Callable[[MainLine], list[Node]]

__all__ = ["COLUMNS", "Trees", "record_facts", "records_csv", "records_text"]

COLUMNS = (
    "migration", "channel", "tcp_stream", "frame", "last_frame", "time", "offset", "length",
    "record", "name", "depth", "section_id", "instance_id", "value", "normal_pages", "zero_pages",
    "coded_pages", "flushes", "data_bytes", "missing_bytes", "broken",
)  # fmt: skip
"""The columns of CSV, and the keys of plain data."""
HEADINGS = (
    ("Mig", 3, ">"),
    ("Frame", 8, ">"),
    ("Time", 12, ">"),
    ("Offset", 10, ">"),
    ("Record", 18, "<"),
    ("Name", 30, "<"),
    ("Length", 10, ">"),
    ("What it carries", 0, "<"),
)
INDENT = "  "


def records_text(
    lines: Iterable[MainLine], begin: int, style: Style, several: bool, trees: Trees | None
) -> Iterator[str]:
    """Aligned columns; below each record its fields, if ``trees`` gives them.  ``begin`` is the
    time of the first frame in ns, ``several`` says that there is more than one migration.
    """
    columns = HEADINGS if several else HEADINGS[1:]
    yield style.dim(_aligned([title for title, _, _ in columns], columns))
    for line in lines:
        yield _aligned(_cells(line, begin)[0 if several else 1 :], columns)
        if trees is not None:
            yield from _tree(trees(line), 2)


def _cells(line: MainLine, begin: int) -> list[str]:
    place, depth = line.place, line.record.depth if line.record is not None else 0
    kind = line.kind.removeprefix("SECTION_") if line.record is not None else f"<- {line.kind}"
    return [
        str(line.migration.number),
        str(place.frame) if place.frame else "",
        f"{(place.time - begin) / 1e9:.6f}" if place.frame else "",
        str(line.offset),
        INDENT * depth + terminal(kind),
        terminal(line.name),
        size_text(line.length),
        terminal(", ".join(line.carries)),
    ]


def _aligned(cells: list[str], columns: tuple[tuple[str, int, str], ...]) -> str:
    parts = [f"{cell:{way}{width}}" for cell, (_, width, way) in zip(cells, columns, strict=True)]
    return " ".join(parts).rstrip()


def _tree(nodes: Iterable[Node], depth: int) -> Iterator[str]:
    for node in nodes:
        value = f": {node.value}" if node.value else ""
        yield INDENT * depth + terminal(node.name + value)
        yield from _tree(node.children, depth + 1)


def records_csv(lines: Iterable[MainLine], begin: int) -> Iterator[str]:
    """A header, then a line each; names cannot become formulas."""
    made = io.StringIO()
    writer = csv.writer(made, lineterminator="\n")
    writer.writerow(COLUMNS)
    for line in lines:
        facts = line.facts(begin)
        cells = (facts[name] for name in COLUMNS)
        writer.writerow([csv_cell(cell) if isinstance(cell, str) else cell for cell in cells])
        yield made.getvalue()
        made.seek(0)
        made.truncate()
    yield made.getvalue()


def record_facts(line: MainLine, begin: int, trees: Trees | None) -> dict[str, Any]:
    """One line as plain data, with its fields if ``trees`` gives them."""
    told = line.facts(begin)
    facts = {name: told[name] for name in COLUMNS}
    if trees is not None:
        facts["fields"] = [_plain(node) for node in trees(line)]
    return facts


def _plain(node: Node) -> dict[str, Any]:
    made: dict[str, Any] = {
        "name": node.name, "value": node.value, "offset": node.offset, "size": node.size
    }  # fmt: skip
    if node.children:
        made["fields"] = [_plain(child) for child in node.children]
    return made
