"""The Wireshark plugin: its fields agree with ours on every shipped capture."""

from __future__ import annotations

import json
import random
import shutil
import subprocess
from collections import defaultdict
from typing import TYPE_CHECKING

import pytest

from analyzer.analysis import analyze
from dissectors.lua import plugin
from dissectors.registry import FIELDS, GENERATED
from tests.altered import read
from tests.commands.run import mfshark
from tests.shipped import FILES, capture, stem

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

NEEDS_TSHARK = pytest.mark.skipif(shutil.which("tshark") is None, reason="tshark is not installed")
OWN = {field.name for field in GENERATED}
NAMES = [name for name in FIELDS if name not in OWN]
SEPARATOR = "\x1f"


@pytest.fixture(scope="session")
def script(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path: Path = tmp_path_factory.mktemp("lua") / "multifd.lua"
    path.write_text(plugin("test"), encoding="utf-8")
    return path


def tshark(script: Path, path: Path, *words: str) -> list[str]:
    order = "tcp.reassemble_out_of_order:TRUE"
    done = subprocess.run(
        ["tshark", "-X", f"lua_script:{script}", "-o", order, "-n", "-r", str(path), *words],
        capture_output=True,
        text=True,
        check=True,
    )
    assert "Lua" not in done.stderr, done.stderr
    return done.stdout.splitlines()


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
    words = [word for name in ("tcp.stream", *NAMES) for word in ("-e", name)]
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
        for name, column in zip(NAMES, columns, strict=True):
            if column:
                found[stream, name] += [plain(v) for v in column.split(SEPARATOR) if v]
    return found


def ours(path: Path) -> dict[tuple[str, str], list[str]]:
    words = [word for name in ("tcp.stream", "offset", *NAMES) for word in ("-e", name)]
    ran = mfshark("packets", path, "--via", "native", "--format", "jsonl", *words)
    rows = [json.loads(line) for line in ran.out.splitlines()]
    found: dict[tuple[str, str], list[str]] = defaultdict(list)
    for row in sorted(rows, key=lambda r: (r["tcp.stream"], r["offset"])):
        for name in NAMES:
            if row.get(name) is not None:
                found[str(row["tcp.stream"]), name].append(plain(row[name]))
    return found


def is_part(part: Sequence[str], whole: Sequence[str]) -> bool:
    """Whether one can be had from the other by leaving things out."""
    rest = iter(whole)
    return all(value in rest for value in part)


PLAIN = [path for path in FILES if "tls" not in path.name]
"""The plugin sits on TCP; Wireshark offers it nothing of what it decrypts."""
LOSSY = ("gap", "snaplen", "midstream")
"""Captures that lack bytes: Wireshark shows less of them, and nothing else."""


@NEEDS_TSHARK
@pytest.mark.parametrize("path", PLAIN, ids=stem)
def test_fields_agree_on_every_shipped_capture(path: Path, script: Path) -> None:
    wanted, got = ours(path), theirs(script, path)
    if any(word in path.name for word in LOSSY):
        for key, values in got.items():
            assert is_part(values, wanted[key]), key
        return
    cut = {str(c.stream) for m in analyze(path).migrations for c in m.channels if c.cut_in}
    for key in sorted(set(wanted) | set(got)):
        if key[0] in cut:  # a packet whose payload is cut is no row of ours
            assert got[key][: len(wanted[key])] == wanted[key], key
            assert len(got[key]) <= len(wanted[key]) + 1, key
        else:
            assert got[key] == wanted[key], key


@NEEDS_TSHARK
def test_damaged_packets_make_no_lua_error(script: Path, tmp_path: Path) -> None:
    dice = random.Random(5)
    frames = read(capture("11.1.3-vfio-mixed-on-off-4ch"))
    damaged = []
    for frame in frames.frames:
        data = bytearray(frame.data)
        for _ in range(dice.randrange(3) if len(data) > 100 else 0):
            data[dice.randrange(66, min(len(data), 1000))] ^= 1 << dice.randrange(8)
        damaged.append(frame._replace(data=bytes(data)))
    path = tmp_path / "damaged.pcap"
    path.write_bytes(frames._replace(frames=damaged).pcap())
    lines = tshark(script, path, "-V", "-O", "multifd")
    assert any("QEMU multifd" in line for line in lines)
    assert not [line for line in lines if "Lua" in line]
