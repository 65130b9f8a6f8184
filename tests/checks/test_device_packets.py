"""MF4xx: every rule fires on its own fault, and stays silent where it must."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from analyzer.analysis import analyze
from analyzer.checks.selection import Selection
from analyzer.migration.outcome import is_complete, outcome_of
from analyzer.migration.settings import Settings
from analyzer.report.model import file_report
from analyzer.synth import records
from dissectors.dialects import DIALECTS
from tests.checks.case import Case, edited, verify
from tests.checks.craft import (
    DEVICE,
    IDSTR,
    RAM_START,
    SWITCHOVER_START,
    VFIO_FULL,
    VFIO_ID,
    Tiny,
    buffer,
    config,
    findings,
    fired,
    full,
    ram,
)
from tests.checks.main_edits import stopped

if TYPE_CHECKING:
    from collections.abc import Callable

    from analyzer.checks.finding import Finding

MIB = 1 << 20
CONFIG_ON_MAIN = full(IDSTR.decode(), VFIO_ID, records.config_state(DEVICE))
TRANSFER_OFF = Selection(destination_transfer_off=True)


def second(unit: bytes) -> Callable[[], bytes]:
    """The clean migration with another buffer 1, the only one on channel 1."""
    return edited(lambda tiny: tiny.multifd[1].__setitem__(5, unit))


def more(*units: bytes) -> Callable[[], bytes]:
    """The clean migration with units more on channel 1."""
    return edited(lambda tiny: tiny.multifd[1].extend(units))


def without(unit: bytes) -> Callable[[], bytes]:
    """The clean migration without a unit of main."""
    return edited(lambda tiny: tiny.main.remove(unit))


def early(tiny: Tiny) -> None:
    """The first buffer comes before SWITCHOVER_START."""
    tiny.multifd[0].insert(1, tiny.multifd[0].pop(6))


def no_buffers(tiny: Tiny) -> None:
    """No device-state packet at all."""
    del tiny.multifd[0][6:]
    del tiny.multifd[1][5:]


def one_channel(tiny: Tiny) -> None:
    """All buffers on channel 0."""
    tiny.multifd[0].insert(-1, tiny.multifd[1].pop())


def announced_on_main(tiny: Tiny) -> None:
    """The FULL section has the config state."""
    tiny.main[tiny.main.index(VFIO_FULL)] = CONFIG_ON_MAIN
    tiny.main[-1] = records.vmdescription("pc-q35-10.0", 4096, [])


def compressed(tiny: Tiny) -> None:
    """RAM is compressed with zlib."""
    tiny.multifd[0][2] = ram([0, 1], [4, 5], num=2, flags=2, payload=b"x")
    tiny.multifd[0][4] = ram([0], num=6, flags=2, payload=b"x")
    tiny.multifd[1][2] = ram([2], [6], num=3, flags=2, payload=b"x")


def named(idstr: bytes, instance: int = 0) -> list[bytes]:
    """The whole state of another device."""
    return [
        buffer(0, idstr=idstr, instance=instance),
        config(1, idstr=idstr, instance=instance),
    ]


CASES = {
    "MF401": Case(second(buffer(1, flags=0x41))),
    "MF402": Case(more(buffer(9, payload=b"")), alone=True),
    "MF403": Case(second(buffer(1, idstr=b"x" * 256)), alone=True),
    "MF404": Case(second(buffer(1, idstr=IDSTR + b"\0old")), alone=True),
    "MF405": Case(more(*named(b"0000:00:09.0/vfio")), alone=True),
    "MF406": Case(more(*named(b"timer")), alone=True),
    "MF407": Case(second(buffer(1, flags=0x42)), alone=True),
    "MF408": Case(second(buffer(1, flags=0x10)), alone=True),
    "MF409": Case(second(buffer(1, bytes(MIB + 1))), second(buffer(1, bytes(MIB))), alone=True),
    "MF410": Case(without(SWITCHOVER_START)),
    "MF411": Case(edited(early), alone=True),
    "MF412": Case(Tiny().pcap, Tiny(device=False).pcap, alone=True),
    "MF413": Case(edited(no_buffers), alone=True),
    "MF414": Case(edited(announced_on_main)),
    "MF415": Case(Tiny().pcap, Tiny(device=False).pcap, selection=TRANSFER_OFF, alone=True),
    "MF416": Case(edited(one_channel), alone=True),
}


@pytest.mark.parametrize("rule", CASES)
def test_a_rule_fires_on_its_fault_and_is_silent_without(rule: str) -> None:
    verify(rule, CASES[rule])


def only(capture: bytes, rule: str, settings: Settings | None = None) -> Finding:
    """The only finding of a rule."""
    (found,) = (found for found in findings(capture, settings) if found.rule.id == rule)
    return found


# -- dialects --------------------------------------------------------------------------------------


def in_series(tiny: Tiny, flag: int = 0x40, idstr: bytes = IDSTR) -> None:
    """Device state as v1 (0x10) or v3 (0x40) of the series sends it."""
    options = {"flags": flag, "host_order": True}
    tiny.multifd[0][6:] = [buffer(0, idstr=idstr, **options), config(2, idstr=idstr, **options)]  # type: ignore[arg-type]
    tiny.multifd[1][5:] = [buffer(1, idstr=idstr, **options)]  # type: ignore[arg-type]


def test_an_unterminated_idstr_is_a_warning_in_the_series() -> None:
    capture = edited(lambda tiny: in_series(tiny, idstr=b"x" * 256))()
    assert "warning" in {f.severity for f in findings(capture) if f.rule.id == "MF403"}
    forced = fired(CASES["MF403"].faulty(), Settings(dialect="v3"))
    assert forced["MF403"] == "warning"


def test_v1_has_no_switchover_command() -> None:
    def edit(tiny: Tiny) -> None:
        in_series(tiny, 0x10)
        tiny.main.remove(SWITCHOVER_START)

    found = fired(edited(edit)())
    assert {"MF407", "MF408", "MF410", "MF503"}.isdisjoint(found)


def test_missing_state_of_an_unknown_dialect_is_a_warning() -> None:
    def edit(tiny: Tiny) -> None:
        no_buffers(tiny)
        tiny.main.remove(SWITCHOVER_START)

    found = only(edited(edit)(), "MF413")
    assert found.severity == "warning"
    assert "the revision of the format is unknown" in found.message


def test_compressed_ram_beside_device_state() -> None:
    def edit(tiny: Tiny) -> None:
        """Two buffers of the device share a frame."""
        compressed(tiny)
        tiny.multifd[0][6:] = [buffer(0) + config(2)]

    found = only(edited(edit)(), "MF407")
    assert (found.severity, found.repeats) == ("error", 0)


@pytest.mark.parametrize("where", ["multifd 0", "multifd 1", "behind device state"])
def test_one_packet_with_a_method_compresses_no_migration(where: str) -> None:
    """It is that packet which is wrong (MF205), wherever it stands."""

    def edit(tiny: Tiny) -> None:
        if where == "multifd 0":
            tiny.multifd[0][2] = ram([0], num=2, flags=2, payload=b"x")
        elif where == "multifd 1":
            tiny.multifd[1][2] = ram([0], num=3, flags=2, payload=b"x")
        else:
            tiny.multifd[0].append(ram([9], num=9, flags=2, payload=b"x"))

    rules = fired(edited(edit)())
    assert rules["MF205"] == "error"
    assert "MF407" not in rules


def test_compressed_ram_behind_device_state() -> None:
    def edit(tiny: Tiny) -> None:
        compressed(tiny)
        tiny.multifd[0].append(ram([9], num=9, flags=2, payload=b"x"))

    found = [f for f in findings(edited(edit)()) if f.rule.id == "MF407"]
    assert "a RAM packet with compression (flags 0x2) beside device state" in {
        f.message for f in found
    }


# -- identity --------------------------------------------------------------------------------------


def test_the_instance_id_counts() -> None:
    assert only(more(*named(IDSTR, 1))(), "MF405").spot.device == f"{IDSTR.decode()}#1"


def test_devices_behind_the_end_of_a_main_that_breaks_off() -> None:
    assert fired(stopped(RAM_START, 40)())["MF405"] == "info"


@pytest.mark.parametrize("options", [{"idstr": b"0000:00:09.0/vfio"}, {"instance": 1}])
@pytest.mark.parametrize("is_config", [False, True])
def test_one_packet_of_a_device_that_is_another(options: dict[str, Any], is_config: bool) -> None:
    """What the real device lacks because of it, or the other one does, is not told too."""

    def edit(tiny: Tiny) -> None:
        if is_config:
            tiny.multifd[0][-1] = config(2, **options)
        else:
            tiny.multifd[1][-1] = buffer(1, **options)

    (finding,) = [f for f in findings(edited(edit)()) if f.severity != "info"]
    assert finding.rule.id == "MF405"


def test_a_buffer_that_did_not_go_to_another_device_is_missing() -> None:
    """Packet 1 did; nobody has packet 2."""

    def edit(tiny: Tiny) -> None:
        tiny.multifd[0][-1] = config(3)
        tiny.multifd[1][-1] = buffer(1, idstr=b"0000:00:09.0/vfio")

    found = findings(edited(edit)())
    grave = {(f.rule.id, f.spot.device): f.message for f in found if f.severity != "info"}
    assert grave["MF506", "0000:00:02.0/vfio#0"] == "idx 1 to 2 are missing"
    assert {rule for rule, _ in grave} == {"MF405", "MF506"}


@pytest.mark.parametrize("unit", [buffer(0), config(2), buffer(1)], ids=["0", "config", "1"])
def test_a_packet_whose_magic_is_wrong_is_not_called_missing(unit: bytes) -> None:
    def edit(tiny: Tiny) -> None:
        for units in tiny.multifd:
            if unit in units:
                units[units.index(unit)] = b"\xde\xad" + unit[2:]

    (finding,) = [f for f in findings(edited(edit)()) if f.severity != "info"]
    assert finding.rule.id == "MF201"


def test_a_devices_only_packet_whose_magic_is_wrong() -> None:
    def edit(tiny: Tiny) -> None:
        no_buffers(tiny)
        tiny.multifd[1].append(b"\xde\xad" + config(0)[2:])

    found = only(edited(edit)(), "MF413")
    assert found.severity == "info"
    assert found.message.endswith("bytes of multifd 1 could not be decoded")


def test_a_device_that_was_cut_off_is_not_missing() -> None:
    """Its first packet came in part: MF203 and MF509 tell more."""

    def edit(tiny: Tiny) -> None:
        no_buffers(tiny)
        tiny.multifd[1].append(buffer(0, bytes(5000))[:3000])

    found = fired(edited(edit)())
    assert "MF413" not in found
    assert found["MF509"] == "error"


def test_state_on_a_channel_that_the_capture_lacks() -> None:
    """A hole anywhere may be where it is."""
    tiny = Tiny()
    no_buffers(tiny)
    capture = tiny.craft()
    at = next(
        at for at, frame in enumerate(capture.frames) if tiny.multifd[0][4][:60] in frame.data
    )
    del capture.frames[at]
    assert only(capture.pcap(), "MF413").severity == "info"


# -- places and amounts ----------------------------------------------------------------------------


def test_how_early_the_first_buffer_is() -> None:
    found = only(edited(early)(), "MF411")
    assert found.spot.frame is not None
    assert "ms before SWITCHOVER_START (frame " in found.message


def test_how_much_came_behind_main() -> None:
    assert "1 buffer of 4132 bytes" in only(Tiny().pcap(), "MF412").message


def test_findings_name_device_and_index() -> None:
    spot = only(CASES["MF401"].faulty(), "MF401").spot
    assert (spot.device, spot.index) == (f"{IDSTR.decode()}#0", 1)
    assert spot.channel is not None
    assert spot.channel.name == "multifd 1"


def test_the_rarer_marker_is_the_wrong_one_wherever_it_stands() -> None:
    made = edited(lambda tiny: tiny.multifd[0].__setitem__(6, buffer(0, flags=0x10)))
    assert only(made(), "MF408").spot.index == 0


@pytest.mark.parametrize(
    "first",
    [
        buffer(0, flags=0x10, payload=b""),
        buffer(0, flags=0x12),
        buffer(0, flags=0x10, idstr=IDSTR + b"\0old"),
    ],
)
def test_an_odd_first_packet_does_not_make_device_state_of_v1_uadk(first: bytes) -> None:
    def edit(tiny: Tiny) -> None:
        in_series(tiny, 0x10)
        tiny.multifd[0][6:] = [first, buffer(0, flags=0x10), config(2, flags=0x10)]
        tiny.main.remove(SWITCHOVER_START)

    analysis = analyze(edited(edit)())
    assert analysis.migrations[0].framing.dialect is DIALECTS["v1"]
    assert not {"MF209", "MF213", "MF226"} & {finding.rule.id for finding in analysis.findings}


def test_a_device_of_which_nothing_came_is_incomplete() -> None:
    """Without return path nothing else tells that the destination waits."""
    analysis = analyze(edited(no_buffers, return_path=False)())
    (migration,) = analysis.migrations
    (device,) = migration.awaited
    assert is_complete(device, migration) is False
    outcome = outcome_of(migration)
    assert (outcome.name, outcome.forgives) == ("failed", False)
    assert f"device {device.name} is incomplete" in outcome.evidence
    (reported,) = file_report(analysis)["migrations"][0]["devices"]
    assert (reported["buffers"], reported["complete"]) == (0, False)
    found = next(finding for finding in analysis.findings if finding.rule.id == "MF413")
    assert found.severity == "error"
    assert found.spot.frame


def test_a_packet_that_was_cut_off_was_on_a_channel_too() -> None:
    def edit(tiny: Tiny) -> None:
        one_channel(tiny)
        tiny.multifd[1].append(buffer(3)[:-1])

    assert "MF416" not in fired(edited(edit)())
