"""MF3xx: every rule fires on its own fault, and stays silent where it must."""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING

import pytest

from analyzer.migration.settings import Settings
from analyzer.synth import records
from tests.checks.case import Case, edited, example, verify
from tests.checks.craft import (
    EOS,
    FLUSH,
    RAM_END,
    RAM_ID,
    RAM_PART,
    SWITCHOVER_START,
    Craft,
    Tiny,
    buffer,
    channel_header,
    config,
    end,
    findings,
    fired,
    init,
    part,
    ram,
    sync,
)

if TYPE_CHECKING:
    from collections.abc import Callable

PAGE_RECORD = struct.pack(">Q", 0x5000 | 8) + records.counted("pc.ram") + bytes(4096)
WITHOUT_FLUSH = end(RAM_ID, EOS)


def without_last_flush(tiny: Tiny) -> None:
    tiny.main[tiny.main.index(RAM_END)] = WITHOUT_FLUSH


def sync_per_section(tiny: Tiny) -> None:
    """Two more sections without FLUSH, and a round for each."""
    at = tiny.main.index(SWITCHOVER_START)
    tiny.main[at:at] = [part(RAM_ID, EOS)] * 2
    tiny.multifd[0] += [sync(9), sync(11)]
    tiny.multifd[1] += [sync(10), sync(12)]


def flush_without_channels(tiny: Tiny) -> None:
    tiny.multifd = []
    tiny.main[3:3] = [part(RAM_ID, PAGE_RECORD + EOS)]


def payload_behind_sync(size: int, announced: int) -> Callable[[Tiny], None]:
    def edit(tiny: Tiny) -> None:
        tiny.multifd[0][3] = sync(4, next_packet_size=announced) + b"\x5a" * size

    return edit


def ram_first(tiny: Tiny) -> None:
    tiny.multifd[0][1:3] = [ram([0, 1], [4, 5], num=0), sync(2)]


def unpaired_in_v1(tiny: Tiny) -> None:
    """The series' v1 on a QEMU 9.1: the last round has no FLUSH, device state comes behind it."""
    before_10(tiny)
    without_last_flush(tiny)
    v1 = {"host_order": True, "flags": 0x10}
    tiny.multifd[0][-2:] = [buffer(0, **v1), config(2, **v1)]  # type: ignore[arg-type]
    tiny.multifd[1][-1:] = [buffer(1, **v1)]  # type: ignore[arg-type]


def paired_in_v1(tiny: Tiny) -> None:
    unpaired_in_v1(tiny)
    tiny.main[tiny.main.index(WITHOUT_FLUSH)] = RAM_END


def before_10(tiny: Tiny) -> None:
    """A sender up to 9.2, as far as main tells."""
    tiny.main[0] = records.header() + records.configuration("pc-q35-9.1")
    tiny.main.remove(SWITCHOVER_START)


def slow() -> bytes:
    return Tiny().craft(Craft(step=200_000_000)).pcap()


CASES = {
    "MF301": Case(edited(lambda tiny: tiny.multifd[1].remove(sync(8)))),
    "MF302": Case(edited(without_last_flush)),
    "MF303": Case(edited(sync_per_section), alone=True),
    "MF304": Case(
        edited(flush_without_channels, device=False),
        edited(lambda tiny: tiny.multifd.clear(), device=False),
        alone=True,
    ),
    "MF305": Case(edited(payload_behind_sync(64, 64))),
    "MF306": Case(edited(ram_first)),
    "MF307": Case(
        edited(lambda tiny: tiny.multifd[0].append(ram([9], num=9)), device=False), alone=True
    ),
    "MF308": Case(edited(unpaired_in_v1), edited(paired_in_v1), alone=True),
    "MF309": Case(slow),
}


@pytest.mark.parametrize("rule", CASES)
def test_fires_and_stays_silent(rule: str) -> None:
    verify(rule, CASES[rule])


# -- what looks like a fault and is none, and other ways to be one ---------------------------------


def test_who_has_a_sync_for_every_flush_was_not_closed_early() -> None:
    """Another channel's SYNC too many, behind that close, is the other channel's fault."""
    tiny = Tiny(device=False, return_path=False)
    tiny.multifd[0] += [sync(9)]
    capture = tiny.craft()
    from_channel_1 = [
        frame for frame in capture.frames if frame.data[34:36] == tiny.ports[2].to_bytes(2, "big")
    ]
    fin = from_channel_1[-1]
    extra = next(f for f in reversed(capture.frames) if f.data.endswith(sync(9)))
    capture.frames.remove(fin)
    at = capture.frames.index(extra)
    assert capture.frames.index(from_channel_1[-2]) < at
    capture.frames.insert(at, fin)
    fin.time = extra.time - 1
    rules = fired(capture.pcap())
    assert "MF301" in rules
    assert "MF116" not in rules


