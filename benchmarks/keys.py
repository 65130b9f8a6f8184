"""``python -m benchmarks.keys``: how long the terminal interface takes to answer keys.

Makes a synthetic capture of many packets (five million are 4 GiB), opens it, and presses keys at
random moments, while it is read and afterwards.  A key is answered when it has been handled and
its effect has been written to the terminal.  The time counts from the planned moment of the key
press, so it includes any delay before the application notices the key.  Prints medians, 95th
percentiles and maxima in milliseconds.  Nothing is asserted, and no file is left behind.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import random
import resource
import struct
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from statistics import median, quantiles
from typing import BinaryIO

import numpy as np
from textual import events
from textual.drivers.headless_driver import HeadlessDriver
from textual.pilot import Pilot
from textual.screen import Screen

from analyzer.migration.settings import Settings
from analyzer.migration.table import COLUMNS, PacketTable
from analyzer.synth.builder import build
from analyzer.tui import share_time
from analyzer.tui.app import MfsharkApp
from dissectors.multifd import RAM

PAGE = 8192
OFFSETS = {field.name: field.offset for field in RAM.fields}
PACKET = RAM.size + (1 << 19) // PAGE * 8
PER_FRAME = 64
MAGIC = b"\x11\x22\x33\x44"
FRAME_NS = 20_000
SCENARIO = {
    "seed": 7,
    "channels": 4,
    "capture": {"format": "pcap", "resolution": "ns"},
    "network": {"mtu": 65535, "checksums": False, "ack_every": 16},
    "ram": {
        "page_size": PAGE, "blocks": {"pc.ram": "64 MiB"}, "normal_pages": 0, "dirty_pages": 0,
        "iterations": 1, "zero_pages": "multifd",
    },
    "device": [
        {"idstr": f"0000:00:0{slot}.0/vfio", "size": 480 * 2500, "buffer_size": 480}
        for slot in (2, 3)
    ],
}  # fmt: skip
SYNC = 1
WALK = ["j"] * 6 + ["k"] * 3 + ["pagedown"] * 3 + ["pageup", "end", "home"]
KEYS = [
    *("1", *WALK, "tab", "j", "l", "tab", "j", "1", "m", "t", "right_square_bracket"),
    *("2", "j", "tab", "l", "j", "3", "l", "plus", "minus", "j"),
    *("4", "l", "plus", "0", "5", "j", "j", "space", "6", "j", "7", "j", "pagedown", "end"),
    *("1", "f", "j", "end", "X", "question_mark", "escape", "m"),
]
"""Typical keys on every screen."""


def headers(frame: bytes) -> int:
    """Length in bytes of the Ethernet, IP and TCP headers of a frame."""
    return 34 + (frame[46] >> 4) * 4


class Stream:
    """A multifd channel while packets are added to the capture."""

    def __init__(self, frame: bytes) -> None:
        self.head = bytearray(frame)  # headers of its frames
        self.seq = 0  # sequence number of the next byte
        self.added = 0  # bytes

    def frames(self, packets: bytes, step: int) -> Iterator[bytes]:
        """Frames that carry ``packets``, ``step`` bytes each."""
        for begin in range(0, len(packets), step):
            data = packets[begin : begin + step]
            struct.pack_into(">H", self.head, 16, len(self.head) - 14 + len(data))
            struct.pack_into(">I", self.head, 38, self.seq & 0xFFFFFFFF)
            self.seq += len(data)
            self.added += len(data)
            yield bytes(self.head) + data


def rounds(template: bytes, sync: bytes, packets: int, channels: int) -> Iterator[list[bytes]]:
    """Rounds of RAM packets of one zero page each, followed by a SYNC; the bytes by channel."""
    share = (64 << 20) // PAGE // channels
    number = 0
    while number < packets:
        parts = []
        for channel in range(channels):
            rows = np.tile(np.frombuffer(template, np.uint8), (share, 1))
            numbers = np.arange(number, number + share, dtype=">u8")
            pages = np.arange(channel * share, (channel + 1) * share, dtype=">u8") * PAGE
            rows[:, OFFSETS["packet_num"] : OFFSETS["packet_num"] + 8] = numbers.view(
                np.uint8
            ).reshape(share, 8)
            rows[:, RAM.size : RAM.size + 8] = pages.astype(">u8").view(np.uint8).reshape(share, 8)
            number += share
            last = bytearray(sync)
            struct.pack_into(">Q", last, OFFSETS["packet_num"], number + channel)
            parts.append(rows.tobytes() + bytes(last))
        number += channels
        yield parts


def lengthen(data: bytes, packets: int, out: BinaryIO) -> None:
    """Write a capture with at least ``packets`` RAM packets inserted before its first packet."""
    records, ram, sync = [], b"", b""
    at = 24
    while at < len(data):
        seconds, rest, size, _ = struct.unpack_from("<IIII", data, at)
        frame = data[at + 16 : at + 16 + size]
        records.append((seconds * 10**9 + rest, frame))
        payload = frame[headers(frame) :]
        if payload.startswith(MAGIC) and len(payload) >= PACKET:
            flags = struct.unpack_from(">I", payload, 8)[0]
            if flags & SYNC:
                sync = sync or payload[:PACKET]
            else:
                ram = ram or payload[:PACKET]
        at += 16 + size
    template = bytearray(ram)
    values = {"normal_pages": 0, "next_packet_size": 0, "zero_pages": 1}
    for name, value in values.items():
        struct.pack_into(">I", template, OFFSETS[name], value)
    template[RAM.size :] = bytes(PACKET - RAM.size)
    streams: dict[bytes, Stream] = {}
    out.write(data[:24])
    later = 0
    for moment, frame in records:
        key, back = frame[26:38], frame[30:34] + frame[26:30] + frame[36:38] + frame[34:36]
        payload = frame[headers(frame) :]
        if not later and payload.startswith(MAGIC) and len(payload) >= PACKET:
            for parts in rounds(bytes(template), sync, packets, len(streams)):
                for stream, part in zip(streams.values(), parts, strict=True):
                    for more in stream.frames(part, PER_FRAME * PACKET):
                        later += FRAME_NS
                        put(out, moment + later, more)
        own = bytearray(frame)
        shift(own, 38, streams[key].added if key in streams else 0)
        shift(own, 42, streams[back].added if back in streams else 0)
        put(out, moment + later, bytes(own))
        if payload.startswith(MAGIC):
            stream = streams.setdefault(key, Stream(frame[: headers(frame)]))
            if not later:
                stream.seq = struct.unpack_from(">I", frame, 38)[0] + len(payload)


def shift(frame: bytearray, at: int, by: int) -> None:
    """Add ``by`` to the sequence number at offset ``at``."""
    number = struct.unpack_from(">I", frame, at)[0]
    struct.pack_into(">I", frame, at, (number + by) & 0xFFFFFFFF)


def put(out: BinaryIO, moment: int, frame: bytes) -> None:
    """Write a pcap record."""
    seconds, rest = divmod(moment, 10**9)
    out.write(struct.pack("<IIII", seconds, rest, len(frame), len(frame)) + frame)


class Terminal(HeadlessDriver):
    """A terminal that only records when it was last written to."""

    written = 0.0

    @property
    def is_headless(self) -> bool:
        """False, so that drawing is measured too."""
        return False

    def write(self, data: str) -> None:
        """Discard the data and note the time."""
        data.encode()
        Terminal.written = time.perf_counter()


class Measured(MfsharkApp):
    """The application, which also notes when a key was handled."""

    dealt = 0.0
    complete = 0.0

    async def on_event(self, event: events.Event) -> None:
        """See the base class."""
        await super().on_event(event)
        if isinstance(event, events.Key):
            self.dealt = time.perf_counter()


Times = list[tuple[float, str]]


async def press(app: Measured, pilot: Pilot[int], key: str, planned: float) -> float:
    """Press a key; returns the seconds from ``planned`` until it was answered."""
    await asyncio.sleep(max(0.0, planned - time.perf_counter()))
    app.dealt = 0.0
    app.simulate_key(key)
    while not app.dealt:
        await asyncio.sleep(0.001)
    settling = asyncio.ensure_future(pilot._wait_for_screen())
    while Terminal.written < app.dealt:
        if settling.done() and not _drawing(app.screen):
            return app.dealt - planned  # nothing to draw, or already drawn
        await asyncio.sleep(0.001)
    answered = Terminal.written
    await settling
    return answered - planned


def _drawing(screen: Screen[object]) -> bool:
    """Whether the screen has changes that have not been written to the terminal yet."""
    return bool(screen._dirty_widgets) or screen._layout_required or screen._repaint_required


async def drive(app: Measured, pilot: Pilot[int], keys: int) -> tuple[Times, Times, list[str]]:
    """Press keys while the capture is read, then ``keys`` more; returns the times of both, and
    lines to print.
    """
    chance = random.Random(1)
    began = time.perf_counter()
    while not len(app.document.table):
        await asyncio.sleep(0.001)
    await pilot._wait_for_screen()
    facts = [f"first rows on the screen after {time.perf_counter() - began:.2f} s"]
    loading: Times = []
    at = 0
    while not app.document.done:
        key = KEYS[at % len(KEYS)]
        planned = time.perf_counter() + chance.uniform(0.02, 0.12)
        loading.append((await press(app, pilot, key, planned), f"{app.state.screen} {key}"))
        at += 1
    indexed = time.perf_counter()
    facts.append(f"read in {app.document.elapsed:.1f} s: {len(app.document.table):,} packets")
    while not app.document.verdict[0] or app.gate is None:
        await asyncio.sleep(0.001)
    await press(app, pilot, "1", time.perf_counter())
    facts.append(f"shown {time.perf_counter() - indexed:.2f} s after the index was ready")
    after: Times = []
    for at in range(keys):
        planned = time.perf_counter() + chance.uniform(0.02, 0.12)
        key = KEYS[at % len(KEYS)]
        after.append((await press(app, pilot, key, planned), f"{app.state.screen} {key}"))
    return loading, after, facts


def told(name: str, times: Times) -> str:
    """A summary of the times, with the slowest keys."""
    if len(times) < 2:
        return f"{name}: no keys"
    values = [taken * 1000 for taken, _ in times]
    slow = ", ".join(f"{key} {taken * 1000:.0f}" for taken, key in sorted(times)[:-6:-1])
    late = sum(value > 50 for value in values)
    return (
        f"{name}: {len(values)} keys, median {median(values):.1f} ms, 95% "
        f"{quantiles(values, n=20)[-1]:.1f} ms, maximum {max(values):.1f} ms, {late} over 50 ms"
        f" (slowest: {slow})"
    )


def memory(table: PacketTable) -> str:
    """Peak resident memory, and the part of it that is the packet table."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    columns = sum(table.view(name).nbytes for name, _, _ in COLUMNS) / (1 << 20)
    return f"peak memory {peak:,.0f} MiB, {columns:,.0f} MiB of it the packet table"


