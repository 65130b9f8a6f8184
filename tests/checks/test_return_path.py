"""MF7xx: every rule fires on its own fault, and stays silent where it must."""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING

import pytest

from analyzer.synth import records
from dissectors.return_path import BITMAP_END
from tests.checks.case import Case, edited, example, verify
from tests.checks.craft import (
    EOF,
    MACHINE,
    OPEN_RETURN_PATH,
    PONG,
    RAM_PART,
    SHUT,
    Tiny,
    findings,
    fired,
)
from tests.checks.main_edits import ANSWERS, READY, in_colo, returned
from tests.checks.test_main_vfio import ACK, INIT_DATA_SENT
from tests.shipped import capture

if TYPE_CHECKING:
    from collections.abc import Callable

BLOCK = b"pc.ram"
REQ_PAGES, REQ_PAGES_ID, RECV_BITMAP = 4, 3, 5
LISTEN_AND_RUN = [
    records.command(records.POSTCOPY_ADVISE, struct.pack(">QQ", 4096, 4096)),
    records.command(records.POSTCOPY_LISTEN),
    records.command(records.POSTCOPY_RUN),
]


def request(start: int, size: int = 4096, block: bytes | None = BLOCK) -> bytes:
    """A page request; without a block that of the request before."""
    payload = struct.pack(">QI", start, size)
    if block is None:
        return records.message(REQ_PAGES, payload)
    return records.message(REQ_PAGES_ID, payload + bytes([len(block)]) + block)


def bitmap(end: int = BITMAP_END, size: int = 32, announced: int | None = None) -> bytes:
    """A block of 1 MiB has 256 pages, a bit each."""
    head = records.message(RECV_BITMAP, bytes([len(BLOCK)]) + BLOCK)
    words = struct.pack(">Q", size if announced is None else announced), struct.pack(">Q", end)
    return head + bytes(size).join(words)


def resumed(value: int) -> bytes:
    return records.message(6, struct.pack(">I", value))


def in_postcopy(*requests: bytes) -> Callable[[], bytes]:
    """A migration whose guest runs at the destination before all is sent: it asks for pages."""

    def edit(tiny: Tiny) -> None:
        at = tiny.main.index(EOF)
        tiny.main[at:at] = LISTEN_AND_RUN
        tiny.returned = [PONG] * 8 + [*requests, SHUT]

    return edited(edit, device=False)


def never_opened(tiny: Tiny) -> None:
    """The destination answers a PING that nobody sent, and nothing more."""
    tiny.main.remove(OPEN_RETURN_PATH)
    tiny.returned = [PONG]


def acknowledged(*acks: bytes, machine: str = MACHINE) -> Callable[[], bytes]:
    """A migration with a device that sends initial data, and these acknowledgements."""

    def edit(tiny: Tiny) -> None:
        at = tiny.main.index(RAM_PART)
        tiny.main[at:at] = [INIT_DATA_SENT]
        tiny.main[0] = records.header() + records.configuration(machine)
        tiny.returned = [PONG, *acks, SHUT]

    return edited(edit)


CASES = {
    "MF701": Case(returned(PONG, records.message(8), SHUT), alone=True),
    "MF702": Case(returned(PONG, records.message(2, bytes(3)), SHUT), alone=True),
    "MF703": Case(returned(PONG, records.message(2, b"\0\0\0\7"), SHUT), alone=True),
    "MF704": Case(example("rp-shut-error"), alone=True),
    "MF705": Case(returned(PONG, PONG), alone=True),
    "MF706": Case(edited(never_opened), alone=True),
    "MF707": Case(acknowledged(ACK, ACK), acknowledged(ACK), alone=True),
    "MF708": Case(returned(PONG, bitmap(7), SHUT), returned(PONG, bitmap(), SHUT), alone=True),
    "MF709": Case(in_postcopy(request(1 << 20)), in_postcopy(request(0)), alone=True),
    "MF710": Case(in_colo(answers=(READY, *ANSWERS[1:])), in_colo(), alone=True),
    "MF711": Case(in_colo(early=True), in_colo(), alone=True),
    "MF712": Case(returned(PONG, resumed(2), SHUT), returned(PONG, resumed(1), SHUT), alone=True),
    "MF713": Case(returned(SHUT, PONG), alone=True),
}