@pytest.mark.parametrize(
    ("machine", "severity"), [("pc-q35-8.1", "info"), ("microvm", "info"), ("pc-q35-8.2", "error")]
)
def test_qemu_8_1_writes_flush_without_multifd_too(machine: str, severity: str) -> None:
    tiny = Tiny(device=False)
    flush_without_channels(tiny)
    tiny.main[0] = records.header() + records.configuration(machine)
    tiny.main.remove(SWITCHOVER_START)
    assert fired(tiny.pcap())["MF304"] == severity


def test_the_channel_that_lacks_a_sync_is_named() -> None:
    capture = edited(lambda tiny: tiny.multifd[1].remove(sync(8)))()
    (finding,) = [f for f in findings(capture) if f.rule.id == "MF301"]
    assert finding.spot.channel is not None
    assert finding.spot.channel.name == "multifd 1"


def test_the_packet_behind_the_last_sync_is_shown() -> None:
    tiny = Tiny(device=False)
    tiny.multifd[0].append(ram([9], num=9))
    capture = tiny.craft()
    (finding,) = [f for f in findings(capture.pcap()) if f.rule.id == "MF307"]
    frames = [n for n, f in enumerate(capture.frames, 1) if tiny.multifd[0][-1][:99] in f.data]
    assert [finding.spot.frame] == frames


def test_packets_behind_the_last_sync_are_told_where_the_capture_began_late_too() -> None:
    tiny = Tiny(device=False)
    tiny.multifd[0].append(ram([9], num=9))
    capture = tiny.craft()
    begins = max(n for n, f in enumerate(capture.frames) if f.data.endswith((init(0), init(1))))
    del capture.frames[: begins + 1]
    assert "MF307" in fired(capture.pcap())


def test_more_flushes_than_rounds() -> None:
    tiny = Tiny()
    at = tiny.main.index(SWITCHOVER_START)
    tiny.main[at:at] = [part(RAM_ID, FLUSH + EOS)]
    (finding,) = [f for f in findings(tiny.pcap()) if f.rule.id == "MF302"]
    assert "fewer" in finding.message
    assert finding.spot.frame is not None


def test_last_round_of_a_9_2_has_no_flush() -> None:
    def edit(tiny: Tiny) -> None:
        before_10(tiny)
        without_last_flush(tiny)

    assert not {"MF302", "MF303"} & set(fired(edited(edit, device=False)()))


def test_nor_has_that_of_v3_of_the_series_without_devices() -> None:
    """It is based on 9.2 and has SWITCHOVER_START."""

    def edit(tiny: Tiny) -> None:
        tiny.main[0] = records.header() + records.configuration("pc-q35-9.2")
        without_last_flush(tiny)

    assert not {"MF302", "MF303"} & set(fired(edited(edit, device=False)()))


def test_nor_has_that_of_v3_on_a_newer_qemu() -> None:
    """Its last SYNC comes behind the device state, whatever the machine type."""

    def edit(tiny: Tiny) -> None:
        without_last_flush(tiny)
        state = {buffer(i): buffer(i, host_order=True) for i in range(2)}
        state[config(2)] = config(2, host_order=True)
        tiny.multifd = [[state.get(unit, unit) for unit in units] for units in tiny.multifd]

    assert not {"MF302", "MF303"} & set(fired(edited(edit)()))


def legacy(tiny: Tiny) -> None:
    """A machine type up to 8.0: no FLUSH, a round before each EOS."""
    tiny.main = [unit.replace(FLUSH + EOS, EOS) for unit in tiny.main]


def test_legacy_rounds_count_sections() -> None:
    assert not {"MF302", "MF303"} & set(fired(edited(legacy)()))
    tiny = Tiny()
    legacy(tiny)
    tiny.main.insert(3, part(RAM_ID, EOS))
    assert fired(tiny.pcap())["MF302"] == "error"


def test_sections_of_postcopy_have_no_round() -> None:
    """The channels are done by then, main goes on to send pages."""
    tiny = Tiny(device=False)
    legacy(tiny)
    at = tiny.main.index(WITHOUT_FLUSH)
    tiny.main[at:at] = [records.command(records.POSTCOPY_RUN), part(RAM_ID, PAGE_RECORD + EOS)]
    assert "MF302" not in fired(tiny.pcap())


