"""MF1xx: every rule fires on its own fault, and stays silent where it must."""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING

import pytest

from analyzer.checks.checker import Checker
from analyzer.checks.selection import Selection
from analyzer.migration.channel import Channel
from analyzer.migration.scan import Scan
from analyzer.migration.settings import Settings
from analyzer.synth import records
from tests.checks.case import Case, edited, example, verify
from tests.checks.craft import (
    EOF,
    HEADER,
    MACHINE,
    RAM_END,
    RAM_ID,
    RAM_START,
    Craft,
    Tiny,
    channel_header,
    findings,
    fired,
    init,
    part,
    ram,
    sync,
)
from tests.migration import main_streams

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from tests.checks.craft import Connection

GUEST = bytes(range(1, 17))
RAM_RECORD = struct.pack(">Q", 0x5000 | 8) + records.counted("pc.ram") + bytes(4096)
PORTS = (46000, 46001, 46002)
HELLO = b"\x16\x03\x01\x00\x04" + bytes(4)
TLS_DATA = 2 * (b"\x17\x03\x03\x40\x00" + bytes(1 << 14))
ALERT = b"\x15\x03\x03\x00\x02\x01\x00"


def with_init(unit: bytes, channel: int = 1, **options: bool) -> Callable[[], bytes]:
    """The clean migration with another initial packet on a channel."""

    def edit(tiny: Tiny) -> None:
        tiny.multifd[channel][0] = unit

    return edited(edit, **options)


def with_uuids(first: bytes, second: bytes) -> Callable[[], bytes]:
    """The clean migration with these uuids on its channels."""

    def edit(tiny: Tiny) -> None:
        tiny.multifd[0][0] = init(0, uuid=first)
        tiny.multifd[1][0] = init(1, uuid=second)

    return edited(edit)


def with_stranger(head: bytes) -> Callable[[], bytes]:
    """The clean migration and one connection more that begins with ``head``."""
    return edited(lambda tiny: tiny.multifd.append([head]), device=False)


def rfc0(*, stranger: bytes = b"") -> Callable[[], bytes]:
    """A migration with the RFC's channel headers, and perhaps a connection more."""

    def edit(tiny: Tiny) -> None:
        tiny.main[0] = channel_header(0) + tiny.main[0]
        for units in tiny.multifd:
            units[0] = channel_header(2) + units[0]
        if stranger:
            tiny.multifd.append([stranger])

    return edited(edit, device=False)


def greeted(capture: Craft, ports: Iterable[int]) -> list[Connection]:
    """Connections over TLS, each opened when the handshake of the one before had begun."""
    connections = []
    for port in ports:
        connections.append(capture.connect(port))
        connections[-1].send(HELLO)
    return connections


def tls(*, alerts: tuple[bool, ...], attempts: int = 1) -> Callable[[], bytes]:
    """Migrations over TLS whose channels end with an alert or not; the first is main."""

    def build() -> bytes:
        capture = Craft()
        for attempt in range(attempts):
            connections = greeted(capture, (port + 10 * attempt for port in PORTS))
            for connection, alert in zip(connections, alerts, strict=True):
                connection.send(TLS_DATA + (ALERT if alert else b""))
                connection.fin()
        return capture.pcap()

    return build


def short_init(tiny: Tiny) -> None:
    tiny.multifd[1] = [init(1)[:40]]


def missing_id(tiny: Tiny) -> None:
    """Channel 1 is not there: its SYNCs had the packet numbers 1, 5 and 9."""
    first, second = tiny.multifd
    first[1:6] = [sync(0), ram([0, 1], [4, 5], num=3), sync(4), ram([0], num=7), sync(8)]
    second[:5] = [init(2), sync(2), sync(6), sync(10)]


def without_multifd(tiny: Tiny) -> None:
    tiny.multifd = []


def cut_main(tiny: Tiny) -> None:
    del tiny.main[4:]
    tiny.main[-1] = tiny.main[-1][:-2]


def reset_without_main(tiny: Tiny) -> None:
    tiny.main = []
    tiny.close = [(0, "fin client"), (0, "fin server"), (1, "reset client")]


def open_channel(tiny: Tiny) -> None:
    tiny.close = [(name, how) for name, how in tiny.close if name != 0]


