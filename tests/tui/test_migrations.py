"""Captures with several migrations, and with one that failed."""

from __future__ import annotations

import asyncio

import pytest

from analyzer.migration.settings import Settings
from analyzer.report.packets import HEADINGS
from analyzer.report.style import size_text
from analyzer.tui.document import Document
from analyzer.tui.finding_rows import FindingRows, groups_of
from analyzer.tui.packet_rows import packet_columns
from analyzer.tui.palette import DEFAULT
from analyzer.tui.row_list import RowList
from analyzer.tui.stream_rows import StreamRows
from tests.commands.run import mfshark
from tests.shipped import capture
from tests.tui.driving import SMALL, opened, press, shown

TWO, FAILED = "10.0.13-vfio-two-vms-2ch-3ch", "11.1.3-vfio-queue-limit-exceeded-4ch"
TRUNCATED = "10.0.13-vfio-truncated-no-returnpath-2ch"


def column(rows: RowList, title: str) -> list[str]:
    """A column of a list."""
    at = [column.title for column in rows.rows.columns].index(title)
    cells = [rows.rows.row(position, DEFAULT)[0][at] for position in range(len(rows.rows))]
    return [cell if isinstance(cell, str) else cell[0] for cell in cells]


def test_streams_and_findings_tell_their_migration() -> None:
    async def run() -> None:
        async with opened(capture(TWO)) as (app, pilot):
            await press(pilot, "6")
            streams = app.view.query_one("#stream-list", RowList)
            assert set(column(streams, "Mig")) == {"0", "1"}
            assert column(streams, "What").count("main") == 2
            await press(pilot, "5")
            assert {"", "0", "1"} == set(
                column(app.view.query_one("#finding-list", RowList), "Mig")
            )
            await press(pilot, "M", "1", "6")
            assert set(column(streams, "Mig")) == {"1"}
            assert column(streams, "What").count("main") == 1

    asyncio.run(run())


def test_one_migration_needs_no_number() -> None:
    async def run() -> None:
        async with opened(capture(FAILED)) as (app, pilot):
            await press(pilot, "6")
            titles = [one.title for one in app.view.query_one("#stream-list", RowList).rows.columns]
            assert "Mig" not in titles

    asyncio.run(run())


@pytest.mark.parametrize("screen", ["3", "4"])
def test_why_several_migrations_have_no_phases(screen: str) -> None:
    async def run() -> None:
        async with opened(capture(TWO), (100, 30)) as (app, pilot):
            await press(pilot, screen)
            assert "M chooses a migration to see its phases" in shown(app)
            await press(pilot, "M", "1")
            assert "M chooses" not in shown(app)
            assert "switchover" in shown(app)

    asyncio.run(run())


def test_errors_that_the_failure_explains_stand_before_information() -> None:
    document = Document(str(capture(FAILED)), Settings())
    document.load(lambda: False)
    groups = groups_of(document.findings, None)
    assert not any(group.rank > 1 for group in groups)
    severities = [group.rule.severity for group in groups if not group.rank]
    order = ["error", "warning", "info"]
    assert severities == sorted(severities, key=order.index)
    assert severities[0] == "error"
    rows = FindingRows(groups, set())
    for position, group in enumerate(groups):
        cells = rows.row(position, DEFAULT)[0]
        alone = group.findings[0][1]
        if group.count == 1:
            assert cells[-1] == alone.message
            assert cells[-3] == str(alone.spot.frame or "")
        else:
            assert cells[-1] == group.rule.paragraphs[0][1]


def test_findings_begin_with_the_one_that_the_verdict_names() -> None:
    document = Document(str(capture(TRUNCATED)), Settings())
    document.load(lambda: False)
    first = groups_of(document.findings, None)[0].rule.id
    assert f"first {first} " in mfshark("check", "--quiet", capture(TRUNCATED)).out


def test_sizes_have_their_units() -> None:
    widest = len(size_text(1_036_800))
    assert widest == len("1012.5 KiB")
    for columns in (StreamRows([]).columns, packet_columns("start", False)):
        for one in columns:
            assert one.title not in ("Bytes", "Size") or one.width >= widest
    assert sum(one.width + 1 for one in packet_columns("start", False) if one.optional < 2) <= 80
    assert SMALL[0] == 80


def test_columns_are_called_as_the_command_line_calls_them() -> None:
    titles = {one.title for one in packet_columns("start", True)}
    assert titles - {"", "Last"} <= {heading[0] for heading in HEADINGS}
