"""``mfshark stats``: text, JSON and the page."""

from __future__ import annotations

import json
import random
import re
import xml.etree.ElementTree as ET
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from analyzer.analysis import analyze
from analyzer.migration.activity import Activity
from analyzer.migration.sendings import BlockSendings, SentPages
from analyzer.migration.statistics import figures_of
from analyzer.report.stats_cells import Heat, Lane, Share
from analyzer.report.stats_html import stats_html
from analyzer.report.stats_json import stats_json
from analyzer.report.stats_plot import _Time
from analyzer.report.stats_text import Bars, stats_text
from analyzer.report.style import Style
from analyzer.synth import synth
from tests.checks.craft import PAGE, Craft, Tiny, ram
from tests.commands.run import mfshark, on_terminal
from tests.schemas import conform
from tests.shipped import NAMES, capture

if TYPE_CHECKING:
    from pathlib import Path

THREE = capture("10.0.13-vfio-3dev-4ch")
EVIL = '<script>alert("x")</script>\x1b[31m&'


def report(path: Path) -> Any:
    return json.loads(mfshark("stats", "--format", "json", path).out)


@pytest.mark.parametrize("name", NAMES)
def test_every_capture_in_every_format(name: str) -> None:
    path = capture(name)
    activity, sent = Activity(), SentPages()
    with analyze(path, watchers=(activity, sent), page_collector=sent) as analysis:
        engine = analysis.scan.engine
        figures = figures_of(analysis.scan, activity)
    for entry in figures:
        entry.count_pages(sent)
    if not figures:
        ran = mfshark("stats", path)
        assert (ran.status, "no migration" in ran.err) == (2, True)
        return
    loaded = json.loads(json.dumps(stats_json(figures, str(path), engine.first_time)))
    conform(loaded, "stats-1")
    text = list(stats_text(figures, Style(), Bars(), engine.first_time))
    page = "".join(stats_html(figures, str(path), engine.first_time))
    count = len(loaded["migrations"])
    assert sum(re.match(r"Migration \d", line) is not None for line in text) == count
    assert page.count("<h2>") == count
    for found in loaded["migrations"]:
        sent, pages = found["pages"], {"pages": 0, "zero_pages": 0}
        for tally in (tally for block in found["ram_blocks"] for tally in block["rounds"]):
            pages = {kind: pages[kind] + tally[kind] for kind in pages}
        normal = (
            "multifd_normal", "main_normal", "main_xbzrle", "main_compressed", "postcopy_normal",
        )  # fmt: skip
        expected = {
            "pages": sum(sent[name] for name in normal),
            "zero_pages": sent["multifd_zero"] + sent["main_zero"] + sent["postcopy_zero"],
        }
        unread = "snaplen" in path.name  # offsets of pages were cut off
        assert pages == ({"pages": 0, "zero_pages": 0} if unread else expected)
    for plot in re.findall(r"<svg.*?</svg>", page, re.DOTALL):
        ET.fromstring(plot)


def test_json_tells_what_the_contract_names() -> None:
    found = report(THREE)["migrations"][0]
    assert found["iterations"] == 1
    assert found["wire_downtime"] == pytest.approx(0.198091)
    assert found["bytes"] == {
        "main": 77542, "multifd_ram": 1294656, "multifd_device_state": 12744804, "postcopy": 0,
    }  # fmt: skip
    phases = {(phase["name"], phase["number"]): phase for phase in found["phases"]}
    scan = phases["iteration", 1]
    assert (scan["normal_pages"], scan["zero_pages"]) == (23, 11067)
    assert [channel["switchover"] for channel in found["channels"]].count("both") == 2
    device = found["devices"][0]
    assert (device["idstr"], device["queue_peak_buffers"]) == ("0000:00:02.0/vfio", 3)
    assert device["end"] - device["start"] >= device["exclusive"] > 0
    assert found["fairness"]["device_state"] == pytest.approx(0.965571)