def with_main_uuid(uuid: bytes) -> Callable[[], bytes]:
    """A guest with ``uuid`` in CONFIGURATION, as with ``validate-uuid``, and channels with one."""

    def edit(tiny: Tiny) -> None:
        own = main_streams.subsection(b"configuration/uuid", uuid)
        tiny.main[0] = records.header() + main_streams.configuration(MACHINE.encode(), own)
        for number, units in enumerate(tiny.multifd):
            units[0] = init(number, uuid=GUEST)

    return edited(edit)


CASES = {
    "MF101": Case(with_stranger(b"GET / HTTP/1.1\r\n\r\n"), alone=True),
    "MF102": Case(with_init(init(1, version=2)), alone=True),
    "MF103": Case(edited(short_init, device=False), alone=True),
    "MF104": Case(with_uuids(GUEST, GUEST[::-1]), with_uuids(GUEST, GUEST), alone=True),
    "MF105": Case(Tiny().pcap, with_uuids(GUEST, GUEST), alone=True),
    "MF106": Case(with_init(init(0)), alone=True),
    "MF107": Case(edited(missing_id)),
    "MF108": Case(with_init(init(7)), alone=True),
    "MF109": Case(with_init(init(1, unused2=bytes(31) + b"\1")), alone=True),
    "MF110": Case(edited(lambda tiny: tiny.main.clear(), return_path=False), alone=True),
    "MF111": Case(edited(without_multifd, device=False), alone=True),
    "MF112": Case(example("channel-count-mismatch"), alone=True),
    "MF113": Case(edited(lambda tiny: tiny.answers.update({0: [b"hello"]})), alone=True),
    "MF114": Case(
        edited(lambda tiny: setattr(tiny, "main_first", False)), severity="warning", alone=True
    ),
    "MF115": Case(edited(open_channel), alone=True),
    "MF116": Case(example("channel-ended-early")),
    "MF117": Case(
        edited(reset_without_main),
        edited(lambda tiny: tiny.main.clear(), return_path=False),
        severity="info",
    ),
    "MF118": Case(edited(cut_main, return_path=False), alone=True),
    "MF119": Case(tls(alerts=(False, True, False)), tls(alerts=(False, True, True))),
    "MF120": Case(rfc0(), alone=True),
    "MF121": Case(with_stranger(RAM_RECORD), alone=True),
}


@pytest.mark.parametrize("rule", CASES)
def test_fires_and_stays_silent(rule: str) -> None:
    verify(rule, CASES[rule])


def test_main_has_the_uuid_of_another_guest() -> None:
    (finding,) = [f for f in findings(with_main_uuid(GUEST[::-1])()) if f.rule.id == "MF104"]
    assert finding.severity == "error"
    assert "in CONFIGURATION" in finding.message
    assert "MF104" not in fired(with_main_uuid(GUEST)())


# -- what looks like a fault and is none, and other ways to be one ---------------------------------


def test_stranger_that_was_there_first() -> None:
    capture = Craft()
    capture.connect(47000).send(b"\0\1\2\3 not a channel")
    assert fired(Tiny().craft(capture).pcap())["MF101"] == "error"


def test_stranger_after_the_end() -> None:
    capture = Tiny().craft()
    capture.connect(47000).send(b"\0\1\2\3 not a channel")
    assert "MF101" not in fired(capture.pcap())


def test_forced_channel_with_another_magic() -> None:
    capture = with_init(init(1, magic=0x11223345))()
    forced = Settings(decode_as=frozenset([4444]))
    assert fired(capture, forced)["MF101"] == "error"


def test_magic_cut_off_in_its_first_bytes() -> None:
    tiny = Tiny(device=False)
    tiny.multifd.append([init(2)[:6]])
    tiny.close.append((2, "fin client"))
    assert fired(tiny.pcap())["MF103"] == "error"


@pytest.mark.parametrize("size", [1, 4, 7])
def test_main_cut_off_in_its_first_bytes(size: int) -> None:
    tiny = Tiny(device=False, return_path=False)
    tiny.main = [HEADER[:size]]
    found = {finding.rule.id: finding.message for finding in findings(tiny.pcap())}
    assert "MF101" not in found
    assert found["MF604"].startswith("the stream ends in file header")


def test_two_attempts_may_use_the_same_ids() -> None:
    first = Tiny(return_path=False, device=False)
    cut_main(first)
    first.close = [("main", "fin client"), *[(n, f"fin {s}") for n in (0, 1) for s in
                   ("client", "server")], ("main", "fin server")]  # fmt: skip
    second = Tiny()
    second.ports = [48000, 48001, 48002]
    found = fired(second.craft(first.craft()).pcap())
    assert not {"MF104", "MF106", "MF107", "MF114"} & set(found)
    assert found["MF118"] == "info"


