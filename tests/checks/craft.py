"""Tiny captures with control over every byte: channel byte streams in, a pcap file out.

:class:`Tiny` is a whole clean migration as lists of units (bytes) to be edited; :class:`Craft`
and :class:`Connection` are the frames below it, for faults of TCP and of the capture.

    tiny = Tiny()
    tiny.multifd[0][2] = ram(normal=[0], num=2, pages_alloc=129)
    assert "MF209" in fired(tiny.pcap())
"""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING, Any

from analyzer.checks.checker import Checker
from analyzer.migration.scan import Scan
from analyzer.migration.settings import Settings
from analyzer.synth import records
from analyzer.synth.scenario import Device
from dissectors.multifd import CHANNEL_HEADER, DEVICE_STATE, INIT, MAGIC, RAM
from dissectors.vfio import BUFFER, BUFFER_HOST, VfioTag

if TYPE_CHECKING:
    from collections.abc import Iterable

    from analyzer.checks.finding import Finding
    from analyzer.checks.selection import Selection

FIN, SYN, RST, ACK = 1, 2, 4, 16
WRAP = 1 << 32
PAGE = 4096
BLOCK = b"pc.ram"
IDSTR = b"0000:00:02.0/vfio"
DEVICE = Device(idstr=IDSTR.decode())
MACHINE = "pc-q35-10.0"
RAM_ID, VFIO_ID = records.RAM_ID, records.FIRST_DEVICE_ID
EOS, FLUSH, END_OF_STATE = records.EOS, records.FLUSH, records.END_OF_STATE


# -- frames -----------------------------------------------------------------------------------


class Frame:
    """A frame to be written: ``time`` in ns; the first ``snap`` bytes are captured (0: all)."""

    def __init__(self, time: int, data: bytes) -> None:
        self.time = time
        self.data = data
        self.snap = 0


class Craft:
    """The frames of an Ethernet capture, in order of capture; ``frames`` may be edited before
    :meth:`pcap`.  The clock advances by ``step`` ns per frame.
    """

    def __init__(self, step: int = 1_000_000) -> None:
        self.frames: list[Frame] = []
        self.time = 1_750_000_000 * 10**9
        self.step = step

    def connect(self, port: int, **options: Any) -> Connection:
        """A new connection from client port ``port``; the options are :class:`Connection`'s."""
        return Connection(self, port, **options)

    def pcap(self, snaplen: int = 0) -> bytes:
        """The file; ``snaplen`` cuts all frames."""
        parts = [struct.pack("<IHHiIII", 0xA1B23C4D, 2, 4, 0, 0, snaplen or 262144, 1)]
        for frame in self.frames:
            kept = frame.data[: frame.snap or snaplen or len(frame.data)]
            seconds, fraction = divmod(frame.time, 10**9)
            parts.append(struct.pack("<IIII", seconds, fraction, len(kept), len(frame.data)))
            parts.append(kept)
        return b"".join(parts)


class Side:
    """One end of a connection; ``sent`` is the stream offset of the next byte it sends."""

    def __init__(self, address: bytes, port: int, first: int) -> None:
        self.address = address
        self.port = port
        self.first = first  # sequence number of stream offset 0
        self.sent = 0


class Connection:
    """One TCP connection.  In every method ``side`` is the sender: ``client`` or ``server``."""

    def __init__(
        self,
        capture: Craft,
        port: int,
        *,
        server_port: int = 4444,
        client: str = "10.0.0.1",
        server: str = "10.0.0.2",
        first: int = 1000,
        syn: bool = True,
    ) -> None:
        self.capture = capture
        self.client = Side(bytes(map(int, client.split("."))), port, first)
        self.server = Side(bytes(map(int, server.split("."))), server_port, first + 7000)
        if syn:
            self.segment("client", -1, b"", SYN)
            self.segment("server", -1, b"", SYN | ACK)

    def _sides(self, side: str) -> tuple[Side, Side]:
        pair = self.client, self.server
        return pair if side == "client" else pair[::-1]

    def segment(
        self, side: str, offset: int, data: bytes, flags: int = ACK, window: int = 60000
    ) -> Frame:
        """A frame with ``data`` at any stream offset; does not count as sent."""
        source, target = self._sides(side)
        tcp = struct.pack(
            ">HHIIBBHHH", source.port, target.port, (source.first + offset) % WRAP,
            (target.first + target.sent) % WRAP if flags & ACK else 0, 5 << 4, flags, window, 0, 0,
        )  # fmt: skip
        ip = struct.pack(">BBHHHBBH", 0x45, 0, 40 + len(data), 0, 0x4000, 64, 6, 0)
        link = bytes(12) + b"\x08\x00"
        frame = Frame(self.capture.time, link + ip + source.address + target.address + tcp + data)
        self.capture.time += self.capture.step
        self.capture.frames.append(frame)
        return frame

    def send(self, data: bytes, side: str = "client", size: int = 1400) -> list[Frame]:
        """Send the next bytes of a stream in segments of ``size``, then acknowledge them."""
        source, _ = self._sides(side)
        frames = []
        for at in range(0, len(data), size):
            frames.append(self.segment(side, source.sent, data[at : at + size]))
            source.sent += len(data[at : at + size])
        self.ack("server" if side == "client" else "client")
        return frames

    def lose(self, data: bytes, side: str = "client") -> None:
        """Send bytes that the receiver gets but the capture lacks."""
        self._sides(side)[0].sent += len(data)

    def ack(self, side: str, window: int = 60000) -> Frame:
        """A bare ACK of everything that the other side sent."""
        return self.segment(side, self._sides(side)[0].sent, b"", ACK, window)

    def fin(self, side: str = "client") -> Frame:
        """A FIN behind what was sent."""
        source, _ = self._sides(side)
        return self.segment(side, source.sent, b"", FIN | ACK)

    def reset(self, side: str = "client") -> Frame:
        """A reset."""
        return self.segment(side, self._sides(side)[0].sent, b"", RST | ACK)


