"""MF97x: trace logs held against captures: each kind of disagreement, real logs, hostile ones."""

from __future__ import annotations

import gzip
import tracemalloc
from typing import TYPE_CHECKING

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import analyzer
from analyzer.capture import trace_log
from analyzer.capture.trace_log import TracedPacket, TraceRun, read_traces
from analyzer.checks.selection import Selection
from analyzer.checks.traces import Keys
from analyzer.errors import UsageError
from tests.capture.files import pcap
from tests.checks.case import Case, edited, verify
from tests.checks.craft import Tiny, buffer, config, findings, ram, sync
from tests.commands.run import mfshark
from tests.lossy import frames_of
from tests.shipped import CAPTURES, capture

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

NAME = "(host-device)"
SIDES = {"src": "source", "dst": "destination"}
LOGGED = {
    "10.0.13-vfio-3dev-4ch": (113, 17),
    "11.1.3-vfio-3dev-4ch-shortreads": (109, 27),
    "7.2-multifd-2ch": (15, 0),
}
"""RAM packets and device-state buffers, as the truth files say."""


def packets_of(data: bytes) -> Iterator[tuple[int, TracedPacket]]:
    """RAM and SYNC packets of a capture, as QEMU traces them."""
    table = analyzer.open(data, packets=True).packets
    assert table is not None
    for row in map(table.row, range(len(table))):
        if row.kind in ("ram", "sync"):
            assert row.packet_num is not None
            assert row.next_packet_size is not None
            assert row.flags is not None
            packet = TracedPacket(row.packet_num, row.flags, row.next_packet_size, row.time)
            yield row.channel, packet


def traced(side: str, *, loaded: tuple[int, ...] = (0, 1)) -> Selection:
    """A trace of the tiny clean migration."""
    run = TraceRun("qemu.log", side)
    for channel, packet in packets_of(Tiny().pcap()):
        run.packets.setdefault(channel, []).append(packet)
    if side == "destination":
        run.buffers[NAME] = [0, 2, 1]
        if loaded:
            run.loaded[NAME] = set(loaded)
    return Selection(traces=(run,))


def renumbered(tiny: Tiny) -> None:
    tiny.multifd[0][1:6] = [sync(100), ram([0, 1], [4, 5], num=102), sync(104), sync(107)]
    tiny.multifd[1][1:5] = [sync(101), ram([2], [6], num=103), sync(105), sync(108)]


def another_device(tiny: Tiny) -> None:
    tiny.multifd[1][-1] = buffer(3)
    tiny.multifd[0][-1] = config(4)


SOURCE, DESTINATION = traced("source"), traced("destination")
OTHER = edited(renumbered)
CASES = {
    "MF971": Case(OTHER, selection=SOURCE),
    "MF972": Case(edited(lambda tiny: tiny.multifd[0].pop(2)), selection=SOURCE),
    "MF973": Case(
        edited(lambda tiny: tiny.multifd[0].insert(5, ram([7], num=66))), selection=DESTINATION
    ),
    "MF974": Case(
        edited(lambda tiny: tiny.multifd[1].__setitem__(2, ram([2, 3], [6], num=3))),
        selection=SOURCE,
    ),
    "MF975": Case(Tiny().pcap, OTHER, selection=SOURCE),
    "MF976": Case(edited(another_device), selection=DESTINATION),
    "MF977": Case(edited(another_device), selection=DESTINATION),
    "MF978": Case(Tiny().pcap, OTHER, selection=SOURCE),
}


@pytest.mark.parametrize(("rule", "case"), CASES.items(), ids=CASES)
def test_a_rule_fires_on_its_fault_and_is_silent_without(rule: str, case: Case) -> None:
    verify(rule, case)


def found(rule: str, data: bytes, selection: Selection) -> list[str]:
    return [f.message for f in findings(data, None, selection) if f.rule.id == rule]


def test_what_disagrees_is_named() -> None:
    assert found("MF972", CASES["MF972"].faulty(), SOURCE) == ["the source traced 1 packet more: 2"]
    assert found("MF973", CASES["MF973"].faulty(), DESTINATION) == [
        "the destination did not trace 1 packet: 66"
    ]
    (told,) = found("MF974", CASES["MF974"].faulty(), SOURCE)
    assert told == (
        "packet 3: the source traced flags 0x0 and size 4096, the capture has 0x0 and 8192"
    )
    assert found("MF977", CASES["MF977"].faulty(), DESTINATION) == [
        f"idx 2 came in, but was not loaded, of what the destination calls {NAME}"
    ]
    unloaded = traced("destination", loaded=(0,))
    assert found("MF977", Tiny().pcap(), unloaded) == [
        f"idx 1 came in, but was not loaded, of what the destination calls {NAME}"
    ]


