"""MF2xx: every rule fires on its own fault, and stays silent where it must."""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING, Any

import pytest

from analyzer.migration.scan import Scan
from analyzer.migration.settings import Settings
from analyzer.synth import build, records
from tests.checks.case import Case, edited, verify
from tests.checks.craft import (
    EOS,
    PAGE,
    RAM_ID,
    SWITCHOVER_START,
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

if TYPE_CHECKING:
    from collections.abc import Callable

    from analyzer.checks.finding import Finding

ADVISE = records.command(3, struct.pack(">QQ", PAGE, PAGE))
POSTCOPY_RUN = records.command(4) + records.command(5)
PAGE_RECORD = struct.pack(">Q", 8) + records.counted("pc.ram") + bytes(PAGE)
ZLIB: dict[str, Any] = {"flags": 2, "payload": b"x" * 60}


def put(unit: bytes, channel: int = 0, at: int = 2, **options: bool) -> Callable[[], bytes]:
    """The clean migration with one unit of a channel replaced (default: the first data packet)."""

    def edit(tiny: Tiny) -> None:
        tiny.multifd[channel][at] = unit

    return edited(edit, **options)


def data(normal: tuple[int, ...] = (0, 1), zero: tuple[int, ...] = (4, 5), **fields: Any) -> bytes:
    """The first data packet, with fields changed."""
    return ram(normal, zero, **{"num": 2, **fields})


def all_zlib(*, sync_flags: int = 1, last: bytes | None = None) -> Callable[[], bytes]:
    """A migration without devices, compressed with zlib; ``last`` replaces the last data packet."""

    def edit(tiny: Tiny) -> None:
        tiny.multifd[0][2] = ram([0, 1], [4, 5], num=2, **ZLIB)
        tiny.multifd[0][3] = sync(4, flags=sync_flags)
        tiny.multifd[0][4] = ram([0], num=6, **ZLIB) if last is None else last
        tiny.multifd[1][2] = ram([2], [6], num=3, **ZLIB)

    return edited(edit, device=False)


def old(**edits: bytes) -> Callable[[], bytes]:
    """A migration of a sender up to 8.2; ``a0`` .. replace units of channel 0, ``b0`` .. of 1."""

    def edit(tiny: Tiny) -> None:
        alloc = {"pages_alloc": 128}
        tiny.multifd = [
            [init(0), sync(0, **alloc), ram([0, 1], num=2), sync(4, **alloc), sync(7, **alloc)],
            [init(1), sync(1, **alloc), ram([2], num=3), sync(5, **alloc), sync(8, **alloc)],
        ]
        for place, unit in edits.items():
            tiny.multifd["ab".index(place[0])][int(place[1:])] = unit
        tiny.main[0] = records.header() + records.configuration("pc-q35-8.1")
        tiny.main.remove(SWITCHOVER_START)

    return edited(edit, device=False)


def cut(keep: int) -> Callable[[], bytes]:
    """Channel 0 ends inside its last SYNC packet."""

    def edit(tiny: Tiny) -> None:
        tiny.multifd[0][5] = tiny.multifd[0][5][:keep]
        tiny.multifd[0][6:] = []

    return edited(edit, device=False)


def dedicated(unit: bytes) -> Callable[[], bytes]:
    """An RFC migration whose second channel is for device state only."""

    def edit(tiny: Tiny) -> None:
        tiny.multifd = [
            [channel_header(2) + init(0), *tiny.multifd[0][1:]],
            [channel_header(3) + init(1), unit],
        ]
        tiny.main[0] = channel_header(0) + tiny.main[0]

    return edited(edit, device=False)


def after_run(unit: bytes, *, late: bool = False) -> Callable[[], bytes]:
    """A migration that switches to postcopy; then ``unit`` comes on channel 0.  ``late``: the
    capture begins behind main's FLUSHes.
    """

    def build() -> bytes:
        tiny = Tiny(device=False)
        capture = Craft()
        main = capture.connect(46000)
        channel = capture.connect(46001)
        for sent in tiny.multifd[0][:4]:
            channel.send(sent)
        main.send(b"".join(tiny.main[:4]))
        if late:
            capture.frames.clear()
            channel.send(sync(4))
            main.send(part(RAM_ID, EOS))
        main.send(ADVISE + POSTCOPY_RUN)
        if late:
            main.send(part(RAM_ID, PAGE_RECORD + EOS))  # enough to find where records begin
        channel.send(unit)
        for connection in (channel, main):
            connection.fin("client")
            connection.fin("server")
        return capture.pcap()

    return build


def later_numbers(tiny: Tiny) -> None:
    """The counter begins with 1."""
    tiny.multifd[0][1:6] = [sync(1), ram([0, 1], num=3), sync(5), ram([0], num=7), sync(8)]
    tiny.multifd[1][1:5] = [sync(2), ram([2], num=4), sync(6), sync(9)]


def mapped(block_length: int) -> Callable[[], bytes]:
    """The RAM block has ``block_length`` bytes."""

    def edit(tiny: Tiny) -> None:
        blocks = records.block_list({"pc.ram": block_length})
        head = records.section(records.START, RAM_ID, "ram", 0, 4)
        body = blocks + records.FLUSH + records.EOS
        tiny.main[2] = head + body + records.footer(RAM_ID)

    return edited(edit)


def described(page_size: int) -> Callable[[], bytes]:
    """The description tells another page size."""

    def edit(tiny: Tiny) -> None:
        tiny.main[-1] = records.vmdescription("pc-q35-10.0", page_size, [])

    return edited(edit, device=False)


NAMED = b"pc.ram\0stale"
SYNC_WITH_PAGES: dict[str, Any] = {"flags": 1, "pages_alloc": 128}

CASES = {
    "MF201": Case(put(b"\xde\xad\xbe\xef" + data()[4:]), alone=True),
    "MF202": Case(put(data(version=2)), alone=True),
    "MF203": Case(cut(700), Tiny(device=False).pcap),
    "MF204": Case(put(data(flags=6)), all_zlib(), alone=True),
    "MF205": Case(all_zlib(last=ram([0], num=6)), all_zlib(), alone=True),
    "MF206": Case(put(data(flags=0x80)), alone=True),
    "MF207": Case(all_zlib(sync_flags=3), all_zlib(), alone=True),
    "MF208": Case(put(ram([9], num=4, **SYNC_WITH_PAGES), at=3), alone=True),
    "MF209": Case(put(data(pages_alloc=129)), alone=True),
    "MF210": Case(put(data(pages_alloc=100)), alone=True),
    "MF211": Case(put(data(pages_alloc=1, zero=())), alone=True),
    "MF212": Case(put(data(zero_pages=127)), alone=True),
    "MF213": Case(put(data(block=b"")), alone=True),
    "MF214": Case(put(data(block=b"pc.rom")), alone=True),
    "MF215": Case(put(data(block=b"x" * 256))),
    "MF216": Case(put(data(block=NAMED)), alone=True),
    "MF217": Case(mapped(2 * PAGE), mapped(8 * PAGE), alone=True),
    "MF218": Case(put(data(offsets=struct.pack(">4Q", 0, 4100, 16384, 20480).ljust(1024, b"\0"))),
                  alone=True),
    "MF219": Case(put(data(normal=(1, 1))), alone=True),
    "MF220": Case(put(data(normal=(1, 4))), alone=True),
    "MF221": Case(put(data(offsets=bytes(32) + b"\1".rjust(8, b"\0") * 124)), severity="warning"),
    "MF222": Case(put(data(unused32=5)), alone=True),
    "MF223": Case(put(data(next_packet_size=4096)), alone=True),
    "MF224": Case(put(data(payload=b"", next_packet_size=0)), alone=True),
    "MF225": Case(put(ram([], [4], num=2, next_packet_size=99)), alone=True),
    "MF226": Case(all_zlib(last=ram([0], num=6, flags=2, payload=bytes((1 << 20) + 1))), all_zlib(),
                  alone=True),
    "MF227": Case(put(ram(num=2)), alone=True),
    "MF228": Case(put(ram([2], [6], num=2), channel=1), alone=True),
    "MF229": Case(put(sync(9), channel=1, at=4), alone=True),
    "MF230": Case(put(sync(6), at=5)),
    "MF231": Case(edited(later_numbers), alone=True),
    "MF232": Case(described(8192), described(PAGE), alone=True),
    "MF233": Case(after_run(ram([7], num=6)), after_run(sync(6))),
    "MF234": Case(Tiny().pcap, put(sync(6), at=4)),
    "MF235": Case(put(ram([0], [6], num=3), channel=1), alone=True),
    "MF236": Case(edited(lambda tiny: tiny.multifd[0].append(bytes(40)))),
    "MF237": Case(dedicated(ram([1], num=1)), Tiny().pcap, severity="error"),
}  # fmt: skip


@pytest.mark.parametrize("rule", CASES)
def test_a_rule_fires_on_its_fault_and_is_silent_without(rule: str) -> None:
    verify(rule, CASES[rule])


def of_rule(capture: bytes, rule: str, settings: Settings | None = None) -> list[Finding]:
    """The findings of one rule."""
    return [finding for finding in findings(capture, settings) if finding.rule.id == rule]


def only(capture: bytes, rule: str, settings: Settings | None = None) -> Finding:
    """The only finding of a rule."""
    (found,) = of_rule(capture, rule, settings)
    return found


def lacking(tiny: Tiny, piece: bytes) -> bytes:
    """The capture without the first frame that carries ``piece``."""
    capture = tiny.craft()
    at = next(at for at, frame in enumerate(capture.frames) if piece in frame.data)
    del capture.frames[at]
    return capture.pcap()


# -- eras ------------------------------------------------------------------------------------------

STALE = struct.pack(">4Q", 0, PAGE, 5 * PAGE, 6 * PAGE).ljust(1024, b"\0")


@pytest.mark.parametrize(
    ("rule", "unit"),
    [
        ("MF208", ram([9], num=4, **SYNC_WITH_PAGES)),
        ("MF221", ram([0, 1], num=4, offsets=STALE)),
        ("MF225", ram(num=4, flags=1, next_packet_size=8192)),
        ("MF227", ram(num=4)),
        ("MF228", sync(3, pages_alloc=128)),
        ("MF230", sync(2, pages_alloc=128)),
    ],
)
def test_ways_of_old_senders_are_only_noted(rule: str, unit: bytes) -> None:
    assert fired(old(a3=unit)())[rule] == "info"


def test_numbers_missing_from_an_old_sender_are_only_noted() -> None:
    assert only(old(b4=sync(80, pages_alloc=128))(), "MF229").severity == "info"


@pytest.mark.parametrize(("era", "rule"), [("7.2", "MF222"), ("9.0", None), ("9.2", None)])
def test_word_at_32_is_reserved_before_9_0(era: str, rule: str | None) -> None:
    settings = Settings(era=era)
    assert ("MF222" in fired(Tiny().pcap(), settings)) == (rule == "MF222")


def test_zero_pages_are_not_counted_before_9_0() -> None:
    capture = put(data(zero_pages=127))()
    assert "MF212" not in fired(capture, Settings(era="8.2"))
    assert "MF212" in fired(capture, Settings(era="9.0"))


def test_size_without_pages_is_an_error_with_compression() -> None:
    capture = all_zlib(last=ram([], [9], num=6, flags=2, next_packet_size=7))()
    assert fired(capture)["MF225"] == "error"


def test_pages_of_a_sync_packet_belong_to_the_round_it_ends() -> None:
    """Not to the next one, in which another channel may send them again."""
    again = ram([9], num=6, pages_alloc=128)
    capture = old(a3=ram([9], num=4, **SYNC_WITH_PAGES), b4=again)()
    assert "MF235" not in fired(capture)
    assert "MF235" in fired(old(a2=ram([9], num=2), b2=again)())


@pytest.mark.parametrize(
    ("pages", "era", "severity"),
    [
        ([9, 10, 11], "7.2", "info"),
        ([11, 10, 9], "7.2", "info"),
        ([10, 9, 11], "7.2", "warning"),
        ([9, 10, 11], "8.2", "warning"),
    ],
)
def test_a_page_at_the_edge_of_two_packets_is_a_race_of_old_senders(
    pages: list[int], era: str, severity: str
) -> None:
    capture = old(a2=ram([8, 9], num=2), b2=ram(pages, num=3))()
    assert only(capture, "MF235", Settings(era=era)).severity == severity


def test_the_size_of_packets_without_pages_tells_8_2() -> None:
    def era(**edits: bytes) -> str | None:
        found = Scan(old(**edits)()).run().migrations[0].era
        return found.name if found is not None else None

    assert era() == "8.2"
    assert era(a3=sync(4, pages_alloc=128, next_packet_size=8192)) == "7.2"
    bare = sync(2, pages_alloc=128)
    assert era(a2=bare, b2=sync(3, pages_alloc=128)) is None


# -- what a hole or a cancel explains --------------------------------------------------------------


def test_a_gap_behind_a_hole_cannot_be_told() -> None:
    tiny = Tiny()
    tiny.multifd[0][3] = sync(44)
    found = only(lacking(tiny, tiny.multifd[0][2][:700]), "MF229")
    assert (found.severity, bool(found.excuse)) == ("info", True)


def test_data_after_a_late_start_may_belong_before_the_switch() -> None:
    """Nobody knows how many SYNCs main waited for before it."""
    assert fired(after_run(ram([7], num=6), late=True)())["MF233"] == "info"


def test_a_gap_beside_an_absent_channel_cannot_be_told() -> None:
    def edit(tiny: Tiny) -> None:
        del tiny.multifd[0]
        tiny.close = tiny.close[2:]
        tiny.close[0:2] = [(0, "fin client"), (0, "fin server")]

    found = only(edited(edit)(), "MF229")
    assert found.severity == "info"
    assert "multifd 0 is not in the capture" in found.message


def test_a_block_list_with_a_hole_knows_nothing() -> None:
    tiny = Tiny()
    tiny.multifd[0][2] = data(block=b"pc.rom")
    capture = lacking(tiny, tiny.main[4])
    assert {found.severity for found in of_rule(capture, "MF214")} == {"info"}


def test_a_cancelled_migration_may_end_inside_a_packet() -> None:
    def edit(tiny: Tiny) -> None:
        tiny.main[-3:] = []
        tiny.returned.pop()
        tiny.multifd[0][5] = tiny.multifd[0][5][:700]
        tiny.close = [("main", "fin client"), (0, "fin client"), (1, "fin client")]

    found = only(edited(edit, device=False)(), "MF203")
    assert (found.severity, found.excuse) == ("info", "the migration was cancelled")


MARKED = b"x" * 4000 + b"MARK" + b"y" * 4188


@pytest.mark.parametrize(
    ("rule", "last"),
    [
        ("MF203", [ram([0, 1], num=9, payload=MARKED)[:-100]]),
        ("MF236", [b"\xa5" * 20, b"MARK", b"\xa5" * 20]),
    ],
    ids=["truncated", "no packet"],
)
def test_a_hole_inside_what_the_stream_ends_with_excuses_it(rule: str, last: list[bytes]) -> None:
    tiny = Tiny(device=False)
    tiny.multifd[0] += last
    assert {found.severity for found in of_rule(tiny.pcap(), rule)} == {"error"}
    assert {found.severity for found in of_rule(lacking(tiny, b"MARK"), rule)} == {"info"}


# -- messages --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("size", "payload", "words"),
    [
        (4096, 8192, "where the page count says"),
        (4096, 4096, "where next_packet_size says"),
        (4096, 5000, "5000 bytes further on, which matches neither"),
        (0, 8192, "where the page count says"),
    ],
)
def test_which_size_agrees_with_the_next_header(size: int, payload: int, words: str) -> None:
    capture = put(data(payload=b"x" * payload, next_packet_size=size))()
    assert words in only(capture, "MF223" if size else "MF224").message


