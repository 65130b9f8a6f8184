"""pcapng blocks whose fields say anything: every command ends well, without a traceback."""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from analyzer.analysis import analyze
from analyzer.errors import CaptureError
from tests.altered import read
from tests.capture.files import Section
from tests.capture.spread import spread
from tests.checks.craft import Tiny, buffer, config, init, ram, sync
from tests.commands.run import mfshark

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

COMMANDS = (
    ("check", "--verbose"),
    ("packets", "-Y", "time.relative > 1 or time.span > 1"),
    ("stats",),
)


def migration() -> bytes:
    """One without pages, so that a capture that fails can be looked at."""
    tiny = Tiny()
    tiny.multifd = [[init(0), sync(0), buffer(0), config(1)], [init(1), ram([], [4], num=1)]]
    return tiny.pcap()


FRAMES = {"plain": read(migration()).frames, "multipath": spread(migration(), 1).frames}
SIZES = [0, 1, 4, 8, 11, 12, 16, 20, 24, 28, 31, 32, 36, 1 << 16, 1 << 24, (1 << 32) - 1]
NUMBERS = st.sampled_from([0, 1, 1 << 31, 1 << 62, 1 << 63, (1 << 64) - 1])
NEAR = 48
"""Bytes of a block among which its fields and the first of its options are."""


def blocks(draw: st.DrawFn, frames: Sequence[tuple[int, bytes, int]]) -> list[bytes]:
    """A section with blocks of every kind, and the frames in those that hold such."""
    section = Section(draw(st.sampled_from("<>")))
    counts = section.option(4, bytes(8)) + section.option(5, bytes(7) + b"\x05")
    for _ in range(draw(st.integers(1, 3))):
        options = section.option(9, bytes([draw(st.sampled_from([0, 6, 9, 127, 128, 255]))]))
        shift = draw(st.sampled_from([0, -10, 1 << 33, -(1 << 62), (1 << 63) - 1]))
        options += section.option(14, struct.pack(section.order + "q", shift))
        section.interface(options=section.option(2, b"eth0") + options)
    section.block(4, bytes(8)).block(5, struct.pack(section.order + "III", 0, 0, 0) + counts)
    section.block(10, struct.pack(section.order + "II", 0x544C534B, 6) + b"SECRET")
    begin, step = draw(NUMBERS), draw(st.sampled_from([0, 1, 1000, -1000]))
    for number, (_, data, original) in enumerate(frames):
        ticks = begin + number * step & (1 << 64) - 1
        match draw(st.sampled_from(["enhanced"] * 8 + ["simple", "obsolete", "other"])):
            case "simple":
                section.simple(data, original)
            case "obsolete":
                section.obsolete(ticks, data, original)
            case "other":
                section.enhanced(ticks, data, original, number=1)
            case _:
                section.enhanced(ticks, data, original)
    return section.parts


@st.composite
def altered(draw: st.DrawFn) -> bytes:
    """Those with some of the fields changed, or with a block made short."""
    kept = blocks(draw, FRAMES[draw(st.sampled_from(sorted(FRAMES)))])
    order = "<" if kept[0][8] == 0x4D else ">"
    for _ in range(draw(st.integers(0, 3))):
        at = draw(st.integers(0, len(kept) - 1))
        block = bytearray(kept[at])
        if draw(st.booleans()):
            size = min(len(block), draw(st.sampled_from(SIZES)))
            block[size:] = b""
            block[4:8] = struct.pack(order + "I", size)
        else:
            width = draw(st.sampled_from("BHI"))
            place = draw(st.integers(0, max(0, min(len(block), NEAR) // 4 - 1))) * 4
            limit = (1 << 8 * struct.calcsize(width)) - 1
            struct.pack_into(order + width, block, place, draw(st.sampled_from(SIZES)) & limit)
        kept[at] = bytes(block)
    return b"".join(kept)


@settings(
    max_examples=80,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture],
)
@given(capture=altered())
def test_fields_of_blocks(capture: bytes, tmp_path: Path) -> None:
    try:
        analyze(capture, digest=True)
    except CaptureError:
        return
    path = tmp_path / "altered.pcapng"
    path.write_bytes(capture)
    for command in COMMANDS:
        assert mfshark(*command, path).status in (0, 1, 2)