def test_text_reads_like_this() -> None:
    out = mfshark("stats", "--color", "never", THREE).out
    assert "Downtime on the wire: 198.1 ms, from SWITCHOVER_START to the last byte" in out
    line = next(line for line in out.splitlines() if line.startswith("  device state  "))
    assert re.search(r"\[ +▃█+▆ \]  160.7 ms +81%", line)
    assert "During switchover 2 of 4 channels carried only device state, 2 carried both" in out
    assert (
        "slowest while it carried data: multifd 0 with 12.0 MiB/s; fastest: multifd 2 with" in out
    )
    assert max(map(len, out.splitlines())) <= 160


@pytest.mark.parametrize("columns", [80, 120])
def test_text_fits_the_terminal(columns: int, monkeypatch: pytest.MonkeyPatch) -> None:
    shown = on_terminal(columns, monkeypatch, "stats", THREE)
    assert max(map(len, shown.splitlines())) <= columns
    lacking = set(mfshark("stats", THREE).out.split()) - set(shown.split())
    assert not [word for word in lacking if word.isalnum()]


def test_a_column_is_explained_where_there_is_one() -> None:
    one = mfshark("stats", capture("11.1.3-vfio-config-after-iter-2ch")).out
    for text in (mfshark("stats", THREE).out, one):
        assert text.count("others only") in (0, 2)  # in the heads of the table and explained
    assert "alone: no RAM and no other device's packet on its way\n" in one


def test_a_downtime_of_no_length_is_not_divided_up(tmp_path: Path) -> None:
    recovered, page = capture("8.2.2-preempt-recovered"), tmp_path / "page.html"
    lines = mfshark("stats", "--color", "never", recovered).out.splitlines()
    at = lines.index("Downtime on the wire: 0, from PACKAGED to POSTCOPY_RUN")
    assert lines[at + 2 : at + 4] == ["  all of it came at once", ""]
    mfshark("stats", recovered, "-o", page)
    assert "ms since the switchover began" not in page.read_text("utf-8")


def test_pages_that_were_sent_again_are_shown_where_they_are() -> None:
    lines = mfshark("stats", capture("10.0.13-xbzrle-nomultifd")).out.splitlines()
    at = lines.index("Pages sent more than once")
    assert lines[at + 2].split() == ["block", "where", "once", "3", "to", "4", "most"]
    strip = "[▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁█▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁]"
    assert lines[at + 3].split() == ["pc.ram", strip, "16,128", "256", "3"]
    assert lines[-1].split() == ["7", "256", "0", "256"]
    assert "Pages sent again" not in mfshark("stats", capture("10.0.13-vlan-2ch")).out