def test_a_size_that_one_page_does_not_have() -> None:
    found = only(put(data((0,), payload=bytes(4096), next_packet_size=1))(), "MF223")
    assert found.message.startswith("next_packet_size is 1, not the 4096 bytes of 1 page; ")


def test_a_compressed_packet_without_payload() -> None:
    bad = ram([0], num=6, flags=2, payload=b"")
    assert "1 compressed page, but" in only(all_zlib(last=bad)(), "MF224").message


def test_the_rarer_method_is_the_wrong_one() -> None:
    """Also where it comes first."""
    found = only(put(ram([0, 1], [4, 5], num=2, **ZLIB))(), "MF205")
    text = "compression is zlib in 1 data packet; it is none in the migration's 2 others"
    assert found.message == text
    assert found.spot.channel is not None
    assert (found.spot.channel.name, found.spot.offset) == ("multifd 0", 64 + 1344)


@pytest.mark.parametrize(("dialect", "severity"), [("rfc0", "info"), ("v1", "info"), ("v3", None)])
def test_a_series_on_a_tree_that_has_the_next_machine_type(
    dialect: str, severity: str | None
) -> None:
    """Its RAM packets are those of the release before; v3 and later came with those of 9.2."""
    era = "9.0" if severity else "9.2"
    capture = build({"dialect": dialect, "machine": "pc-q35-9.2", "ram": {"era": era}})
    assert fired(capture).get("MF221") == severity


