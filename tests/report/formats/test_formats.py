"""The formats of ``check``: valid, complete, the same for the same input, safe to show."""

from __future__ import annotations

import csv
import gzip
import io
import json
import os
import re
import sys
import xml.etree.ElementTree as ET
from copy import copy
from importlib import import_module, resources
from pathlib import Path
from typing import Any

import jsonschema
import pyarrow.parquet
import pytest
from hypothesis import given
from hypothesis import strategies as st

from analyzer.batch.job import Job, run_job
from analyzer.checks.rule import RULES
from analyzer.checks.selection import Selection
from analyzer.errors import UsageError
from analyzer.migration.settings import Settings
from analyzer.report.device_map import device_map
from analyzer.report.escape import unicode
from analyzer.report.formats import FORMATS, format_of, parquet
from analyzer.report.formats.csv import COLUMNS
from analyzer.report.result import Result
from analyzer.report.wording import hosted_path
from tests.capture.files import pcap
from tests.checks.craft import Tiny, buffer, sync
from tests.shipped import CAPTURES, capture

HERE = Path(__file__).parent
LOST = "10.0.13-vfio-truncated-no-returnpath-2ch"
CLEAN = "10.0.13-vfio-3dev-4ch"
ANY_TEXT = st.text(st.characters(exclude_categories=()), max_size=20)
PATHS = ANY_TEXT.map(lambda text: os.fsdecode(text.encode("utf-8", "surrogatepass")))
"""As the system gives them: bytes that are no UTF-8 are escaped."""
TEXTS = [name for name in FORMATS if name != "parquet"]


def result_of(path: Path, name: str) -> Result:
    """With everything in it, called by another name."""
    wants = {want for one in FORMATS.values() for want in one.wants}
    result = run_job(Job(str(path), Settings(), Selection(), wants=wants))
    result.path = name
    return result


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> list[Result]:
    broken = tmp_path_factory.mktemp("broken") / "broken.pcap"
    broken.write_bytes(b"\xd4\xc3\xb2\xa1 this is no capture")
    return [
        result_of(capture(LOST), "lost.pcap"),
        result_of(capture(CLEAN), "a b/clean.pcap"),
        result_of(broken, "broken.pcap"),
    ]


def render(name: str, results: list[Result], fail_on: str = "error") -> str:
    return "".join(import_module(FORMATS[name].module).render(results, fail_on))


def test_sarif_is_valid_and_leads_to_the_frame(results: list[Result]) -> None:
    log = json.loads(render("sarif", results))
    schema = json.loads((HERE / "sarif-2.1.0.json").read_text(encoding="utf-8"))
    jsonschema.Draft202012Validator(schema).validate(log)
    (run,) = log["runs"]
    rules = run["tool"]["driver"]["rules"]
    assert {rule["id"] for rule in rules} == set(RULES)
    assert not run["invocations"][0]["executionSuccessful"]
    assert len(run["invocations"][0]["toolExecutionNotifications"]) == 1
    gap = next(r for r in run["results"] if r["ruleId"] == "MF506")
    assert rules[gap["ruleIndex"]]["id"] == "MF506"
    assert gap["level"] == "error"
    assert f"frame {gap['properties']['frame']}" in gap["message"]["text"]
    marks = [next(iter(r["partialFingerprints"].values())) for r in run["results"]]
    assert len(set(marks)) == len(marks)
    assert "a%20b/clean.pcap" in {a["location"]["uri"] for a in run["artifacts"]}


def test_sarif_regions_are_the_frames(tmp_path: Path) -> None:
    path = tmp_path / "faulty.pcap"
    made = Tiny()
    made.multifd[0].insert(1, buffer(0, header={"version": 7}))
    path.write_bytes(made.pcap())
    result = result_of(path, "faulty.pcap")
    found = json.loads(render("sarif", [result]))["runs"][0]["results"]
    finding = next(r for r in found if r["ruleId"] == "MF502")
    region = finding["locations"][0]["physicalLocation"]["region"]
    packed = tmp_path / "faulty.pcap.gz"
    packed.write_bytes(gzip.compress(path.read_bytes()))
    assert result_of(packed, "faulty.pcap.gz").places == result.places
    data = path.read_bytes()[region["byteOffset"] : region["byteOffset"] + region["byteLength"]]
    assert b"\x00\x00\x00\x07" in data


