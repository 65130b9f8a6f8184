"""Expectations: written of a capture they hold for it; edited they say what does not."""

from __future__ import annotations

import json
import re
import tomllib
from random import Random
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from analyzer.batch.job import Job, run_job
from analyzer.checks.selection import Selection
from analyzer.errors import UsageError
from analyzer.migration.settings import Settings
from analyzer.report import model
from analyzer.report.bounds import Bound
from analyzer.report.expectation import Expectation, _string, facts_of, written
from analyzer.report.result import REPORT, STATS
from analyzer.synth import build
from tests.altered import cut_anew, out_of_order, read
from tests.checks.craft import Tiny, buffer, config
from tests.commands.run import mfshark
from tests.migration.main_streams import configuration, header
from tests.shipped import CAPTURES, FILES, capture, stem

if TYPE_CHECKING:
    from pathlib import Path

DEVICES = "10.0.13-vfio-3dev-4ch"
LOST = "10.0.13-vfio-truncated-no-returnpath-2ch"
VMS = "10.0.13-vfio-two-vms-2ch-3ch"
SAVED = sorted(CAPTURES.glob("*.mig.gz"))
HELD = [path for path in [*FILES.values(), *SAVED] if "nokeys" not in path.name]
ALTERED = (
    DEVICES,
    "10.0.13-vfio-many-small-buffers-4ch",
    "11.1.3-vfio-mixed-on-off-4ch",
    "10.0.13-cancelled-2ch",
)


def expected(path: Path, tmp_path: Path) -> Path:
    """What mfshark expects of a capture, in a file."""
    written = tmp_path / "expect.toml"
    ran = mfshark("expect", path, "-o", written)
    assert ran.status == 0, ran.err
    return written


@pytest.mark.parametrize("path", HELD, ids=stem)
def test_what_was_written_holds(path: Path, tmp_path: Path) -> None:
    ran = mfshark("check", "--expect", expected(path, tmp_path), path)
    assert ran.status == 0, ran.out
    assert "MF961" not in ran.out


@pytest.mark.parametrize("name", ALTERED)
def test_it_holds_however_channels_and_segments_are_ordered(name: str, tmp_path: Path) -> None:
    frames = cut_anew(read(capture(name)), 8948)
    path = tmp_path / "altered.pcap"
    path.write_bytes(out_of_order(frames, 17, Random(name)).pcap())
    ran = mfshark("check", "--expect", expected(capture(name), tmp_path), path)
    assert ran.status == 0, ran.out


def test_the_order_of_migrations_and_devices_does_not_matter(tmp_path: Path) -> None:
    file = expected(capture(VMS), tmp_path)
    head, *parts = re.split(r"(?m)^(?=\[\[migration\]\])", file.read_text(encoding="utf-8"))
    assert len(parts) == 2
    file.write_text(head + "\n".join(reversed(parts)), encoding="utf-8")
    assert mfshark("check", "--expect", file, capture(VMS)).status == 0
    file = expected(capture(DEVICES), tmp_path)
    head, *parts = re.split(r"(?m)^(?=\[\[migration.device\]\])", file.read_text(encoding="utf-8"))
    assert len(parts) == 3
    file.write_text(head + "\n".join(reversed(parts)), encoding="utf-8")
    assert mfshark("check", "--expect", file, capture(DEVICES)).status == 0


def test_state_that_never_came_was_announced_for_multifd_all_the_same(tmp_path: Path) -> None:
    path = tmp_path / "x.pcap"
    path.write_bytes(build({"fault": [{"kind": "devstate-announced-missing"}]}))
    (device,) = tomllib.loads(expected(path, tmp_path).read_text("utf-8"))["migration"][0]["device"]
    assert (device["transfer"], device["buffers"]) == ("multifd", 0)