def test_a_packet_with_only_zero_pages_names_the_method_too() -> None:
    """A receiver looks at the method before it looks for content."""
    assert only(all_zlib(last=ram([], [9], num=6))(), "MF205").severity == "error"
    assert "MF205" not in fired(all_zlib(last=ram([], [9], num=6, flags=2))())


def test_an_era_that_shows_later_counts_too() -> None:
    """The first packet of all has lost its SYNC bit: only the next ones tell what made it."""
    assert only(put(ram(num=0, pages_alloc=0), at=1)(), "MF227").severity == "warning"


def test_behind_too_many_normal_pages_zero_pages_are_not_judged() -> None:
    rules = fired(put(data(pages_alloc=1, zero_pages=2))())
    assert "MF211" in rules
    assert "MF212" not in rules


def test_numbers_far_away_are_outliers() -> None:
    message = only(put(sync(1 << 63), channel=1, at=4)(), "MF229").message
    assert message.startswith(f"{(1 << 63) - 8} packet numbers missing: 8-{(1 << 63) - 1}")


def test_a_number_twice_far_away() -> None:
    def edit(tiny: Tiny) -> None:
        tiny.multifd[0][5] = tiny.multifd[1][4] = sync(1 << 40)

    assert str(1 << 40) in only(edited(edit)(), "MF228").message


