"""``python -m benchmarks.throughput``: the table of the README.

Makes one synthetic capture for each frame size, reads it with every contestant in turn (``--runs``
times, with the file in the page cache), and prints medians and ratios as Markdown.  A ratio is the
median of the ratios of neighbouring runs, so that a machine that slows down half-way favours no
contestant.  Nothing is asserted, and no file is left behind.
"""

from __future__ import annotations

import argparse
import gzip
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from statistics import median
from typing import NamedTuple

from analyzer.synth.builder import synth
from analyzer.synth.scenario import load, override

HERE = Path(__file__).resolve().parent
SCENARIO = HERE.parent / "captures" / "scenarios" / "benchmark.toml"
SMALL = HERE.parent / "captures" / "10.0.13-vfio-nopre-stopcopy-only-2ch.pcapng.gz"
ETHERNET = 14
MIB = 1 << 20
PAGE = 4096
SMALL_RUNS = 20
UNITS = {"": 1, "K": 1 << 10, "M": 1 << 20, "G": 1 << 30}
MFSHARK = [str(Path(sys.executable).with_name("mfshark"))]
TSHARK = ["tshark", "-n", "-o", "tcp.reassemble_out_of_order:TRUE"]
SCRIPT = HERE / "multifd.lua"
LUA = [*TSHARK, "-X", f"lua_script:{SCRIPT}"]
# -q alone does not dissect at all; this is the cheapest option that does.
QUIET = ["-q", "-z", "io,stat,0"]
# Every packet with its stream, kind and number: the least that a verification would need.
LISTING = ["-Y", "multifd", "-T", "fields", "-e", "tcp.stream", "-e", "multifd.kind"]
LISTING += ["-e", "multifd.packet_num"]
CONTESTANTS = {
    "cat": ["cat"],
    "mfshark": [*MFSHARK, "check", "--no-progress"],
    "tshark": [*TSHARK, *QUIET, "-r"],
    "tshark + Lua": [*LUA, *QUIET, "-r"],
    "tshark + Lua listing": [*LUA, *LISTING, "-r"],
}
RIVALS = [name for name in CONTESTANTS if name.startswith("tshark")]


class Run(NamedTuple):
    """Seconds and peak memory in KiB of one run."""

    seconds: float
    peak: int


Results = dict[str, list[Run]]


def measure(command: Sequence[str], config: Path) -> Run:
    """Run a command once.  Raises RuntimeError if it fails (findings of ``check`` are no failure).

    ``config`` is the directory of Wireshark's settings.
    """
    environment = {k: v for k, v in os.environ.items() if not k.startswith("PYTHON")}
    environment |= {"WIRESHARK_CONFIG_DIR": str(config), "LC_ALL": "C.UTF-8"}
    measured = subprocess.run(
        [sys.executable, "-I", "-S", str(HERE / "measure.py"), *command],
        check=True, capture_output=True, text=True, env=environment,
    ).stdout.split()  # fmt: skip
    if measured[2] not in (("0", "1") if command[0] in MFSHARK else ("0",)):
        raise RuntimeError(f"{' '.join(command)} ended with status {measured[2]}")
    return Run(float(measured[0]), int(measured[1]))


def compete(path: Path, runs: int, warm: Sequence[str], say: Callable[[str], None]) -> Results:
    """Run every contestant in turn, ``runs`` times.

    Those in ``warm`` first run once unmeasured, so that file, programs and bytecode are cached.
    """
    results: Results = {name: [] for name in CONTESTANTS}
    with tempfile.TemporaryDirectory(prefix="mfshark-benchmark-") as config:
        for name in warm:
            measure([*CONTESTANTS[name], str(path)], Path(config))
        for number in range(1, runs + 1):
            for name, command in CONTESTANTS.items():
                say(f"{path.name}, run {number} of {runs}: {name}")
                results[name].append(measure([*command, str(path)], Path(config)))
    return results


def seconds(results: Results, name: str) -> float:
    """The median time of one contestant."""
    return median(run.seconds for run in results[name])


def ratio(results: Results, name: str, other: str) -> str:
    """How many times as long as ``other`` the contestant ``name`` takes."""
    pairs = zip(results[name], results[other], strict=True)
    return f"{median(one.seconds / two.seconds for one, two in pairs):.1f}"


def peak(results: Results, name: str) -> str:
    """The median peak memory of one contestant."""
    return f"{median(run.peak for run in results[name]) / 1024:,.0f} MiB"


def duration(time: float) -> str:
    """Seconds, or milliseconds."""
    return f"{time:.2f} s" if time >= 1 else f"{time * 1000:.0f} ms"


