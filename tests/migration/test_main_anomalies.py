"""Each fault of a main channel, and the anomalies it makes: those and no others."""

from __future__ import annotations

import pytest

from analyzer.migration.main_configuration import SUBSECTIONS_MAX
from dissectors.main_stream import Command, RamFlag
from dissectors.vfio import VfioTag
from tests.migration import main_streams as build
from tests.migration.main_streams import (
    CLOSING,
    CPU,
    CPU_BODY,
    CPU_ID,
    EOS,
    FLUSH,
    OPENING,
    PAGE,
    PIC,
    RAM_ID,
    RAM_START,
    SETUP,
    VFIO,
    VFIO_ID,
    slugs,
    walk,
)

RAM_END = build.end(RAM_ID, EOS)
VFIO_START = build.start(VFIO_ID, VFIO, SETUP)
READY = build.tag(VfioTag.DEV_CONFIG_LOAD_READY)


def ram(*records: bytes) -> bytes:
    """A migration whose only PART holds these records."""
    return OPENING + RAM_START + build.part(RAM_ID, b"".join(records) + EOS) + RAM_END + CLOSING


def vfio(*records: bytes) -> bytes:
    """A migration with these records of a VFIO device behind its START."""
    return OPENING + RAM_START + VFIO_START + b"".join(records) + RAM_END + CPU + PIC


def listed(blocks: bytes) -> bytes:
    """A migration with this list of RAM blocks."""
    return OPENING + build.start(RAM_ID, b"ram", blocks + EOS) + RAM_END + CLOSING


def before_switchover(*records: bytes) -> bytes:
    """A migration with these records in front of SWITCHOVER_START."""
    ping = build.command(Command.OPEN_RETURN_PATH)
    return OPENING + ping + RAM_START + b"".join(records) + RAM_END + CLOSING


MAPPED = build.configuration(
    b"q35",
    build.subsection(b"configuration/capabilities", build.u32(1) + build.text(b"mapped-ram")),
)
NO_CAPABILITIES = build.subsection(b"configuration/capabilities", build.u32(0))
SWITCHOVER = build.command(Command.SWITCHOVER_START)
BAD_FOOTER = CPU[:-5] + build.footer(CPU_ID + 1)
NO_FOOTER = CPU[:-5]
DAMAGED_FOOTER = CPU[:-5] + b"\x7f" + CPU[-4:]
XBZRLE = build.u64(RamFlag.XBZRLE | RamFlag.CONTINUE)
FIRST = build.zero(0, b"pc.ram")

