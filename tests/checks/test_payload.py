"""MF8xx: what `check --deep` finds inside payloads, and that it finds nothing in real ones."""

from __future__ import annotations

import struct
import zlib
from typing import TYPE_CHECKING

import pytest
import zstandard

from analyzer.analysis import analyze_saved_file
from analyzer.checks.checker import Checker
from analyzer.checks.selection import Selection
from analyzer.migration.scan import Scan
from analyzer.synth.compression import compressor
from dissectors.main_stream import RamFlag
from dissectors.multifd import Compression
from tests.checks.case import Case, edited, verify
from tests.checks.craft import PAGE, Craft, Tiny, findings, fired, init, ram, sync
from tests.migration import main_streams as build
from tests.migration.main_streams import EOS, RAM_ID
from tests.migration.mapped_files import mapped_file
from tests.shipped import NAMES, capture

if TYPE_CHECKING:
    from collections.abc import Callable

DEEP = Selection(deep=True)
PAGES = [bytes([65 + number]) * (PAGE - 8) + b"mfshark\n" for number in range(4)]


class Payloads:
    """The payloads of the three RAM packets of a tiny migration, to be edited: pages 0 and 1, then
    page 0 again, on channel 0; page 2 on channel 1.
    """

    def __init__(self, method: str) -> None:
        first, second = compressor(method), compressor(method)
        self.zero = [b"".join(first(PAGES[:2])), b"".join(first(PAGES[3:]))]
        self.one = b"".join(second(PAGES[2:3]))
        self.flags = int(Compression[method])

    def pcap(self) -> bytes:
        flags = self.flags

        def put(tiny: Tiny) -> None:
            tiny.multifd[0][2] = ram([0, 1], [4, 5], num=2, payload=self.zero[0], flags=flags)
            tiny.multifd[0][4] = ram([0], num=6, payload=self.zero[1], flags=flags)
            tiny.multifd[1][2] = ram([2], [6], num=3, payload=self.one, flags=flags)

        return edited(put, device=False)()


def whole(method: str) -> Callable[[], bytes]:
    """A migration whose payloads are as they should be."""
    return lambda: Payloads(method).pcap()


def case(method: str, edit: Callable[[Payloads], None], *, alone: bool = True) -> Case:
    """A migration in which one payload is not as it should be."""

    def faulty() -> bytes:
        payloads = Payloads(method)
        edit(payloads)
        return payloads.pcap()

    return Case(faulty, whole(method), selection=DEEP, alone=alone)


def lengths(*values: int, data: bytes = b"") -> bytes:
    return struct.pack(f">{len(values)}I", *values) + data


def set_one(make: Callable[[bytes], bytes]) -> Callable[[Payloads], None]:
    """Change the payload of page 2, which is alone on its channel."""

    def edit(payloads: Payloads) -> None:
        payloads.one = make(payloads.one)

    return edit


def set_last(make: Callable[[bytes], bytes]) -> Callable[[Payloads], None]:
    """Change the payload of page 0's second copy, the last on its channel."""

    def edit(payloads: Payloads) -> None:
        payloads.zero[1] = make(payloads.zero[1])

    return edit


def without_flush(_: bytes) -> bytes:
    stream = zlib.compressobj(0)
    return stream.compress(PAGES[2] * 40)[: 2 + 5 + PAGE]  # stored blocks need no flush


def zstd_bomb(_: bytes) -> bytes:
    return zstandard.ZstdCompressor(level=1).compress(bytes(1 << 30))


def long_page(_: bytes) -> bytes:
    data = zlib.compress(bytes(64 << 20))
    return lengths(PAGE - 1, data=data[: PAGE - 1])


CASES = {
    "MF801": case("zlib", set_one(lambda data: data[:-20] + b"\xff" * 20)),
    "MF802": case("zlib", set_one(without_flush)),
    "MF803": case("zstd", set_one(lambda data: data[:6] + b"\xff" * (len(data) - 6))),
    "MF804": case(
        "zstd",
        set_last(lambda _: b"\x01\x00\x00" + zstandard.ZstdCompressor(level=1).compress(PAGES[3])),
    ),
    "MF805": case("qpl", set_one(lambda data: data + b"more")),
    "MF806": case("uadk", set_one(lambda _: lengths(PAGE + 1, data=bytes(PAGE + 1)))),
    "MF807": case("uadk", set_one(lambda _: lengths(16, data=bytes(16)))),
    "MF808": case("zlib", set_one(lambda _: b"".join(compressor("zlib")([bytes(PAGE)])))),
    "MF809": case("zstd", set_one(zstd_bomb)),
}


@pytest.mark.parametrize("rule", CASES)
def test_a_rule_fires_on_its_fault_and_is_silent_without(rule: str) -> None:
    verify(rule, CASES[rule])