def test_counts_that_are_lower_bounds_are_said_to_be_in_text_and_json(tmp_path: Path) -> None:
    path = tmp_path / "far.pcap"
    migration = Tiny()
    migration.multifd[0][2] = ram([0, 1], [(1 << 40) // PAGE, 5], num=2)
    path.write_bytes(migration.pcap())
    for one, far in ((path, True), (THREE, False)):
        (found,) = report(one)["migrations"]
        assert found["uncounted"] is far
        assert found["pages"]["resent_uncounted"] is far
        assert ("these are lower bounds" in mfshark("stats", one).out) is far


def test_a_lost_sync_is_said_to_shift_rounds(tmp_path: Path) -> None:
    path = tmp_path / "lost.pcap"
    migration = Tiny()
    craft = migration.craft()
    said = "  fewer SYNCs seen on multifd 0: pages there may count to an earlier round"
    sync, pages = migration.multifd[0][1:3]
    for lost, shifts in ((sync, True), (pages[-500:], False)):
        kept = Craft()
        kept.frames = [frame for frame in craft.frames if lost not in frame.data]
        path.write_bytes(kept.pcap())
        lines = mfshark("stats", path).out.splitlines()
        assert lines[2].startswith("  the capture lacks")
        assert (said in lines) is shifts


def test_only_the_migration_with_too_many_pages_has_lower_bounds(tmp_path: Path) -> None:
    path = tmp_path / "two.pcap"
    far, near = Tiny(), Tiny()
    far.multifd[0][2] = ram([0, 1], [(1 << 40) // PAGE, 5], num=2)
    near.server_port = 4445
    path.write_bytes(near.craft(far.craft()).pcap())
    assert [found["uncounted"] for found in report(path)["migrations"]] == [True, False]


def test_the_strip_shows_once_and_most() -> None:
    block = BlockSendings(b"a", 4096)
    block.reserve(8)
    for numbers in ((0, 1, 2), (1, 2), (2,)):
        block.count(numbers, 1, zero=False)
    block.end = 8
    assert Bars().heat(Heat(block), 8) == "[▁▅█     ]"
    assert Bars("ascii").heat(Heat(block), 2) == "[# ]"


def test_many_iterations_share_rows_unless_all_are_wanted() -> None:
    path = capture("10.0.13-cancelled-2ch")
    assert "iteration 9 " in mfshark("stats", path).out
    path = capture("10.0.13-midstream-2ch")
    assert "iteration 13-31 " in mfshark("stats", path).out
    assert "iteration 14 " in mfshark("stats", "--verbose", path).out


def test_the_downtime_of_a_guest_that_runs_nowhere_has_no_end_of_the_state() -> None:
    lines = mfshark("stats", capture("10.0.13-vfio-truncated-no-returnpath-2ch")).out.splitlines()
    at = lines.index("Downtime on the wire: 3.37 s, from SWITCHOVER_START to the last byte seen")
    assert lines[at + 1] == "  the destination waits for ever: the guest runs on neither side"


def test_packets_that_were_cut_off_are_told_apart() -> None:
    path = capture("10.0.13-vfio-truncated-no-returnpath-2ch")
    assert (
        "  735.1 KiB of it in a packet that was cut off" in mfshark("stats", path).out.splitlines()
    )
    (found,) = json.loads(mfshark("stats", "--format", "json", path).out)["migrations"]
    cut = [channel["cut_bytes"] for channel in found["channels"]]
    assert cut == [752_736, 0]
    assert [device["cut_buffers"] for device in found["devices"]] == [0, 1]
    state = sum(channel["device_state_bytes"] for channel in found["channels"])
    assert state == found["bytes"]["multifd_device_state"]


def test_the_fastest_channel_is_not_the_one_with_the_shortest_packet() -> None:
    """72 KiB in two frames on the loopback are 6.8 GiB/s, and say nothing of the channel."""
    out = mfshark("stats", "--verbose", capture("10.0.13-multifd-64ch")).out
    assert "multifd 0 with 82.2 MiB/s; fastest: multifd 6 with 447.8 MiB/s" in out
    (row,) = [line.split() for line in out.splitlines() if line.startswith("  multifd 32 ")]
    assert row[2:] == ["3%", "71.9", "KiB", "idle"]
    out = mfshark("stats", capture("10.0.13-vfio-many-small-buffers-4ch")).out
    slow, fast = re.findall(r"slowest .* with (.*); fastest: .* with (.*)", out)[0]
    rates = re.findall(r"^  multifd .* (\S+ \S+/s) +both$", out, re.MULTILINE)
    assert len(rates) == 4
    assert {slow, fast} <= set(rates)


def test_many_channels_are_cut_short_unless_all_are_wanted() -> None:
    path = capture("10.0.13-multifd-64ch")
    short, whole = mfshark("stats", path).out, mfshark("stats", "--verbose", path).out
    assert "... 48 more; mfshark stats --verbose shows all" in short
    assert "multifd 63 " in whole


def test_the_page_needs_nothing_else() -> None:
    page = mfshark("stats", "--format", "html", THREE).out
    assert "<script" not in page
    addresses = set(re.findall(r"https?://[^\"' ]+", page))
    assert addresses == {"http://www.w3.org/2000/svg"}
    assert len(page) < 100_000


def test_names_from_a_capture_are_harmless(tmp_path: Path) -> None:
    path = tmp_path / f"{EVIL.replace('/', '')}.pcap"
    synth({"device": [{"idstr": EVIL}]}, path)
    text, page = mfshark("stats", path).out, mfshark("stats", "--format", "html", path).out
    assert "\x1b" not in text + page
    assert "<script" not in page
    assert "&lt;script&gt;" in page
    assert r"\x1b[31m&amp;" in page
    for plot in re.findall(r"<svg.*?</svg>", page, re.DOTALL):
        ET.fromstring(plot)


def test_no_migration_is_said(tmp_path: Path) -> None:
    path = capture("10.0.13-tls13-x509-2ch-nokeys")
    for kind in ("text", "json", "html"):
        ran = mfshark("stats", "--format", kind, path)
        assert (ran.status, ran.out) == (2, "")
        assert "no migration" in ran.err
    target = tmp_path / "out.json"
    assert mfshark("stats", "--format", "json", "-o", target, THREE).status == 0
    conform(json.loads(target.read_text("utf-8")), "stats-1")


def test_bars_are_drawn_in_blocks_or_in_ascii() -> None:
    bars, plain = Bars(), Bars("ascii")
    lane = Lane([(0, 50), (75, 76)], 0, 100, "ram")
    assert bars.lane(lane, 4) == "[██ ▁]"
    assert plain.lane(lane, 4) == "[## .]"
    assert bars.lane(Lane([(100, 100)], 0, 100, "ram"), 4) == "[   ▁]"
    assert bars.lane(Lane([(5, 5)], 5, 5, "ram"), 4) == "[▁   ]"
    assert bars.share(Share(1, 2), 4) == "██  "
    assert bars.share(Share(0, 0), 4) == "    "


@pytest.mark.parametrize("seed", range(12))
def test_damaged_captures_give_figures_that_make_sense(seed: int, tmp_path: Path) -> None:
    chance = random.Random(seed)
    names = ("10.0.13-vfio-precopy-2ch", "7.2-multifd-2ch", "11.1.3-postcopy-multifd-2ch")
    data = bytearray(capture(names[seed % 3]).read_bytes())
    for _ in range(chance.choice((5, 50, 500))):
        data[chance.randrange(200, len(data))] = chance.choice((0, 1, 0x7E, 255))
    at = chance.randrange(200, len(data))
    del data[at : at + chance.randrange(20_000)]
    path = tmp_path / "damaged.pcapng"
    path.write_bytes(data)
    ran = mfshark("stats", "--format", "json", path)
    if ran.out:
        conform(json.loads(ran.out), "stats-1")
    assert mfshark("stats", path).out.startswith("Migration") == bool(ran.out)


@pytest.mark.parametrize(
    ("last", "ticks"),
    [
        (646.0, [0, 100, 200, 300, 400, 500, 600, 700]),
        (8.0, [0, 1, 2, 3, 4, 5, 6, 7, 8]),
        (8.1, [0, 2, 4, 6, 8, 10]),
        (1e-6, [0, 2e-7, 4e-7, 6e-7, 8e-7, 1e-6]),
        (5e12, [0, 1e12, 2e12, 3e12, 4e12, 5e12]),
    ],
)
def test_time_is_divided_at_round_numbers(last: float, ticks: list[float]) -> None:
    scale = _Time(last)
    assert scale.ticks() == pytest.approx(ticks)
    assert scale.project(scale.ticks()[-1], 10, 970) == 970


@given(st.floats(1e-6, 1e13))
def test_any_time_is_on_a_scale_of_few_parts(last: float) -> None:
    scale = _Time(last)
    assert scale.contains(last)
    assert 2 <= len(scale.ticks()) <= 10


def test_figures_of_very_many_migrations_are_left_to_stats(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("analyzer.report.stats_html.MIGRATIONS_DRAWN", 1)
    two = capture("10.0.13-vfio-two-vms-2ch-3ch")
    page = mfshark("check", "--format", "html", two).out
    assert page.count("<h2>Migration ") == 1
    assert "figures of 1 more migration: mfshark stats --format html" in page
    assert mfshark("stats", "--format", "html", two).out.count("<h2>Migration ") == 2
