"""The Wireshark plugin: its fields agree with ours on every shipped capture."""

from __future__ import annotations

import json
import random
import shutil
import struct
from collections import defaultdict
from typing import TYPE_CHECKING

import pytest

from analyzer.analysis import analyze
from analyzer.checks.families import load
from analyzer.checks.rule import RULES
from dissectors.lua import EXPERTS, plugin
from dissectors.multifd import MAGIC
from dissectors.registry import FIELDS, GENERATED
from tests.altered import Frames, read
from tests.checks import test_channels, test_device_packets, test_ram_packets, test_vfio_buffers
from tests.checks.craft import Tiny
from tests.commands.run import mfshark
from tests.lua import tshark
from tests.shipped import NAMES, capture

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from tests.checks.case import Case

NEEDS_TSHARK = pytest.mark.skipif(shutil.which("tshark") is None, reason="tshark is not installed")
OWN = {field.name for field in GENERATED}
COLUMNS = [name for name in FIELDS if name not in OWN]
SEPARATOR = "\x1f"


@pytest.fixture(scope="session")
def script(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path: Path = tmp_path_factory.mktemp("lua") / "multifd.lua"
    path.write_text(plugin("test"), encoding="utf-8")
    return path


def plain(value: object) -> str:
    """A value as both can say it."""
    if isinstance(value, bool):
        return str(int(value))
    text = str(value).lower()
    if text in ("true", "false"):
        return str(int(text == "true"))
    if text.startswith("0x"):
        return str(int(text, 16))
    return text.replace("-", "").replace(":", "") if len(text) == 36 else text


def theirs(script: Path, path: Path) -> dict[tuple[str, str], list[str]]:
    words = [word for name in ("tcp.stream", *COLUMNS) for word in ("-e", name)]
    rows = tshark(
        script,
        path,
        "-Y",
        "multifd || vfio",
        "-T",
        "fields",
        "-E",
        f"aggregator={SEPARATOR}",
        *words,
    )
    found: dict[tuple[str, str], list[str]] = defaultdict(list)
    for row in rows:
        stream, *columns = row.split("\t")
        for name, column in zip(COLUMNS, columns, strict=True):
            if column:
                found[stream, name] += [plain(v) for v in column.split(SEPARATOR) if v]
    return found


def ours(path: Path) -> dict[tuple[str, str], list[str]]:
    words = [word for name in ("tcp.stream", "offset", *COLUMNS) for word in ("-e", name)]
    ran = mfshark("packets", path, "--format", "jsonl", *words)
    rows = [json.loads(line) for line in ran.out.splitlines()]
    found: dict[tuple[str, str], list[str]] = defaultdict(list)
    for row in sorted(rows, key=lambda r: (r["tcp.stream"], r["offset"])):
        for name in COLUMNS:
            if row.get(name) is not None:
                found[str(row["tcp.stream"]), name].append(plain(row[name]))
    return found


def is_part(part: Sequence[str], whole: Sequence[str]) -> bool:
    """Whether one can be had from the other by leaving things out."""
    rest = iter(whole)
    return all(value in rest for value in part)


LOSSY = ("gap", "snaplen", "midstream")
"""Captures that lack bytes: Wireshark shows less of them, and nothing else."""


@NEEDS_TSHARK
@pytest.mark.parametrize("name", [name for name in NAMES if "mptcp" not in name])
def test_fields_agree_on_every_shipped_capture(name: str, script: Path) -> None:
    path = capture(name)
    wanted, got = ours(path), theirs(script, path)
    if any(word in name for word in LOSSY):
        for key, values in got.items():
            assert is_part(values, wanted[key]), key
        return
    different = [key for key in sorted(set(wanted) | set(got)) if got[key] != wanted[key]]
    if different:
        cut = {str(c.stream) for m in analyze(path).migrations for c in m.channels if c.cut_in}
        for key in different:  # a packet whose payload is cut is no row of ours
            assert key[0] in cut, key
            assert got[key][: len(wanted[key])] == wanted[key], key
            assert len(got[key]) <= len(wanted[key]) + 1, key


@NEEDS_TSHARK
@pytest.mark.parametrize(
    "name", ["10.0.13-netem-reorder-dup-4ch", "10.0.13-tls13-x509-2ch-secrets-embedded"]
)
def test_a_second_look_shows_the_same(name: str, script: Path) -> None:
    """As in Wireshark, which dissects a frame anew whenever it is clicked on."""
    words = ["-Y", "multifd", "-T", "fields", "-e", "frame.number", "-e", "multifd.kind"]
    words += ["-e", "multifd.packet_num", "-e", "_ws.col.Info"]
    once, twice = (tshark(script, capture(name), *passes, *words) for passes in ((), ("-2",)))
    assert once == twice
    assert len(once) > 50


@NEEDS_TSHARK
@pytest.mark.parametrize("name", ["10.0.13-vfio-3dev-4ch", "derived-v1-vfio-3dev-4ch"])
def test_filters_find_device_state_of_every_dialect(name: str, script: Path) -> None:
    expression = "multifd.flags.device_state && vfio.idx > 3"
    words = ["-T", "fields", "-e", "frame.number", "-E", "occurrence=f"]
    got = tshark(script, capture(name), "-Y", expression, *words)
    ran = mfshark("packets", capture(name), "-Y", expression, "-e", "frame.last", "--format", "csv")
    assert len(got) == len(ran.out.splitlines()) - 1 > 0


def cases() -> dict[str, Case]:
    """Those of the rules that the plugin has as expert items."""
    tables = (test_channels, test_device_packets, test_ram_packets, test_vfio_buffers)
    known = {rule: case for table in tables for rule, case in table.CASES.items()}
    return {expert.rule: known[expert.rule] for expert in EXPERTS if expert.rule in known}


@NEEDS_TSHARK
def test_expert_items_are_what_the_rules_say(script: Path, tmp_path: Path) -> None:
    """All rules' cases in one capture, each from an address of its own."""
    frames = []
    for number, case in enumerate(cases().values(), 1):
        source = tmp_path / "case.pcap"
        source.write_bytes(case.faulty())
        for frame in read(source).frames:
            data = bytearray(frame.data)
            data[28:30] = data[32:34] = bytes((77, number))
            frames.append(frame._replace(data=bytes(data)))
    clean = tmp_path / "clean.pcap"
    clean.write_bytes(Tiny().pcap())
    frames += read(clean).frames
    path = tmp_path / "all.pcap"
    path.write_bytes(Frames(1, frames).pcap())
    words = ["-T", "fields", "-e", "ip.src", "-e", "_ws.expert.message", "-Y", "_ws.expert"]
    said: dict[str, str] = defaultdict(str)
    for line in tshark(script, path, *words):
        address, text = line.split("\t")
        said[address] += text
    for number, rule in enumerate(cases(), 1):
        found = next(text for key, text in said.items() if key.endswith(f".77.{number}"))
        assert rule in found, found
    assert {expert.rule for expert in EXPERTS} - set(cases()) == {"MF901"}
    assert not [text for key, text in said.items() if ".77." not in key and "MF" in text]


@NEEDS_TSHARK
def test_what_is_missing_in_front_is_said(script: Path) -> None:
    words = ["-o", "tcp.reassemble_out_of_order:FALSE", "-Y", "multifd.tcp_hole"]
    assert tshark(script, capture("10.0.13-vfio-netem-loss-2ch"), *words)


def test_expert_items_are_named_after_rules() -> None:
    load()
    for expert in EXPERTS:
        rule = RULES[expert.rule]
        assert (expert.slug, expert.severity) == (rule.slug, rule.severity)


@NEEDS_TSHARK
@pytest.mark.parametrize("seed", range(2))
def test_damaged_packets_make_no_lua_error(seed: int, script: Path, tmp_path: Path) -> None:
    dice = random.Random(seed)
    frames = read(capture("11.1.3-vfio-mixed-on-off-4ch"))
    damaged = []
    for frame in frames.frames:
        data = bytearray(frame.data)
        for _ in range(dice.randrange(3) if len(data) > 100 else 0):
            data[dice.randrange(66, min(len(data), 1000))] = dice.choice((0, 1, 0x41, 0xFF))
        data = data[: dice.randrange(66, len(data) + 1)] if dice.random() < 0.05 else data
        damaged.append(frame._replace(data=bytes(data)))
    path = tmp_path / "damaged.pcap"
    path.write_bytes(frames._replace(frames=damaged).pcap())
    lines = tshark(script, path, "-V", "-O", "multifd")
    assert any("QEMU multifd" in line for line in lines)
    assert not [line for line in lines if "Lua" in line]


@NEEDS_TSHARK
def test_names_without_end_and_impossible_counts_are_shown(script: Path, tmp_path: Path) -> None:
    tiny = Tiny()
    device = struct.pack(">3I256x2I", MAGIC, 1, 0x40, 0, 0xFFFFFFFF).replace(
        b"\0" * 256, b"\xff" * 256
    )
    tiny.multifd[0][1:] = [device + b"\xff" * 12]
    tiny.multifd[1][1:] = [struct.pack(">3I", MAGIC, 1, 0) + b"\xff" * 1332] * 3
    path = tmp_path / "hostile.pcap"
    path.write_bytes(tiny.pcap())
    lines = tshark(script, path, "-V", "-O", "multifd,vfio")
    assert not [line for line in lines if "Lua" in line]
    assert [line for line in lines if "4294967295 of 128" in line]
    assert [line for line in lines if "MF403" in line]


@NEEDS_TSHARK
@pytest.mark.parametrize("lost", [0, 1, 2])
def test_packets_are_no_initial_packets(lost: int, script: Path, tmp_path: Path) -> None:
    """A first SYNC's packet number is 0, and an idstr may be short: both are zero where an initial
    packet has its reserved bytes.
    """
    tiny = Tiny()
    header = struct.pack(">3I256sII", MAGIC, 1, 0x40, b"pci/vfio", 0, 16)
    device = header + struct.pack(">3I4x", 0, 0, 0)
    tiny.multifd[0] = [*tiny.multifd[0][:2], device][lost:]
    path = tmp_path / "lost.pcap"
    path.write_bytes(tiny.pcap())
    lines = tshark(script, path, "-T", "fields", "-e", "multifd.kind", "-e", "tcp.stream")
    told = [line.split("\t") for line in lines if not line.startswith("\t")]
    stream = next(stream for kinds, stream in told if "device-state" in kinds)
    kinds = ",".join(kinds for kinds, number in told if number == stream)
    assert kinds.split(",") == ["init", "sync", "device-state"][lost:]


@NEEDS_TSHARK
def test_ports_find_what_begins_late(script: Path, tmp_path: Path) -> None:
    """Without its first segments a stream is no channel to the heuristic, on its port it is."""
    frames = read(capture("10.0.13-vfio-3dev-4ch"))
    path = tmp_path / "late.pcap"
    late = [frame for frame in frames.frames[200:] if len(frame.data) > 2000]
    path.write_bytes(frames._replace(frames=late).pcap())
    words = ["-Y", "multifd.flags", "-T", "fields", "-e", "frame.number"]
    ports = ["-o", "multifd.ports:20785"]
    assert len(tshark(script, path, *ports, *words)) > len(tshark(script, path, *words))


def test_help_says_where_to_install_it() -> None:
    text = " ".join(mfshark("wireshark-plugin", "--help").out.split())
    assert "plugins" in text
    assert "tcp.reassemble_out_of_order" in text