@contextmanager
def synthetic(directory: Path, size: int, frame: int) -> Iterator[Path]:
    """A capture of about ``size`` bytes in frames of at most ``frame`` bytes, removed at the end.

    Half of it is RAM, half device state.  A sender has its network card cut pieces of 64 KiB (TSO),
    and the receiver acknowledges about as much at a time, as one that coalesces segments (GRO)
    does: real captures of 1514-byte frames look like that.
    """
    path = directory / f"benchmark-{frame}.pcap"
    scenario = load(SCENARIO)
    changes = [f"network.mtu={frame - ETHERNET}", f"ram.blocks.ram={size // 2 // PAGE * PAGE}"]
    changes.append(f"network.burst={max(1, 65536 // frame)}")
    changes.append(f"network.ack_every={max(2, 65536 // frame)}")
    for number, _ in enumerate(scenario["device"]):
        changes.append(f"device.{number}.size={size // 2 // len(scenario['device'])}")
    try:
        synth(override(scenario, changes), path)
        yield path
    finally:
        path.unlink(missing_ok=True)


@contextmanager
def small(directory: Path) -> Iterator[Path]:
    """A real capture of 4 MB, unpacked."""
    path = directory / SMALL.stem
    try:
        with gzip.open(SMALL) as packed, path.open("wb") as unpacked:
            shutil.copyfileobj(packed, unpacked)
        yield path
    finally:
        path.unlink(missing_ok=True)


class Column(NamedTuple):
    """The results on one capture."""

    label: str
    size: int
    results: Results

    def cells(self) -> list[str]:
        """The column of the table, from top to bottom, in the order of :data:`LABELS`."""
        results = self.results
        rate = self.size / seconds(results, "mfshark") / MIB
        return [
            f"{self.size / MIB:,.0f} MiB",
            *(duration(seconds(results, name)) for name in CONTESTANTS),
            f"{rate:,.0f} MiB/s",
            ratio(results, "mfshark", "cat"),
            *(ratio(results, name, "mfshark") for name in RIVALS),
            *(peak(results, name) for name in CONTESTANTS if name != "cat"),
        ]


LABELS = [
    "size",
    *(f"time of {name}" for name in CONTESTANTS),
    "mfshark reads",
    "mfshark / cat",
    *(f"**{name} / mfshark**" for name in RIVALS),
    *(f"peak memory of {name}" for name in CONTESTANTS if name != "cat"),
]


def table(columns: Sequence[Column]) -> str:
    """The table in Markdown, with a column for each capture."""
    head = ["", *(column.label for column in columns)]
    rows = zip(LABELS, *(column.cells() for column in columns), strict=True)
    lines = [head, ["---", *["---:"] * len(columns)], *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def parse_size(text: str) -> int:
    """``2G``, ``500M``, ``1000000``."""
    found = re.fullmatch(r"(\d+)([KMG]?)i?B?", text, re.IGNORECASE)
    if not found:
        raise argparse.ArgumentTypeError(f"{text!r} is not a size like 2G")
    return int(found[1]) * UNITS[found[2].upper()]


def parse_frames(text: str) -> list[tuple[int, int]]:
    """``1514,65549:4G``: frame sizes, each with the size of its capture (0: that of --size)."""
    made = []
    for part in text.split(","):
        frame, _, size = part.partition(":")
        made.append((int(frame), parse_size(size or "0")))
    return made


def arguments(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.throughput",
        description="Compare mfshark with cat, tshark, and tshark with a Lua dissector.",
    )
    parser.add_argument(
        "--size", type=parse_size, default=parse_size("2G"), help="capture size (default: 2G)"
    )
    parser.add_argument(
        "--frames",
        type=parse_frames,
        default=parse_frames("1514,9014,65549"),
        metavar="N[:SIZE],...",
        help="frame sizes, one capture each (default: 1514,9014,65549)",
    )
    parser.add_argument("--runs", type=int, default=5, help="runs of every contestant (default: 5)")
    parser.add_argument("--dir", type=Path, help="directory for the temporary captures")
    parser.add_argument(
        "--capture", type=Path, action="append", help="compare on this file instead (repeatable)"
    )
    return parser.parse_args(argv)


def say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def columns(options: argparse.Namespace, directory: Path) -> Iterator[Column]:
    """A column for each large capture, and one for a small one, which shows the start-up time."""
    for path in options.capture or ():
        yield Column(path.name, path.stat().st_size, compete(path, options.runs, ["cat"], say))
    for frame, size in () if options.capture else options.frames:
        say(f"making a capture with frames of {frame} bytes")
        with synthetic(directory, size or options.size, frame) as path:
            results = compete(path, options.runs, ["cat"], say)
            yield Column(f"{frame}-byte frames", path.stat().st_size, results)
    with small(directory) as path:
        results = compete(path, max(options.runs, SMALL_RUNS), list(CONTESTANTS), say)
        yield Column("small capture", path.stat().st_size, results)


def runs_scripts() -> bool:
    """Whether tshark runs Lua scripts for the current user."""
    command = [*LUA, "-c", "1", "-Y", "multifd", "-r", str(SMALL)]
    return not subprocess.run(command, capture_output=True, check=False).returncode


def main(argv: Sequence[str] | None = None) -> None:
    """Print the table."""
    options = arguments(argv)
    if not runs_scripts():
        raise SystemExit("tshark runs no Lua scripts here; since 4.4 it does not for root")
    with tempfile.TemporaryDirectory(dir=options.dir, prefix="mfshark-benchmark-") as name:
        print(table(list(columns(options, Path(name)))))


if __name__ == "__main__":
    main()