def test_several_buffers_that_were_not_loaded() -> None:
    selection = traced("destination", loaded=(7,))
    assert found("MF977", Tiny().pcap(), selection) == [
        f"idx 0-1 came in, but were not loaded, of what the destination calls {NAME}"
    ]


def test_a_device_without_any_traced_buffer() -> None:
    """It is told where a log has the events of devices being loaded, and only there."""
    selection = traced("destination")
    (run,) = selection.traces
    run.buffers.clear()
    run.loaded.clear()
    assert found("MF976", Tiny().pcap(), selection) == []
    run.loads = True
    assert found("MF976", Tiny().pcap(), selection) == ["3 buffers on the wire, none traced"]


def log_without(events: bytes, path: Path) -> Path:
    """The real log of a destination, as if events were switched off or had not happened."""
    real = gzip.decompress((CAPTURES / "10.0.13-vfio-3dev-4ch.dst.trace.log.gz").read_bytes())
    path.write_bytes(b"\n".join(line for line in real.splitlines() if events not in line))
    return path


def test_a_destination_that_took_no_device_state_off_its_channels(tmp_path: Path) -> None:
    """As one does whose x-migration-multifd-transfer is off: vfio_load_state is traced all the
    same.
    """
    log = log_without(b"vfio_load_state_device_buffer", tmp_path / "off.log")
    capture_ = capture("10.0.13-vfio-3dev-4ch")
    ran = mfshark("check", capture_, "--trace", log, "--select", "MF97", "-v")
    assert ran.out.count("warning MF976 trace-buffers-differ: ") == 3
    assert "MF976 trace-buffers-differ: 5 buffers on the wire, none traced" in ran.out


def test_a_log_without_events_of_devices_says_nothing_of_buffers(tmp_path: Path) -> None:
    log = log_without(b"vfio_", tmp_path / "multifd.log")
    capture_ = capture("10.0.13-vfio-3dev-4ch")
    ran = mfshark("check", capture_, "--trace", log, "--select", "MF97", "-v")
    assert "MF978" in ran.out
    assert "MF976" not in ran.out


def test_a_capture_without_ram_packets(tmp_path: Path) -> None:
    """It began behind the last one: buffers match the destination's log, nothing the source's."""
    name = "10.0.13-vfio-3dev-4ch"
    table = analyzer.open(capture(name), packets=True).packets
    assert table is not None
    rows = [table.row(number) for number in range(len(table))]
    last = max(row.end_frame for row in rows if row.kind in ("ram", "sync"))
    frames, link = frames_of(capture(name))
    path = tmp_path / "late.pcap"
    path.write_bytes(pcap(frames[last:], link=link))
    logs = {side: CAPTURES / f"{name}.{side}.trace.log.gz" for side in SIDES}
    ran = mfshark("check", path, "--trace", logs["dst"], "--select", "MF97", "-v")
    assert " buffers of the destination agree" in ran.out
    assert "MF978 trace-compared: " in ran.out
    assert "the capture has no RAM packet, " in ran.out
    assert "MF971" not in ran.out
    ran = mfshark("check", path, "--trace", logs["src"], "--select", "MF97", "-v")
    assert "113 packets of the source cannot be matched: the capture has no RAM packet\n" in ran.out


def test_a_log_of_buffers_alone() -> None:
    run = TraceRun("qemu.log", "destination")
    run.buffers[NAME] = [0, 2, 1]
    selection = Selection(traces=(run,))
    assert found("MF978", Tiny().pcap(), selection) == [
        "qemu.log: the log has no packet, 3 of 3 buffers of the destination agree"
    ]
    run.buffers[NAME] = [70, 71, 72, 73]
    assert found("MF971", Tiny().pcap(), selection) == [
        "qemu.log: 4 buffers of the destination, not of these migrations"
    ]