def test_frames_out_of_order_do_not_swap_roles() -> None:
    """The times say in which order the channels were connected."""
    capture = Tiny().craft()
    handshake, others = capture.frames[:2], capture.frames[2:6]
    capture.frames[:6] = [*others, *handshake]
    assert "MF114" not in fired(capture.pcap())


def test_id_gap_is_explained_by_a_channel_that_began_before_the_capture() -> None:
    tiny = Tiny()
    missing_id(tiny)
    capture = tiny.craft()
    del capture.frames[:3]  # main's SYN, SYN-ACK and the first channel's SYN
    assert fired(capture.pcap()).get("MF107") != "warning"


def test_users_count_of_channels() -> None:
    found = fired(Tiny().pcap(), selection=Selection(channels=1))
    assert found["MF108"] == "error"
    assert "MF108" not in fired(Tiny().pcap(), selection=Selection(channels=2))


def test_a_hole_elsewhere_says_nothing_against_the_users_count_of_channels() -> None:
    capture = Tiny().craft()
    del capture.frames[next(n for n, f in enumerate(capture.frames) if len(f.data) > 1000)]
    assert fired(capture.pcap(), selection=Selection(channels=1))["MF108"] == "error"


def test_main_with_pages_is_no_missing_multifd() -> None:
    tiny = Tiny(device=False)
    tiny.multifd = []
    tiny.main[2:2] = [part(RAM_ID, RAM_RECORD + records.EOS)]
    found = fired(tiny.pcap())
    assert "MF111" not in found
    assert found["MF304"] == "error"


def test_keep_alive_of_the_destination_is_no_data() -> None:
    """Its handshake is not in the capture, so the byte is the first one seen."""
    capture = Tiny().craft()
    keep_alive = Craft().connect(46001, syn=False).segment("server", -1, b"\0")
    capture.frames[2:4] = [keep_alive]  # instead of SYN and SYN-ACK of channel 0
    assert "MF113" not in fired(capture.pcap())


def test_destination_that_dies_has_no_channel_too_few() -> None:
    assert "MF112" not in fired(example("destination-reset")())
    assert "MF112" not in fired(example("channel-reset")())


def test_destination_that_fails_to_load_has_no_channel_too_few() -> None:
    """It had read the channel that it closes first: one that it refused would be unread."""
    tiny = Tiny(return_path=False)
    tiny.close = [
        (0, "fin server"), (0, "fin client"), (1, "fin client"), ("main", "fin client"),
        (1, "fin server"), ("main", "reset server"),
    ]  # fmt: skip
    capture = tiny.craft()
    closed = len(capture.frames) - len(tiny.close)
    times = [frame.time for frame in capture.frames]
    capture.frames.insert(closed - 4, capture.frames.pop(closed))  # main's last bytes come later
    for frame, time in zip(capture.frames, times, strict=True):
        frame.time = time
    found = findings(capture.pcap())
    assert "MF117" in {finding.rule.id for finding in found}
    assert {finding.severity for finding in found} == {"info"}


@pytest.mark.parametrize("word", ["reset", "fin"])
@pytest.mark.parametrize("numbers", [(2,), (2, 3)])
def test_channels_too_many_of_a_migration_that_completes(
    word: str, numbers: tuple[int, ...]
) -> None:
    """No SYNC round waits for them, so each is told once."""
    capture, more = Tiny().craft(), Craft()
    for number in numbers:
        connection = more.connect(46007 + number)
        connection.send(init(number))
        (connection.reset if word == "reset" else connection.fin)("server")
        connection.fin()
    at = 19  # the other channels have introduced themselves
    for frame in more.frames:
        frame.time = capture.frames[at].time
    capture.frames[at:at] = more.frames
    found = [f for f in findings(capture.pcap()) if f.severity != "info"]
    assert [(f.rule.id, f.spot.channel and f.spot.channel.name) for f in found] == [
        ("MF112", f"multifd {number}") for number in numbers
    ]
    assert all(f.message.endswith("kept main, multifd 0-1") for f in found)