def test_junit_has_a_case_for_every_rule(results: list[Result]) -> None:
    root = ET.fromstring(render("junit", results))
    lost, clean, broken = root.findall("testsuite")
    names = [case.get("name", "") for case in clean.findall("testcase")]
    assert names[0] == "capture can be analysed"
    asked_for = re.compile("MF(415|519|520|618|8..|96[123]|97.)")
    verified = {rule for rule in RULES if not asked_for.match(rule)}
    assert {name.split()[0] for name in names[1:]} == verified
    failed = {c.get("name") for c in lost.findall("testcase") if c.find("failure") is not None}
    assert failed == {"MF506 vfio-idx-gap", "MF203 packet-truncated"}
    assert (clean.get("failures"), broken.get("errors")) == ("0", "1")
    assert root.get("tests") == str(len(root.findall(".//testcase")))
    stricter = ET.fromstring(render("junit", results, "info"))
    assert int(stricter.get("failures", "0")) > int(root.get("failures", "0"))


@pytest.mark.parametrize(
    ("name", "rules"), [("10.0.13-tls13-x509-2ch-nokeys", ["MF119"]), ("", [])]
)
def test_junit_has_no_passing_case_where_nothing_was_verified(
    name: str, rules: list[str], tmp_path: Path
) -> None:
    """A migration that nobody decrypted, and a capture without any."""
    path = capture(name) if name else tmp_path / "empty.pcap"
    if not name:
        path.write_bytes(pcap([(0, bytes(60), 60)]))
    root = ET.fromstring(render("junit", [result_of(path, "x.pcap")]))
    names = [case.get("name", "").split()[0] for case in root.iter("testcase")]
    assert (root.get("errors"), names) == ("1", ["capture", *rules])


def test_junit_of_a_saved_migration_has_the_cases_of_main() -> None:
    saved = CAPTURES / "10.0.13-file-plain.mig.gz"
    root = ET.fromstring(render("junit", [result_of(saved, "x.mig")]))
    names = [case.get("name", "").split()[0] for case in root.iter("testcase")]
    assert names[0] == "capture"
    assert names[1:]
    assert {name[:3] for name in names[1:]} == {"MF6"}


def test_junit_has_cases_of_rules_that_were_asked_for() -> None:
    selection = Selection(max_queued_bytes=0, deep=True, require="completed")
    result = run_job(Job(str(capture(CLEAN)), Settings(), selection))
    assert {"MF519", "MF801", "MF963"} < set(result.rules)
    assert not {"MF520", "MF961", "MF971"} & set(result.rules)


@pytest.mark.parametrize(
    ("name", "begin"),
    [
        ("11.1.3-load-failed-noreturnpath-2ch", "FAILED: migration failed ("),
        ("10.0.13-cancelled-2ch", "CANCELLED: migration cancelled ("),
    ],
)
def test_junit_tells_how_it_ended_though_no_rule_was_broken(name: str, begin: str) -> None:
    root = ET.fromstring(render("junit", [result_of(capture(name), "x")]))
    assert root.get("failures") == "0"
    assert (root.findtext("testsuite/system-out") or "").startswith(begin)


@pytest.mark.parametrize("name", ["json", "sarif", "gitlab"])
def test_many_findings_come_in_pieces(name: str, results: list[Result]) -> None:
    """For their text takes ten times their memory."""
    many = copy(results[0])
    many.report = {**(many.report or {}), "findings": many.findings[:1] * 3000}
    pieces = list(import_module(FORMATS[name].module).render([many], "error"))
    assert max(map(len, pieces)) < sum(map(len, pieces)) / 5


def test_github_annotations(results: list[Result]) -> None:
    lines = render("github", results).splitlines()
    assert lines[0].startswith(
        "::error file=lost.pcap,title=MF506 vfio-idx-gap::idx 3 is missing: "
    )
    assert sum(line.startswith("::error") for line in lines) == 3
    assert all(line.startswith(("::error ", "::warning ")) for line in lines)


def test_github_gets_infos_only_where_they_count(results: list[Result]) -> None:
    lost = results[:1]
    infos = [f for f in lost[0].findings if f["severity"] == "info"]
    lines = render("github", lost, "info").splitlines()
    assert sum(line.startswith("::notice ") for line in lines) == len(infos) > 0
    assert "::notice" not in render("github", lost, "warning")


