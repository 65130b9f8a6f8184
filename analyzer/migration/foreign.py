"""When a capture is read through tshark, and how the end of that is reported."""

from __future__ import annotations

import struct

from analyzer.capture.dissected import open_dissected
from analyzer.capture.file import PCAP_MAGICS, CaptureFile
from analyzer.capture.link import LINK_TYPES, TUNNEL
from analyzer.capture.pcapng import dropped_note
from analyzer.capture.segment import FRAGMENTED
from analyzer.errors import CaptureError

TYPE_CHECKING = False
if TYPE_CHECKING:
    import os

    from analyzer.capture.source import Source
    from analyzer.capture.tshark import Conversion
    from analyzer.tcp.engine import Engine

__all__ = ["CUT_SHORT", "note_end", "open_foreign", "why_foreign"]

CUT_SHORT = "cut short"
LONGER_BY = (4, 8)
HOUR = 3600
FRAME_MAX = 1 << 18


def open_foreign(
    path: str | os.PathLike[str] | bytes | Source, tool: str
) -> tuple[CaptureFile, Conversion]:
    """The capture read through ``tool``, and the run that does it.

    Raises :class:`CaptureError` where tshark does not know the file, or knows it only as something
    that is not a capture; :class:`analyzer.errors.ToolUnavailable` where the tool is not installed.
    """
    source, run = open_dissected(path, tool)
    file = CaptureFile(source)
    if run.complaint and not run.frame:
        source.close()
        raise CaptureError(f"is not a capture that tshark knows: {run.complaint}", path=source.path)
    if run.frame and not run.packets:
        # To tshark JSON files, pictures and programs are a single frame without a time.
        source.close()
        raise CaptureError(
            "is not a capture that tshark knows: it has no packets", path=source.path
        )
    return file, run


def why_foreign(file: CaptureFile, engine: Engine) -> str:
    """Why native reading found no migration; empty if tshark would not help."""
    strange = sorted({i.link_type for i in file.interfaces} - set(LINK_TYPES))
    if strange:
        return f"link type {strange[0]}"
    ignored = engine.ignored
    hidden = ignored.get(TUNNEL, 0) + ignored.get(FRAGMENTED, 0)
    if hidden > engine.frames - sum(ignored.values()):
        what = "tunnels" if ignored.get(TUNNEL) else "IP fragments"
        return f"{hidden} of {engine.frames} frames are {what}"
    if _has_longer_records(file.source):  # misread, they need not look damaged
        return "its records are not those of plain pcap"
    return ""


def _has_longer_records(source: Source) -> bool:
    """Whether it is one of the pcap variants that Nokia's and old Red Hat's tcpdump wrote: pcap by
    its magic number, but with 4 or 8 more bytes in each record header.
    """
    head = source.read_at(0, 40) or b""
    if head[:4] not in PCAP_MAGICS or len(head) < 40:
        return False
    record = struct.Struct(PCAP_MAGICS[head[:4]][0] + "IIII")
    time, _, captured, _ = record.unpack_from(head, 24)
    for more in LONGER_BY:
        following = source.read_at(40 + more + captured, record.size) or b""
        if len(following) == record.size:
            later, _, size, original = record.unpack(following)
            if abs(later - time) <= HOUR and 0 < size <= original <= FRAME_MAX:
                return True
    return False


def note_end(file: CaptureFile, run: Conversion, original: Source) -> None:
    """Add to ``file`` why tshark stopped early, if it did, and the notes about the ``original``
    that it read.
    """
    file.notes += original.notes
    if original.lost:
        file.notes.append(dropped_note(original.lost))
    if CUT_SHORT in run.complaint:
        file.notes.append(run.complaint)
    elif run.complaint:
        file.damage = CaptureError(
            run.complaint,
            path=file.source.path,
            frame=run.frame,
            advice="what came before is reported",
        )
