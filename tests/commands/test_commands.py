"""devices, extract, rule, synth, completion."""

from __future__ import annotations

import gzip
import hashlib
import json
import re
from pathlib import Path

import pytest

from analyzer.cli import COMMANDS, build_parser
from analyzer.migration.scan import UNTIMED
from analyzer.synth import build
from tests import shipped
from tests.capture.files import Section
from tests.checks.craft import Tiny
from tests.commands.run import mfshark
from tests.schemas import conform, load

CLEAN = shipped.capture("10.0.13-vfio-3dev-4ch")
TRUNCATED = shipped.capture("10.0.13-vfio-truncated-no-returnpath-2ch")
OFF = shipped.capture("10.0.13-vfio-transfer-off-2ch")
MIXED = shipped.capture("11.1.3-vfio-mixed-on-off-4ch")


def saved(name: str) -> dict[str, str]:
    """sha256 of each device's state as the source's kernel gave it."""
    return {d["idstr"]: d["kernel_saved"]["sha256"] for d in shipped.truth(name)["devices"]}


def test_devices_shows_the_digest_of_the_kernel() -> None:
    ran = mfshark("devices", CLEAN)
    assert ran.status == 0
    for digest in saved("10.0.13-vfio-3dev-4ch").values():
        assert f"state      sha256 {digest}" in ran.out


def test_devices_and_packets_count_time_from_the_same_frame() -> None:
    devices = json.loads(mfshark("devices", CLEAN, "--format", "json").out)["migrations"][0]
    told = {
        (device["idstr"], arrival["index"]): arrival["start"]
        for device in devices["devices"]
        for arrival in device["arrivals"]
    }
    lines = mfshark(
        "packets", CLEAN, "-Y", "vfio.idx >= 0", "--format", "jsonl",
        "-e", "multifd.idstr", "-e", "vfio.idx", "-e", "time.relative",
    ).out.splitlines()  # fmt: skip
    rows = [json.loads(line) for line in lines]
    assert len(rows) == len(told)
    for row in rows:
        assert told[row["multifd.idstr"], row["vfio.idx"]] == pytest.approx(row["time.relative"])


def test_a_capture_without_times_has_none(tmp_path: Path) -> None:
    """Simple Packet Blocks carry no times."""
    section, path = Section().interface(), tmp_path / "simple.pcapng"
    for frame in Tiny().craft().frames:
        section.simple(frame.data, len(frame.data))
    path.write_bytes(bytes(section))
    (told,) = json.loads(mfshark("check", "--format", "json", path).out)["captures"]
    assert (told["first_time"], told["last_time"]) == (None, None)
    assert told["notes"] == [UNTIMED]
    assert f"note: {UNTIMED}" in mfshark("check", path).out
    figures = mfshark("stats", path)
    assert UNTIMED in figures.err
    assert "Downtime" not in figures.out
    (told,) = json.loads(mfshark("stats", "--format", "json", path).out)["migrations"]
    assert (told["wire_downtime"], told["downtime"]) == (None, None)
    packets = json.loads(mfshark("packets", "--format", "json", path).out)
    assert {packet["time"] for packet in packets} == {None}
    assert set(mfshark("packets", "-e", "time", path).out) == {"\n"}


def test_devices_tells_what_was_cut_off() -> None:
    ran = mfshark("devices", TRUNCATED)
    assert "missing    3" in ran.out
    assert "index 3 on multifd 0: 752448 of 950344 bytes arrived" in ran.out


def test_an_index_and_a_channel_are_shown_where_they_are_0(tmp_path: Path) -> None:
    device = {"idstr": "0000:00:02.0/vfio", "size": "16 KiB", "buffer_size": "64 KiB"}
    scenario = {"channels": 1, "device": [device], "fault": [{"kind": "vfio-no-config"}]}
    (tmp_path / "one.pcap").write_bytes(build(scenario))
    head, row = mfshark("devices", tmp_path / "one.pcap").out.splitlines()[-2:]
    assert head.split()[:3] == ["arrival", "index", "channel"]
    assert row.split()[:3] == ["0", "0", "0"]


def test_a_device_of_which_no_buffer_is_whole_was_carried_by_no_channel(tmp_path: Path) -> None:
    tiny = Tiny(return_path=False)
    tiny.multifd[0][-2:] = [tiny.multifd[0][-2][:-4]]
    tiny.multifd[1][-1:] = []
    path = tmp_path / "cut.pcap"
    path.write_bytes(tiny.pcap())
    out = mfshark("devices", path).out
    assert "INCOMPLETE   0 buffers" in out
    assert "cut off    index 0 on multifd 0" in out
    assert "carried by" not in out
    assert not [line for line in out.splitlines() if line != line.rstrip()]