@pytest.mark.parametrize(
    ("name", "begin"),
    [
        ("11.1.3-load-failed-noreturnpath-2ch", "::warning file=x,title=mfshark FAILED::migration"),
        ("10.0.13-cancelled-2ch", "::notice file=x,title=mfshark CANCELLED::migration cancelled"),
    ],
)
def test_github_is_told_how_it_ended_though_no_rule_was_broken(name: str, begin: str) -> None:
    result = result_of(capture(name), "x")
    assert result.status == 0
    assert render("github", [result]).startswith(begin)


def test_github_is_told_nothing_of_what_went_well() -> None:
    assert render("github", [result_of(capture(CLEAN), "x")]) == ""


@pytest.mark.parametrize("name", ["github", "gitlab", "junit", "sarif", "html"])
def test_channels_have_the_names_of_the_text_report(name: str) -> None:
    text = render(name, [result_of(capture("10.0.13-midstream-2ch"), "late.pcap")], "info")
    for place in ("main", "multifd ? (stream 0)", "multifd ? (stream 1)"):
        assert f"(migration 0, {place}, frame " in text, place
    if name == "html":
        rows = re.findall(r"<tr><td[^>]*>((?:main|multifd)[^<]*)<", text)
        assert rows[:3] == ["main", "multifd ? (stream 0)", "multifd ? (stream 1)"]


def test_gitlab_code_quality(results: list[Result]) -> None:
    issues = json.loads(render("gitlab", results))
    assert len({issue["fingerprint"] for issue in issues}) == len(issues)
    assert {i["severity"] for i in issues} <= {"info", "minor", "major", "critical", "blocker"}
    assert issues[-1]["location"] == {"path": "broken.pcap", "lines": {"begin": 1}}


def test_csv_has_a_line_for_every_finding(results: list[Result]) -> None:
    rows = list(csv.DictReader(io.StringIO(render("csv", results))))
    assert len(rows) == 1 + sum(len((r.report or {}).get("findings", ())) for r in results)
    assert rows[0]["rule"] == "MF506"
    assert rows[-1]["name"] == "broken"


def test_what_a_baseline_knows_fails_nothing(results: list[Result]) -> None:
    result = Result("x", 0, "ERROR", "known")
    result.rules = ["MF506"]
    finding = next(f for f in results[0].findings if f["rule"] == "MF506")
    result.report = {"path": "x", "findings": [{**finding, "known": True}]}
    assert ET.fromstring(render("junit", [result])).get("failures") == "0"
    assert render("github", [result]) == ""
    assert json.loads(render("gitlab", [result])) == []
    (row,) = csv.DictReader(io.StringIO(render("csv", [result])))
    assert row["known"] == "true"
    (told,) = json.loads(render("sarif", [result]))["runs"][0]["results"]
    assert told["suppressions"][0]["kind"] == "external"
    assert "(known)" in render("html", [result])


def test_html_shows_verdict_findings_maps_and_timeline(results: list[Result]) -> None:
    page = render("html", results)
    for text in ("MF506", "0000:00:03.0/vfio#0", "INCOMPLETE", "Phases", 'class="map"', "broken"):
        assert text in page
    facts = (
        "machine pc-q35-10.0, dialect upstream (QEMU 10.0 and later), RAM packets as of QEMU 9.2"
    )
    assert f"{facts} and later, 4 KiB pages, " in page
    assert "<script" not in page
    assert "http://" not in page.replace("http://www.w3.org/2000/svg", "")


