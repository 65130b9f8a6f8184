"""The TCP streams of a capture as tshark sees them, parsed from ``follow,tcp,raw``."""

from __future__ import annotations

import functools
import re
import shutil
import subprocess
from pathlib import Path
from typing import IO, NamedTuple

MISSING = shutil.which("tshark") is None
RULE = "=" * 67
NODE = re.compile(r"Node ([01]): (.*):(\d+)$")


class Followed(NamedTuple):
    """One connection: ``ip:port`` of both nodes, and the bytes that each of them sent."""

    nodes: tuple[str, str]
    sent: tuple[bytes, bytes]


NOBODY = Followed((":0", ":0"), (b"", b""))
"""tshark's answer for a stream that the capture does not have."""


def hole_text(missing: int) -> bytes:
    """The text that tshark puts in the place of lost bytes (the NUL is part of it)."""
    return b"[%d bytes missing in capture file]\0" % missing


def directions(path: Path) -> dict[tuple[int, int], tuple[int, int]]:
    """By stream and source port: the number of frames, and how many bytes of the other side they
    acknowledge.
    """
    command = ["tshark", "-n", "-r", str(path), "-Y", "tcp", "-T", "fields"]
    for field in ("tcp.stream", "tcp.srcport", "tcp.ack"):
        command += ["-e", field]
    ran = subprocess.run(command, capture_output=True, text=True, check=True)
    found: dict[tuple[int, int], tuple[int, int]] = {}
    for line in ran.stdout.splitlines():
        stream, port, ack = (int(word or 0) for word in line.split("\t"))
        frames, acked = found.get((stream, port), (0, 0))
        found[stream, port] = frames + 1, max(acked, ack - 1)
    return found


@functools.lru_cache(maxsize=1)
def follow(path: Path, streams: int) -> dict[int, Followed]:
    """Streams 0 to ``streams`` - 1, by Wireshark's number, from one run of tshark."""
    command = ["tshark", "-n", "-q", "-r", str(path)]
    for number in range(streams):
        command += ["-z", f"follow,tcp,raw,{number}"]
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    ) as process:
        assert process.stdout is not None
        followed = _parse(process.stdout)
    assert process.returncode == 0
    return followed


def _parse(lines: IO[str]) -> dict[int, Followed]:
    followed = {}
    number = -1
    nodes = ["", ""]
    sent: tuple[list[bytes], list[bytes]] = ([], [])
    for line in lines:
        line = line.rstrip("\n")
        if line.startswith("Filter: tcp.stream eq "):
            number = int(line.rpartition(" ")[2])
            nodes, sent = ["", ""], ([], [])
        elif node := NODE.match(line):
            nodes[int(node[1])] = f"{node[2]}:{node[3]}"
        elif line == RULE and number >= 0:
            followed[number] = Followed(
                (nodes[0], nodes[1]), (b"".join(sent[0]), b"".join(sent[1]))
            )
            number = -1
        elif number >= 0:
            sent[line.startswith("\t")].append(bytes.fromhex(line))
    return followed