def test_a_missing_config_state_is_told_beside_missing_indices(tmp_path: Path) -> None:
    device = {"idstr": "0000:00:02.0/vfio", "size": "256 KiB", "buffer_size": "64 KiB"}
    faults = [{"kind": "vfio-idx-gap", "index": 1}, {"kind": "vfio-no-config"}]
    path = tmp_path / "lost.pcap"
    path.write_bytes(build({"return_path": False, "device": [device], "fault": faults}))
    assert "INCOMPLETE        3  192.0 KiB     48 B  1,config" in mfshark("check", path).out
    page = mfshark("check", path, "--format", "html").out
    assert "48 B on main, missing 1, no config buffer" in page


def test_a_wait_is_told_in_the_same_words_everywhere(tmp_path: Path) -> None:
    fault = {"kind": "vfio-reordered", "distance": 2, "seconds": 1.5}
    path = tmp_path / "late.pcap"
    device = {"idstr": "0000:00:02.0/vfio", "size": "256 KiB", "buffer_size": "64 KiB"}
    path.write_bytes(build({"device": [device], "fault": [fault]}))
    (told,) = re.findall(r"MF522 vfio-starved: waited (\S+ s) ", mfshark("check", "-v", path).out)
    assert told.startswith("1.5")
    assert f" {told} " in mfshark("check", path, "--ignore", "MF522").out
    assert f"waited     {told} for" in mfshark("devices", path).out


def test_devices_have_one_order_in_all_reports() -> None:
    text = mfshark("check", "--digest", "sha256", CLEAN).out
    found = re.findall(r"^  (0000\S+)", text, re.MULTILINE)
    assert found == [f"0000:00:0{number}.0/vfio" for number in (2, 3, 4)] * 2


def test_a_device_on_main_only_has_the_figures_of_any_other() -> None:
    (report,) = json.loads(mfshark("check", "--format", "json", MIXED).out)["captures"]
    first, *rest = report["migrations"][0]["devices"]
    assert {device["buffers"] == 0 for device in (first, *rest)} == {True, False}
    assert all(device.keys() == first.keys() for device in rest)


def test_channels_have_one_name_in_all_commands() -> None:
    late = shipped.capture("10.0.13-midstream-2ch")
    name = "multifd ? (stream 1)"
    assert f"  {name} " in mfshark("check", late).out
    assert f"  {name} " in mfshark("stats", late).out
    assert f"  {name} " in mfshark("stats", "-Y", "kind == ram", late).out
    assert "  carried by multifd 0: 2  multifd 1: 1" in mfshark("devices", CLEAN).out


def test_channels_without_a_known_id_are_in_order_of_their_streams() -> None:
    late = shipped.capture("10.0.13-midstream-2ch")
    for words in (("check",), ("stats",), ("stats", "-Y", "kind == ram")):
        found = re.findall(
            r"^  multifd \? \(stream (\d)\)", mfshark(*words, late).out, re.MULTILINE
        )
        assert found == ["0", "1"]