@pytest.mark.parametrize("rule", CASES)
def test_fires_and_stays_silent(rule: str) -> None:
    verify(rule, CASES[rule])


# -- other ways to be a fault, and what looks like one and is none ---------------------------------


@pytest.mark.parametrize("early", [False, True])
@pytest.mark.parametrize("size", [0, 8, 31, 40])
def test_bitmap_of_another_size_than_its_blocks(size: int, early: bool) -> None:
    """Whether it comes before or behind the list of blocks on main."""
    units = [bitmap(size=size), *[PONG] * 10] if early else [*[PONG] * 10, bitmap(size=size)]
    (finding,) = [f for f in findings(returned(*units, SHUT)()) if f.severity != "info"]
    assert (finding.rule.id, finding.severity) == ("MF708", "error")
    assert f"{size} bytes" in finding.message


def test_what_follows_a_bitmap_without_end_is_read() -> None:
    """Nobody waits for 1 TiB: the SHUT behind it counts."""
    endless = bitmap(announced=1 << 40)
    (finding,) = [f for f in findings(returned(PONG, endless, SHUT)()) if f.severity != "info"]
    assert finding.message == f"block 'pc.ram', {1 << 40} bytes"


def message(rule: str, made: bytes) -> str:
    (finding,) = [f for f in findings(made) if f.rule.id == rule]
    return finding.message


def test_a_return_path_that_was_never_opened_is_not_read() -> None:
    assert "no OPEN_RETURN_PATH" in message("MF706", edited(never_opened)())


def test_main_that_began_late_may_have_opened_it() -> None:
    built = Tiny().craft()
    opened = next(f for f in built.frames if OPEN_RETURN_PATH in f.data)
    built.frames.remove(opened)
    assert fired(built.pcap()).get("MF706") is None


@pytest.mark.parametrize(
    ("machine", "severity"), [("pc-q35-10.0", "warning"), ("microvm", "info"), ("q35-11.1", None)]
)
def test_how_often_an_acknowledgement_may_come(machine: str, severity: str | None) -> None:
    assert fired(acknowledged(ACK, ACK, machine=machine)()).get("MF707") == severity


def test_an_acknowledgement_that_comes_too_early() -> None:
    def edit(tiny: Tiny) -> None:
        tiny.main[-2:-2] = [INIT_DATA_SENT]
        tiny.returned = [PONG, ACK, PONG, SHUT]

    assert "before the DEV_INIT_DATA_SENT" in message("MF707", edited(edit)())


@pytest.mark.parametrize(
    ("requests", "says"),
    [
        ((request(0, 8192), request(0xFF000, block=None)), ""),
        ((request(0xFF000, 8192),), "whose length is 0x100000"),
        ((request(0, block=b"vga.vram"),), "not in the block list"),
        ((request(0x800),), "not whole pages"),
        ((request(0, 512),), "not whole pages"),
        ((request(0, block=None),), "no request named a block"),
    ],
)
def test_requests_of_pages(requests: tuple[bytes, ...], says: str) -> None:
    made = in_postcopy(*requests)()
    if says:
        assert says in message("MF709", made)
    else:
        assert "MF709" not in fired(made)


def test_request_before_the_guest_runs() -> None:
    assert "before POSTCOPY_RUN" in message("MF709", returned(PONG, request(0), SHUT)())


def test_a_report_may_come_after_the_end_of_the_capture() -> None:
    tiny = Tiny()
    tiny.returned = [PONG, PONG]
    tiny.close = []
    assert fired(tiny.pcap())["MF705"] == "info"


@pytest.mark.parametrize(
    "name",
    ["11.1.3-returnpath-2ch", "11.1.3-postcopy-multifd-2ch", "11.1.3-vfio-3dev-4ch-shortreads"],
)
def test_real_return_paths(name: str) -> None:
    assert not [rule for rule in fired(capture(name).read_bytes()) if rule.startswith("MF7")]


def test_a_shut_of_the_wrong_length_is_not_told_as_a_missing_one_too() -> None:
    found = fired(returned(PONG, records.message(records.RP_SHUT, bytes(2)))())
    assert {rule for rule, severity in found.items() if severity != "info"} == {"MF702"}