def test_a_trace_without_loading_says_nothing_of_it() -> None:
    assert found("MF977", Tiny().pcap(), traced("destination", loaded=())) == []


@pytest.mark.parametrize("name", LOGGED)
@pytest.mark.parametrize("side", SIDES)
def test_real_logs_agree(name: str, side: str) -> None:
    log = CAPTURES / f"{name}.{side}.trace.log.gz"
    (run,) = read_traces([str(log)])
    packets, buffers = LOGGED[name]
    missed = (name, side) == ("7.2-multifd-2ch", "dst")  # QEMU 7.2 did not read the last, empty one
    assert run.side == SIDES[side]
    assert sum(map(len, run.packets.values())) == packets - missed
    assert sum(map(len, run.buffers.values())) == (buffers if side == "dst" else 0)
    assert all(packet.time for traced in run.packets.values() for packet in traced)
    ran = mfshark("check", capture(name), "--trace", log, "--select", "MF97", "-v")
    assert ran.status == 0
    assert f"{packets - missed} of {packets - missed} packets of the {SIDES[side]} agree" in ran.out
    rules = {word for word in ran.out.split() if word.startswith("MF97")}
    assert rules == {"MF975", "MF978", *({"MF973"} if missed else ())}


def test_both_logs_at_once_and_one_of_another_run() -> None:
    logs = [CAPTURES / f"10.0.13-vfio-3dev-4ch.{side}.trace.log.gz" for side in SIDES]
    words = [word for log in logs for word in ("--trace", log)]
    ran = mfshark("check", capture("10.0.13-vfio-3dev-4ch"), *words, "--fail-on", "warning")
    assert (ran.status, ran.out.count("MF978 trace-compared x2")) == (0, 1)
    ran = mfshark("check", capture("7.2-zlib-2ch"), *words, "--fail-on", "warning")
    assert ran.status == 1
    assert "; 2 warnings, first MF971 trace-unmatched: " in ran.out


def test_a_buffer_that_never_came() -> None:
    """The destination waits for index 3, which was cut off; its trace says so too."""
    name = "10.0.13-vfio-truncated-no-returnpath-2ch"
    log = CAPTURES / f"{name}.dst.trace.log.gz"
    ran = mfshark("check", capture(name), "--trace", log, "--select", "MF97", "-v")
    assert "did not trace idx 3 of what it calls (00002051-0000-0fa0-0001-00000101d001)" in ran.out


def log_of(data: bytes, form: str) -> bytes:
    """A source's log in one of the forms that QEMU's log backend has."""

    def head(time: int) -> str:
        if form == "thread":
            return f"123@{time // 10**9}.{time % 10**9 // 1000:06}:"
        return "2026-11-24T15:45:08.350783Z " if form == "time" else ""

    return "".join(
        f"{head(packet.time)}multifd_send_fill channel {channel} packet_num "
        f"{packet.packet_num} flags 0x{packet.flags:x} next packet size {packet.size}\n"
        for channel, packet in packets_of(data)
    ).encode()


@pytest.mark.parametrize("form", ["thread", "time", "bare"])
@pytest.mark.parametrize("ending", [b"\n", b"\r\n"])
def test_every_form_is_read(form: str, ending: bytes, tmp_path: Path) -> None:
    path = tmp_path / "qemu.log"
    path.write_bytes(log_of(Tiny().pcap(), form).replace(b"\n", ending))
    selection = Selection(traces=read_traces([str(path)]))
    rules = {f.rule.id for f in findings(Tiny().pcap(), None, selection)}
    assert {rule for rule in rules if rule.startswith("MF97")} == (
        {"MF978"} if form == "bare" else {"MF975", "MF978"}
    )


HOSTILE = (
    b"\xff\xfe\x00" * 50,
    b"A" * 3_000_000,
    b"multifd_send_fill channel 99999999999 packet_num 1 flags 0x1 next packet size 0",
    b"multifd_send_fill channel 0 packet_num -1 flags 0x1 next packet size 0",
    "multifd_send_fill channel \u0663 packet_num 1 flags 0x1 next packet size 0".encode(),
    b"9999-99-99T99:99:99.9Z multifd_send_fill",
    b"vfio_load_state_device_buffer_incoming \x1b[31m idx 99999999999999999999",
)


