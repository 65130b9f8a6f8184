"""The packet table: one row per multifd packet, as columns of plain numbers.

A row costs some 150 bytes and no object; payload stays in the file and is read again by
:mod:`analyzer.migration.replay`.
"""

from __future__ import annotations

from array import array

from analyzer.capture.sequence import MASK
from analyzer.migration.consumers import Watcher
from analyzer.migration.rows import KINDS as PACKET_KINDS
from analyzer.migration.rows import DevicePacket
from dissectors.multifd import CHANNEL_HEADER, INIT, device_name, name_of, text_of

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from typing import Any, Protocol

    import numpy as np

    from analyzer.migration.channel import Channel
    from analyzer.migration.migration import Migration
    from analyzer.migration.rows import RamPacket
    from analyzer.tcp.flow import Flow

    class Judged(Protocol):
        """What the table needs of a finding; ``rank`` is 0 info, 1 warning, 2 error."""

        @property
        def rank(self) -> int:
            """Its severity."""

        @property
        def spot(self) -> Any:
            """Its position: ``channel``, ``offset`` in its stream, ``frame``; each ``None`` if
            unknown.
            """


__all__ = [
    "COLUMNS",
    "INIT_PACKET",
    "KINDS",
    "NO_NUMBER",
    "SEVERITIES",
    "PacketTable",
    "Row",
    "StreamRef",
]

KINDS = (*PACKET_KINDS, "init")
"""Names of the kinds of packets, by number."""
INIT_PACKET = len(PACKET_KINDS)
SEVERITIES = ("none", "info", "warning", "error")
NO_NUMBER = (1 << 64) - 1
"""``packet_num`` of packets that have none."""

COLUMNS = (
    ("kind", "B", "number of the kind, see KINDS"),
    ("migration", "I", "number of the migration, from 0"),
    ("channel", "q", "id of the channel; negative while the capture does not tell it"),
    ("flow", "I", "index into PacketTable.flows: the stream that carries it"),
    ("stream", "I", "Wireshark's tcp.stream"),
    ("frame", "Q", "frame of the first byte"),
    ("end_frame", "Q", "frame of the last byte"),
    ("time", "q", "when the first byte was seen, ns since the epoch"),
    ("end_time", "q", "when the last byte was seen, ns since the epoch"),
    ("offset", "q", "stream offset of the first byte"),
    ("length", "q", "bytes on the wire, payload included"),
    ("pos", "q", "file position from which re-reading has to start, see Place.pos"),
    ("flags", "I", "flags of the header"),
    ("packet_num", "Q", "packet_num; NO_NUMBER without one"),
    ("pages_alloc", "I", "pages_alloc of a RAM packet"),
    ("normal_pages", "I", "pages whose content is in the payload"),
    ("zero_pages", "I", "zero pages listed"),
    ("next_packet_size", "I", "payload announced by the header, bytes"),
    ("name", "I", "index into PacketTable.names: ramblock, idstr, or uuid of an initial packet"),
    ("device", "I", "index into PacketTable.devices; 0 for packets of no device"),
    ("instance_id", "I", "instance id of a device-state packet"),
    ("vfio_version", "I", "version in the VFIO header, where idx is not -1"),
    ("idx", "q", "index of a device-state buffer; -1 without one"),
    ("state_flags", "I", "flags in the VFIO header, where idx is not -1"),
    ("missing", "q", "bytes that are not in the capture"),
    ("cut", "q", "those of them that were never sent: the stream ended before"),
    ("severity", "B", "gravest finding: number in SEVERITIES; filled in by mark()"),
)
"""Every column: name, :mod:`array` typecode, meaning.  The packet's number needs none: it is the
row's index + 1.
"""
LACKING = {"packet_num": NO_NUMBER, "idx": -1}
"""What stands for a field that the packet lacks, in columns where that is not 0."""
GROWTH = 1024


class StreamRef:
    """What is needed to find a stream's segments in the file again.

    ``key`` is the flow key of its direction, ``origin`` the sequence number of stream offset 0,
    ``number`` Wireshark's.  ``decrypted`` says that the segments are in the plaintext of TLS.
    """

    __slots__ = ("decrypted", "key", "number", "origin")

    def __init__(self, key: bytes, origin: int, number: int, decrypted: bool = False) -> None:
        self.key = key
        self.origin = origin
        self.number = number
        self.decrypted = decrypted

    @classmethod
    def of(cls, flow: Flow) -> StreamRef:
        """The reference to a flow."""
        number = flow.connection.number
        return cls(flow.key, flow.base + 1 & MASK, number, flow.decrypted)


