"""MF629 to MF634, MF643, MF647: every rule fires on its own fault, else stays silent."""

from __future__ import annotations

import pytest

from analyzer.synth import records
from dissectors.vfio import VfioTag
from tests.checks.case import Case, edited, verify
from tests.checks.craft import (
    DEVICE,
    END_OF_STATE,
    EOS,
    IDSTR,
    MACHINE,
    PAGE,
    PONG,
    RAM_ID,
    RAM_PART,
    SHUT,
    VFIO_END,
    VFIO_FULL,
    VFIO_ID,
    VFIO_START,
    Tiny,
    end,
    findings,
    fired,
    full,
    part,
    start,
)
from tests.checks.main_edits import inserted, replaced
from tests.migration import main_streams as build
from tests.shipped import capture

ACK = records.message(records.RP_SWITCHOVER_ACK)
SETUP = records.tag(VfioTag.DEV_SETUP_STATE)
READY = full(IDSTR.decode(), VFIO_ID, records.tag(VfioTag.DEV_CONFIG_LOAD_READY))
CONFIG = records.config_state(DEVICE)
CONFIG_ON_MAIN = full(IDSTR.decode(), VFIO_ID, CONFIG)
INIT_DATA_SENT = part(VFIO_ID, records.tag(VfioTag.DEV_INIT_DATA_SENT))
DATA = build.data_state(b"state") + END_OF_STATE


def acknowledged(tiny: Tiny) -> None:
    tiny.main.insert(tiny.main.index(RAM_PART), INIT_DATA_SENT)
    tiny.returned = [PONG, ACK, SHUT]


def main_longer(tiny: Tiny) -> None:
    """The devices are done before main comes to its end."""
    at = tiny.main.index(RAM_PART)
    tiny.main[at:at] = [part(RAM_ID, EOS)] * 20


def transfer_off(tiny: Tiny) -> None:
    """The device's state is on main."""
    for units in tiny.multifd:
        del units[6 if len(units) == 8 else -1 :]
    tiny.main[tiny.main.index(VFIO_END)] = end(VFIO_ID, DATA)
    tiny.main[tiny.main.index(VFIO_FULL)] = CONFIG_ON_MAIN
    tiny.main[-1] = records.vmdescription(MACHINE, PAGE, [(DEVICE, len(CONFIG))])


def forgotten(tiny: Tiny) -> None:
    """Nothing of the device's state comes, and the description does not list it."""
    transfer_off(tiny)
    tiny.main[tiny.main.index(end(VFIO_ID, DATA))] = VFIO_END
    tiny.main.remove(CONFIG_ON_MAIN)
    tiny.main[-1] = records.vmdescription(MACHINE, PAGE, [])


CASES = {
    "MF629": Case(inserted(RAM_PART, part(VFIO_ID, build.u64(0xFFFFFFFFEF100009))), alone=True),
    "MF630": Case(replaced(VFIO_START, start(IDSTR.decode(), VFIO_ID, SETUP * 2, 1)), alone=True),
    "MF631": Case(replaced(VFIO_FULL, CONFIG_ON_MAIN), edited(transfer_off)),
    "MF632": Case(inserted(RAM_PART, INIT_DATA_SENT), edited(acknowledged), alone=True),
    "MF633": Case(replaced(VFIO_FULL, READY, READY), replaced(VFIO_FULL, READY), alone=True),
    "MF634": Case(
        replaced(VFIO_END, end(VFIO_ID, DATA)), inserted(RAM_PART, part(VFIO_ID, DATA)), alone=True
    ),
    "MF643": Case(Tiny().pcap, edited(main_longer), alone=True),
    "MF647": Case(edited(forgotten), edited(transfer_off), alone=True),
}


@pytest.mark.parametrize("rule", CASES)
def test_fires_and_stays_silent(rule: str) -> None:
    verify(rule, CASES[rule])