# -- units of the multifd channels ---------------------------------------------------------------


def init(number: int, *, uuid: bytes = bytes(16), **fields: int | bytes) -> bytes:
    """The initial packet of channel ``number``; further fields by name."""
    return INIT.pack({"magic": MAGIC, "version": 1, "uuid": uuid, "id": number, **fields})


def ram(
    normal: Iterable[int] = (),
    zero: Iterable[int] = (),
    *,
    num: int,
    block: bytes = BLOCK,
    count: int = 128,
    payload: bytes | None = None,
    offsets: bytes | None = None,
    **fields: int | bytes,
) -> bytes:
    """A RAM packet: numbers of pages sent with content (``normal``), and of zero pages.

    ``payload`` and the raw ``offsets`` array replace those made for the pages, ``fields`` the
    header's fields by name.
    """
    normal, zero = list(normal), list(zero)
    page = (1 << 19) // count
    content = bytes([num + 1 & 0xFF]) * (page * len(normal)) if payload is None else payload
    values: dict[str, int | bytes] = {
        "magic": MAGIC,
        "version": 1,
        "pages_alloc": count,
        "normal_pages": len(normal),
        "zero_pages": len(zero),
        "next_packet_size": len(content),
        "packet_num": num,
        "ramblock": block,
    }
    pages = [number * page for number in [*normal, *zero]]
    array = struct.pack(f">{len(pages)}Q", *pages).ljust(8 * count, b"\0")
    return RAM.pack(values | fields) + (array if offsets is None else offsets) + content


def sync(num: int, *, count: int = 128, **fields: int | bytes) -> bytes:
    """A SYNC packet as QEMU 9.2 and later send it."""
    values: dict[str, Any] = {"flags": 1, "pages_alloc": 0, **fields}
    return ram(num=num, count=count, block=b"", **values)


def buffer(
    idx: int,
    data: bytes = b"state",
    *,
    idstr: bytes = IDSTR,
    instance: int = 0,
    config: bool = False,
    host_order: bool = False,
    payload: bytes | None = None,
    header: dict[str, int] | None = None,
    **fields: int | bytes,
) -> bytes:
    """A device-state packet with its VFIO header; ``header`` are fields of the VFIO header by name,
    ``payload`` replaces that header and the data.
    """
    layout = BUFFER_HOST if host_order else BUFFER
    vfio = layout.pack({"idx": idx, "flags": int(config)} | (header or {}))
    content = vfio + data if payload is None else payload
    values: dict[str, int | bytes] = {
        "magic": MAGIC,
        "version": 1,
        "flags": 0x40,
        "idstr": idstr,
        "instance_id": instance,
        "next_packet_size": len(content),
    }
    return DEVICE_STATE.pack(values | fields) + content


def config(idx: int, **options: Any) -> bytes:
    """The device-state packet with the config state."""
    return buffer(idx, records.config_state(DEVICE), config=True, **options)


def channel_header(kind: int, size: int = 4) -> bytes:
    """The channel header that begins every connection in the RFC."""
    return CHANNEL_HEADER.pack({"header_size": size, "channel_type": kind})


# -- units of the main channel -------------------------------------------------------------------


def start(idstr: str, number: int, body: bytes, version: int = 4) -> bytes:
    """A START section."""
    return _section(records.section(records.START, number, idstr, 0, version), number, body)


def part(number: int, body: bytes) -> bytes:
    """A PART section."""
    return _section(records.section(records.PART, number), number, body)


def end(number: int, body: bytes) -> bytes:
    """An END section."""
    return _section(records.section(records.END, number), number, body)


def full(idstr: str, number: int, body: bytes, version: int = 1) -> bytes:
    """A FULL section."""
    return _section(records.section(records.FULL, number, idstr, 0, version), number, body)


def _section(head: bytes, number: int, body: bytes) -> bytes:
    return head + body + records.footer(number)


