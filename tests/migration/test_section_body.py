"""Bodies that nothing describes: their ends are found, whatever is in them."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from analyzer.migration.main_channel import BODIES_KEPT
from analyzer.migration.section_body import WINDOW
from dissectors.main_stream import RecordType
from tests.migration import main_streams as build
from tests.migration.main_streams import CLOSING, CPU_ID, OPENING, PIC, RAM_START, walk

FOOTER = build.footer(CPU_ID)


def bodies(*content: bytes) -> dict[str, bytes | None]:
    stream = OPENING + RAM_START
    for number, body in enumerate(content):
        stream += build.full(number * 100 + CPU_ID, b"device%d" % number, body)
    main = walk(stream + PIC + b"\0" + build.DESCRIPTION)
    assert not main.anomalies
    return {r.name: r.body for r in main.records if r.kind == "SECTION_FULL"}


def test_footers_inside_a_body() -> None:
    traps = [
        FOOTER,
        FOOTER * 5,
        FOOTER + b"\0",
        FOOTER + b"\4",
        FOOTER + b"\4\0\0\0\x09\5pc\0\0\0",
        FOOTER + b"\x08\0\x0c\0\0",
        b"\x7e" * 50,
        FOOTER[:4],
    ]
    for trap in traps:
        assert bodies(trap, b"x")["device0"] == trap


def test_a_whole_header_inside_a_body_is_seen_through() -> None:
    """A trap that only the next section's own footer gives away."""
    trap = b"begin" + FOOTER + build.full(9, b"inner", b"")[:-5] + b"rest of it"
    assert bodies(trap, b"other")["device0"] == trap


def test_empty_bodies() -> None:
    assert bodies(b"", b"", b"") == {
        "device0": b"", "device1": b"", "device2": b"", "i8259#1": build.PIC_BODY
    }  # fmt: skip


@given(st.lists(st.binary(max_size=300) | st.just(FOOTER), min_size=1, max_size=5))
@settings(max_examples=100)
def test_random_bodies(content: list[bytes]) -> None:
    assert list(bodies(*content).values())[:-1] == content


def test_large_bodies() -> None:
    """Larger than what is looked at together; kept while the total allows."""
    body = bytes(range(256)) * (3 * WINDOW // 256) + b"end"
    assert bodies(body)["device0"] == body
    many = [body] * (BODIES_KEPT // len(body) + 1)
    kept = bodies(*many)
    assert [value is not None for value in kept.values()] == [True] * 2 + [False] + [True]


def test_a_large_body_in_small_pieces_with_a_hole() -> None:
    body = b"\4\0\0" * 200_000
    stream = OPENING + RAM_START + build.full(CPU_ID, b"cpu", body) + CLOSING
    pieces: list[bytes | int] = [stream[i : i + 1448] for i in range(0, len(stream), 1448)]
    pieces[10] = len(stream[10 * 1448 : 11 * 1448])
    main = walk(*pieces)
    assert not main.anomalies
    assert main.resync_count == 1
    assert main.description_complete


def test_a_version_may_be_a_date() -> None:
    """That of eeprom93xx is, which the models of several network cards use."""
    eeprom = build.named(RecordType.SECTION_FULL, 50, b"eeprom", b"", version=20061112)
    main = walk(OPENING + RAM_START + build.CPU + eeprom + PIC + b"\0")
    assert not main.anomalies
    assert [r.name for r in main.records if r.kind == "SECTION_FULL"] == [
        "cpu",
        "eeprom",
        "i8259#1",
    ]


def test_names_that_are_no_text() -> None:
    """Behind the section's own footer they are as good as others; one in the dark is not."""
    names = [b"\xff\xfe/vfio", b"caf\xc3\xa9", b"\x1b[31m"]
    sections = [build.full(50 + number, name, b"body") for number, name in enumerate(names)]
    main = walk(OPENING + RAM_START + PIC + b"".join(sections[1:]) + b"\0")
    assert not main.anomalies
    assert [record.body for record in main.records if record.body] == [
        build.PIC_BODY,
        *[b"body"] * 2,
    ]
    main = walk(OPENING + RAM_START + PIC + build.full(9, names[0], build.END_OF_STATE) + b"\0")
    assert not main.anomalies
    assert main.devices[names[0], 0].announced == "multifd"
