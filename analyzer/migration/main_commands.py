"""COMMAND records.

Wire-format page, section 6.5.
"""

from __future__ import annotations

from analyzer.migration.broken import Broken
from analyzer.migration.main_channel import PINGS_KEPT
from analyzer.tcp.requests import Take
from dissectors.main_stream import (
    DISCARD_RANGE,
    POSTCOPY_ADVISE,
    Command,
    command_length_fits,
)
from dissectors.multifd import PAGE_SIZES, text_of

TYPE_CHECKING = False
if TYPE_CHECKING:
    from analyzer.migration.broken import Steps
    from analyzer.migration.main_channel import MainFacts, Record

__all__ = ["walk_command"]

HEAD = Take(4)
NAMES = {int(command): command.name for command in Command}
FIRSTS = {
    int(Command.OPEN_RETURN_PATH): "opened_return_path",
    int(Command.POSTCOPY_ADVISE): "postcopy_advise",
    int(Command.POSTCOPY_LISTEN): "postcopy_listen",
    int(Command.POSTCOPY_RUN): "postcopy_run",
    int(Command.POSTCOPY_RESUME): "postcopy_resume",
    int(Command.PACKAGED): "packaged",
    int(Command.SWITCHOVER_START): "switchover_start",
}
"""The attribute of :class:`MainFacts` with the mark of a command's first occurrence."""
BEHIND_ADVISE = (Command.POSTCOPY_LISTEN, Command.POSTCOPY_RUN, Command.POSTCOPY_RAM_DISCARD)
"""Commands that prepare and begin the postcopy which POSTCOPY_ADVISE announced."""


def walk_command(main: MainFacts, record: Record) -> Steps:
    """Walk a command and its payload; the records that follow a PACKAGED are left to the caller."""
    at = record.offset
    head = yield HEAD
    if not isinstance(head, bytes):
        return Broken(head, "command", at)
    command = int.from_bytes(head[:2], "big")
    length = int.from_bytes(head[2:], "big")
    record.name = NAMES.get(command, f"command {command}")
    payload = yield Take(length)
    if not isinstance(payload, bytes):
        return Broken(payload, f"{record.name} payload", at)
    if command not in NAMES:
        main.anomalies.note(
            "command-unknown", at, record.first, f"command {command}, {length} bytes"
        )
    elif command_length_fits(command, length):
        _note_order(main, record, command)
        _keep_place(main, record, command)
        _keep_facts(main, record, command, payload)
    else:
        main.anomalies.note(
            "command-length", at, record.first, f"{record.name} with {length} bytes"
        )
        _keep_place(main, record, command)  # it counts, whatever its payload
    return None


def _note_order(main: MainFacts, record: Record, command: int) -> None:
    """Note a command that comes at the wrong point of the stream."""
    if command == Command.PING:
        slug = "ping-without-rp"
        wrong = "" if main.opened_return_path else "without OPEN_RETURN_PATH"
    elif command == Command.SWITCHOVER_START:
        slug, wrong = "switchover-order", _switchover_fault(main)
    else:
        slug, wrong = "postcopy-order", _postcopy_fault(main, command)
    if wrong and not main.interrupted:
        main.anomalies.note(slug, record.offset, record.first, f"{record.name} {wrong}")


def _switchover_fault(main: MainFacts) -> str:
    """What is wrong with a SWITCHOVER_START at this point; empty if nothing is."""
    if main.colo_count:  # 10.0: also in checkpoints
        return ""
    if main.switchover_start is not None:
        return "sent again"
    if main.first_section_end is not None:
        return "after a SECTION_END"
    return "after a SECTION_FULL" if main.first_full is not None else ""


def _postcopy_fault(main: MainFacts, command: int) -> str:
    """What is wrong with a command at this point of a postcopy; empty if nothing is."""
    listened = main.postcopy_listen is not None
    if command == Command.POSTCOPY_ADVISE:
        return "sent again" if main.postcopy_advise is not None else ""
    if command not in BEHIND_ADVISE:
        return ""
    if main.postcopy_advise is None:
        return "without POSTCOPY_ADVISE"
    if main.postcopy_run is not None:
        return "after POSTCOPY_RUN"
    if command == Command.POSTCOPY_RUN:
        return "" if listened else "without POSTCOPY_LISTEN"
    return "after POSTCOPY_LISTEN" if listened else ""


def _keep_place(main: MainFacts, record: Record, command: int) -> None:
    """Keep the mark of a command's first occurrence."""
    name = FIRSTS.get(command)
    if name is not None and getattr(main, name) is None:
        setattr(main, name, record.mark)
    if command in (Command.POSTCOPY_LISTEN, Command.POSTCOPY_RESUME):
        main.ram.postcopy = True
    elif command == Command.ENABLE_COLO:
        from analyzer.migration.colo import ColoFacts  # seldom needed

        main.colo = main.colo or ColoFacts()


def _keep_facts(main: MainFacts, record: Record, command: int, payload: bytes) -> None:
    """Keep what a command's payload says."""
    if command == Command.PING:
        record.value = int.from_bytes(payload, "big")
        if len(main.pings) < PINGS_KEPT:
            main.pings.append((record.value, record.mark))
    elif command == Command.POSTCOPY_ADVISE and payload:
        size = main.advised_page_size = POSTCOPY_ADVISE.unpack(payload)[1]
        if size in PAGE_SIZES:
            main.ram.page_size = size
    elif command == Command.POSTCOPY_RAM_DISCARD:
        record.value = max(0, len(payload) - payload[1] - 3) // DISCARD_RANGE.size
        if wrong := _discard_fault(main, payload):
            main.anomalies.note("postcopy-discard", record.offset, record.first, wrong)
    elif command == Command.PACKAGED:
        record.value = int.from_bytes(payload, "big")


def _discard_fault(main: MainFacts, payload: bytes) -> str:
    """What is wrong with a POSTCOPY_RAM_DISCARD; empty if nothing is."""
    end = 2 + payload[1]
    name, ranges = payload[2:end], payload[end + 1 :]
    if payload[0]:
        return f"version {payload[0]}, expected 0"
    if payload[end : end + 1] != b"\0":
        return f"a block name of {payload[1]} bytes without its end"
    if not ranges or len(ranges) % DISCARD_RANGE.size:
        return f"{len(ranges)} bytes of ranges, which have {DISCARD_RANGE.size} each"
    if main.ram.lacks(name):
        return "" if main.interrupted else f"{text_of(name)!r} is not in the block list"
    block = main.ram.blocks.get(name)
    for at in range(0, len(ranges), DISCARD_RANGE.size):
        start, length = DISCARD_RANGE.unpack(ranges, at)
        if block is not None and start + length > block.used_length:
            return (
                f"{length:#x} bytes at {start:#x} of {text_of(name)!r}, whose length is "
                f"{block.used_length:#x}"
            )
    return ""