def test_html_groups_the_digits_of_counts_as_the_text_report_does(
    results: list[Result], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert "<td>4,171</td>" in render("html", [results[1]])
    monkeypatch.setitem(results[1].counts, "info", 12345)
    assert "<td>12,345</td>" in render("html", results)


@pytest.mark.parametrize(
    ("path", "heading", "cell"),
    [
        (CAPTURES / "10.0.13-file-plain.mig.gz", "Sections", "0000:00:1f.0/ICH9LPC"),
        (capture("10.0.13-tls13-x509-2ch-nokeys"), "TLS connections", "127.0.0.1:53328"),
    ],
    ids=["saved", "encrypted"],
)
def test_html_shows_what_there_is_of_other_files(path: Path, heading: str, cell: str) -> None:
    page = render("html", [result_of(path, "x")])
    assert f"<h3>{heading}</h3>" in page
    assert f"<td>{cell}</td>" in page


def test_html_has_the_notes_of_the_text_report(tmp_path: Path) -> None:
    path = tmp_path / "cut.pcap"
    path.write_bytes(Tiny().pcap()[:-10])
    assert "note: the file ends inside a record: " in render("html", [result_of(path, "x")])


def test_parquet_tables(results: list[Result], tmp_path: Path) -> None:
    folder = str(tmp_path / "out.parquet")
    parquet.prepare(folder)
    parquet.write(results, folder)
    read: dict[str, Any] = {
        name: pyarrow.parquet.read_table(tmp_path / "out.parquet" / f"{name}.parquet").to_pylist()
        for name in ("packets", "buffers", "findings")
    }
    states = [row for row in read["packets"] if row["kind"] == "device-state"]
    whole = [row for row in states if not row["missing"]]
    assert len(whole) == len(read["buffers"]) == len(states) - 1 == 27
    assert {row["capture"] for row in states} == {"lost.pcap", "a b/clean.pcap"}
    assert all(row["multifd.packet_num"] is None for row in states)
    assert read["findings"][0]["rule"] == "MF506"


def test_tables_have_their_columns_without_a_row(results: list[Result], tmp_path: Path) -> None:
    saved = result_of(CAPTURES / "10.0.13-file-plain.mig.gz", "saved")
    ram_only = result_of(capture("10.0.13-gap-single-frame-2ch"), "ram only")
    schemas = set()
    for number, some in enumerate(([], [saved], [ram_only], [saved, ram_only, results[0]])):
        folder = tmp_path / f"{number}.parquet"
        parquet.prepare(str(folder))
        parquet.write(some, str(folder))
        schemas.add(pyarrow.parquet.read_schema(folder / "packets.parquet"))
    assert len(schemas) == 1


def test_tables_of_two_runs_are_never_mixed(results: list[Result], tmp_path: Path) -> None:
    parquet.write(results[:1], str(tmp_path))
    (tmp_path / "findings.parquet").unlink()
    (tmp_path / "findings.parquet").mkdir()  # cannot be written
    before = (tmp_path / "packets.parquet").read_bytes()
    with pytest.raises(UsageError, match=r"findings\.parquet cannot be written"):
        parquet.write(results[1:], str(tmp_path))
    assert (tmp_path / "packets.parquet").read_bytes() == before
    assert not list(tmp_path.glob(".*"))


@pytest.mark.parametrize("name", TEXTS)
def test_the_same_input_gives_the_same_bytes(name: str, results: list[Result]) -> None:
    again = [result_of(capture(LOST), "lost.pcap"), result_of(capture(CLEAN), "a b/clean.pcap")]
    assert render(name, again) == render(name, results[:2])


@pytest.mark.parametrize("name", TEXTS)
def test_names_from_a_capture_do_no_harm(name: str, tmp_path: Path) -> None:
    evil = b"=cmd|'/c calc'!A0\x1b[31m<script>alert(1)</script>\n::error::x]]>\xe2\x80\xae"
    made = Tiny()
    made.multifd[0] += [buffer(0, idstr=evil, header={"version": 9}), sync(99)]
    path = tmp_path / "evil.pcap"
    path.write_bytes(made.pcap())
    text = render(name, [result_of(path, "evil,name:\n<b>.pcap")])
    assert not {"\x1b", "\u202e", "\r"} & set(text)
    if name == "html":
        assert "<script" not in text
        assert "<b>" not in text
    if name == "junit":
        ET.fromstring(text)
    if name == "github":
        assert all(line.startswith("::") and line.count("\n") == 0 for line in text.splitlines())
        assert not any(line.startswith("::error::x") for line in text.splitlines())
    if name == "csv":
        for row in csv.reader(io.StringIO(text)):
            assert not any(cell.startswith(("=", "@")) for cell in row)


@given(PATHS, ANY_TEXT, ANY_TEXT)
def test_any_text_stays_in_its_place(path: str, message: str, device: str) -> None:
    finding = {
        "rule": "MF506", "name": "vfio-idx-gap", "severity": "error", "message": message,
        "migration": 0, "frame": 7, "channel_kind": None, "channel": None,
        "tcp_stream": None, "offset": None, "device": device, "index": 3, "repeats": 0,
    }  # fmt: skip
    result = Result(path, 1, "ERROR", "there is an error")
    result.report = {"path": path, "findings": [finding]}
    result.rules = ["MF506"]
    documents = {name: render(name, [result]) for name in TEXTS if name != "text"}
    for text in documents.values():
        text.encode("utf-8")
    (annotation,) = documents["github"].splitlines()
    assert annotation.startswith("::error file=")
    assert annotation.count("::") >= 2
    assert annotation.partition("::error ")[2].partition("::")[0].count(",") == 1
    assert len(json.loads(documents["gitlab"])) == 1
    assert len(json.loads(documents["sarif"])["runs"][0]["results"]) == 1
    (told,) = json.loads(documents["json"])["captures"][0]["findings"]
    assert told["message"] == unicode(message)
    for name in ("json", "gitlab", "sarif"):
        json.dumps(json.loads(documents[name]), ensure_ascii=False).encode("utf-8")
    assert len(ET.fromstring(documents["junit"]).findall(".//failure")) == 1
    (row,) = csv.DictReader(io.StringIO(documents["csv"]))
    assert not row["message"].startswith(("=", "+", "-", "@", "\t", "\r"))
    assert re.sub(r"<[^>]*>", "", documents["html"]).count("<") == 0


def test_maps_say_what_became_of_an_index() -> None:
    arrivals = [{"index": i, "config": i == 5} for i in (0, 2, 1, 1, 5)]
    device = {"arrivals": arrivals, "missing": [[3, 4]], "cut": [{"index": 4}, {"index": None}]}
    drawn = device_map(device)
    assert re.findall("<title>(.*?)</title>", drawn) == [
        "0: in order", "1: duplicate", "2: in order", "3: missing", "4: cut off", "5: config",
    ]  # fmt: skip
    ended = {"arrivals": arrivals[:1], "missing": [], "cut": [{"index": 1}]}
    assert device_map(ended).count("<title>1: cut off</title>") == 1
    few = {"arrivals": arrivals[:1], "missing": [[n, n] for n in range(1, 200_000, 2)], "cut": []}
    assert device_map(few).count(": missing") == 1198
    crowded = {"arrivals": [], "missing": [[0, 2399]], "cut": [{"index": 0}]}  # two in a cell
    assert "cut off" not in device_map(crowded)
    many = {"arrivals": [{"index": i, "config": False} for i in range(100_000)]}
    many |= {"missing": [], "cut": []}
    assert device_map(many).count("<title>") <= 1200


def test_files_tell_their_format() -> None:
    names = {"x.json": "json", "x.gitlab.json": "gitlab", "x.SARIF": "sarif", "x.xml": "junit"}
    for path, name in names.items():
        found = format_of(path)
        assert found is not None
        assert found.name == name
    assert format_of("x.pcap") is None


def test_the_page_lists_every_format() -> None:
    page = (HERE.parents[2] / "docs" / "formats.md").read_text(encoding="utf-8")
    for one in FORMATS.values():
        row = next(line for line in page.splitlines() if line.startswith(f"| `{one.name}` |"))
        assert all(f"`{ending}`" in row for ending in one.endings)
    assert all(f"`{column}`" in page for column in COLUMNS)


def test_the_page_lists_every_schema() -> None:
    page = (HERE.parents[2] / "docs/formats.md").read_text("utf-8")
    schemas = resources.files("analyzer.report").joinpath("schema").iterdir()
    assert [schema.name for schema in schemas if f"`{schema.name}`" not in page] == []


def test_without_pyarrow_it_says_what_to_install(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setitem(sys.modules, "pyarrow.parquet", None)
    with pytest.raises(UsageError, match=r"pip install 'mfshark\[parquet\]'"):
        parquet.prepare(str(tmp_path))


def test_code_hosts_get_paths_of_the_repository(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir("/usr")
    assert hosted_path("/usr/lib/a.pcap") == "lib/a.pcap"
    assert hosted_path("./lib//a.pcap") == "lib/a.pcap"
    assert hosted_path("/etc/a.pcap") == "/etc/a.pcap"
    result = Result.broken("/etc/a b.pcap", "is no capture")
    for path, uri in (("/etc/a b.pcap", "file:///etc/a%20b.pcap"), ("/usr/a.pcap", "a.pcap")):
        result.path = path
        log = json.loads(render("sarif", [result]))
        assert log["runs"][0]["artifacts"] == [{"location": {"uri": uri}}]


@pytest.mark.parametrize("name", ["github", "gitlab", "csv", "junit", "sarif", "html"])
def test_a_damaged_capture_says_what_is_wrong_beside_its_findings(
    name: str, tmp_path: Path
) -> None:
    path = tmp_path / "damaged.pcap"
    path.write_bytes(Tiny().pcap() + b"\xff" * 64)
    result = result_of(path, "damaged.pcap")
    assert result.failure is not None
    text = render(name, [result], "info")
    assert "damaged.pcap: " in text
    assert result.failure.partition(": ")[2][:20] in text
    assert all(finding["rule"] in text for finding in result.findings)