def measure(path: Path, size: tuple[int, int], keys: int) -> None:
    """Open a capture, press keys, and print the times."""
    app = Measured(str(path), Settings(), None)
    app.driver_class = Terminal
    share_time()
    lines = [f"{path.name}, {path.stat().st_size / (1 << 30):.2f} GiB, at {size[0]}x{size[1]}"]

    async def run(pilot: Pilot[int]) -> None:
        loading, after, facts = await drive(app, pilot, keys)
        lines.extend([*facts, told("loading", loading), told("after", after)])
        lines.append(memory(app.document.table))
        app.exit(0)

    asyncio.run(app.run_async(size=size, auto_pilot=run))  # type: ignore[arg-type]
    print("\n  ".join(lines), flush=True)


def main(argv: list[str] | None = None) -> None:
    """Print the figures."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.keys", description=__doc__)
    parser.add_argument("--packets", type=int, default=1_000_000, help="(default: 1000000)")
    parser.add_argument(
        "--keys", type=int, default=200, help="keys pressed after loading (default: 200)"
    )
    parser.add_argument("--size", default="80x24", help="of the terminal (default: 80x24)")
    parser.add_argument("--dir", type=Path, help="directory for the temporary capture")
    parser.add_argument("--capture", type=Path, help="use this capture")
    options = parser.parse_args(argv)
    columns, lines = options.size.split("x")
    size = int(columns), int(lines)
    if options.capture:
        measure(options.capture, size, options.keys)
        return
    with tempfile.TemporaryDirectory(dir=options.dir, prefix="mfshark-keys-") as name:
        path = Path(name) / "packets.pcap"
        print(f"making {options.packets:,} packets", file=sys.stderr)
        with path.open("wb") as out:
            lengthen(build(SCENARIO), options.packets, out)
        os.sync()
        measure(path, size, options.keys)


if __name__ == "__main__":
    main()
