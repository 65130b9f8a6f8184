"""``mfshark stats`` as one self-contained web page: tables, and plots as SVG."""

from __future__ import annotations

from analyzer.checks.wording import counted
from analyzer.migration.intervals import clipped, union
from analyzer.migration.outcome import outcome_of
from analyzer.report.escape import html
from analyzer.report.stats_cells import Heat, Lane, Share
from analyzer.report.stats_plot import COLOURS, Layer, counts_plot, heat_strip, lanes_plot
from analyzer.report.stats_tables import headline, tables_of
from analyzer.report.text import facts_text
from analyzer.report.web_page import PAGE_END, html_table, page_begin
from analyzer.version import VERSION

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from analyzer.migration.statistics import Statistics
    from analyzer.report.stats_cells import Cell, Table

__all__ = ["first_figures", "stats_html"]

MIGRATIONS_DRAWN = 200
ROWS_DRAWN = 64
ROWS_LISTED = 1000
STRIP_CELLS = 256
SWITCHED = "since the switchover began"


def stats_html(figures: Sequence[Statistics], path: str, begin: int) -> Iterator[str]:
    """The page, in pieces; ``begin`` is the time of the capture's first frame (ns)."""
    yield page_begin(
        f"mfshark stats: {path}",
        path,
        f"mfshark {VERSION} stats, {counted(len(figures), 'migration')}",
    )
    for entry in figures:
        yield from _migration_html(entry, begin)
    yield PAGE_END


def first_figures(figures: Sequence[Statistics], begin: int) -> Iterator[str]:
    """The parts of the first migrations, for a page that is about more than their figures: a few
    milliseconds and some 20 KB each are too much for thousands of them.
    """
    for entry in figures[:MIGRATIONS_DRAWN]:
        yield from _migration_html(entry, begin)
    if (more := len(figures) - MIGRATIONS_DRAWN) > 0:
        told = counted(more, "more migration")
        yield f'<p class="soft">figures of {told}: mfshark stats --format html</p>\n'


def _migration_html(figures: Statistics, begin: int) -> Iterator[str]:
    """One migration's part of a page."""
    migration = figures.migration
    outcome = outcome_of(migration)
    yield f"<h2>Migration {migration.number}: {html(outcome.name)}</h2>\n"
    yield f"<p>{html(migration.source)} &rarr; {html(migration.destination)}</p>\n"
    for text in filter(None, (outcome.evidence, facts_text(migration))):
        yield f'<p class="soft">{html(text)}</p>\n'
    for text, warns in headline(figures):
        yield f'<p class="{"warn" if warns else "soft"}">{html(text)}</p>\n'
    for found in tables_of(figures, begin, verbose=True, every_iteration=False):
        yield f"<h3>{html(found.title)}</h3>\n"
        for note in found.notes:
            yield f'<p class="soft">{html(note)}</p>\n'
        if found.rows:
            yield from _plots(found, figures)
            yield from _table(found)


# -- tables ----------------------------------------------------------------------------------------


def _table(found: Table) -> Iterator[str]:
    """The table without its lanes, which the plot shows."""
    lanes = {n for row in found.rows for n, cell in enumerate(row) if isinstance(cell, Lane)}
    used = [
        n
        for n in range(len(found.head))
        if n not in lanes and any(row[n] not in ("", "0") for row in found.rows)
    ]
    rows = [[_cell(row[n], found.head[n]) for n in used] for row in found.rows[:ROWS_LISTED]]
    yield from html_table([found.head[n] for n in used], rows)


def _cell(cell: Cell, head: str) -> str:
    if isinstance(cell, Share):
        part = 100 * cell.part / cell.whole if cell.whole else 0
        colour = COLOURS["ram" if head.startswith("RAM") else "device-state"]
        bar = f'<i style="width:{part:.1f}%;background:{colour}"></i>'
        return f'<span class="share">{bar}</span>'
    if isinstance(cell, Heat):
        return heat_strip(cell.block.heat(cell.block.end, STRIP_CELLS))
    return html(cell) if isinstance(cell, str) else ""


# -- plots -----------------------------------------------------------------------------------------


def _plots(found: Table, figures: Statistics) -> Iterator[str]:
    lanes = [(str(row[0]), row[1]) for row in found.rows if isinstance(row[1], Lane)]
    if lanes:
        window = figures.window
        switched = window is not None and lanes[0][1].begin == window.begin
        yield _lanes(lanes, SWITCHED if switched else "since the first byte")
    if found.title == "Phases":
        yield from _iterations(figures)
    elif found.title == "Channels":
        yield from _channels(figures)


def _lanes(lanes: list[tuple[str, Lane]], since: str) -> str:
    """A row for each row of the table, coloured by kind."""
    rows = lanes[:ROWS_DRAWN]
    layer = Layer("", [COLOURS[lane.kind] for _, lane in rows], [lane.spans for _, lane in rows])
    first = rows[0][1]
    return lanes_plot([label for label, _ in rows], [layer], first.begin, first.end, since)


def _iterations(figures: Statistics) -> Iterator[str]:
    """Pages by iteration, if there are several."""
    scans = [phase for phase in figures.phases if phase.name == "iteration"]
    if len(scans) > 2:
        lines = {"pages with content": [scan.normal_pages for scan in scans]}
        zero = [scan.zero_pages for scan in scans]
        if any(zero):
            lines["zero pages"] = zero
        yield counts_plot(lines, "iteration")


def _channels(figures: Statistics) -> Iterator[str]:
    """What each channel carried when: in the whole migration, and in the switchover."""
    shown = figures.channels[:ROWS_DRAWN]
    spans = [span for entry in shown for span in (*entry.ram, *entry.state)]
    if not spans:
        return
    labels = [entry.channel.name for entry in shown]
    layers = [
        Layer("RAM", [COLOURS["ram"]] * len(shown), [entry.ram for entry in shown]),
        Layer("device state", [COLOURS["device-state"]] * len(shown), [e.state for e in shown]),
    ]
    begin, end = min(span[0] for span in spans), max(span[1] for span in spans)
    yield lanes_plot(labels, layers, begin, end, "since the first packet")
    window = figures.window
    if window is not None and clipped(union(spans), window.begin, window.end):
        yield lanes_plot(labels, layers, window.begin, window.end, SWITCHED)
