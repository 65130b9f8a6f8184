"""Frames of every link layer and IP version: the same streams, and the fast path for all."""

from __future__ import annotations

import random
import struct
from typing import TYPE_CHECKING

import pytest

from analyzer.capture import file
from analyzer.tcp.engine import Engine
from analyzer.tcp.requests import End, Skip, Take
from tests.capture.files import Section, pcap
from tests.tcp.wire import ACK, FIN, Result, Wire

if TYPE_CHECKING:
    from collections.abc import Callable

    from analyzer.tcp.reader import Reader
    from analyzer.tcp.requests import Walker

SIZE = 1000


def six(ethernet: bytes) -> bytes:
    """The same segment in IPv6 (without link layer)."""
    ip = ethernet[14:34]
    length = int.from_bytes(ip[2:4], "big") - 20
    addresses = bytes(12) + ip[12:16] + bytes(12) + ip[16:20]
    return struct.pack(">IHBB", 6 << 28, length, 6, 64) + addresses + ethernet[34:]


V4, V6 = b"\x08\x00", b"\x86\xdd"
WRAPPED: dict[str, tuple[int, Callable[[bytes], bytes]]] = {
    "one tag": (1, lambda f: f[:12] + b"\x81\x00\x00\x05" + f[12:]),
    "two tags": (1, lambda f: f[:12] + b"\x88\xa8\x00\x05\x81\x00\x00\x06" + f[12:]),
    "IPv6": (1, lambda f: f[:12] + V6 + six(f)),
    "IPv6 with a tag": (1, lambda f: f[:12] + b"\x81\x00\x00\x05" + V6 + six(f)),
    "cooked": (113, lambda f: bytes(14) + V4 + f[14:]),
    "cooked, IPv6": (113, lambda f: bytes(14) + V6 + six(f)),
    "cooked v2": (276, lambda f: V4 + bytes(18) + f[14:]),
    "cooked v2, IPv6": (276, lambda f: V6 + bytes(18) + six(f)),
    "raw": (101, lambda f: f[14:]),
    "raw IPv6": (229, six),
    "loopback": (0, lambda f: b"\x02\0\0\0" + f[14:]),
    "loopback, IPv6": (0, lambda f: b"\x1e\0\0\0" + six(f)),
}


def wire() -> Wire:
    """Two thousand segments, of which some are late, some lost and some sent again."""
    dice = random.Random(7)
    made = Wire(isn=(1 << 32) - 500_000).open()
    order = list(range(2000))
    for at in range(10, 1990, 97):
        order[at], order[at + 2] = order[at + 2], order[at]
    for number in order:
        if number % 331 == 7:
            continue
        made.send(number * SIZE, dice.randbytes(SIZE))
        if number % 10 == 0:
            made.ack(number * SIZE)
        if number % 203 == 9:
            made.send((number - 3) * SIZE, bytes(SIZE))
    return made.send(2000 * SIZE, b"", flags=ACK | FIN)


def account(result: Result) -> list[object]:
    found: list[object] = [result.engine.frames, result.engine.ignored]
    for (number, _), flow in result.flows.items():
        assert flow.reader is not None
        found += [number, flow.offset, flow.missing, flow.retransmissions, flow.reordered]
        found += [(h.first, h.last, h.before, h.after) for h in flow.holes]
        found += [(d.offset, d.count, d.place.frame) for d in flow.differences]
    return found


@pytest.mark.parametrize("name", WRAPPED)
def test_every_layout_gives_the_same_streams(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(file, "CHUNK", 1 << 18)
    slow = 0
    frame = Engine._frame

    def counting(self: Engine, *arguments: object) -> None:
        nonlocal slow
        slow += 1
        frame(self, *arguments)  # type: ignore[arg-type]

    def walk(_reader: Reader) -> Walker:
        while not isinstance(head := (yield Take(40)), End):
            seen.append(head if isinstance(head, bytes) else str(type(head)))
            yield Skip(200 * SIZE - 40)

    link, wrapped = WRAPPED[name]
    plain = wire().frames
    other = [(time, wrapped(data), len(wrapped(data))) for time, data, _ in plain]
    seen: list[object] = []
    expected, heads = Result(pcap(plain), walk), seen
    seen = []
    monkeypatch.setattr(Engine, "_frame", counting)
    found = Result(pcap(other, link=link), walk)
    assert account(found) == account(expected)
    assert seen == heads
    assert slow < len(plain) * 2 / 3  # the first batch, and what waits behind holes


ODD: dict[str, Callable[[bytes], bytes]] = {
    "cut by snaplen": lambda f: f[:-1],
    "another protocol": lambda f: f[:23] + b"\x11" + f[24:],
    "a fragment": lambda f: f[:20] + b"\x20\x00" + f[22:],
    "out of turn": lambda f: f[:38] + b"\x11\x22\x33\x44" + f[42:],
}


@pytest.mark.parametrize("name", ODD)
def test_one_that_is_not_like_those_before_it_takes_the_readable_way(name: str) -> None:
    def walk(_reader: Reader) -> Walker:
        missing.append((yield Skip(200 * SIZE)))

    missing: list[object] = []
    made = Wire().open()
    for number in range(200):
        made.send(number * SIZE, bytes(SIZE))
    frames = list(made.frames)
    time, data, length = frames[153]
    frames[153] = time, ODD[name](data), length
    result = Result(pcap(frames), walk)
    assert missing == [1 if name == "cut by snaplen" else SIZE]
    assert result.engine.frames == len(frames)


@pytest.mark.parametrize("link", [147, 101])
def test_a_known_key_in_frames_of_another_link_type_means_nothing(link: int) -> None:
    """As if the first of two interfaces were Ethernet, and bytes of the other looked like it."""

    def walk(_reader: Reader) -> Walker:
        yield Skip(200 * SIZE)

    made = Wire().open()
    for number in range(20):
        made.send(number * SIZE, bytes(SIZE))
    section = Section().interface(1).interface(link)
    for number, (time, data, original) in enumerate(made.frames):
        section.enhanced(time, data, original, number=int(number >= 10))
    result = Result(bytes(section), walk)
    assert result.flow.offset == 8 * SIZE
    assert result.engine.ignored == {"non-IP": 12}