@pytest.mark.parametrize("unread", [True, False])
def test_a_destination_that_died_after_its_success_is_told(unread: bool) -> None:
    """Its kernel resets main if bytes of it are left; a FIN says that it read everything."""
    tiny = Tiny()
    tiny.close = [(name, "fin server") for name in (0, 1)]
    tiny.close.append(("main", "reset server" if unread else "fin server"))
    found = [f for f in findings(tiny.pcap()) if f.rule.id == "MF117"]
    assert [(f.severity, f.message) for f in found] == [
        ("warning", "the destination reported success and reset main with bytes unread")
    ] * unread


def test_the_source_may_reset_everything_after_a_success() -> None:
    tiny = Tiny()
    tiny.close = [(name, "reset client") for name in (0, 1, "main")]
    assert "MF117" not in fired(tiny.pcap())


def test_reset_of_a_failed_migration_is_told() -> None:
    (finding,) = [f for f in findings(example("source-reset")()) if f.rule.id == "MF117"]
    assert finding.severity == "info"
    assert "the source reset" in finding.message


def test_tls_sender_that_never_says_goodbye() -> None:
    assert "MF119" not in fired(tls(alerts=(False, False, False))())


def test_tls13_hides_the_alert() -> None:
    capture = Craft()
    for connection, size in zip(greeted(capture, PORTS), (300, 19, 300), strict=True):
        end = struct.pack(">BHH", 23, 0x303, size) + bytes(size)
        connection.send(TLS_DATA + end)
        connection.fin()
    (finding,) = findings(capture.pcap())
    assert finding.rule.id == "MF119"
    assert finding.spot.frame == len(capture.frames)


def test_the_main_of_another_attempt_says_no_goodbye_either() -> None:
    assert not findings(tls(alerts=(False, True, True), attempts=2)())
    (first, second) = findings(tls(alerts=(False, True, False), attempts=2)())
    assert (first.rule.id, second.rule.id) == ("MF119", "MF119")


def test_tls_connections_that_are_no_migration_are_not_judged() -> None:
    capture = Craft()
    for connection, alert in zip(greeted(capture, PORTS), (True, True, False), strict=True):
        connection.send(ALERT if alert else b"")
        connection.fin()
    assert not findings(capture.pcap())


def test_a_cancel_excuses_a_decrypted_channel_without_close_notify() -> None:
    checker = Checker()
    scan = Scan(edited(cut_main, return_path=False)(), watchers=checker.watchers).run()
    for channel, alert in zip(scan.migrations[0].multifd, (True, False), strict=True):
        sealed = Channel("tls", channel.flow)
        sealed.tls_close_notify = alert
        scan.grouper.decrypted.append(sealed)
    (finding,) = [f for f in checker.findings(scan) if f.rule.id == "MF119"]
    assert finding.migration is scan.migrations[0]
    assert (finding.severity, finding.excuse) == ("info", "the migration was cancelled")


@pytest.mark.parametrize("head", [channel_header(9), channel_header(2, size=12)])
def test_bad_channel_header(head: bytes) -> None:
    found = fired(rfc0(stranger=head)())
    assert found["MF120"] == "error"
    assert "MF101" not in found


def test_channel_header_of_a_preempt_channel() -> None:
    found = fired(rfc0(stranger=channel_header(1) + RAM_RECORD)())
    assert found["MF120"] == "info"
    assert not {"MF101", "MF121"} & set(found)


def test_announced_preempt_channel() -> None:
    tiny = Tiny(device=False)
    tiny.main[2:2] = [records.command(3, struct.pack(">QQ", 4096, 4096))]
    tiny.multifd.append([RAM_RECORD])
    found = fired(tiny.pcap())
    assert not {"MF101", "MF121"} & set(found)


@pytest.mark.parametrize("count", [1, 2])
def test_there_is_one_preempt_channel(count: int) -> None:
    made = Craft()
    main = made.connect(46000)
    main.send(HEADER + records.command(3, struct.pack(">QQ", 4096, 4096)) + RAM_START)
    for port in range(46001, 46001 + count):
        made.connect(port).send(RAM_RECORD)
    main.send(RAM_END + EOF)
    assert ("MF101" in fired(made.pcap())) == (count == 2)


def test_a_part_of_the_magic_is_a_short_initial_packet() -> None:
    def edit(tiny: Tiny) -> None:
        tiny.multifd.append([init(2)[:3]])
        tiny.close.insert(0, (2, "fin client"))

    found = fired(edited(edit)())
    assert "MF101" not in found
    assert found["MF103"] == "error"