@pytest.mark.parametrize("pages", [(0, 1), (0,)])
def test_findings_point_at_the_packet(pages: tuple[int, ...]) -> None:
    capture = put(data(pages, (), block=b"pc.rom"))()
    spot = only(capture, "MF214").spot
    assert spot.channel is not None
    assert (spot.channel.name, spot.offset) == ("multifd 0", 64 + 1344)
    other = only(put(data(unused32=1))(), "MF222").spot
    assert (other.frame, other.offset) == (spot.frame, spot.offset)


def number_of(capture: bytes, unit: bytes) -> int:
    """The number of the last frame that carries the beginning of ``unit``."""
    at, number, found = 24, 0, 0
    while at < len(capture):
        number += 1
        size = int.from_bytes(capture[at + 8 : at + 12], "little")
        if unit[:100] in capture[at + 16 : at + 16 + size]:
            found = number
        at += 16 + size
    return found


@pytest.mark.parametrize("size", [1, 3, 5, 11, 12, 40])
def test_bytes_behind_the_last_packet_are_no_header(size: int) -> None:
    tail = b"garbage that is no packet of anybody.txt"[:size]
    (finding,) = [
        f
        for f in findings(edited(lambda tiny: tiny.multifd[0].append(tail))())
        if f.severity != "info"
    ]
    assert finding.rule.id == "MF236"
    what = f"{size} byte{'s' if size > 1 else ''}"
    assert finding.message == f"no packet: {what} at the stream's end"


