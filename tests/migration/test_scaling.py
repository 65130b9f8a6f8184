"""Hostile input costs in proportion to its size: work is counted, for times depend on the machine.

Work is every line that runs, loops in one line included, and what walkers have looked at together.
"""

from __future__ import annotations

import sys
from io import BytesIO
from tempfile import NamedTemporaryFile
from typing import TYPE_CHECKING, Any

import pytest

from analyzer.capture.trace_log import TracedPacket, TraceRun
from analyzer.checks.selection import Selection
from analyzer.migration import main_sections, vmdescription
from analyzer.migration.scan import Scan
from analyzer.migration.settings import Settings
from analyzer.scrub.scrubbing import scrub
from analyzer.tcp.requests import Glance, Peek, Take
from dissectors.main_stream import Command
from dissectors.vfio import VfioTag
from tests.checks.craft import PAGE, Craft, Tiny, buffer, findings, init, ram, sync
from tests.migration import main_streams as build
from tests.migration import test_preempt_walker, test_return_path_walker
from tests.migration.main_streams import EOS, OPENING, RAM_ID, RAM_START, u32, u64, walk
from tests.migration.mapped_files import mapped_file, taken

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import FrameType

    from _typeshed import TraceFunction

GROWTH = 2.5
"""What twice the input may cost; of what is in proportion it costs twice as much, or less."""
FOOTER = build.footer(9)
MAGIC = bytes.fromhex("1122334400000001")


class Work:
    """Counts work while it is entered."""

    def __init__(self, patch: pytest.MonkeyPatch) -> None:
        self.units = 0

        def counting(request: Glance | Peek | Take, size: int) -> None:
            request.size = size
            self.units += size >> 6  # as much as a line

        for request in (Glance, Peek, Take):
            patch.setattr(request, "__init__", counting)

    def _event(self, _frame: FrameType, _event: str, _argument: object) -> TraceFunction:
        self.units += 1
        return self._event

    def __enter__(self) -> Work:
        self.units = 0
        self._before = sys.gettrace()
        sys.settrace(self._event)
        return self

    def __exit__(self, *_error: object) -> None:
        sys.settrace(self._before)


def frames(data: bytes) -> list[bytes]:
    return [data[at : at + 1448] for at in range(0, len(data), 1448)]


def stream(*middle: bytes) -> None:
    walk(*frames(OPENING + RAM_START + b"".join(middle)))


def sections(size: int) -> None:
    """FULL sections whose ends have to be searched, with footers inside that are none."""
    trap = b"x" * 40 + build.footer(4) + b"\1" + b"y" * 40
    stream(*(build.full(4, b"d%d" % number, trap) for number in range(size)))


def one_long_section(size: int) -> None:
    """Beginnings of records wherever one is looked for, and no end."""
    stream(build.full(4, b"d", (build.footer(4) + b"\4\0\0\0\5\2\xff\0") * 40 * size))


def ram_records(size: int) -> None:
    blocks = {b"%d" % number: PAGE for number in range(size)}
    listed = build.start(RAM_ID, b"ram", build.mem_size(blocks) + EOS)
    walk(OPENING + listed + build.part(RAM_ID, b"".join(build.zero(0, name) for name in blocks)))


def devices(size: int) -> None:
    data = build.data_state(b"x") + build.END_OF_STATE
    stream(*(build.start(9, build.VFIO, build.SETUP, n) + build.part(9, data) for n in range(size)))


def subsections(size: int) -> None:
    capability = build.subsection(b"configuration/capabilities", u32(256) + b"\1x" * 256)
    zeros = b"".join(build.zero(0, b"pc.ram") for _ in range(8 * size))
    opening = build.header() + build.configuration(b"q35", *[capability] * size)
    walk(opening + RAM_START + build.part(RAM_ID, zeros + EOS))


def commands(size: int) -> None:
    stream(build.command(Command.PING, u32(1)) * size, build.command(99, b"x") * size)