def test_what_follows_a_setup_may_be_in_a_later_frame() -> None:
    """The finding stands at the tag before it, offset and frame."""
    setup = VFIO_START.index(SETUP)
    head, rest = VFIO_START[: setup + 8], SETUP[:8] + VFIO_START[setup + 16 :]
    tiny = Tiny()
    at = tiny.main.index(VFIO_START)
    tiny.main[at : at + 1] = [head, rest]
    capture = tiny.craft()
    (spot,) = [f.spot for f in findings(capture.pcap()) if f.rule.id == "MF630"]
    assert spot.offset == sum(map(len, tiny.main[:at])) + setup
    assert [spot.frame] == [n for n, f in enumerate(capture.frames, 1) if f.data.endswith(head)]


# -- what looks like a fault and is none, and how it is told ---------------------------------------


@pytest.mark.parametrize(
    ("state", "rule", "severity"),
    [
        (CONFIG[:8] + build.u32(9) + CONFIG[12:], "MF517", "warning"),
        (CONFIG[:-8] + bytes(100) + END_OF_STATE, "MF516", "warning"),
        (CONFIG[:-8] + bytes(8), "MF515", "error"),
    ],
)
def test_a_config_state_on_main_is_looked_at_as_closely(
    state: bytes, rule: str, severity: str
) -> None:
    def edit(tiny: Tiny) -> None:
        transfer_off(tiny)
        tiny.main[tiny.main.index(CONFIG_ON_MAIN)] = full(IDSTR.decode(), VFIO_ID, state)
        tiny.main[-1] = records.vmdescription(MACHINE, PAGE, [(DEVICE, len(state))])

    (finding,) = [f for f in findings(edited(edit)()) if f.severity != "info"]
    assert (finding.rule.id, finding.severity) == (rule, severity)
    assert finding.message.startswith("on main: ")


def test_a_device_whose_state_is_on_main_is_no_fault() -> None:
    found = fired(edited(transfer_off)())
    assert set(found.values()) == {"info"}


def test_the_places_are_told() -> None:
    for rule in ("MF629", "MF631", "MF632", "MF633", "MF634"):
        told = [f for f in findings(CASES[rule].faulty()) if f.rule.id == rule]
        assert [f.spot.device for f in told] == [f"{IDSTR.decode()}#0"]
        assert all(f.spot.frame and f.spot.channel for f in told)


def test_destination_whose_side_is_not_captured() -> None:
    tiny = Tiny()
    acknowledged(tiny)
    built = tiny.craft()
    built.frames = [f for f in built.frames if f.data[26:30] == bytes((10, 0, 0, 1))]
    assert "MF632" not in fired(built.pcap())


@pytest.mark.parametrize(
    "name", ["10.0.13-vfio-transfer-off-2ch", "11.1.3-vfio-mixed-on-off-4ch",
             "10.0.13-vfio-precopy-2ch", "11.1.3-vfio-config-after-iter-2ch"],
)  # fmt: skip
def test_real_devices(name: str) -> None:
    found = fired(capture(name).read_bytes())
    assert not {f"MF{number}" for number in range(629, 635)} & set(found)


def only(made: bytes) -> tuple[str, str, str]:
    """Rule, severity and message of the only finding that is graver than info."""
    (found,) = [finding for finding in findings(made) if finding.severity != "info"]
    return found.rule.id, found.severity, found.message


def test_a_body_without_any_tag_is_told_by_its_footer() -> None:
    empty = full(IDSTR.decode(), VFIO_ID, b"")
    assert only(replaced(VFIO_FULL, empty)()) == (
        "MF629",
        "error",
        "the section's footer, where a tag must end the body",
    )


def test_load_ready_belongs_into_the_full_section() -> None:
    ready = end(VFIO_ID, records.tag(VfioTag.DEV_CONFIG_LOAD_READY) + END_OF_STATE)
    assert only(replaced(VFIO_END, ready)()) == (
        "MF524",
        "error",
        "DEV_CONFIG_LOAD_READY in an END section",
    )