@pytest.mark.parametrize("size", [1, 4, 7, 11])
def test_a_header_that_is_cut_off_is_one(size: int) -> None:
    def edit(tiny: Tiny) -> None:
        tiny.multifd[0].append(sync(9)[:size])

    message = only(edited(edit)(), "MF203").message
    assert message.startswith("the stream ends in the header")


def test_a_number_twice_points_at_the_second_packet() -> None:
    again = ram([2], [6], num=2)
    capture = put(again, channel=1)()
    spot = only(capture, "MF228").spot
    assert spot.channel is not None
    assert (spot.channel.name, spot.offset) == ("multifd 1", 64 + 1344)
    assert spot.frame == number_of(capture, again)


def test_advised_page_size() -> None:
    advise = records.command(3, struct.pack(">QQ", 65536, 65536))
    capture = edited(lambda tiny: tiny.main.insert(2, advise))()
    finding = only(capture, "MF232")
    assert "POSTCOPY_ADVISE says 65536" in finding.message
    assert finding.spot.frame == number_of(capture, advise)
    assert finding.spot.channel is not None
    assert finding.spot.channel.kind == "main"


@pytest.mark.parametrize(("machine", "era"), [("9.1", "9.0"), ("9.2", "9.2"), ("8.2", "8.2")])
def test_a_machine_type_is_never_newer_than_its_sender(machine: str, era: str) -> None:
    """A 9.1 that detects zero pages on main looks like 8.2."""

    def edit(tiny: Tiny) -> None:
        for units in tiny.multifd:
            units[:] = [units[0], *(u for u in OLD_UNITS[tiny.multifd.index(units)])]
        tiny.main[0] = records.header() + records.configuration(f"pc-q35-{machine}")

    found = Scan(edited(edit, device=False)()).run().migrations[0].era
    assert found is not None
    assert found.name == era


OLD_UNITS = [
    [sync(0, pages_alloc=128), ram([0, 1], num=2), sync(4, pages_alloc=128)],
    [sync(1, pages_alloc=128), ram([2], num=3), sync(5, pages_alloc=128)],
]