def packages(size: int) -> None:
    stream(build.command(Command.PACKAGED, u32(1 << 31)) * size)


def footers_everywhere(size: int) -> None:
    """The way back into a stream, between footers behind which nothing plausible stands."""
    stream(b"\x99", FOOTER * 20 * size)


def guesses(size: int) -> None:
    """Records that only look like some: each is followed, and given up again."""
    stream(b"\x99", (FOOTER + b"\2" + u32(77) + u64(VfioTag.DEV_DATA_STATE) + b"\xff") * size)


def holes(size: int) -> None:
    pieces: list[bytes | int] = [OPENING + RAM_START]
    pieces += [FOOTER * 3, 1 << 30] * size
    walk(*pieces)


def midstream(size: int) -> None:
    walk(*frames((FOOTER + b"\2" + u32(1) + b"junk") * 10 * size), midstream=True)


def preempt(size: int) -> None:
    names = b"".join(build.page(0, b"%d" % n, 8) for n in range(size))
    test_preempt_walker.walk(names)
    test_preempt_walker.walk(b"".join(build.zero(0, b"%d" % number) for number in range(size)))


def return_path(size: int) -> None:
    request = test_return_path_walker.message(4, u64(0) + u32(PAGE))
    test_return_path_walker.walk(*frames(request * size))


def return_path_midstream(size: int) -> None:
    test_return_path_walker.walk(*frames(b"\0\2\0\4\0\1\0\4\0\0" * 20 * size), midstream=True)


def bitmap(size: int) -> None:
    taken(mapped_file(dict.fromkeys(range(0, 8 * size, 3), b"x"), 8 * size))


def multifd(data: bytes) -> None:
    craft = Craft()
    craft.connect(46001).send(init(0) + sync(0) + data)
    Scan(craft.pcap()).run()


def magics(size: int) -> None:
    """The way back into a channel, between headers that lead nowhere."""
    multifd(b"\x99" * 1344 + (MAGIC + b"\0\0\0\0" + b"\0\0\0\x80" + b"\xff" * 40) * 20 * size)


def packets(size: int) -> None:
    multifd(b"".join(ram([1], num=7, block=b"%d" % number) for number in range(size)))


def traces(size: int) -> None:
    """Packets of one number, in the capture and in the log."""
    tiny = Tiny(device=False)
    tiny.multifd[0][1:1] = [sync(0)] * size
    run = TraceRun("qemu.log", "source")
    run.packets = {n: [TracedPacket(0, 1, 0, 0)] * size for n in range(4)}
    findings(tiny.pcap(), None, Selection(traces=(run,)))