class Row:
    """One packet's columns as attributes, ``None`` where a packet of its kind lacks the field.

    ``number`` counts from 1, ``kind`` is the name of the kind, ``ramblock`` and ``idstr`` are text,
    not escaped for any output; ``uuid`` is 16 bytes.
    """

    __slots__ = (
        "channel", "cut", "device", "end_frame", "end_time", "flags", "flow", "frame", "idstr",
        "idx", "instance_id", "kind", "length", "migration", "missing", "next_packet_size",
        "normal_pages", "number", "offset", "packet_num", "pages_alloc", "pos", "ramblock",
        "severity", "state_flags", "stream", "time", "uuid", "vfio_version", "zero_pages",
    )  # fmt: skip

    number: int
    kind: str
    migration: int
    channel: int
    flow: int
    stream: int
    frame: int
    end_frame: int
    time: int
    end_time: int
    offset: int
    length: int
    pos: int
    flags: int | None
    packet_num: int | None
    pages_alloc: int | None
    normal_pages: int | None
    zero_pages: int | None
    next_packet_size: int | None
    ramblock: str | None
    idstr: str | None
    uuid: bytes | None
    device: str | None
    instance_id: int | None
    vfio_version: int | None
    idx: int | None
    state_flags: int | None
    missing: int
    cut: int
    severity: str

    def as_dict(self) -> dict[str, Any]:
        """Attributes by name."""
        return {name: getattr(self, name) for name in self.__slots__}


RAM_ONLY = ("packet_num", "pages_alloc", "normal_pages", "zero_pages")
VFIO_ONLY = ("vfio_version", "idx", "state_flags")


