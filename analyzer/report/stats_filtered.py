"""``mfshark stats -Y``: statistics of the packets that match a display filter, by kind, channel and
device.
"""

from __future__ import annotations

from analyzer.migration.channel import multifd_name
from analyzer.migration.table import KINDS
from analyzer.report.escape import terminal
from analyzer.report.style import size_text, table
from analyzer.version import VERSION

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from typing import Any

    import numpy as np

    from analyzer.migration.table import PacketTable
    from analyzer.report.style import Style

    Values = np.ndarray[Any, np.dtype[Any]]

__all__ = ["Sums", "filtered_json", "filtered_text", "sums_by"]

GROUPS = ("kind", "channel", "device")
HEAD = ("", "packets", "bytes", "pages", "zero pages", "first", "last", "per second")
SCHEMA = "mfshark/filtered-stats/1"


class Sums:
    """Packets counted together: ``bytes`` on the wire, pages, and the times of the first and last
    byte in ns since the epoch.
    """

    __slots__ = ("bytes", "first", "last", "name", "normal_pages", "packets", "zero_pages")

    def __init__(self, name: str, figures: Sequence[int]) -> None:
        self.name = name
        (
            self.packets, self.bytes, self.normal_pages, self.zero_pages, self.first, self.last,
        ) = figures  # fmt: skip

    @property
    def rate(self) -> float | None:
        """Bytes per second from the first byte to the last; ``None`` if that time is zero."""
        lasted = self.last - self.first
        return self.bytes * 1e9 / lasted if lasted > 0 else None


def sums_by(packets: PacketTable, rows: Values, what: str = "") -> list[Sums]:
    """The sums of some rows: of all of them, or by ``kind``, ``channel`` or ``device``.  Packets
    without a device are not in the sums by device.
    """
    import numpy

    def column(name: str) -> Values:
        return packets.view(name)[rows]

    if what == "device":
        rows = rows[column("device") > 0]
    if what == "channel":
        number = column("channel")  # unknown ones come last, by stream
        keys = numpy.stack([column("migration"), number < 0, abs(number), column("stream")])
    elif what:
        keys = numpy.stack([column("migration"), column(what)])
    else:
        keys = numpy.zeros((1, len(rows)), numpy.int64)
    found, groups = numpy.unique(keys, axis=1, return_inverse=True)
    groups = groups.reshape(-1)
    count = found.shape[1]
    sums = [numpy.bincount(groups, minlength=count)]
    carried = column("length") - column("cut")
    for figure in (carried, column("normal_pages"), column("zero_pages")):
        total = numpy.zeros(count, numpy.int64)
        numpy.add.at(total, groups, figure.astype(numpy.int64))
        sums.append(total)
    first = numpy.full(count, numpy.iinfo(numpy.int64).max)
    numpy.minimum.at(first, groups, column("time"))
    last = numpy.full(count, numpy.iinfo(numpy.int64).min)
    numpy.maximum.at(last, groups, column("end_time"))
    several = bool(packets.view("migration").any())
    names = [_name(packets, what, key, several) for key in found.T.tolist()]
    figures = zip(*(array.tolist() for array in (*sums, first, last)), strict=True)
    return [Sums(name, values) for name, values in zip(names, figures, strict=True)]


def _name(packets: PacketTable, what: str, key: Sequence[int], several: bool) -> str:
    owner = f"migration {int(key[0])}: " if several and what else ""
    if what == "kind":
        return owner + KINDS[int(key[1])]
    if what == "channel":
        unknown, number, stream = map(int, key[1:])
        return owner + multifd_name(-1 - stream if unknown else number)
    if what == "device":
        return owner + packets.device_text(int(key[1]))
    return "all"


def filtered_text(
    packets: PacketTable, rows: Values, text: str, path: str, style: Style
) -> Iterator[str]:
    """The lines of the report."""
    total = len(packets)
    yield f"{style.bold(terminal(path))}: {len(rows):,} of {total:,} packets match {terminal(text)}"
    if not len(rows):
        return
    begin = packets.start
    for what in ("", *GROUPS):
        sums = sums_by(packets, rows, what)
        if sums:
            yield ""
            yield from table((what, *HEAD[1:]), [_line(one, begin) for one in sums], style)


def _line(sums: Sums, begin: int) -> tuple[str, ...]:
    rate = sums.rate
    return (
        terminal(sums.name),
        f"{sums.packets:,}",
        size_text(sums.bytes),
        f"{sums.normal_pages:,}",
        f"{sums.zero_pages:,}",
        f"{(sums.first - begin) / 1e9:.6f}",
        f"{(sums.last - begin) / 1e9:.6f}",
        size_text(round(rate)) if rate is not None else "-",
    )


def filtered_json(packets: PacketTable, rows: Values, text: str, path: str) -> dict[str, Any]:
    """The report as plain data, in the shape of ``schema/filtered-stats-1.json``; moments are in
    seconds since the capture's first frame.
    """
    return {
        "schema": SCHEMA,
        "tool": {"name": "mfshark", "version": VERSION},
        "path": path,
        "filter": text,
        "packets": len(packets),
        "passed": len(rows),
        "all": _plain(packets, rows),
        **{f"by_{what}": _plain(packets, rows, what) for what in GROUPS},
    }


def _plain(packets: PacketTable, rows: Values, what: str = "") -> list[dict[str, Any]]:
    return [
        {
            "name": one.name,
            "packets": one.packets,
            "bytes": one.bytes,
            "normal_pages": one.normal_pages,
            "zero_pages": one.zero_pages,
            "first": round((one.first - packets.start) / 1e9, 9),
            "last": round((one.last - packets.start) / 1e9, 9),
            "bytes_per_second": None if one.rate is None else round(one.rate, 1),
        }
        for one in sums_by(packets, rows, what)
    ]
