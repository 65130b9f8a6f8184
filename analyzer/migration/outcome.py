"""How a migration ended, told from the wire (wire-format page, section 1.5)."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from analyzer.migration.channel import Channel
    from analyzer.migration.migration import Migration
    from analyzer.tcp.flow import Flow

__all__ = ["Outcome", "outcome_of"]


class Outcome:
    """``name`` is ``completed``, ``cancelled``, ``failed``, ``incomplete`` or ``unknown``;
    ``evidence`` says in a few words what shows it, ``frame`` where."""

    __slots__ = ("evidence", "frame", "name")

    def __init__(self, name: str, evidence: str, frame: int | None = None) -> None:
        self.name = name
        self.evidence = evidence
        self.frame = frame


def outcome_of(migration: Migration) -> Outcome:
    """The first row of the table that fits."""
    facts, returned = migration.main_facts, migration.return_facts
    if returned is not None and returned.shut is not None:
        mark = returned.shut_mark
        frame = mark.frame if mark is not None else None
        if returned.shut == 0:
            return Outcome("completed", "the destination reported success", frame)
        return Outcome("failed", f"the destination reported error {returned.shut}", frame)
    if (early := _server_closed_first(migration)) is not None:
        return early
    if migration.main is None:
        return _without_main(migration)
    assert facts is not None
    main = migration.main
    cut = next((c for c in migration.multifd if c.cut_in is not None and _closed(c.flow)), None)
    if facts.eof is None:
        if main.flow.fin is not None or main.flow.reset is not None:
            if main.holes or main.midstream:
                return Outcome("unknown", "the end of main is not decoded")
            end = main.flow.fin or main.flow.reset
            assert end is not None
            text = "the source closed main before its EOF byte"
            return Outcome("cancelled", text, end.frame)
        return Outcome("incomplete", "the capture ends before the migration does")
    if cut is not None:
        end = cut.flow.fin or cut.flow.reset
        where = f"{cut.name} was closed inside a packet"
        return Outcome("cancelled", where, end.frame if end is not None else None)
    if any(not _closed(channel.flow) for channel in [main, *migration.multifd]):
        return Outcome("incomplete", "the capture ends before all channels are closed")
    if incomplete := _incomplete_device(migration):
        return Outcome("cancelled", f"device {incomplete} is incomplete")
    return Outcome("completed", "main and every channel ended where they should", facts.eof.frame)


def _closed(flow: Flow) -> bool:
    return flow.fin is not None or flow.reset is not None


def _without_main(migration: Migration) -> Outcome:
    if any(not _closed(channel.flow) for channel in migration.multifd):
        return Outcome("incomplete", "the capture ends before all channels are closed")
    return Outcome("unknown", "main is not in the capture")


def _server_closed_first(migration: Migration) -> Outcome | None:
    """A close from the destination before the source's state was out."""
    earliest: tuple[int, Channel, str] | None = None
    for channel in [*([migration.main] if migration.main else []), *migration.multifd]:
        peer = channel.flow.peer
        ends = [(end, word) for end, word in ((peer.reset, "reset"), (peer.fin, "closed")) if end]
        for end, word in ends:
            if channel.flow.last.frame > end.frame and (
                earliest is None or end.frame < earliest[0]
            ):
                earliest = (end.frame, channel, word)
            if word == "reset" and channel.cut_in is not None:
                earliest = earliest or (end.frame, channel, word)
    if earliest is None:
        return None
    frame, channel, word = earliest
    return Outcome("failed", f"the destination {word} {channel.name} before its data ended", frame)


def _incomplete_device(migration: Migration) -> str | None:
    for device in migration.devices.values():
        if device.cut or device.config is None or device.missing_ranges():
            return device.name
    return None
