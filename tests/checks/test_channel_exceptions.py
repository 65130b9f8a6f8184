"""What rules about channels must not complain of, and what they say word for word."""

from __future__ import annotations

import struct

import pytest

from analyzer.analysis import analyze
from analyzer.checks.channels import HEADER_SIZES
from analyzer.migration.main_ram import ADDRESS_LIMIT
from analyzer.synth import records
from dissectors.main_stream import RamFlag
from tests.capture.files import pcap
from tests.checks.craft import (
    EOS,
    FLUSH,
    MACHINE,
    RAM_END,
    RAM_ID,
    RAM_PART,
    RAM_START,
    SHUT,
    Craft,
    Tiny,
    channel_header,
    findings,
    fired,
    init,
    part,
    start,
    sync,
)
from tests.lossy import frames_of, key_of
from tests.migration import main_streams as build
from tests.migration.endings import closed_early
from tests.shipped import capture as capture_of

SYN, SYN_ACK = 2, 18


def messages(capture: bytes, rule: str) -> list[str]:
    return [finding.message for finding in findings(capture) if finding.rule.id == rule]


def handshake(made: Craft, port: int) -> list[int]:
    """Where the frames of a connection's SYN and SYN-ACK are."""
    wanted = struct.pack(">H", port)
    return [
        number
        for number, frame in enumerate(made.frames)
        if wanted in (frame.data[34:36], frame.data[36:38]) and frame.data[47] in (SYN, SYN_ACK)
    ]


# -- no multifd channel ----------------------------------------------------------------------------


def alone(*, stranger: bool = False, pages: bool = False, blocks: bool = True) -> bytes:
    """Main without multifd channels; FLUSH records say that there were some."""
    tiny = Tiny(device=False)
    tiny.multifd = [[b"something else" * 9]] if stranger else []
    if pages:
        body = records.page("pc.ram", 0, again=False) + bytes(4096)
        tiny.main[3:3] = [part(RAM_ID, body + FLUSH + EOS)]
    if not blocks:
        tiny.main.remove(RAM_START)
    return tiny.pcap()


def test_main_alone_shows_that_channels_are_missing() -> None:
    assert messages(alone(), "MF111") == ["3 MULTIFD_FLUSH records but no multifd channel"]
    assert "MF110" not in fired(alone())


@pytest.mark.parametrize("name", ["10.0.13-machine-q35-7.2-2ch", "4.2-multifd-2ch", "7.2-zlib-2ch"])
def test_main_without_flush_records_shows_it_by_the_pages_that_it_lacks(name: str) -> None:
    (migration,) = analyze(capture_of(name)).migrations
    gone = {flow.key for one in migration.multifd for flow in one.flow.connection.flows}
    frames, link = frames_of(capture_of(name))
    left = [frame for frame in frames if key_of(frame, link) not in gone]
    assert messages(pcap(left, link=link), "MF111") == [
        "no page with content on main, and no multifd channel"
    ]


@pytest.mark.parametrize(
    ("address", "told"), [(build.u64(1 << 32), False), (b"", True)], ids=["shared", "announced"]
)
def test_blocks_of_shared_memory_need_no_pages(address: bytes, told: bool) -> None:
    named = build.u32(1) + build.text(b"x-ignore-shared")
    subsection = build.subsection(b"configuration/capabilities", named)
    tiny = Tiny(device=False)
    tiny.multifd = []
    tiny.main = [unit.replace(FLUSH + EOS, EOS) for unit in tiny.main]
    tiny.main[0] = records.header() + build.configuration(MACHINE.encode(), subsection)
    at = tiny.main.index(RAM_START.replace(FLUSH + EOS, EOS))
    tiny.main[at] = start("ram", RAM_ID, build.mem_size({b"pc.ram": 1 << 20}, address) + EOS)
    assert ("MF111" in fired(tiny.pcap())) == told


@pytest.mark.parametrize(
    "capture", [alone(stranger=True), alone(pages=True), alone(blocks=False)], ids=range(3)
)
def test_channels_may_be_there_or_not_needed(capture: bytes) -> None:
    """A stranger may be one; pages on main need none; without a list of blocks main is unread."""
    assert "MF111" not in fired(capture)


# -- what else begins in another way ---------------------------------------------------------------

PAGE, EOS_FLAG = int(RamFlag.PAGE), int(RamFlag.EOS)
STRANGERS = {
    "a page record": (0x5000 | PAGE, "MF121"),
    "the highest address": (ADDRESS_LIMIT - 0x1000 | PAGE, "MF121"),
    "a higher address": (ADDRESS_LIMIT | PAGE, "MF101"),
    "a record without a page": (0x5000 | EOS_FLAG, "MF101"),
    "a page and an end": (0x5000 | PAGE | EOS_FLAG, "MF101"),
}


