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
    from analyzer.migration.main_channel import MainChannel, Record

__all__ = ["walk_command"]

HEAD = Take(4)
NAMES = {int(command): command.name for command in Command}


def walk_command(main: MainChannel, record: Record) -> Steps:
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


def _note_order(main: MainChannel, record: Record, command: int) -> None:
    """Note a command that comes at the wrong point of the stream."""
    wrong = ""
    slug = "postcopy-order"
    if command == Command.POSTCOPY_ADVISE:
        wrong = "sent again" if main.postcopy_advise is not None else ""
    elif command in (Command.POSTCOPY_LISTEN, Command.POSTCOPY_RUN, Command.POSTCOPY_RAM_DISCARD):
        listened, run = main.postcopy_listen is not None, command == Command.POSTCOPY_RUN
        if main.postcopy_advise is None:
            wrong = "without POSTCOPY_ADVISE"
        elif main.postcopy_run is not None:
            wrong = "after POSTCOPY_RUN"
        elif run and not listened:
            wrong = "without POSTCOPY_LISTEN"
        elif listened and not run:
            wrong = "after POSTCOPY_LISTEN"
    elif command == Command.PING:
        slug = "ping-without-rp"
        wrong = "" if main.opened_return_path else "without OPEN_RETURN_PATH"
    elif command == Command.SWITCHOVER_START and not main.colo_count:  # 10.0: also in checkpoints
        slug = "switchover-order"
        if main.switchover_start is not None:
            wrong = "sent again"
        elif main.first_section_end is not None:
            wrong = "after a SECTION_END"
        elif main.first_full is not None:
            wrong = "after a SECTION_FULL"
    if wrong and not main.interrupted:
        main.anomalies.note(slug, record.offset, record.first, f"{record.name} {wrong}")


def _keep_place(main: MainChannel, record: Record, command: int) -> None:
    """Keep the mark of a command's first occurrence."""
    mark = record.mark
    if command == Command.OPEN_RETURN_PATH:
        main.opened_return_path = main.opened_return_path or mark
    elif command == Command.POSTCOPY_ADVISE:
        main.postcopy_advise = main.postcopy_advise or mark
    elif command == Command.POSTCOPY_LISTEN:
        main.postcopy_listen = main.postcopy_listen or mark
        main.ram.postcopy = True
    elif command == Command.POSTCOPY_RUN:
        main.postcopy_run = main.postcopy_run or mark
    elif command == Command.POSTCOPY_RESUME:
        main.postcopy_resume = main.postcopy_resume or mark
        main.ram.postcopy = True
    elif command == Command.PACKAGED:
        main.packaged = main.packaged or mark
    elif command == Command.ENABLE_COLO:
        from analyzer.migration.colo import ColoFacts  # seldom needed

        main.colo = main.colo or ColoFacts()
    elif command == Command.SWITCHOVER_START:
        main.switchover_start = main.switchover_start or mark


def _keep_facts(main: MainChannel, record: Record, command: int, payload: bytes) -> None:
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


def _discard_fault(main: MainChannel, payload: bytes) -> str:
    """What is wrong with a POSTCOPY_RAM_DISCARD; empty if nothing is."""
    end = 2 + payload[1]
    name, ranges = payload[2:end], payload[end + 1 :]
    if payload[0]:
        return f"version {payload[0]}, expected 0"
    if payload[end : end + 1] != b"\0":
        return f"a block name of {payload[1]} bytes without its end"
    if not ranges or len(ranges) % DISCARD_RANGE.size:
        return f"{len(ranges)} bytes of ranges, which have {DISCARD_RANGE.size} each"
    block = main.ram_blocks.get(name)
    if block is None or not block.listed:
        return "" if main.interrupted else f"{text_of(name)!r} is not in the block list"
    for at in range(0, len(ranges), DISCARD_RANGE.size):
        start, length = DISCARD_RANGE.unpack(ranges, at)
        if start + length > block.used_length:
            return (
                f"{length:#x} bytes at {start:#x} of {text_of(name)!r}, whose length is "
                f"{block.used_length:#x}"
            )
    return ""