def test_a_round_too_many_of_a_sender_that_has_no_last_one_without_a_sync_point() -> None:
    """Only senders of QEMU 9.1 and 9.2 that write FLUSH records have one: the channels hang."""

    def round_more(tiny: Tiny) -> None:
        tiny.multifd[0].append(sync(9))
        tiny.multifd[1].append(sync(10))

    for machine, era, flush in (("8.0", None, False), ("8.1", "7.2", True), ("9.1", None, True)):
        tiny = Tiny(device=False)
        tiny.main.remove(SWITCHOVER_START)
        if not flush:
            legacy(tiny)
        tiny.main[0] = records.header() + records.configuration(f"pc-q35-{machine}")
        round_more(tiny)
        settings = Settings(era=era)
        assert ("MF302" in fired(tiny.pcap(), settings)) == (machine != "9.1"), machine


def test_a_single_section_is_counted_in_the_singular() -> None:
    def edit(tiny: Tiny) -> None:
        tiny.main = [unit for unit in tiny.main if unit not in (RAM_PART, RAM_END)]
        tiny.multifd[0].remove(sync(7))
        tiny.multifd[1].remove(sync(8))

    (finding,) = [f for f in findings(edited(edit)()) if f.rule.id == "MF303"]
    assert finding.message == "2 SYNC rounds with 1 FLUSH record and 1 RAM section"


def test_a_forced_mode_counts() -> None:
    def edit(tiny: Tiny) -> None:
        tiny.main[:] = [unit.replace(FLUSH, b"") for unit in tiny.main]
        tiny.main.insert(4, part(RAM_ID, EOS))

    for forced, told in (("legacy", "RAM sections"), ("round", "MULTIFD_FLUSH records")):
        found = findings(edited(edit)(), Settings(sync=forced))
        assert [f.message.endswith(told) for f in found if f.rule.id == "MF302"] == [True]


def test_whole_pages_behind_a_sync_that_announces_none() -> None:
    assert fired(edited(payload_behind_sync(8192, 0))())["MF305"] == "error"


def test_garbage_behind_a_sync_is_not_its_payload() -> None:
    found = fired(edited(payload_behind_sync(100, 0))())
    assert "MF305" not in found
    assert found["MF201"] == "error"


def test_stale_size_of_an_old_sender_without_payload() -> None:
    assert "MF305" not in fired(edited(payload_behind_sync(0, 8192))())


def test_hole_excuses_the_missing_sync() -> None:
    tiny = Tiny()
    tiny.multifd[1].remove(sync(8))
    capture = tiny.craft()
    lost = next(i for i, f in enumerate(capture.frames) if len(f.data) > 1400)
    del capture.frames[lost]
    assert fired(capture.pcap())["MF301"] == "info"


def test_hole_over_the_first_sync() -> None:
    tiny = Tiny()
    capture = tiny.craft()
    first = next(i for i, f in enumerate(capture.frames) if f.data[54:].startswith(sync(0)[:20]))
    del capture.frames[first]
    assert "MF306" not in fired(capture.pcap())


def test_a_channel_without_any_sync_does_not_begin_with_one() -> None:
    def edit(tiny: Tiny) -> None:
        tiny.multifd[1] = [unit for unit in tiny.multifd[1] if len(unit) != len(sync(1))]

    (finding,) = [f for f in findings(edited(edit)()) if f.rule.id == "MF306"]
    assert finding.spot.channel is not None
    assert finding.spot.channel.name == "multifd 1"


def test_channel_that_ends_early_is_told_once() -> None:
    found = fired(example("channel-ended-early")())
    assert not {"MF301", "MF307"} & set(found)


def test_channels_of_the_rfc_for_device_state_take_no_part() -> None:
    tiny = Tiny()
    tiny.main[0] = channel_header(0) + tiny.main[0]
    for units in tiny.multifd:
        units[0] = channel_header(2) + units[0]
    tiny.multifd[0][:] = [u for u in tiny.multifd[0] if u not in (buffer(0), config(2))]
    state = {"host_order": True, "flags": 0x10}
    only = [channel_header(3) + init(2), buffer(0, **state)]  # type: ignore[arg-type]
    tiny.multifd.append([*only, buffer(1, **state), config(2, **state)])  # type: ignore[arg-type]
    tiny.multifd[1].remove(buffer(1))
    tiny.close += [(2, "fin client")]
    assert not {"MF301", "MF302", "MF306"} & set(fired(tiny.pcap()))