CASES: dict[str, tuple[bytes, set[str]]] = {
    "magic": (b"QEVN" + OPENING[4:] + RAM_START + CLOSING, {"main-magic"}),
    "version": (build.header(2) + build.configuration() + RAM_START + CLOSING, {"main-version"}),
    "no configuration": (build.header() + RAM_START + CLOSING, {"main-no-configuration"}),
    "unknown type": (
        OPENING + RAM_START + build.part(RAM_ID, EOS) + b"\x09" + RAM_END + RAM_END + CLOSING,
        {"section-unknown-type"},
    ),
    "unknown id": (
        OPENING + RAM_START + build.part(9, EOS) + CLOSING,
        {"section-unknown-id"},
    ),
    "id reused": (
        OPENING + RAM_START + build.start(RAM_ID, VFIO, SETUP) + CLOSING,
        {"section-id-reused"},
    ),
    "started twice": (OPENING + RAM_START + RAM_START + CLOSING, {"section-id-reused"}),
    "footer missing": (
        OPENING + RAM_START[:-5] + build.part(RAM_ID, EOS) + CLOSING,
        {"footer-missing"},
    ),
    "footer mismatch": (
        OPENING + RAM_START[:-5] + build.footer(5) + RAM_END + CLOSING,
        {"footer-mismatch"},
    ),
    "footer mismatch of vmstate": (OPENING + RAM_START + BAD_FOOTER + PIC, {"footer-mismatch"}),
    "footer missing of vmstate": (OPENING + RAM_START + NO_FOOTER + PIC, {"footer-missing"}),
    "footer damaged of vmstate": (OPENING + RAM_START + DAMAGED_FOOTER + PIC, {"footer-missing"}),
    "part after end": (
        OPENING + RAM_START + RAM_END + build.part(RAM_ID, EOS) + CLOSING,
        {"part-after-end"},
    ),
    "unknown command": (before_switchover(build.command(12)), {"command-unknown"}),
    "command length": (before_switchover(build.command(Command.PING, b"\1")), {"command-length"}),
    "ping": (
        OPENING + RAM_START + build.command(Command.PING, build.u32(1)) + CLOSING,
        {"ping-without-rp"},
    ),
    "switchover twice": (before_switchover(SWITCHOVER, SWITCHOVER), {"switchover-order"}),
    "switchover after end": (
        OPENING + RAM_START + RAM_END + SWITCHOVER + CLOSING,
        {"switchover-order"},
    ),
    "switchover after an early device": (
        OPENING + RAM_START + build.full(CPU_ID, b"virtio-mem-device-early", b"x") + SWITCHOVER
        + RAM_END + PIC,
        set(),
    ),
    "switchover after full": (OPENING + RAM_START + CPU + SWITCHOVER + PIC, {"switchover-order"}),
    "ram flags": (ram(FIRST, build.u64(0x401)), {"ram-flags-unknown"}),
    "ram two kinds": (
        ram(FIRST, build.u64(RamFlag.PAGE | RamFlag.ZERO | RamFlag.CONTINUE)),
        {"ram-flags-unknown"},
    ),
    "ram continue first": (ram(build.zero(0)), {"ram-continue-first"}),
    "ram unknown block": (ram(build.zero(0, b"nvram")), {"ram-unknown-block"}),
    "ram list too long": (
        listed(build.mem_size({b"a": PAGE, b"b": 2 * PAGE}, total=2 * PAGE)),
        {"ram-block-list-sum"},
    ),
    "ram list without name": (
        listed(build.mem_size({b"": PAGE}, total=PAGE)),
        {"ram-block-list-sum"},
    ),
    "ram offset": (ram(FIRST, build.zero(16 * PAGE)), {"ram-offset-beyond"}),
    "ram offset named": (ram(build.page(4 * PAGE, b"vga.vram")), {"ram-offset-beyond"}),
    "ram zero value": (ram(FIRST, build.zero(PAGE, fill=7)), {"ram-zero-value"}),
    "ram zero value named": (ram(build.zero(PAGE, b"pc.ram", 7)), {"ram-zero-value"}),
    "xbzrle encoding": (ram(FIRST, XBZRLE + b"\2\0\1x"), {"ram-xbzrle"}),
    "xbzrle length": (ram(FIRST, XBZRLE + b"\1\x10\1"), {"ram-xbzrle"}),
    "xbzrle runs": (ram(FIRST, XBZRLE + b"\1\0\3\4\7x"), {"ram-xbzrle"}),
    "compressed length": (
        ram(FIRST, build.u64(RamFlag.COMPRESS_PAGE | RamFlag.CONTINUE) + build.u32(1 << 20)),
        {"ram-flags-unknown"},
    ),
    "ram no eos": (
        OPENING + RAM_START + build.part(RAM_ID, FIRST + build.zero(PAGE)) + CLOSING,
        {"ram-no-eos"},
    ),
    "ram without start": (
        OPENING + build.part(RAM_ID, FIRST + EOS) + CLOSING,
        {"section-unknown-id", "ram-section-without-start"},
    ),
    "vfio tag": (vfio(build.part(VFIO_ID, build.u64(0xFFFFFFFFEF100009))), {"vfio-tag-unknown"}),
    "vfio setup": (
        OPENING + RAM_START + build.start(VFIO_ID, VFIO, SETUP[:8] * 2) + RAM_END + CLOSING,
        {"vfio-setup-end"},
    ),
    "vfio load ready twice": (
        vfio(build.full(VFIO_ID, VFIO, READY), build.full(VFIO_ID, VFIO, READY)),
        {"vfio-config-load-ready-dup"},
    ),
    "vfio late data": (
        vfio(
            SWITCHOVER,
            build.end(VFIO_ID, build.data_state(b"x") + build.END_OF_STATE),
            build.full(VFIO_ID, VFIO, build.END_OF_STATE),
        ),
        {"vfio-data-after-switchover"},
    ),
    "vfio config end": (
        vfio(build.full(VFIO_ID, VFIO, build.config_state()[:-1] + b"\0")),
        {"vfio-config-end"},
    ),
    "description length": (
        OPENING + RAM_START + CPU + b"\0\x06" + build.u32(50) + b"{}",
        {"vmdesc-length"},
    ),
    "machine name": (build.header() + b"\7" + build.u32(1 << 31) + RAM_START + CLOSING,
                     {"main-no-configuration"}),
    "configuration subsection": (
        build.header() + build.configuration(b"q35", build.subsection(b"configuration/new", b""))
        + RAM_START + CLOSING,
        {"subsection-bad"},
    ),
    "mapped-ram header": (
        build.header() + MAPPED + build.start(
            RAM_ID, b"ram",
            build.mem_size({b"a": PAGE}, build.mapped_ram_header(200, 1 << 20, version=2)) + EOS
        ),
        {"mapped-ram-header", "main-truncated"},
    ),
    "mapped-ram flush": (
        build.header() + MAPPED + build.start(RAM_ID, b"ram", FLUSH + EOS) + CLOSING,
        {"mapped-ram-in-stream"},
    ),
    "mapped-ram unannounced": (
        OPENING + build.start(
            RAM_ID, b"ram",
            build.mem_size({b"a": PAGE}, build.mapped_ram_header(200, 1 << 20)) + EOS
        ),
        {"capabilities-differ", "main-truncated"},
    ),
    "too many subsections": (
        build.header() + build.configuration(b"q35", *[NO_CAPABILITIES] * (SUBSECTIONS_MAX + 1))
        + RAM_START + RAM_END + CLOSING,
        {"subsection-bad"},
    ),
    "listen": (before_switchover(build.command(Command.POSTCOPY_LISTEN)), {"postcopy-order"}),
    "packaged too short": (
        before_switchover(build.command(Command.PACKAGED, build.u32(9)) + CPU + PIC),
        {"postcopy-order"},
    ),
    "packaged over the end": (
        OPENING + RAM_START + build.command(Command.PACKAGED, build.u32(900)) + CPU,
        {"postcopy-order"},
    ),
    "packaged twice": (
        before_switchover(
            build.command(Command.PACKAGED, build.u32(9 + len(CPU)))
            + build.command(Command.PACKAGED, build.u32(len(CPU))) + CPU
        ),
        {"postcopy-order"},
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", sorted(CASES))
def test_each_fault_is_named(name: str) -> None:
    stream, expected = CASES[name]
    assert slugs(walk(stream).anomalies) == expected


GOES_ON = sorted(
    name for name, (stream, _slugs) in CASES.items() if stream.endswith((CLOSING, PIC))
)


@pytest.mark.parametrize("name", GOES_ON)
def test_the_walk_goes_on_behind_a_fault(name: str) -> None:
    main = walk(CASES[name][0])
    assert main.records[-1].kind in ("VMDESCRIPTION", "SECTION_FULL")
    assert any(section.idstr == b"i8259" for section in main.sections.values())


def test_a_section_whose_footer_is_gone_still_gets_its_own_body() -> None:
    main = walk(OPENING + RAM_START + NO_FOOTER + PIC + b"\0" + build.DESCRIPTION)
    bodies = {record.name: record.body for record in main.records if record.body is not None}
    assert bodies == {"cpu": CPU_BODY, "i8259#1": build.PIC_BODY}


def test_details_escape_what_the_stream_says() -> None:
    main = walk(ram(build.zero(0, b"\x1b[31mevil\xff")))
    assert [a.detail for a in main.anomalies] == ["block '\\x1b[31mevil\\\\xff'"]


def test_the_extra_end_of_the_first_revisions_is_no_fault() -> None:
    complete = build.end(VFIO_ID, READY + build.END_OF_STATE)
    main = walk(
        vfio(
            complete,
            build.end(VFIO_ID, build.END_OF_STATE),
            build.full(VFIO_ID, VFIO, build.END_OF_STATE),
        )
    )
    assert not main.anomalies
    device = main.devices[VFIO, 0]
    assert (len(device.completes), device.load_ready, device.ends) == (1, [], 2)