class PacketTable(Watcher):
    """Columns of the packets of one scan.

    ``names`` are the distinct names (bytes, without padding; ``names[0]`` is empty: no name),
    ``devices`` the distinct devices as (index of the name, instance id), ``flows`` references to
    the streams.  ``start`` is the time of the capture's first frame (ns; 0 until set), from which
    relative times count.  ``base`` rows were dropped from the front by :meth:`drop`.

    While another thread appends, ``len()``, :meth:`row` and :meth:`view` are safe: ``len()`` counts
    complete rows only, and a view of a growing table is a copy.  After :meth:`finish` nothing more
    is appended, and views share the columns' memory.
    """

    def __init__(self) -> None:
        self.names: list[bytes] = [b""]
        self.devices: list[tuple[int, int]] = [(0, 0)]
        self.flows: list[StreamRef] = []
        self.start = 0
        self.base = 0
        self.finished = False
        self._count = 0
        # The columns are longer than the table: what follows its last row lacks every field.
        self._columns = {name: array(code) for name, code, _ in COLUMNS}
        self._name_index: dict[bytes, int] = {b"": 0}
        self._device_index: dict[tuple[int, int], int] = {}
        self._flow_index: dict[int, int] = {}  # by id() of the flow, which the scan keeps alive
        self._joined: dict[int, int] = {}  # by migration: how many of its channels were looked at

    def __len__(self) -> int:
        return self._count

    # -- appending ----------------------------------------------------------------------------

    def ram(
        self, migration: Migration, channel: Channel, packet: RamPacket, pages: Sequence[int]
    ) -> None:
        """A RAM or SYNC packet; see Watcher."""
        del pages
        self._ram(migration, channel, packet, 0)

    def _ram(self, migration: Migration, channel: Channel, packet: RamPacket, cut: int) -> None:
        row, columns = self._row(migration, channel, packet), self._columns
        columns["packet_num"][row] = packet.packet_num
        columns["pages_alloc"][row] = packet.pages_alloc
        columns["normal_pages"][row] = packet.normal_pages
        columns["zero_pages"][row] = packet.zero_pages
        if packet.ramblock is not None:
            columns["name"][row] = self._name(packet.ramblock)
        columns["cut"][row] = cut
        self._count += 1

    def device(self, migration: Migration, channel: Channel, packet: DevicePacket) -> None:
        """A device-state packet; see Watcher."""
        self._device(migration, channel, packet, 0)

    def _device(
        self, migration: Migration, channel: Channel, packet: DevicePacket, cut: int
    ) -> None:
        name, instance = self._name(packet.idstr), packet.instance_id
        device = self._device_index.get((name, instance))
        if device is None:
            device = self._device_index[name, instance] = len(self.devices)
            self.devices.append((name, instance))
        row, columns = self._row(migration, channel, packet), self._columns
        columns["name"][row] = name
        columns["device"][row] = device
        columns["instance_id"][row] = instance
        if packet.idx is not None:
            columns["vfio_version"][row] = packet.vfio_version or 0
            columns["idx"][row] = packet.idx
            columns["state_flags"][row] = packet.state_flags or 0
        columns["cut"][row] = cut
        self._count += 1

    def cut(
        self, migration: Migration, channel: Channel, packet: RamPacket | DevicePacket, lost: int
    ) -> None:
        """A packet that the stream's end cut off; see Watcher."""
        if isinstance(packet, DevicePacket):
            self._device(migration, channel, packet, lost)
        else:
            self._ram(migration, channel, packet, lost)

    def _row(self, migration: Migration, channel: Channel, packet: RamPacket | DevicePacket) -> int:
        """Fill in what packets of both kinds have; returns the row's index."""
        if len(migration.channels) != self._joined.get(migration.number):
            self._join(migration)
        flow, first, last = channel.flow, packet.first, packet.last
        row, columns = self._new_row(), self._columns
        columns["kind"][row] = packet.kind
        columns["migration"][row] = migration.number
        columns["channel"][row] = packet.channel
        columns["flow"][row] = self._flow(flow)
        columns["stream"][row] = flow.connection.number
        columns["frame"][row] = first.frame
        columns["end_frame"][row] = last.frame
        columns["time"][row] = first.time
        columns["end_time"][row] = last.time
        columns["offset"][row] = packet.offset
        columns["length"][row] = packet.length
        columns["pos"][row] = first.pos
        columns["flags"][row] = packet.flags
        columns["next_packet_size"][row] = packet.next_packet_size
        columns["missing"][row] = packet.missing
        return row

    def _join(self, migration: Migration) -> None:
        """Add rows for the initial packets of new channels."""
        channels = migration.channels
        for channel in channels:  # main is inserted at the front, so look at all of them
            init, flow = channel.init, channel.flow
            if init is None or id(flow) in self._flow_index:
                continue
            name = self._name_index.get(init.uuid)
            if name is None:
                name = self._add_name(init.uuid)
            place = init.place
            offset = 0 if channel.channel_header is None else CHANNEL_HEADER.size
            last = offset + INIT.size - 1
            holes = ((max(h.first, offset), min(h.last, last)) for h in flow.holes)
            row = {
                "kind": INIT_PACKET,
                "migration": migration.number,
                "channel": channel.id,
                "flow": self._flow(flow),
                "stream": flow.connection.number,
                "frame": place.frame,
                "end_frame": place.frame,
                "time": place.time,
                "end_time": place.time,
                "offset": offset,
                "length": INIT.size,
                "pos": place.pos,
                "name": name,
                "missing": sum(max(0, end - first + 1) for first, end in holes),
            }
            self._append(row)
        self._joined[migration.number] = len(channels)

    def _append(self, values: dict[str, int]) -> None:
        """Append a row with some columns' values."""
        row = self._new_row()
        for name, value in values.items():
            self._columns[name][row] = value
        self._count += 1

    def _new_row(self) -> int:
        """Make room for a row, which lacks every field; returns its index."""
        if self._count == len(self._columns["kind"]):
            for name, code, _ in COLUMNS:
                self._columns[name].extend(array(code, [LACKING.get(name, 0)]) * GROWTH)
        return self._count

    def _flow(self, flow: Flow) -> int:
        index = self._flow_index.get(id(flow))
        if index is None:
            index = self._flow_index[id(flow)] = len(self.flows)
            self.flows.append(StreamRef.of(flow))
        return index

    def _name(self, padded: bytes) -> int:
        name = name_of(padded)
        index = self._name_index.get(name)
        return self._add_name(name) if index is None else index

    def _add_name(self, name: bytes) -> int:
        index = self._name_index[name] = len(self.names)
        self.names.append(name)
        return index

    # -- the end ------------------------------------------------------------------------------

    def finish(self, migrations: Iterable[Migration], start: int = 0) -> None:
        """The scan has ended: add the initial packets of channels without other packets.

        ``start`` is the time of the capture's first frame, in ns.
        """
        for migration in migrations:
            self._join(migration)
        self.start = start or self.start
        self.finished = True

    def mark(self, findings: Iterable[Judged]) -> None:
        """Fill in ``severity``: that of the gravest finding whose stream offset is in the packet
        or, for findings without an offset, whose frame is the packet's first one.
        """
        offsets: dict[int, dict[int, int]] = {}
        frames: dict[int, dict[int, int]] = {}
        for finding in findings:
            spot = finding.spot
            if spot.channel is None:
                continue
            at, places = (spot.frame, frames) if spot.offset is None else (spot.offset, offsets)
            if at is not None:
                worst = places.setdefault(spot.channel.stream, {})
                worst[at] = max(worst.get(at, 0), finding.rank + 1)
        for stream, worst in frames.items():
            self._mark_frames(stream, worst)
        for stream, worst in offsets.items():
            self._mark_offsets(stream, worst)

    def _mark_frames(self, stream: int, worst: dict[int, int]) -> None:
        import numpy

        frame = self._columns["frame"]
        places = numpy.array(sorted(worst), numpy.uint64)
        found = (self.view("stream") == stream) & numpy.isin(self.view("frame"), places)
        for row in numpy.flatnonzero(found).tolist():
            self._worsen(row, worst[frame[row]])

    def _mark_offsets(self, stream: int, worst: dict[int, int]) -> None:
        import numpy

        places = numpy.array(sorted(worst), numpy.int64)
        rows = numpy.flatnonzero(self.view("stream") == stream)
        first = self.view("offset")[rows]
        low = numpy.searchsorted(places, first)
        high = numpy.searchsorted(places, first + self.view("length")[rows])
        for at in numpy.flatnonzero(high > low).tolist():
            inside = places[low[at] : high[at]].tolist()
            self._worsen(int(rows[at]), max(worst[place] for place in inside))

    def _worsen(self, row: int, severity: int) -> None:
        column = self._columns["severity"]
        column[row] = max(column[row], severity)

    def drop(self) -> None:
        """Drop all rows (names, devices and flows stay); row numbers continue.

        For callers that process the rows while the capture streams by.
        """
        self.base += self._count
        self._count = 0
        for column in self._columns.values():
            del column[:]

    # -- reading ------------------------------------------------------------------------------

    def view(
        self, name: str, first: int = 0, last: int | None = None
    ) -> np.ndarray[Any, np.dtype[Any]]:
        """Rows ``first`` to ``last`` (exclusive) of a column as a read-only numpy array.

        It is a copy while the table grows, so that it does not block appending; later a view.
        """
        import numpy

        count = self._count
        last = count if last is None else min(last, count)
        column = self._columns[name]
        dtype = numpy.dtype(column.typecode)
        if first >= last:
            return numpy.empty(0, dtype)
        if self.finished:
            values = numpy.frombuffer(column, dtype)[first:last]
        else:
            values = numpy.frombuffer(column[first:last], dtype)
        values.flags.writeable = False
        return values

    def column(self, name: str) -> Sequence[int]:
        """A column, to be indexed by row only (a slice may be inconsistent while the table
        grows).
        """
        return self._columns[name]

    def name(self, row: int) -> bytes:
        """The RAM block's name, the device's idstr, or the uuid (by kind); empty without one."""
        return self.names[self._columns["name"][row]]

    def device_text(self, device: int) -> str:
        """``idstr#instance`` of an entry of ``devices``; not escaped."""
        name, instance = self.devices[device]
        return device_name(self.names[name], instance)

    def row(self, index: int) -> Row:
        """A row as an object; raises :class:`IndexError`."""
        if not 0 <= index < self._count:
            raise IndexError(index)
        row = Row()
        for column, values in self._columns.items():
            if column != "name":
                setattr(row, column, values[index])
        kind, name = self._columns["kind"][index], self.name(index)
        row.number = self.base + index + 1
        row.kind = KINDS[kind]
        row.severity = SEVERITIES[self._columns["severity"][index]]
        row.ramblock = row.idstr = row.device = row.uuid = None
        if kind == INIT_PACKET:
            row.uuid = name
            row.flags = row.next_packet_size = None
        device = self._columns["device"][index]
        if device:
            row.idstr, row.device = text_of(name), self.device_text(device)
        else:
            row.instance_id = None
        if row.idx == -1:
            for missing in VFIO_ONLY:
                setattr(row, missing, None)
        if device or kind == INIT_PACKET:
            for missing in RAM_ONLY:
                setattr(row, missing, None)
        elif name:
            row.ramblock = text_of(name)
        return row