def test_thousands_of_migrations_are_not_all_compared_with_each_other(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    job = Job(str(capture(DEVICES)), Settings(), Selection(), wants=(REPORT, STATS))
    result = run_job(job)
    assert result.report is not None
    facts = facts_of(result.report, result.stats)
    facts["migration"] *= 100
    expectation = Expectation("\n".join(written(facts, "")), "")
    compared = 0

    def holds(self: Bound, value: object) -> bool:
        nonlocal compared
        compared += 1
        return whole(self, value)

    whole = Bound.holds
    monkeypatch.setattr(Bound, "holds", holds)
    assert not list(expectation.differences(facts, None))
    assert compared < 100 * 100
    facts["migration"] = [{**facts["migration"][0], "outcome": "failed"}] * 2
    told = list(expectation.differences(facts, None))
    assert told[0] == "migrations: expected 100, found 2"
    assert told[1:] == [
        f'migration {n}: outcome: expected "completed", found "failed"' for n in range(2)
    ]


def test_saved_migrations_are_compared_too(tmp_path: Path) -> None:
    path = SAVED[-1]
    file = expected(path, tmp_path)
    text = file.read_text(encoding="utf-8").replace("complete = true", "complete = false")
    file.write_text(text + '[[filter]]\nmust = "vfio.idx >= 0"\n', encoding="utf-8")
    ran = mfshark("check", "--expect", file, path)
    assert ran.status == 1
    assert "saved migration 0: complete: expected false, found true" in ran.out
    assert ">= 1 packets must match, 0 do" in ran.out
    assert (
        "saved migrations: expected 1, found 0"
        in mfshark("check", "--expect", file, capture(DEVICES)).out
    )


def edited(name: str, tmp_path: Path, *changes: tuple[str, str], more: str = "") -> str:
    """The report on a capture whose expectation was edited."""
    file = expected(capture(name), tmp_path)
    text = file.read_text(encoding="utf-8")
    for before, after in changes:
        assert re.search(before, text), before
        text = re.sub(before, after, text, count=1)
    file.write_text(text + more, encoding="utf-8")
    ran = mfshark("check", "--expect", file, capture(name), "--format", "json")
    if ran.status == 2:
        return ran.err
    findings = json.loads(ran.out)["captures"][0]["findings"]
    told = [f["message"] for f in findings if f["rule"] == "MF961"]
    assert ran.status == int(bool(told))
    return "\n".join(told)


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (("buffers = 6", 'buffers = ">= 7"'), "buffers: expected >= 7, found 6"),
        (("buffers = 6", 'buffers = "5..7"'), ""),
        (
            ('downtime = "any"', 'downtime = "<= 1 ms"'),
            "downtime: expected <= 1 ms, found 198.091 ms",
        ),
        (('downtime = "any"', 'downtime = "<= 10 s"'), ""),
        (
            ('source = "any"', 'source = "10.0.0.1:1"'),
            'source: expected "10.0.0.1:1", found "127.0',
        ),
        (("multifd_channels = 4", "multifd_channels = 5"), "expected 5, found 4"),
        (('"iteration", ', ""), "phases: expected "),
        (('idstr = "0000:00:03.0/vfio"', 'idstr = "gone"'), "device gone#0: expected, not found"),
        (('state_digest = "..', 'state_digest = "00'), 'state_digest: expected "00'),
    ],
)
def test_what_differs_is_told(change: tuple[str, str], told: str, tmp_path: Path) -> None:
    found = edited(DEVICES, tmp_path, change)
    assert told in found if told else not found


def test_a_difference_has_the_severity_that_the_user_gives_it(tmp_path: Path) -> None:
    path = capture("10.0.13-vfio-truncated-no-returnpath-2ch")
    expectation = expected(capture("10.0.13-vfio-3dev-4ch"), tmp_path)
    options = ("check", path, "--expect", expectation, "--severity", "MF961=info")
    ran = mfshark(*options, "--format", "json")
    findings = json.loads(ran.out)["captures"][0]["findings"]
    severities = [f["severity"] for f in findings]
    assert {f["severity"] for f in findings if f["rule"] == "MF961"} == {"info"}
    assert severities == sorted(severities, key=["error", "warning", "info"].index)


def test_expected_findings_do_not_count(tmp_path: Path) -> None:
    assert not edited(LOST, tmp_path)
    assert "findings of MF506: none expected, found 1" in edited(
        LOST, tmp_path, ("MF506 = 1\n", "")
    )
    assert "findings of MF506: expected 2, found 1" in edited(
        LOST, tmp_path, ("MF506 = 1", "MF506 = 2")
    )
    assert not edited(LOST, tmp_path, ("MF506 = 1", "vfio-idx-gap = 1"))


@pytest.mark.parametrize(
    ("condition", "told"),
    [
        ('must = "vfio.idx > 2"', ""),
        ('must = "vfio.idx > 20"', "filter vfio.idx > 20: >= 1 packets must match, 0 do"),
        ('must = "multifd.flags.device_state"\ncount = "10..20"', ""),
        ('never = "vfio.idx > 2"', "no packet may match"),
        ('never = "vfio.idx > 20"', ""),
        ('never = "vfio.idxx > 20"', "vfio.idx"),
    ],
)
def test_packets_that_pass_a_filter_are_demanded_or_forbidden(
    condition: str, told: str, tmp_path: Path
) -> None:
    found = edited(DEVICES, tmp_path, more=f"\n[[filter]]\n{condition}\n")
    assert told in found if told else not found


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("schema = 'x'", "schema"),
        ("= 3", "expect.toml"),
        ("schema = 'mfshark/expect/1'\nmigrations = 3", "did you mean migration"),
        ("schema = 'mfshark/expect/1'\n[[migration]]\ndowntim = 3", "did you mean downtime"),
        ("schema = 'mfshark/expect/1'\n[[migration]]\ndowntime = '< 3 parsec'", "parsec"),
        ("schema = 'mfshark/expect/1'\n[[filter]]\ncount = 3", "must or never"),
        ("schema = 'mfshark/expect/1'\nmigration = 3", "table"),
        ("schema = 'mfshark/expect/1'\nmigration = [3]", "table"),
        ("schema = 'mfshark/expect/1'\nfilter = [3]", "table"),
        ("schema = 'mfshark/expect/1'\nfindings = 3", "table"),
        ("schema = 'mfshark/expect/1'\n[findings]\nvfio-idx-gapp = 1", "did you mean vfio-idx-gap"),
        ("schema = 'mfshark/expect/1'\n[[migration]]\ndevice = 3", "table"),
    ],
)
def test_an_expectation_that_makes_no_sense_is_refused(
    text: str, told: str, tmp_path: Path
) -> None:
    file = tmp_path / "expect.toml"
    file.write_text(text, encoding="utf-8")
    ran = mfshark("check", "--expect", file, capture(DEVICES))
    assert ran.status == 2
    assert told in ran.err
    assert "Traceback" not in ran.err