def description(size: int) -> None:
    nested: dict[str, Any] = {"name": "d", "instance_id": 0, "fields": []}
    for number in range(60):
        fields = [{"name": f"f{n}", "type": "buffer", "size": 1} for n in range(size // 20)]
        nested = {"vmsd_name": f"s{number}", "fields": fields, "subsections": [nested]}
    listed = [nested | {"name": "d", "instance_id": n} for n in range(8)]
    sized = [build.buffer_device(f"d{n}", 4) for n in range(size)]
    bodies = [build.full(n + 9, b"d%d" % n, b"body") for n in range(size)]
    closing = b"\0" + build.vmdescription([*listed, *sized])
    main = walk(OPENING + RAM_START + b"".join(bodies) + closing)
    vmdescription.verify(main)
    vmdescription.decode(main)


def described_alike(size: int) -> None:
    """Many sections with the same entry, of fields that have no size."""
    entry = {"name": "d", "instance_id": 0, "fields": [{"size": 0}] * 10 * size}
    closing = b"\0" + build.vmdescription([entry])
    main = walk(OPENING + RAM_START + build.full(9, b"d", b"body") * size + closing)
    vmdescription.verify(main)
    vmdescription.decode(main)


def described_array(size: int) -> None:
    """Elements of a byte each, with many fields of no size, which must be read one by one."""
    inner = {"fields": [{"size": 0}] * 10 * size + [{"size": 2}]}
    field = {"size": 1, "array_len": size, "struct": inner}
    closing = b"\0" + build.vmdescription([{"name": "d", "instance_id": 0, "fields": [field]}])
    main = walk(OPENING + RAM_START + build.full(9, b"d", bytes(size)) + closing)
    vmdescription.decode(main, values=False)


def sections_never_started(size: int) -> None:
    """Parts of unknown sections that look like RAM's, when others have taken all there may be."""
    known = b"".join(build.part(number, build.END_OF_STATE) for number in range(size))
    like_ram = b"".join(build.part(100_000 + number, EOS) for number in range(size))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(main_sections, "SECTIONS_MAX", size)
        walk(*frames(OPENING + known + like_ram))


def first_copies(size: int) -> None:
    """A retransmission of bytes that came one by one, every second one before the others."""
    craft = Craft()
    one = craft.connect(46000)
    for at in (*range(1, size, 2), *range(0, size, 2)):
        one.segment("client", at, b"x")
    one.segment("client", 0, b"x" * size)
    Scan(craft.pcap()).run()


def excused(size: int) -> None:
    """Findings about many devices, which a hole on any of many channels could excuse."""
    tiny = Tiny(device=False)
    tiny.ports = list(range(46000, 46001 + size))
    tiny.multifd = [[init(n), sync(0), buffer(1, idstr=b"%d/vfio" % n)] for n in range(size)]
    findings(tiny.pcap())


def closed_early(size: int) -> None:
    """Channels that were closed behind the same one of many rounds, before the last."""
    craft = Craft()
    one, *others = [craft.connect(46000 + number) for number in range(size + 1)]
    for number, other in enumerate(others):
        other.send(init(number + 1) + sync(0))
    one.send(init(0) + b"".join(map(sync, range(size))))
    for other in others:
        other.fin()
    one.send(sync(size))
    findings(craft.pcap())


def scrubbed(size: int) -> None:
    """Records and sections with names, all of which may be in any record."""
    names = [b"0000:%05d/vfio" % number for number in range(size)]
    main = [build.start(9 + n, name, build.SETUP) for n, name in enumerate(names)]
    main += [build.part(9 + number, build.END_OF_STATE) for number in range(size)]
    listed = [{"name": name.decode(), "instance_id": 0} for name in names]
    craft = Craft()
    craft.connect(46000).send(OPENING + b"".join(main) + b"\0" + build.vmdescription(listed))
    with NamedTemporaryFile(suffix=".pcap") as file:
        file.write(craft.pcap())
        file.flush()
        scrub(file.name, BytesIO(), bytes(32), Settings())


CASES: tuple[tuple[Callable[[int], None], int], ...] = (
    (sections, 100),
    (one_long_section, 60),
    (ram_records, 200),
    (devices, 100),
    (subsections, 8),
    (commands, 300),
    (packages, 100),
    (footers_everywhere, 100),
    (guesses, 600),
    (holes, 100),
    (midstream, 100),
    (preempt, 400),
    (return_path, 400),
    (return_path_midstream, 40),
    (bitmap, 200),
    (magics, 20),
    (packets, 60),
    (traces, 300),
    (description, 60),
    (described_alike, 60),
    (described_array, 60),
    (sections_never_started, 200),
    (first_copies, 400),
    (excused, 60),
    (closed_early, 60),
    (scrubbed, 60),
)


@pytest.mark.parametrize(("case", "size"), CASES, ids=[case.__name__ for case, _ in CASES])
def test_twice_the_input_is_twice_the_work(
    case: Callable[[int], None], size: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    case(1)  # imports, and whatever is made once
    work = Work(monkeypatch)
    spent = []
    for factor in (1, 2, 4):
        with work:
            case(factor * size)
        spent.append(work.units)
    assert spent[1] <= GROWTH * spent[0]
    assert spent[2] <= GROWTH * spent[1]
