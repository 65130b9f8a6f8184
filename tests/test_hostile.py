"""Any bytes give a report or a clear error: no traceback, no hang, no memory out of proportion."""

from __future__ import annotations

import gzip
import random
import tracemalloc
from typing import TYPE_CHECKING

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from analyzer.analysis import Analysis, analyze
from analyzer.errors import CaptureError
from analyzer.report.devices import devices_json, devices_text
from analyzer.report.model import file_report, report
from analyzer.report.style import Style
from analyzer.report.text import text_report
from analyzer.synth import build
from tests import shipped

if TYPE_CHECKING:
    from collections.abc import Callable

SCENARIOS: list[dict[str, object]] = [
    {"channels": 2, "device": [{"size": 30_000, "buffer_size": 9000}]},
    {"channels": 1, "dialect": "v1", "network": {"mtu": 9000}, "device": [{"size": 5000}]},
    {"channels": 2, "compression": "zlib", "device": [], "capture": {"format": "pcapng"}},
    {"channels": 1, "ram": {"era": "7.2", "page_size": 8192}, "device": []},
    {"channels": 2, "dialect": "rfc0", "return_path": False, "device": [{"size": 4000}]},
]
CAPTURES = [build(scenario) for scenario in SCENARIOS]
REFUSED = shipped.capture("10.0.13-vfio-machine-q35-9.2-refused-2ch").read_bytes()
MEMORY = 48 << 20


def survives(data: bytes) -> Analysis | None:
    """Analyse and report in every way; whatever the bytes are, that must end well."""
    try:
        analysis = analyze(data, digest=True)
    except CaptureError:
        return None
    for verbose in (False, True):
        for line in text_report(analysis, Style(), verbose=verbose):
            assert line.isprintable() or not line
    report([file_report(analysis)])
    list(devices_text(analysis, Style(), True))
    devices_json(analysis)
    for migration in analysis.migrations:
        for channel in migration.channels:
            facts = migration.facts_of(channel)
            assert facts.decoded + facts.skipped + facts.missing == channel.length
    return analysis


@settings(max_examples=150)
@given(st.data())
def test_mutated_captures(data: st.DataObject) -> None:
    raw = bytearray(data.draw(st.sampled_from([*CAPTURES, REFUSED])))
    for _ in range(data.draw(st.integers(1, 12))):
        at = data.draw(st.integers(0, len(raw) - 1))
        raw[at] = data.draw(st.sampled_from([0, 1, 0x7F, 0x80, 0xFF]) | st.integers(0, 255))
    survives(bytes(raw))


@settings(max_examples=60)
@given(st.data())
def test_captures_cut_anywhere(data: st.DataObject) -> None:
    raw = data.draw(st.sampled_from([*CAPTURES, REFUSED]))
    survives(raw[: data.draw(st.integers(0, len(raw)))])


def frames_of(raw: bytes) -> tuple[bytes, list[bytes]]:
    """File header and records of a classic little-endian file."""
    records, at = [], 24
    while at < len(raw):
        size = 16 + int.from_bytes(raw[at + 8 : at + 12], "little")
        records.append(raw[at : at + size])
        at += size
    return raw[:24], records


def drop(frames: list[bytes], dice: random.Random) -> list[bytes]:
    return [frame for frame in frames if dice.random() > 0.05]


def shuffle(frames: list[bytes], dice: random.Random) -> list[bytes]:
    return sorted(frames, key=lambda _: dice.random())


def repeat(frames: list[bytes], dice: random.Random) -> list[bytes]:
    return [frame for frame in frames for _ in range(dice.choice([1, 1, 2]))]


def swap_payload(frames: list[bytes], dice: random.Random) -> list[bytes]:
    out = []
    for frame in frames:
        body = bytearray(frame)
        if len(body) > 100 and dice.random() < 0.1:
            at = dice.randrange(82, len(body) - 8)
            body[at : at + 8] = dice.randbytes(8)
        out.append(bytes(body))
    return out


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("change", [drop, shuffle, repeat, swap_payload])
def test_frames_lost_shuffled_repeated_and_damaged(
    change: Callable[[list[bytes], random.Random], list[bytes]], seed: int
) -> None:
    head, frames = frames_of(CAPTURES[seed % 2])
    survives(head + b"".join(change(frames, random.Random(seed))))


def test_lost_frames_are_never_called_protocol_errors() -> None:
    head, frames = frames_of(CAPTURES[0])
    for at in range(8, len(frames) - 8, 7):
        analysis = survives(head + b"".join(frames[:at] + frames[at + 1 :]))
        assert analysis is not None
        errors = [f for f in analysis.findings if f.severity == "error"]
        assert errors == []


@pytest.mark.parametrize("fill", [b"\0", b"\xff", b"\x11\x22\x33\x44\x00\x00\x00\x01", b"QEVM"])
def test_streams_of_one_pattern_stay_small(fill: bytes) -> None:
    """Memory is bounded whatever a stream claims; magic after magic is no hang."""
    head, frames = frames_of(CAPTURES[0])
    out = []
    for frame in frames * 4:
        body = bytearray(frame)
        if len(body) > 120:
            filler = fill * (len(body) // len(fill) + 1)
            body[82 + 64 :] = filler[: len(body) - 146]
        out.append(bytes(body))
    tracemalloc.start()
    survives(head + b"".join(out))
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < MEMORY


def test_a_bomb_is_read_in_fixed_memory() -> None:
    head, _ = frames_of(CAPTURES[0])
    record = bytes(8) + (1000).to_bytes(4, "little") * 2 + bytes(1000)
    packed = gzip.compress(head + record * 20_000)
    assert len(packed) < 1 << 20
    tracemalloc.start()
    survives(packed)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < MEMORY


@pytest.mark.parametrize(
    "name",
    ["\x1b[2J\x1b]0;owned\x07", "[bold red]x[/]", "a\u202eb", "=1+1", "../../../etc/x", "\x7f\x9b"],
)
def test_names_from_a_capture_cannot_steer_a_terminal(name: str) -> None:
    capture = build({"channels": 1, "device": [{"size": 3000, "idstr": "0000:00:02.0/vfio"}]})
    survives(capture.replace(b"0000:00:02.0/vfio", name.encode().ljust(17, b"_")[:17]))