@pytest.mark.parametrize(
    "words",
    [
        ("scrub", "nothing.pcap", "copy.pcap"),
        ("extract", "nothing.pcap", "--stream", "main", "-o", "folder"),
    ],
    ids=lambda words: words[0],
)
def test_a_file_that_is_not_there_is_told_as_such(
    words: tuple[str, ...], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert "nothing.pcap: cannot be opened: No such file" in mfshark(*words).err
    ran = mfshark(words[0], "-", *words[2:])
    assert (ran.status, "reads the capture twice" in ran.err) == (2, True)


def test_devices_on_main_only() -> None:
    ran = mfshark("devices", OFF)
    assert "its state went through main" in ran.out
    assert saved("10.0.13-vfio-transfer-off-2ch")["0000:00:02.0/vfio"] in ran.out


def test_devices_as_json_lists_arrivals_in_order() -> None:
    loaded = json.loads(mfshark("devices", "--format", "json", CLEAN).out)
    (migration,) = loaded["migrations"]
    assert len(migration["devices"]) == 3
    for device in migration["devices"]:
        ends = [arrival["end"] for arrival in device["arrivals"]]
        assert ends == sorted(ends)
        assert len(ends) == device["buffers"]


@pytest.mark.parametrize("name", shipped.NAMES)
def test_devices_have_their_schema(name: str) -> None:
    path = shipped.capture(name)
    ran = mfshark("devices", "--format", "json", path)
    if ran.status == 0:
        conform(json.loads(ran.out), "devices-1")


def test_a_device_is_the_same_in_both_schemas() -> None:
    device = load("devices-1")["$defs"]["device"]
    assert device["required"].pop() == "arrivals"
    del device["properties"]["arrivals"]
    assert device == load("report-1")["$defs"]["device"]


def test_devices_that_pass_a_filter() -> None:
    ran = mfshark("devices", "-Y", 'device contains "03.0" and vfio.idx < 2', CLEAN)
    assert ran.status == 0
    assert "0000:00:03.0/vfio" in ran.out
    assert "0000:00:02.0/vfio" not in ran.out
    loaded = json.loads(mfshark("devices", "--format", "json", "-Y", "vfio.idx == 0", CLEAN).out)
    (migration,) = loaded["migrations"]
    assert [[a["index"] for a in d["arrivals"]] for d in migration["devices"]] == [[0]] * 3
    assert "no device-state packet" in mfshark("devices", "-Y", "vfio.idx == 99", CLEAN).out
    assert mfshark("devices", "-Y", "vfio.idx ==", CLEAN).status == 2


def test_extract_writes_the_state_that_the_kernel_gave(tmp_path: Path) -> None:
    ran = mfshark("extract", CLEAN, "-o", tmp_path, "--buffers")
    assert ran.status == 0
    manifest = json.loads((tmp_path / "manifest.json").read_text("utf-8"))
    by_name = {entry["file"]: entry for entry in manifest["files"]}
    for idstr, digest in saved("10.0.13-vfio-3dev-4ch").items():
        name = f"m0-{idstr.replace(':', '_').replace('/', '_')}#0.state"
        assert hashlib.sha256((tmp_path / name).read_bytes()).hexdigest() == digest
        assert by_name[name]["sha256"] == digest
    assert sum(entry["what"] == "buffer" for entry in manifest["files"]) == 14


def test_extract_overwrites_only_when_asked(tmp_path: Path) -> None:
    words = ("extract", CLEAN, "-o", tmp_path, "--device", "0000:00:02.0/vfio")
    assert mfshark(*words).status == 0
    again = mfshark(*words)
    assert again.status == 2
    assert "--force" in again.err
    assert mfshark(*words, "--force").status == 0


def test_extract_of_an_unknown_device_names_those_there_are(tmp_path: Path) -> None:
    ran = mfshark("extract", CLEAN, "-o", tmp_path, "--device", "nope")
    assert ran.status == 2
    assert "0000:00:02.0/vfio#0" in ran.err


def test_extract_of_an_incomplete_device_is_no_success(tmp_path: Path) -> None:
    ran = mfshark("extract", TRUNCATED, "-o", tmp_path)
    assert ran.status == 2
    assert "0000:00:03.0/vfio#0 is not complete" in ran.err


def test_rule_lists_and_explains() -> None:
    listed = mfshark("rule").out
    assert "MF506" in listed
    explained = mfshark("rule", "vfio-idx-gap").out
    assert explained == mfshark("rule", "mf506").out == mfshark("rule", "VFIO-Idx-GAP").out
    assert "Receiver:" in explained
    family = mfshark("rule", "mf5").out.splitlines()
    assert family == [line for line in listed.splitlines() if line.startswith("MF5")]
    wrong = mfshark("rule", "vfio-idx-gab")
    assert wrong.status == 2
    assert "did you mean vfio-idx-gap" in wrong.err
    assert "did you mean vfio-idx-gap" in mfshark("rule", "VFIO-IDX-GAB").err
    assert "did you mean MF506" in mfshark("rule", "mf5066").err


@pytest.mark.parametrize(
    ("message", "rules"),
    [
        ("queuing state buffer 7 would exceed the size max of 1048576", ["MF519"]),
        ("received packet magic 5145564d expected 11223344", ["MF101", "MF114"]),
        ("Received SYNC device state packet", ["MF401"]),
    ],
)
def test_rule_finds_an_error_message_of_qemu(message: str, rules: list[str]) -> None:
    assert [line.split()[0] for line in mfshark("rule", message).out.splitlines()] == rules


def test_rule_does_not_search_for_numbers_alone() -> None:
    assert mfshark("rule", "10.1").status == 2


def test_names_with_hyphens_are_not_broken_over_lines(monkeypatch: pytest.MonkeyPatch) -> None:
    for columns in range(40, 100):
        monkeypatch.setenv("COLUMNS", str(columns))
        assert "return-path capability" in " ".join(mfshark("rule", "MF506").out.split())


def test_rules_are_chosen_in_any_case() -> None:
    words = ("--select", "VFIO-Idx-Gap,mf203", "--severity", "Vfio-idx-gap=warning")
    ran = mfshark("check", TRUNCATED, *words)
    assert "warning MF506" in ran.out
    assert "error   MF203" in ran.out
    assert "MF904" not in ran.out
    assert mfshark("check", TRUNCATED, "--limit", "DOWNTIME=0.001").status == 1


def test_synth_gives_the_same_bytes_and_check_finds_the_fault(tmp_path: Path) -> None:
    scenario = tmp_path / "lost.toml"
    scenario.write_text(
        "channels = 2\n[[device]]\nsize = 50000\nbuffer_size = 10000\n"
        '[[fault]]\nkind = "vfio-idx-gap"\nindex = 2\n',
        "utf-8",
    )
    for name in ("a.pcap", "b.pcap", "c.pcap.gz"):
        assert mfshark("synth", scenario, "-o", tmp_path / name).status == 0
    made = (tmp_path / "a.pcap").read_bytes()
    assert (tmp_path / "b.pcap").read_bytes() == made
    assert gzip.decompress((tmp_path / "c.pcap.gz").read_bytes()) == made
    ran = mfshark("check", tmp_path / "a.pcap")
    assert ran.status == 1
    assert "MF506" in ran.out


def test_synth_refuses_a_wrong_key(tmp_path: Path) -> None:
    scenario = tmp_path / "wrong.toml"
    scenario.write_text("chanels = 2\n", "utf-8")
    ran = mfshark("synth", scenario, "-o", tmp_path / "x.pcap")
    assert ran.status == 2
    assert ran.err == f"mfshark: {scenario}: chanels: unknown key; did you mean 'channels'?\n"
    scenario.write_text("[[fault]]\nkind = 'vfio-idx-gap'\nindex = true\n", "utf-8")
    told = mfshark("synth", scenario, "-o", tmp_path / "x.pcap").err
    assert told == f"mfshark: {scenario}: fault[0].index: True is not a whole number\n"


@pytest.mark.parametrize("command", COMMANDS)
def test_help_teaches_every_command(command: str) -> None:
    ran = mfshark(command, "--help")
    assert ran.status == 0
    usage, teaching, *_ = ran.out.split("\n\n")
    assert teaching[0].isupper()
    assert teaching.endswith(".")
    assert usage.startswith(f"usage: mfshark {command} [options]")
    assert "--" not in usage.replace("--output", "")  # what may be left out stands below


@pytest.mark.parametrize("command", ["packets", "devices", "stats", "extract", "records", "tui"])
def test_quiet_speaks_of_a_verdict_only_where_there_is_one(command: str) -> None:
    def told(name: str) -> str:
        out = mfshark(name, "--help").out
        return " ".join(out.partition("-q, --quiet")[2].partition("--no-progress")[0].split())

    assert told("check") == "print only the verdict, no progress"
    assert "verdict" not in told(command)


def test_help_of_check_says_what_an_unfinished_migration_gives() -> None:
    assert "FAILED, was CANCELLED or is INCOMPLETE" in mfshark("check", "--help").out


def test_usage_says_what_must_be_given() -> None:
    assert mfshark("synth").err.startswith("usage: mfshark synth [options] -o CAPTURE SCENARIO\n")
    assert mfshark("config").err.startswith("usage: mfshark config [options] WHAT ...\n")


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (("check", CLEAN, "--jbos", 3), "unrecognized arguments: --jbos 3; did you mean --jobs?"),
        (("scrub", CLEAN, "x", "y"), "unrecognized arguments: y\n"),
    ],
)
def test_what_a_command_does_not_take(words: tuple[object, ...], told: str) -> None:
    ran = mfshark(*words)
    assert ran.status == 2
    assert ran.err.startswith(f"usage: mfshark {words[0]} [options] CAPTURE")
    assert told in ran.err