@pytest.mark.parametrize("name", STRANGERS)
def test_what_looks_like_a_preempt_channel(name: str) -> None:
    word, rule = STRANGERS[name]
    tiny = Tiny(device=False)
    tiny.multifd.append([word.to_bytes(8, "big") + records.counted("pc.ram") + bytes(99)])
    assert {"MF101", "MF121"} & set(fired(tiny.pcap())) == {rule}


@pytest.mark.parametrize(
    ("size", "told"),
    [
        (8, ["channel header of size 8, not 4"]),
        (HEADER_SIZES - 1, [f"channel header of size {HEADER_SIZES - 1}, not 4"]),
        (HEADER_SIZES, []),
    ],
)
def test_a_channel_header_of_another_size(size: int, told: list[str]) -> None:
    """If other connections have one; otherwise, or if it is too large, it is something else."""
    tiny = Tiny(device=False)
    tiny.multifd.append([channel_header(2, size) + bytes(60)])
    assert not [text for text in messages(tiny.pcap(), "MF120") if "size" in text]
    tiny.main[0] = channel_header(0) + tiny.main[0]
    assert [text for text in messages(tiny.pcap(), "MF120") if "size" in text] == told
    assert ("MF101" in fired(tiny.pcap())) is not bool(told)


# -- what the destination sent ---------------------------------------------------------------------


@pytest.mark.parametrize(
    ("answer", "syn", "told"),
    [
        (b"\0", False, []),  # a keep-alive repeats the byte before the first one seen
        (b"\0", True, ["the destination sent 1 byte"]),
        (b"\0\0", False, ["the destination sent 2 bytes"]),
    ],
)
def test_a_keep_alive_is_no_data(answer: bytes, syn: bool, told: list[str]) -> None:
    tiny = Tiny()
    tiny.answers = {1: [answer]}
    made = tiny.craft()
    if not syn:
        made.frames.pop(handshake(made, 46002)[1])
    assert messages(made.pcap(), "MF113") == told


# -- main connected late ---------------------------------------------------------------------------


def main_last(*, times: bool) -> bytes:
    """The frames of main's handshake behind another's; ``times``: their times, too."""
    made = Tiny().craft()
    frames = [made.frames[number] for number in handshake(made, 46000)]
    for frame in frames:
        made.frames.remove(frame)
    behind = max(handshake(made, 46001)) + 1
    if times:
        for frame in frames:
            frame.time = made.frames[behind - 1].time + 1000
    made.frames[behind:behind] = frames
    return made.pcap()


def test_frames_captured_out_of_order_do_not_swap_roles() -> None:
    (told,) = messages(main_last(times=True), "MF114")
    assert told == "main was connected in frame 3, after multifd 0 in 2"
    assert not messages(main_last(times=False), "MF114")
    assert not messages(Tiny().pcap(), "MF114")


# -- how channels end ------------------------------------------------------------------------------


def test_a_channel_cut_off_inside_a_packet_is_told_by_another_rule() -> None:
    tiny = Tiny(device=False)
    tiny.close = []
    assert messages(tiny.pcap(), "MF115") == ["the capture does not show the end of multifd 0-1"]
    tiny.multifd[1][-1] = tiny.multifd[1][-1][:-4]
    assert messages(tiny.pcap(), "MF115") == ["the capture does not show the end of multifd 0"]


def test_which_round_a_closed_channel_missed() -> None:
    tiny = Tiny(return_path=False, device=False)
    tiny.multifd[1].pop()
    (told,) = messages(closed_early(tiny, RAM_END).pcap(), "MF116")
    assert told.startswith("closed after SYNC round 2; round 3 follows in frame ")


def test_a_channel_closed_instead_of_its_sync() -> None:
    """Another channel's SYNC of that round is ahead of the close, the next round behind it."""
    tiny = Tiny(return_path=False, device=False)
    tiny.multifd[1][3:] = [b"", b""]  # each unit keeps its time
    capture = closed_early(tiny, RAM_END).pcap()
    (told,) = messages(capture, "MF116")
    assert told.startswith("closed after SYNC round 1; round 3 follows in frame ")
    assert not messages(capture, "MF301")


@pytest.mark.parametrize(("syncs", "told"), [(2, 1), (3, 0)])
def test_rounds_whose_flushes_the_capture_lacks(syncs: int, told: int) -> None:
    """The last round may be one that has no FLUSH."""
    tiny = Tiny(return_path=False, device=False)
    tiny.multifd[0].append(sync(9))
    tiny.multifd[1] = [init(1), *(sync(number) for number in (1, 5, 8)[:syncs])]
    made = closed_early(tiny, sync(7))
    made.frames = [frame for frame in made.frames if RAM_PART not in frame.data]
    assert len(messages(made.pcap(), "MF116")) == told


def test_a_destination_that_closes_main_in_order_has_read_it() -> None:
    tiny = Tiny()
    told = "the destination reported success and reset main with bytes unread"
    assert tiny.returned[-1] == SHUT
    assert not messages(tiny.pcap(), "MF117")
    tiny.close = [(0, "fin client"), (1, "fin client"), ("main", "reset server")]
    assert messages(tiny.pcap(), "MF117") == [told]