def test_hostile_lines_are_left_out_and_counted(tmp_path: Path) -> None:
    lines = log_of(Tiny().pcap(), "thread").splitlines()
    path = tmp_path / "qemu.log.gz"
    path.write_bytes(gzip.compress(b"\n".join([*HOSTILE, *lines, *HOSTILE, b"", b"  "])))
    (run,) = read_traces([str(path)])
    assert sum(map(len, run.packets.values())) == len(lines)
    assert run.ignored == 2 * len(HOSTILE)
    (told,) = found("MF978", Tiny().pcap(), Selection(traces=(run,)))
    assert told.endswith(f"agree; {2 * len(HOSTILE)} lines could not be read")


@settings(max_examples=50)
@given(st.binary(max_size=300), st.integers(0, 2000))
def test_any_bytes_end_well(tmp_path_factory: pytest.TempPathFactory, data: bytes, at: int) -> None:
    log = log_of(Tiny().pcap(), "time")
    path = tmp_path_factory.getbasetemp() / "any.log"
    path.write_bytes(log[:at] + data + log[at:])
    try:
        runs = read_traces([str(path)])
    except UsageError:
        return
    findings(Tiny().pcap(), None, Selection(traces=tuple(runs)))


def test_what_is_no_log(tmp_path: Path) -> None:
    empty = tmp_path / "empty.log"
    empty.write_text("savevm_state_setup\n")
    clean = capture("10.0.13-vfio-3dev-4ch")
    for path, text in ((empty, "it has no trace of a multifd packet"), (tmp_path / "none", "none")):
        ran = mfshark("check", clean, "--trace", path)
        assert ran.status == 2
        assert text in ran.err
        assert "Traceback" not in ran.err


def test_a_name_cannot_reach_the_terminal(tmp_path: Path) -> None:
    log = b"1@1.1:vfio_load_state_device_buffer_incoming (\x1b[31mevil) idx 77\n"
    path = tmp_path / "qemu.log"
    name = "10.0.13-vfio-3dev-4ch"
    real = gzip.decompress((CAPTURES / f"{name}.dst.trace.log.gz").read_bytes())
    path.write_bytes(real + log)
    ran = mfshark("check", capture(name), "--trace", path, "-v")
    assert "evil" in ran.out
    assert "\x1b" not in ran.out


def test_the_words_of_a_destination_up_to_4_1_are_read(tmp_path: Path) -> None:
    """Its multifd_recv says ``packet number``."""
    log = tmp_path / "old.log"
    line = "multifd_recv channel 0 packet number 7 pages 3 flags 0x1 next packet size 12288\n"
    log.write_text(line, encoding="utf-8")
    (run,) = trace_log.read_traces([str(log)])
    assert [(p.packet_num, p.flags, p.size) for p in run.packets[0]] == [(7, 1, 12288)]


def test_a_log_of_more_than_can_be_held_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(trace_log, "KEPT", 2)
    log = tmp_path / "long.log"
    line = "multifd_send_fill channel 0 packet_num {} flags 0x1 next packet size 0\n"
    log.write_text("".join(map(line.format, range(2))), encoding="utf-8")
    assert trace_log.read_traces([str(log)])
    with pytest.raises(UsageError, match="more than 2 traced packets"):
        trace_log.read_traces([str(log)] * 2)
    log.write_text("".join(map(line.format, range(3))), encoding="utf-8")
    with pytest.raises(UsageError, match="more than 2 traced packets"):
        trace_log.read_traces([str(log)])


def test_threads_that_start_without_end_are_one_run(tmp_path: Path) -> None:
    """A run of which nothing was kept takes no memory; one of which something was is another."""
    log = tmp_path / "starts.log"
    start = "multifd_recv_thread_start 0\n"
    line = "multifd_recv channel 0 packet_num {} flags 0x1 next packet size 0\n"
    log.write_text("".join((start * 50_000, line.format(1), start * 2, line.format(2))), "utf-8")
    tracemalloc.start()
    try:
        runs = read_traces([str(log)])
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert [[p.packet_num for p in run.packets[0]] for run in runs] == [[1], [2]]
    assert peak < 8 << 20


def test_packets_of_one_number_are_told_apart() -> None:
    """A fast way, for hostile logs and captures may have them without end."""
    keys = Keys()
    assert [keys.next(number) for number in (7, 7, 3, 7)] == [(7, 0), (7, 1), (3, 0), (7, 2)]