def test_an_option_in_front_of_its_command_is_explained() -> None:
    ran = mfshark("--color", "always", "check", CLEAN)
    told = "mfshark: options follow the command: mfshark check --color ...\n"
    assert (ran.status, ran.out, ran.err) == (2, "", told)


@pytest.mark.parametrize("command", ["packets", "records", "extract", "rule", "expect"])
def test_verbose_is_offered_only_where_it_shows_more(command: str) -> None:
    assert "-v, --verbose" in mfshark("check", "--help").out
    assert "--verbose" not in mfshark(command, "--help").out


@pytest.mark.parametrize("option", ["--fail-on", "--allow-empty", "--digest"])
def test_expect_takes_no_option_that_would_change_nothing(option: str) -> None:
    assert option in mfshark("check", "--help").out
    assert option not in mfshark("expect", "--help").out


@pytest.mark.parametrize(
    "words",
    [
        ("a", "b", "-q", "c"),
        ("a", "--digest", "sha256", "b", "--deep", "c"),
        ("-q", "a", "b", "--", "c"),
        ("a", "-q", "b", "-o", "x.json", "--", "c"),
    ],
    ids=" ".join,
)
def test_captures_may_stand_behind_options(words: tuple[str, ...]) -> None:
    assert build_parser("check").parse_args(["check", *words]).captures == ["a", "b", "c"]