def test_hostile_names_are_written_and_read(tmp_path: Path) -> None:
    made = Tiny()
    made.multifd[0].append(buffer(0, idstr=b'"]\n[[x]]\x1b\x7f\xff\xe2\x80\xae\\'))
    machine = "q35\x9b31m\u202e\u2028\U000e0041".encode()
    made.main[0] = header() + configuration(machine)
    path = tmp_path / "evil.pcap"
    path.write_bytes(made.pcap())
    ran = mfshark("check", "--expect", expected(path, tmp_path), path)
    assert "MF961" not in ran.out
    assert all(map(str.isprintable, mfshark("expect", path).out.splitlines()))


WORDS = st.sampled_from(
    ["schema", "migration", "device", "saved", "findings", "filter", "must", "never", "count",
     "downtime", "idstr", "=", '"mfshark/expect/1"', "3", '">= 3 ms"', '"9..1"', "[", "]", "[[",
     "]]", "{", "}", ".", "\n", "nan", "1979-05-27", '"any"', "9" * 5000, "[" * 5000],
)  # fmt: skip


@given(st.lists(WORDS, max_size=20).map(" ".join))
def test_any_file_is_read_or_refused(text: str) -> None:
    try:
        made = Expectation(f'schema = "mfshark/expect/1"\n{text}', "any.toml")
    except UsageError as error:
        assert str(error).startswith("any.toml: ")  # noqa: PT017
    else:
        for told in made.differences({"findings": {}, "migration": [], "saved": []}, None):
            assert "expected" in told or "packets" in told


@pytest.mark.parametrize("key", ["idstr = [1]", "idstr = {a = 1}", "instance_id = []", "idstr = 1"])
def test_devices_are_told_apart_by_text_and_number(key: str) -> None:
    text = f'schema = "mfshark/expect/1"\n[[migration]]\n[[migration.device]]\n{key}'
    with pytest.raises(UsageError, match="is a text"):
        Expectation(text, "any.toml")


@given(st.text())
def test_text_is_toml(text: str) -> None:
    assert tomllib.loads(f"x = {_string(text)}")["x"] == text
    assert _string(text).isprintable()


@pytest.mark.parametrize(
    ("bound", "holds", "fails"),
    [
        (">= 20", [20, 21.5], [19, "20", None, True]),
        ("10..20", [10, 20], [9, 21]),
        ("<= 300 ms", [0.3, 0], [0.31]),
        ("< 2KiB", [2047], [2048]),
        ("!= 3", [4], [3]),
        ("any", [None, "x", 3], []),
        ("completed", ["completed"], ["failed", 3]),
        (3, [3], [4, "3", True, None]),
        (True, [True], [1, False]),
        (["a", "b"], [["a", "b"]], [["b", "a"], "a"]),
    ],
)
def test_a_bound_holds_for_what_it_allows_and_nothing_else(
    bound: object, holds: list[object], fails: list[object]
) -> None:
    assert all(Bound(bound).holds(value) for value in holds)
    assert not any(Bound(bound).holds(value) for value in fails)


def test_the_page_shows_what_is_written_and_can_be(tmp_path: Path) -> None:
    page = (CAPTURES.parent / "docs/expectations.md").read_text(encoding="utf-8")
    examples = re.findall(r"```toml\n(.*?)```", page, re.DOTALL)
    lines = expected(capture(DEVICES), tmp_path).read_text(encoding="utf-8").splitlines()
    assert set(examples[0].splitlines()) <= set(lines)
    Expectation("\n".join(examples), "page.toml")
    for row in re.findall(r"(?m)^\| `([a-z_]+ = .*)` \|", page):
        (bound,) = tomllib.loads(row).values()
        assert Bound(bound).text


def test_what_the_report_does_not_list_is_counted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(model, "MISSING_LISTED", 1)
    tiny = Tiny()
    tiny.multifd[0][-2:] = [buffer(0), buffer(0), buffer(2), buffer(2), buffer(5), config(7)]
    del tiny.multifd[1][-1]
    path = tmp_path / "x.pcap"
    path.write_bytes(tiny.pcap())
    (device,) = tomllib.loads(expected(path, tmp_path).read_text("utf-8"))["migration"][0]["device"]
    assert (device["missing"], device["duplicates"]) == (4, 2)
