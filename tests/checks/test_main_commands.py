"""MF614 to MF618, MF642: every rule fires on its own fault, and stays silent where it must."""

from __future__ import annotations

import struct

import pytest

from analyzer.checks.selection import Selection
from analyzer.synth import records
from tests.checks.case import Case, edited, verify
from tests.checks.craft import (
    HEADER,
    OPEN_RETURN_PATH,
    RAM_PART,
    STATE,
    SWITCHOVER_START,
    Tiny,
    findings,
    fired,
)
from tests.checks.main_edits import inserted, replaced
from tests.shipped import capture

ADVISE = records.command(records.POSTCOPY_ADVISE, struct.pack(">QQ", 4096, 4096))
LISTEN = records.command(records.POSTCOPY_LISTEN)
RUN = records.command(records.POSTCOPY_RUN)
UNKNOWN = 12


def discard(
    *ranges: tuple[int, int], name: bytes = b"pc.ram", version: int = 0, end: bytes = b"\0"
) -> bytes:
    """POSTCOPY_RAM_DISCARD; with no range, of the first page."""
    parts = [struct.pack(">QQ", *one) for one in ranges or ((0, 4096),)]
    head = bytes([version, len(name)]) + name + end
    return records.command(6, head + b"".join(parts))


DISCARD = discard()


def ping_first(tiny: Tiny) -> None:
    tiny.main.insert(1, records.ping(1))


def old_machine(tiny: Tiny) -> None:
    """A machine type whose senders do not say SWITCHOVER_START."""
    tiny.main[0] = records.header() + records.configuration("pc-q35-9.2")
    tiny.main.remove(SWITCHOVER_START)


CASES = {
    "MF614": Case(inserted(RAM_PART, records.command(UNKNOWN)), alone=True),
    "MF615": Case(inserted(RAM_PART, records.command(records.PING, b"\1")), alone=True),
    "MF616": Case(edited(ping_first), alone=True),
    "MF617": Case(inserted(STATE, SWITCHOVER_START), alone=True),
    "MF618": Case(
        Tiny().pcap,
        replaced(SWITCHOVER_START, device=False),
        selection=Selection(destination_version=(9, 2)),
        alone=True,
    ),
    "MF642": Case(inserted(RAM_PART, LISTEN), inserted(RAM_PART, ADVISE, LISTEN), alone=True),
    "MF648": Case(
        inserted(RAM_PART, ADVISE, discard((0, 1 << 30))),
        inserted(RAM_PART, ADVISE, DISCARD),
        alone=True,
    ),
}


@pytest.mark.parametrize("rule", CASES)
def test_fires_and_stays_silent(rule: str) -> None:
    verify(rule, CASES[rule])


# -- other ways to be a fault, and what looks like one and is none ---------------------------------


@pytest.mark.parametrize(
    ("command", "text"),
    [
        (discard(version=1), "version 1, expected 0"),
        (discard(end=b"x"), "a block name of 6 bytes without its end"),
        (discard(name=b"nope"), "'nope' is not in the block list"),
        (discard(end=b"\0\0"), "17 bytes of ranges, which have 16 each"),
        (discard((4096, 4096), (1 << 40, 1)), "0x1 bytes at 0x10000000000 of 'pc.ram', whose"),
    ],
)
def test_discards_that_make_no_sense(command: bytes, text: str) -> None:
    found = findings(inserted(RAM_PART, ADVISE, command)())
    (finding,) = [f for f in found if f.rule.id == "MF648"]
    assert finding.message.startswith(text)


@pytest.mark.parametrize(
    ("commands", "text"),
    [
        ([ADVISE, ADVISE], "POSTCOPY_ADVISE sent again"),
        ([ADVISE, LISTEN, LISTEN], "POSTCOPY_LISTEN after POSTCOPY_LISTEN"),
        ([ADVISE, LISTEN, DISCARD], "POSTCOPY_RAM_DISCARD after POSTCOPY_LISTEN"),
        ([ADVISE, DISCARD, DISCARD, LISTEN], ""),
    ],
)
def test_the_order_of_postcopys_commands(commands: list[bytes], text: str) -> None:
    found = findings(inserted(RAM_PART, *commands)())
    assert [f.message for f in found if f.rule.id == "MF642"] == [text] * bool(text)


@pytest.mark.parametrize(
    ("unit", "command"),
    [
        (SWITCHOVER_START, records.command(records.SWITCHOVER_START, bytes(4))),
        (OPEN_RETURN_PATH, records.command(records.OPEN_RETURN_PATH, b"\0") + records.ping(1)),
        (OPEN_RETURN_PATH, OPEN_RETURN_PATH[:5] + records.command(records.PING, bytes(2))),
    ],
    ids=["switchover", "open", "ping"],
)
def test_a_command_of_a_wrong_length_is_there(unit: bytes, command: bytes) -> None:
    (finding,) = [f for f in findings(replaced(unit, command)()) if f.severity != "info"]
    assert finding.rule.id == "MF615"


def test_switchover_start_missing_from_a_machine_that_has_it() -> None:
    capture = replaced(SWITCHOVER_START, device=False)()
    (finding,) = [f for f in findings(capture) if f.rule.id == "MF617"]
    assert finding.severity == "warning"
    assert "pc-q35-10.0" in finding.message


def test_older_machines_have_no_switchover_start() -> None:
    assert "MF617" not in fired(edited(old_machine, device=False)())


def test_no_configuration_tells_no_machine() -> None:
    tiny = Tiny(device=False)
    tiny.main[0] = HEADER[:8]
    tiny.main.remove(SWITCHOVER_START)
    assert "MF617" not in fired(tiny.pcap())


def test_destination_that_knows_the_command() -> None:
    found = fired(Tiny().pcap(), selection=Selection(destination_version=(10, 0)))
    assert "MF618" not in found


@pytest.mark.parametrize(
    "commands", [(RUN,), (ADVISE, RUN), (ADVISE, LISTEN, RUN, LISTEN), (LISTEN, ADVISE)]
)
def test_orders_of_postcopy_that_make_no_sense(commands: tuple[bytes, ...]) -> None:
    assert fired(inserted(RAM_PART, *commands)())["MF642"] == "error"


@pytest.mark.parametrize("name", ["derived-v1-vfio-3dev-4ch", "11.1.3-postcopy-multifd-2ch"])
def test_real_streams(name: str) -> None:
    found = fired(capture(name).read_bytes())
    assert not {"MF614", "MF615", "MF616", "MF617", "MF642"} & set(found)
