"""MF601 to MF606, MF635 and MF644: every rule fires on its own fault, else it stays silent."""

from __future__ import annotations

import pytest

from analyzer.synth import records
from tests.checks.case import Case, edited, verify
from tests.checks.craft import (
    EOF,
    EOS,
    FLUSH,
    HEADER,
    MACHINE,
    RAM_END,
    RAM_ID,
    RAM_PART,
    RAM_START,
    STATE,
    Tiny,
    channel_header,
    findings,
    fired,
    start,
)
from tests.checks.main_edits import checkpoint, in_colo, inserted, mapped_ram, replaced, stopped
from tests.migration import main_streams as build
from tests.shipped import capture

ENABLE_COLO = 8
CONFIGURATION = records.configuration(MACHINE)


def with_channel_headers(tiny: Tiny) -> None:
    tiny.main[0] = channel_header(0) + tiny.main[0]
    for units in tiny.multifd:
        units[0] = channel_header(2) + units[0]


def damaged_magic(tiny: Tiny) -> None:
    """The RFC's channel header still says that this is main."""
    with_channel_headers(tiny)
    tiny.main[0] = tiny.main[0].replace(b"QEVM", b"QEVN")


def without_eof(tiny: Tiny) -> None:
    del tiny.main[-2:]


CASES = {
    "MF601": Case(edited(damaged_magic, device=False), edited(with_channel_headers, device=False)),
    "MF602": Case(replaced(HEADER, build.header(2) + CONFIGURATION), alone=True),
    "MF603": Case(replaced(HEADER, records.header()), alone=True),
    "MF604": Case(stopped(RAM_END, 12)),
    "MF605": Case(edited(without_eof, return_path=False), alone=True),
    "MF606": Case(edited(lambda tiny: tiny.main.append(b"more")), alone=True),
    "MF635": Case(mapped_ram(announced=False), mapped_ram(), alone=True),
    "MF644": Case(in_colo(build.colo(1), build.colo(4, 0)), in_colo()),
    "MF645": Case(inserted(RAM_PART, start("dirty-bitmap", 51, b"\x80", 1)), alone=True),
}


@pytest.mark.parametrize("rule", CASES)
def test_fires_and_stays_silent(rule: str) -> None:
    verify(rule, CASES[rule])


@pytest.mark.parametrize("blocks", [{b"pc.ram": 1 << 20}, {b"pc.ram": 1 << 20, b"vga": 1 << 16}])
@pytest.mark.parametrize("name", ["mapped-ram", "x-ignore-shared"])
def test_announced_capability_that_the_block_list_does_not_show(
    name: str, blocks: dict[bytes, int]
) -> None:
    """The list and what follows are read as they are, so nothing else is told."""

    def edit(tiny: Tiny) -> None:
        capabilities = build.u32(1) + build.text(name.encode())
        named = build.subsection(b"configuration/capabilities", capabilities)
        tiny.main[0] = records.header() + build.configuration(MACHINE.encode(), named)
        at = tiny.main.index(RAM_START)
        tiny.main[at] = start("ram", RAM_ID, build.mem_size(blocks) + FLUSH + EOS)

    (finding,) = [f for f in findings(edited(edit)()) if f.severity != "info"]
    assert finding.rule.id == "MF635"
    assert finding.message.startswith(f"{name} is announced, but no ")


# -- what looks like a fault and is none -----------------------------------------------------------


def test_where_the_stream_ends_is_told() -> None:
    (finding,) = [f for f in findings(stopped(RAM_END, 12)()) if f.rule.id == "MF604"]
    assert finding.message == "the stream ends in SECTION_END 'ram' > RAM record"


def test_a_source_that_gave_up_is_forgiven() -> None:
    found = fired(stopped(RAM_END, 12, return_path=False)())
    assert found["MF604"] == "info"
    assert found["MF605"] == "info"


def test_a_capture_that_ends_early_has_no_missing_eof() -> None:
    tiny = Tiny(return_path=False)
    without_eof(tiny)
    tiny.close = []
    found = fired(tiny.pcap())
    assert not {"MF604", "MF605"} & set(found)


def test_colo_goes_on_behind_eof() -> None:
    tiny = Tiny()
    tiny.main.append(b"checkpoint")
    assert "MF606" in fired(tiny.pcap())
    tiny.main.insert(tiny.main.index(STATE), records.command(ENABLE_COLO))
    assert "MF606" not in fired(tiny.pcap())


@pytest.mark.parametrize("byte", [b"\0", b"\x08", b"\x7e"])
def test_an_eof_in_the_middle_ends_the_load_there(byte: bytes) -> None:
    tiny = Tiny()
    tiny.main.insert(tiny.main.index(STATE), b"\0" + byte)
    (finding,) = [f for f in findings(tiny.pcap()) if f.severity != "info"]
    assert (finding.rule.id, finding.severity) == ("MF606", "error")
    assert "at which the load ends" in finding.message


def complaints(made: bytes) -> set[str]:
    return {rule for rule, severity in fired(made).items() if severity != "info"}


def test_colo_is_no_fault() -> None:
    assert not complaints(in_colo()())


@pytest.mark.parametrize(
    ("sent", "says"),
    [
        (build.colo(1) + build.colo(2), "CHECKPOINT_REPLY, where VMSTATE_SEND is expected"),
        (build.colo(1) * 2, "CHECKPOINT_REQUEST, where VMSTATE_SEND is expected"),
        (build.colo(1) + build.colo(77), "message 0x4d, where VMSTATE_SEND is expected"),
        (checkpoint(size=len(STATE) + 2), f"of {len(STATE) + 2} bytes whose EOF is byte"),
        (checkpoint(size=1 << 60), f"of {1 << 60} bytes whose EOF is byte {len(STATE) + 1}"),
    ],
)
def test_what_is_wrong_with_a_message_of_colo(sent: bytes, says: str) -> None:
    told = [f for f in findings(in_colo(sent)()) if f.rule.id == "MF644"]
    assert says in told[0].message


def test_no_description_is_no_fault() -> None:
    tiny = Tiny()
    assert tiny.main[-2] == EOF
    del tiny.main[-1]
    assert not [rule for rule in fired(tiny.pcap()) if rule.startswith("MF6") and rule != "MF643"]


@pytest.mark.parametrize("name", ["10.0.13-midstream-2ch", "11.1.3-postcopy-multifd-2ch"])
def test_real_streams_without_a_beginning_or_a_description(name: str) -> None:
    found = fired(capture(name).read_bytes())
    assert not {rule for rule in found if rule.startswith("MF60")}


@pytest.mark.parametrize("at", [8, 60, 63, 27])
def test_damage_to_main_is_told_once(at: int) -> None:
    """What main says behind it cannot be decoded, and is not held against anybody."""
    clean = set(fired(Tiny().pcap()))
    tiny = Tiny()
    joined = bytearray(b"".join(tiny.main))
    joined[at] ^= 0x47
    tiny.main = [bytes(joined)]
    grave = [f for f in findings(tiny.pcap()) if f.severity != "info" and f.rule.id not in clean]
    assert grave
    assert all(finding.spot.channel and finding.spot.channel.kind == "main" for finding in grave)
    assert not {"MF214", "MF303", "MF410", "MF617", "MF703", "MF706"} & {f.rule.id for f in grave}
