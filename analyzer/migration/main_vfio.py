"""The body of a VFIO device's section on the main channel.

Wire-format page, section 6.8.
"""

from __future__ import annotations

from analyzer.migration.broken import Broken
from analyzer.migration.mark import Mark
from analyzer.tcp.requests import Deliver, End, Skip, Take
from dissectors.main_stream import FOOTER, FOOTER_BYTE, RecordType
from dissectors.vfio import VfioTag

TYPE_CHECKING = False
if TYPE_CHECKING:
    from analyzer.migration.broken import Steps
    from analyzer.migration.main_channel import MainFacts, Record, VfioSection
    from analyzer.tcp.reader import Reader
    from analyzer.tcp.requests import Sink

__all__ = ["CONFIG_FOLLOWS", "walk_vfio"]

WORD = Take(8)
MARKS_KEPT = 1000
CONFIG_FOLLOWS = "config state"
"""Path of the result that leaves a config state, whose length is not given, to the caller."""


def _keep(marks: list[Mark], mark: Mark) -> None:
    if len(marks) < MARKS_KEPT:
        marks.append(mark)


def walk_vfio(
    reader: Reader,
    main: MainFacts,
    device: VfioSection,
    record: Record,
    kind: int,
    sink: Sink | None,
) -> Steps:
    """Walk tags up to the one that ends the body.

    At a DEV_CONFIG_STATE the walk stops with the path :data:`CONFIG_FOLLOWS`.
    """
    name = device.name
    while True:
        at = reader.offset
        head = yield WORD
        if not isinstance(head, bytes):
            return Broken(head, "VFIO tag", at)
        tag = int.from_bytes(head, "big")
        mark = Mark(at, reader.first)
        if tag == VfioTag.DEV_DATA_STATE:
            broken = yield from _data(reader, main, device, record, mark, sink)
            if broken is not None:
                return broken
        elif tag == VfioTag.END_OF_STATE:
            _announce(main, device, kind, record, "multifd", mark)
            return None
        elif tag == VfioTag.DEV_SETUP_STATE:
            return (yield from _setup(main, name, mark))
        elif tag == VfioTag.DEV_INIT_DATA_SENT:
            _keep(device.init_data_sent, mark)
            return None
        elif tag == VfioTag.DEV_CONFIG_LOAD_READY and kind != RecordType.SECTION_FULL:
            _keep(device.completes, mark)  # the patches' DATA_STATE_COMPLETE; another tag follows
        elif tag == VfioTag.DEV_CONFIG_LOAD_READY:
            if device.load_ready:
                main.anomalies.note(
                    "vfio-config-load-ready-dup", at, reader.last, "sent again", name
                )
            _keep(device.load_ready, mark)
            _announce(main, device, kind, record, "multifd", mark)
            return None
        elif tag == VfioTag.DEV_CONFIG_STATE:
            _announce(main, device, kind, record, "main", mark)
            return Broken(None, CONFIG_FOLLOWS, at)
        else:
            text = f"tag {tag:#018x}"
            if head.startswith(FOOTER.struct.pack(FOOTER_BYTE, device.section_id)):
                text = "the section's footer, where a tag must end the body"
            main.anomalies.note("vfio-tag-unknown", at, reader.last, text, name)
            return Broken(None, "VFIO tag", at)


def _setup(main: MainFacts, name: str, mark: Mark) -> Steps:
    """Walk what follows DEV_SETUP_STATE, which must be END_OF_STATE."""
    following = yield WORD
    if not isinstance(following, bytes):
        return Broken(following, "VFIO tag", mark.offset)
    value = int.from_bytes(following, "big")
    if value == VfioTag.END_OF_STATE:
        return None
    text = f"{value:#x} after it"
    main.anomalies.note("vfio-setup-end", mark.offset, mark.place, text, name)
    return Broken(None, "VFIO tag", mark.offset)


def _announce(
    main: MainFacts, device: VfioSection, kind: int, record: Record, how: str, mark: Mark
) -> None:
    """Note the end of a body, or the beginning of its config state; in a FULL section that shows
    how the state travels.
    """
    if kind == RecordType.SECTION_END:
        device.ends += 1
        device.data_ended = device.data_ended or mark
    elif kind == RecordType.SECTION_FULL:
        device.announced, device.announced_at = how, mark
        device.data_ended = device.data_ended or mark
        if how == "multifd" and device.late_bytes:
            main.anomalies.note(
                "vfio-data-after-switchover",
                record.offset,
                mark.place,
                f"{device.late_bytes} bytes of its state after SWITCHOVER_START",
                device.name,
            )


def _data(
    reader: Reader,
    main: MainFacts,
    device: VfioSection,
    record: Record,
    mark: Mark,
    sink: Sink | None,
) -> Steps:
    """Walk a DEV_DATA_STATE: a length, and that many bytes of the device's state."""
    length = yield WORD
    if not isinstance(length, bytes):
        return Broken(length, "DEV_DATA_STATE size", mark.offset)
    size = int.from_bytes(length, "big")
    begin, missing_before = reader.offset, reader.missing
    reply = yield (Skip(size) if sink is None else Deliver(size, sink))
    seen = reader.offset - begin
    missing = reader.missing - missing_before
    record.data_bytes += seen
    device.main_bytes += seen
    device.missing_bytes += missing
    device.data_blocks += 1
    device.first_data = device.first_data or mark
    device.last_data = Mark(reader.offset, reader.last)
    if main.switchover_start is not None:
        device.late_bytes += seen
    if isinstance(reply, End):
        return Broken(reply, "DEV_DATA_STATE content", mark.offset)
    return None