def test_standard_input_may_stand_behind_options() -> None:
    found = build_parser("check").parse_args(["check", "a", "-q", "-", "--", "-b"])
    assert found.captures == ["a", "-", "-b"]


CUT = ["check", "devices", "stats", "packets", "records", "extract", "expect", "scrub", "diff"]


@pytest.mark.parametrize("command", CUT)
def test_a_capture_that_was_stopped_is_analysed_and_the_rest_told(
    command: str, tmp_path: Path
) -> None:
    """A file that ends inside a record is what a live capture leaves; one whose compression is cut
    is damaged, and nobody knows how much of it is missing.
    """
    data = CLEAN.read_bytes()[:-30_000]
    plain, packed = tmp_path / "cut.pcapng", tmp_path / "cut.pcapng.gz"
    plain.write_bytes(data)
    packed.write_bytes(shipped.FILES[shipped.stem(CLEAN)].read_bytes()[:-30_000])
    others: dict[str, list[object]] = {
        "extract": ["-o", tmp_path / "out", "--force"],
        "scrub": [tmp_path / "out.pcapng", "--force"],
        "diff": [plain],
    }
    words = others.get(command, [])
    ran = mfshark(command, plain, *words)
    note = "the file ends inside a record: "
    if command == "check":
        assert f"note: {note}" in ran.out
    elif command == "diff":
        assert ran.out.count(f"note: {plain}: {note}") == 2
    else:
        assert ran.err.startswith(f"mfshark: {plain}: {note}")
        assert note not in mfshark(command, plain, "--quiet", *words).err
    if command != "extract":  # whose state is not complete
        assert ran.status == 0
    ran = mfshark(command, packed, *words)
    assert ran.status == 2
    assert "damaged compression: " in ran.err
    told = "only whole files are compared" if command == "diff" else "what came before is reported"
    assert told in ran.err
    assert bool(ran.out) == (command != "diff")


def test_commands_nearly_spelt(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    ran = mfshark("chekc", CLEAN)
    assert ran.status == 2
    assert ran.err == "mfshark: chekc is neither a file nor a command; did you mean check?\n"
    assert "some.pcap: cannot be opened: No such file" in mfshark("some.pcap").err
    (tmp_path / "chekc").write_bytes(b"some")
    assert "needs a terminal" in mfshark("chekc").err


def test_file_names_in_complaints_about_usage_are_harmless() -> None:
    ran = mfshark("devices", CLEAN, "\x1b[2J.pcap")
    assert ran.status == 2
    assert "2J.pcap" in ran.err
    assert "\x1b" not in ran.err


def test_the_interface_needs_a_terminal() -> None:
    ran = mfshark(CLEAN)
    assert ran.status == 2
    assert "needs a terminal" in ran.err
    assert not ran.out


def test_completion_is_shell_code() -> None:
    assert "mfshark" in mfshark("completion", "bash").out


@pytest.mark.parametrize("command", ["packets", "stats", "devices", "scrub"])
def test_a_saved_migration_is_known_for_what_it_is(command: str, tmp_path: Path) -> None:
    file = shipped.CAPTURES / "10.0.13-file-plain.mig.gz"
    target = (tmp_path / "out",) if command == "scrub" else ()
    ran = mfshark(command, file, *target)
    assert (ran.status, ran.out) == (2, "")
    told = "is a saved migration; check, diff, expect, extract, records and tui read it"
    assert ran.err == f"mfshark: {file}: {told}\n"


@pytest.mark.parametrize("format_", ["text", "json", "csv"])
@pytest.mark.parametrize("content", [None, b"no capture"])
def test_nothing_is_printed_of_what_cannot_be_read(
    format_: str, content: bytes | None, tmp_path: Path
) -> None:
    path = tmp_path / "x.pcap"
    if content is not None:
        path.write_bytes(content)
    ran = mfshark("packets", "--format", format_, path)
    assert (ran.status, ran.out) == (2, "")