HEADER = records.header() + records.configuration(MACHINE)
OPEN_RETURN_PATH = records.command(records.OPEN_RETURN_PATH) + records.ping(1)
RAM_START = start("ram", RAM_ID, records.block_list({"pc.ram": 1 << 20}) + FLUSH + EOS)
VFIO_START = start(IDSTR.decode(), VFIO_ID, records.tag(VfioTag.DEV_SETUP_STATE) + END_OF_STATE, 1)
RAM_PART = part(RAM_ID, FLUSH + EOS)
RAM_END = end(RAM_ID, FLUSH + EOS)
VFIO_END = end(VFIO_ID, END_OF_STATE)
VFIO_FULL = full(IDSTR.decode(), VFIO_ID, END_OF_STATE)
SWITCHOVER_START = records.command(records.SWITCHOVER_START)
STATE = records.timer() + records.globalstate()
EOF = records.EOF
PONG = records.message(records.RP_PONG, b"\0\0\0\1")
SHUT = records.message(records.RP_SHUT, bytes(4))


# -- a whole migration -----------------------------------------------------------------------------


class Tiny:
    """A clean migration of QEMU 10 in lists of units: two channels, one device, three SYNC rounds.

    ``main``, ``returned`` (the return path) and each of ``multifd`` are streams; edit them freely.
    Units are sent interleaved, each stream spread over the whole time.  ``answers`` are units that
    the destination sends on a multifd channel, by its position in the list; ``main_first``: main
    connects before the others.  ``close`` is how the connections end, as pairs (``main`` or number
    of a channel; ``fin client``, ``fin server``, ``reset client`` or ``reset server``).  Without
    ``return_path`` the destination sends nothing.
    """

    def __init__(self, *, return_path: bool = True, device: bool = True) -> None:
        self.main = [HEADER, RAM_START, RAM_PART, SWITCHOVER_START, RAM_END, STATE, EOF]
        self.multifd = [
            [init(0), sync(0), ram([0, 1], [4, 5], num=2), sync(4), ram([0], num=6), sync(7)],
            [init(1), sync(1), ram([2], [6], num=3), sync(5), sync(8)],
        ]
        self.returned: list[bytes] = []
        self.ports = [46000, 46001, 46002, 46003, 46004, 46005]
        self.server_port = 4444
        self.answers: dict[int, list[bytes]] = {}
        self.main_first = True
        if device:
            self.main[2:2] = [VFIO_START]
            self.main[-2:-2] = [VFIO_END, VFIO_FULL]
            self.multifd[0] += [buffer(0), config(2)]
            self.multifd[1] += [buffer(1)]
        described = [(DEVICE, 8)] if device else []
        self.main.append(records.vmdescription(MACHINE, PAGE, described))
        if return_path:
            self.main[1:1] = [OPEN_RETURN_PATH]
            self.returned = [PONG, SHUT]
        self.close: list[tuple[int | str, str]] = [
            (name, how) for name in (0, 1, "main") for how in ("fin client", "fin server")
        ]

    def craft(self, into: Craft | None = None) -> Craft:
        """The frames, in a new capture or behind those of another."""
        capture = into or Craft()
        names = [*range(len(self.multifd)), *(["main"] if self.main else [])]
        opened = {
            name: capture.connect(
                self.ports[0 if name == "main" else name + 1],
                server_port=self.server_port,
            )
            for name in sorted(names, key=lambda n: (n == "main") != self.main_first)
        }
        streams = [(opened[at], "client", units) for at, units in enumerate(self.multifd)]
        streams += [(opened[at], "server", units) for at, units in self.answers.items()]
        main = opened.get("main")
        if main is not None:
            streams.append((main, "client", self.main))
            streams.append((main, "server", self.returned[:-1]))
        timed = [
            (at / len(units), order, connection, side, unit)
            for order, (connection, side, units) in enumerate(streams)
            for at, unit in enumerate(units)
        ]
        for _, _, connection, side, unit in sorted(timed, key=lambda entry: entry[:2]):
            connection.send(unit, side)
        if main is not None and self.returned:
            main.send(self.returned[-1], "server")
        for name, how in self.close:
            if name in opened:
                word, side = how.split()
                (opened[name].fin if word == "fin" else opened[name].reset)(side)
        return capture

    def pcap(self) -> bytes:
        """The capture."""
        return self.craft().pcap()


# -- verdicts --------------------------------------------------------------------------------------


def findings(
    capture: bytes, settings: Settings | None = None, selection: Selection | None = None
) -> list[Finding]:
    """What the rules say about a capture."""
    checker = Checker(selection)
    scan = Scan(
        capture, settings, watchers=checker.watchers, page_collector=checker.page_collector
    ).run()
    return checker.findings(scan)


def fired(
    capture: bytes, settings: Settings | None = None, selection: Selection | None = None
) -> dict[str, str]:
    """The highest severity of each rule that fired, by id."""
    worst: dict[str, str] = {}
    for finding in findings(capture, settings, selection):  # gravest first
        worst.setdefault(finding.rule.id, finding.severity)
    return worst
