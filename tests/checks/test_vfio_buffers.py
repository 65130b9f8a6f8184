"""MF5xx: every rule fires on its own fault, and stays silent where it must."""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING

import pytest

from analyzer.checks.device_packets import PACKET_MIN
from analyzer.checks.selection import Selection
from analyzer.migration.framing import Framing
from analyzer.migration.settings import Settings
from analyzer.synth import records
from analyzer.synth.scenario import Device
from dissectors.vfio import IDX_MAX, VfioTag
from tests.checks.case import Case, edited, verify
from tests.checks.craft import (
    DEVICE,
    END_OF_STATE,
    IDSTR,
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
from tests.shipped import capture

if TYPE_CHECKING:
    from collections.abc import Callable

    from analyzer.checks.finding import Finding

MIB = 1 << 20
STATE = records.config_state(DEVICE)
LOAD_READY = full(IDSTR.decode(), VFIO_ID, records.tag(VfioTag.DEV_CONFIG_LOAD_READY))
SECOND_IDSTR = b"0000:00:03.0/vfio"


def state(zero: list[bytes], one: list[bytes], **options: bool) -> Callable[[], bytes]:
    """A migration with these device-state packets on channel 0 and channel 1."""

    def edit(tiny: Tiny) -> None:
        tiny.multifd[0][6:] = zero
        tiny.multifd[1][5:] = one

    return edited(edit, **options)


def second(unit: bytes) -> Callable[[], bytes]:
    """The clean migration with another buffer 1."""
    return state([buffer(0), config(2)], [unit])


def more(*units: bytes) -> Callable[[], bytes]:
    """The clean migration with packets more on channel 1."""
    return state([buffer(0), config(2)], [buffer(1), *units])


def config_of(data: bytes) -> Callable[[], bytes]:
    """The clean migration with these data in the config state's buffer."""
    return state([buffer(0), buffer(2, data, config=True)], [buffer(1)])


def load_ready(*units: bytes) -> Callable[[], bytes]:
    """A destination that waits for DEV_CONFIG_LOAD_READY gets it, and these packets."""

    def edit(tiny: Tiny) -> None:
        tiny.main[tiny.main.index(VFIO_FULL)] = LOAD_READY
        tiny.multifd[0][6:] = units

    return edited(edit)


REORDERED = state([buffer(1), config(2)], [buffer(0)])
HELD = state([buffer(1, bytes(3000)), config(2)], [buffer(0)])

CASES = {
    "MF501": Case(more(buffer(9, payload=b"12345")), alone=True),
    "MF502": Case(second(buffer(1, header={"version": 1})), alone=True),
    "MF503": Case(second(buffer(1, host_order=True)), alone=True),
    "MF504": Case(more(buffer(IDX_MAX)), alone=True),
    "MF505": Case(more(buffer(1)), alone=True),
    "MF506": Case(state([buffer(0), config(2)], []), alone=True),
    "MF507": Case(more(buffer(3))),
    "MF508": Case(state([buffer(1), config(3)], [buffer(2)]), alone=True),
    "MF509": Case(state([buffer(0)], [buffer(1)]), alone=True),
    "MF510": Case(more(config(3)), alone=True),
    "MF511": Case(state([buffer(0), config(1)], [buffer(1)])),
    "MF512": Case(second(buffer(1, header={"flags": 0x80})), alone=True),
    "MF513": Case(second(buffer(1, b"")), alone=True),
    "MF514": Case(config_of(bytes(8) + STATE[8:]), alone=True),
    "MF515": Case(config_of(STATE[:-8] + bytes(8)), alone=True),
    "MF516": Case(config_of(STATE[:-8] + bytes(24) + STATE[-8:]), alone=True),
    "MF517": Case(config_of(STATE[:8] + struct.pack(">I", 3) + STATE[12:]), alone=True),
    "MF518": Case(second(buffer(1, bytes(MIB + 1))), second(buffer(1, bytes(MIB)))),
    "MF519": Case(HELD, selection=Selection(max_queued_bytes=2999), alone=True),
    "MF520": Case(HELD, selection=Selection(max_queued_buffers=0), alone=True),
    "MF521": Case(more(buffer(50_000_000)), alone=True),
    "MF522": Case(REORDERED, alone=True),
    "MF526": Case(state([buffer(1), buffer(0)], [config(2)]), REORDERED, alone=True),
    "MF523": Case(REORDERED, alone=True),
    "MF524": Case(load_ready(buffer(0)), load_ready(buffer(0), config(2))),
    "MF525": Case(state([buffer(0), buffer(1)], [config(2)]), alone=True),
}


@pytest.mark.parametrize("rule", CASES)
def test_a_rule_fires_on_its_fault_and_is_silent_without(rule: str) -> None:
    verify(rule, CASES[rule])


def of_rule(capture: bytes, rule: str, settings: Settings | None = None) -> list[Finding]:
    """The findings of one rule."""
    return [found for found in findings(capture, settings) if found.rule.id == rule]


def only(capture: bytes, rule: str, settings: Settings | None = None) -> Finding:
    """The only finding of a rule."""
    (found,) = of_rule(capture, rule, settings)
    return found


def grave(capture: bytes, settings: Settings | None = None) -> set[str]:
    """Rules that fire as a warning or an error."""
    return {rule for rule, severity in fired(capture, settings).items() if severity != "info"}


# -- byte order ------------------------------------------------------------------------------------


def in_order(host: bool) -> Callable[[], bytes]:
    """A whole device in host order (the series) or big endian."""
    return state(
        [buffer(0, host_order=host), config(2, host_order=host)], [buffer(1, host_order=host)]
    )


def test_the_order_of_the_series_is_no_fault() -> None:
    assert grave(in_order(True)()) == set()


@pytest.mark.parametrize(
    ("settings", "host", "expected"),
    [
        (Settings(dialect="upstream"), True, True),
        (Settings(dialect="upstream"), False, False),
        (Settings(dialect="v3"), True, False),
        (Settings(byte_order="be"), True, False),  # MF964
    ],
)
def test_an_order_that_the_user_forces(settings: Settings, host: bool, expected: bool) -> None:
    assert ("MF503" in fired(in_order(host)(), settings)) == expected


def test_one_cause_is_told_once() -> None:
    """A header in the wrong order is decoded in its own: no gap, no huge index."""
    mixed = state([buffer(0), config(2)], [buffer(1, host_order=True)])
    assert grave(mixed()) == {"MF503"}


# -- indices ---------------------------------------------------------------------------------------


def test_a_buffer_under_a_wrong_name_is_only_that_of_its_own_index() -> None:
    made = state([buffer(0), config(2)], [buffer(7, idstr=b"0000:00:99.0/vfio")])
    assert only(made(), "MF506").message == "idx 1 is missing"


def test_a_buffer_under_a_wrong_name_is_missing_in_one_device_only() -> None:
    def edit(tiny: Tiny) -> None:
        name = SECOND_IDSTR.decode()
        at = tiny.main.index(VFIO_FULL)
        tiny.main[at:at] = [full(name, VFIO_ID + 1, END_OF_STATE)]
        tiny.multifd[0] += [buffer(0, idstr=SECOND_IDSTR), config(2, idstr=SECOND_IDSTR)]
        tiny.multifd[1][-1] = buffer(1, idstr=b"0000:00:99.0/vfio")

    assert only(edited(edit)(), "MF506").spot.device == f"{SECOND_IDSTR.decode()}#0"


def test_each_gap_is_named() -> None:
    made = state([buffer(0), config(9)], [buffer(2), buffer(3), buffer(6)])
    found = sorted(of_rule(made(), "MF506"), key=lambda one: one.spot.index or 0)
    assert [one.message for one in found] == [
        "idx 1 is missing",
        "idx 4 to 5 are missing",
        "idx 7 to 8 are missing",
    ]


def test_many_gaps_are_counted() -> None:
    made = state([config(100)], [buffer(idx) for idx in range(0, 100, 2)])
    messages = [found.message for found in of_rule(made(), "MF506")]
    assert len(messages) == 21
    assert "30 more gaps: 30 buffers" in messages


def test_bytes_that_hold_as_many_buffers_as_there_are_gaps_do_not_excuse_them() -> None:
    """25 gaps of 3 buffers each, and undecoded bytes with room for 10."""
    junk = b"\xff" * 10 * PACKET_MIN
    last = [ram([7], num=60), config(100)]
    made = state([junk, *last], [buffer(idx) for idx in range(0, 100, 4)])
    told = {one.message: one.severity for one in of_rule(made(), "MF506")}
    (excused,) = (text for text in told if text.startswith("idx 1 to 3 are missing"))
    assert told[excused] == "info"
    assert told["5 more gaps: 15 buffers"] == "error"


def test_a_missing_start_is_no_gap() -> None:
    assert "MF506" not in fired(CASES["MF508"].faulty())


def test_a_config_state_alone_is_a_device_without_state() -> None:
    assert grave(state([config(0)], [])()) == set()


def test_a_huge_index_with_neighbours_is_a_gap() -> None:
    made = more(buffer(50_000_000), buffer(50_000_001))
    assert {"MF521", "MF504"}.isdisjoint(fired(made()))


def test_an_index_next_to_the_invalid_one_is_huge() -> None:
    found = fired(more(buffer(IDX_MAX - 1), buffer(IDX_MAX))())
    assert {"MF504", "MF521"} <= set(found)
    assert "MF507" not in found


def test_a_huge_config_state() -> None:
    made = state([buffer(0), config(1 << 31)], [buffer(1)])
    assert grave(made()) == {"MF521"}


def test_a_config_state_twice_with_one_index() -> None:
    assert grave(more(config(2))()) == {"MF510"}


def test_data_with_the_index_of_the_config_state_are_not_below_it() -> None:
    assert "MF525" not in fired(state([buffer(0), config(1), buffer(1)], [])())


def test_where_the_second_copy_is() -> None:
    found = only(more(buffer(1, b"other"))(), "MF505")
    assert "it was already in frame " in found.message
    assert found.spot.index == 1


# -- buffers that were cut off ---------------------------------------------------------------------


def cut(keep: int, *, return_path: bool = False) -> Callable[[], bytes]:
    """The source closes channel 1 in the middle of its last buffer."""
    return state([buffer(0), config(2)], [buffer(1, bytes(5000))[:keep]], return_path=return_path)


def test_a_missing_buffer_that_was_cut_off() -> None:
    """Without a return path the source does not wait: nothing excuses it."""
    found = only(cut(3000)(), "MF506")
    assert found.severity == "error"
    assert found.message == "idx 1 is missing: it was cut off on multifd 1 after 2712 of 5000 bytes"


def test_a_start_that_was_cut_off() -> None:
    made = state([buffer(1), config(2)], [buffer(0, bytes(5000))[:3000]], return_path=False)
    message = only(made(), "MF508").message
    assert message.endswith(": it was cut off on multifd 1 after 2712 of 5000 bytes")


def test_an_end_that_was_cut_off() -> None:
    made = state([buffer(0)], [buffer(1, bytes(5000))[:3000]], return_path=False)
    message = only(made(), "MF509").message
    assert message.endswith(": idx 1 was cut off on multifd 1 after 2712 of 5000 bytes")


def test_device_state_that_the_source_cut_off() -> None:
    """The capture for which all this exists."""
    path = capture("10.0.13-vfio-truncated-no-returnpath-2ch")
    found = {f.rule.id: f for f in findings(path.read_bytes()) if f.severity == "error"}
    assert {"MF203", "MF506"} <= set(found)
    assert found["MF506"].spot.device == "0000:00:03.0/vfio#0"
    assert found["MF506"].spot.index == 3
    assert "after 752448 of 950344 bytes" in found["MF506"].message
    assert "197896 of 950344 bytes of buffer 3 are missing" in found["MF203"].message


@pytest.mark.parametrize(("kept", "have"), [(280, 0), (288, 0), (289, 1)])
def test_headers_are_no_part_of_a_buffer_that_was_cut_off(kept: int, have: int) -> None:
    made = state([buffer(0)], [buffer(1, bytes(5000))[:kept]], return_path=False)
    message = only(made(), "MF203").message
    name = "a buffer" if kept < 288 else "buffer 1"
    assert message.endswith(f": {5000 - have} of 5000 bytes of {name} are missing")


def test_a_cancelled_migration_may_lack_anything() -> None:
    def edit(tiny: Tiny) -> None:
        tiny.main[-3:] = []
        tiny.returned.pop()
        tiny.multifd[0].pop()
        tiny.multifd[1].pop()

    found = fired(edited(edit)())
    assert found["MF509"] == "info"


def test_a_hole_may_hold_what_is_missing() -> None:
    tiny = Tiny()
    tiny.multifd[1][5] = buffer(1, bytes(4000))
    header = tiny.multifd[1][5][268:288]
    made = tiny.craft()
    at = next(at for at, frame in enumerate(made.frames) if header in frame.data)
    del made.frames[at]
    found = only(made.pcap(), "MF506")
    assert (found.severity, "missing between frames" in found.excuse) == ("info", True)


# -- config state ----------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["pci", "pcie"])
@pytest.mark.parametrize("vectors", [0, 1, 9])
def test_config_states_of_all_kinds(kind: str, vectors: int) -> None:
    if kind == "pci" or vectors:
        made = records.config_state(Device(config=kind, msix=vectors))
        # A capability is only looked at where the status register says that there is a list.
        space = bytearray(made)
        space[12 + 6] |= 0x10 if vectors else 0
        assert grave(config_of(bytes(space))()) == set()


def test_a_truncated_config_state() -> None:
    assert grave(config_of(STATE[:6])()) == {"MF514"}
    message = only(config_of(b"")(), "MF514").message
    assert message == "has 0 of the 8 bytes of its first tag"


# -- the receiver's queue --------------------------------------------------------------------------


@pytest.mark.parametrize(
    "selection", [Selection(max_queued_bytes=3000), Selection(max_queued_buffers=1)]
)
def test_limits_that_suffice(selection: Selection) -> None:
    assert {"MF519", "MF520"}.isdisjoint(fired(HELD(), None, selection))


def test_one_buffer_that_was_held_is_told_as_one() -> None:
    told = [f.message for f in findings(HELD(), None, Selection(max_queued_buffers=0))]
    assert "held 1 buffer while an earlier idx was missing, the limit is 0" in told


def test_how_long_the_receiver_starved() -> None:
    found = only(REORDERED(), "MF522")
    assert found.spot.index == 0
    assert "with 1 later buffer queued" in found.message


def test_marks_of_some_devices_only() -> None:
    """A device without DEV_CONFIG_LOAD_READY beside one that has it."""

    def edit(tiny: Tiny) -> None:
        at = tiny.main.index(VFIO_FULL)
        name = SECOND_IDSTR.decode()
        ready = records.tag(VfioTag.DEV_CONFIG_LOAD_READY)
        tiny.main[at:at] = [full(name, VFIO_ID + 1, ready)]
        tiny.multifd[1] += [buffer(0, idstr=SECOND_IDSTR), config(1, idstr=SECOND_IDSTR)]

    found = only(edited(edit)(), "MF524")
    assert found.spot.device == f"{IDSTR.decode()}#0"


def test_a_device_that_main_does_not_have_needs_no_mark() -> None:
    stray = buffer(0, idstr=b"0000:00:99.0/vfio")
    assert not of_rule(load_ready(buffer(0), config(2), stray)(), "MF524")


def test_the_rarer_byte_order_is_the_wrong_one_wherever_it_stands() -> None:
    made = state([buffer(0), config(4)], [buffer(1, host_order=True), buffer(2), buffer(3)])
    assert [found.spot.index for found in of_rule(made(), "MF503")] == [1]


def test_a_version_proves_no_byte_order() -> None:
    made = state([buffer(0, header={"version": 1 << 24}), config(2)], [buffer(1)])
    assert grave(made()) == {"MF502"}


@pytest.mark.parametrize(("flag", "idx"), [(0x10, 256), (0x40, 65536)])
def test_an_index_that_proves_nothing_has_the_order_of_its_dialect(flag: int, idx: int) -> None:
    framing = Framing(Settings())
    framing.saw_device_state(flag)
    assert framing.read_vfio(struct.pack("<3I", 0, 256, 0), {})[1] == idx


def test_a_device_in_the_rarer_order_is_read_in_its_own() -> None:
    """Index 256 proves nothing, other headers of the device do."""
    framing, usual, rarer = Framing(Settings()), dict[str, int](), dict[str, int]()
    for idx in (1, 2):
        framing.read_vfio(struct.pack(">3I", 0, idx, 0), usual)
    framing.read_vfio(struct.pack("<3I", 0, 1, 0), rarer)
    assert framing.read_vfio(struct.pack("<3I", 0, 256, 0), rarer)[1] == 256
    assert framing.read_vfio(struct.pack(">3I", 0, 256, 0), usual)[1] == 256