MORE = {
    "short": ("MF801", "zlib", set_one(lambda _: zlib.compress(b"x")[:-4])),
    "stream over": ("MF801", "zlib", set_one(lambda _: zlib.compress(PAGES[2]))),
    "bomb": ("MF809", "zlib", set_one(lambda _: zlib.compress(bytes(64 << 20)))),
    "short frame": ("MF803", "zstd", set_one(lambda data: data[:9])),
    "many frames": (
        "MF803",
        "zstd",
        set_one(lambda _: zstandard.ZstdCompressor().compress(b"x") * 50),
    ),
    "length 0": ("MF806", "qpl", set_one(lambda _: lengths(0, data=b"x"))),
    "lengths alone": ("MF805", "qpl", set_one(lambda _: lengths(PAGE))),
    "not deflate": ("MF807", "qpl", set_one(lambda _: lengths(4, data=b"\xff" * 4))),
    "page bomb": ("MF809", "uadk", set_one(long_page)),
    "not gzip": ("MF807", "qatzip", set_one(lambda _: bytes(100))),
    "trailing": ("MF807", "qatzip", set_one(lambda data: data + b"more")),
    "cut": ("MF807", "qatzip", set_one(lambda data: data[:-1])),
    "gzip bomb": ("MF809", "qatzip", set_one(lambda _: b"".join(compressor("qatzip")(PAGES)))),
}


@pytest.mark.parametrize("name", MORE)
def test_more_faults(name: str) -> None:
    rule, method, edit = MORE[name]
    verify(rule, case(method, edit))


@pytest.mark.parametrize("method", [m.name for m in Compression])
def test_clean_payloads_of_every_method(method: str) -> None:
    assert not [rule for rule in fired(whole(method)(), selection=DEEP) if rule.startswith("MF8")]


def test_nothing_is_decompressed_unless_asked() -> None:
    assert not [rule for rule in fired(CASES["MF801"].faulty()) if rule.startswith("MF8")]


def test_a_damaged_stream_is_told_once() -> None:
    payloads = Payloads("zlib")
    payloads.zero[0] = b"\xff" * 30
    found = [f for f in findings(payloads.pcap(), selection=DEEP) if f.rule.id == "MF801"]
    assert [f.message for f in found] == [
        "inflate fails: incorrect header check; later payloads of the channel are not verified"
    ]


@pytest.mark.parametrize("method", ["zlib", "zstd"])
def test_payloads_behind_a_hole_are_not_verified_and_that_is_said_once(method: str) -> None:
    compress = compressor(method)
    capture = Craft()
    connection = capture.connect(46001)
    connection.send(init(0) + sync(0))
    for number in range(4):
        payload = b"".join(compress([PAGES[number]]))
        packet = ram([number], num=number + 1, payload=payload, flags=Compression[method])
        if number == 1:
            connection.send(packet[:1344])
            connection.lose(packet[1344:])
        else:
            connection.send(packet)
    for _ in range(2):
        connection.send(sync(5))
    found = [f for f in findings(capture.pcap(), selection=DEEP) if f.rule.id.startswith("MF8")]
    assert [(f.rule.slug, f.severity) for f in found] == [(f"{method}-bad", "info")]
    assert "not verified: bytes of" in found[0].message


@pytest.mark.parametrize("name", NAMES)
def test_real_payloads_have_no_fault(name: str) -> None:
    path = capture(name)
    checker = Checker(Selection(select=("MF8",), deep=True))
    scan = Scan(path, watchers=(checker,), page_collector=checker.page_collector).run()
    found = [f for f in checker.findings(scan) if f.severity != "info"]
    assert found == []


# -- pages on main ---------------------------------------------------------------------------------


def told_of(stream: bytes, *, deep: bool = True) -> list[tuple[str, str]]:
    """What MF8 finds in a saved migration."""
    found = analyze_saved_file(stream, Selection(select=("MF8",), deep=deep)).findings
    return [(finding.rule.id, finding.message) for finding in found]


def compressed_page(packed: bytes) -> bytes:
    record = build.record(PAGE, RamFlag.COMPRESS_PAGE, b"pc.ram", build.u32(len(packed)) + packed)
    stream = build.OPENING + build.RAM_START + build.part(RAM_ID, record + EOS)
    return stream + build.end(RAM_ID, EOS) + build.CLOSING


@pytest.mark.parametrize(
    ("packed", "rule", "text"),
    [
        (b"zlib!", "MF807", "does not inflate: incorrect header check"),
        (zlib.compress(bytes(100)), "MF807", "inflates to 100 of 4096 bytes"),
        (zlib.compress(bytes(1 << 20)), "MF809", "inflates to more than 4096 bytes"),
    ],
)
def test_pages_compressed_one_by_one(packed: bytes, rule: str, text: str) -> None:
    stream = compressed_page(packed)
    assert told_of(stream) == [(rule, f"page 0x1000 of 'pc.ram' {text}")]
    assert told_of(stream, deep=False) == []
    assert told_of(compressed_page(zlib.compress(PAGES[0]))) == []


def test_zero_pages_with_content_on_main() -> None:
    mapped = mapped_file({3: b"x", 4: b"\0", 9: b"\0"})
    assert told_of(mapped) == [
        ("MF808", "2 of 3 pages with content are all zero; the first is 0x4000 of 'pc.ram'")
    ]
    plain = told_of(build.plain())  # the content of its page 0 is zero
    assert plain == [
        ("MF808", "1 of 4 pages with content are all zero; the first is 0x0 of 'pc.ram'")
    ]
