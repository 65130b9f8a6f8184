"""COLO behind a migration: the checkpoints that bring the secondary up to the primary's state.

Wire-format page, section 6.10, as 11.1 does it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from analyzer.synth import records
from analyzer.synth.ram import dirty_scan
from analyzer.synth.units import MAIN, Unit
from dissectors.colo import MESSAGE, SIZE, ColoMessage

if TYPE_CHECKING:
    from collections.abc import Iterator

    from analyzer.synth.pattern import Bytes
    from analyzer.synth.script import Script

__all__ = ["kept_in_sync"]

MS: Final = 1_000_000
APART: Final = 100 * MS


def kept_in_sync(script: Script) -> Iterator[Unit]:
    """What the secondary says when the first state is loaded, and the checkpoints."""
    yield script.reply("shut", records.RP_SHUT, 0)
    yield _answer(ColoMessage.CHECKPOINT_READY)
    for number in range(script.migration.checkpoints):
        yield from _checkpoint(script, script.last_round + 1 + number)


def _checkpoint(script: Script, scan: int) -> Iterator[Unit]:
    yield _message(ColoMessage.CHECKPOINT_REQUEST, wait=APART)
    yield _answer(ColoMessage.CHECKPOINT_REPLY)
    yield _message(ColoMessage.VMSTATE_SEND)
    on_main: list[Bytes] = []
    for pages in dirty_scan(script.migration, scan):
        yield from script.ram_units(pages, on_main)
    yield from script.sync_round()
    yield script.ram_section("ram-end", records.END, on_main, flush=True)
    yield Unit(MAIN, "eof", parts=(records.EOF,))
    state = records.timer() + records.EOF
    yield _message(ColoMessage.VMSTATE_SIZE, SIZE.struct.pack(len(state)), state)
    yield _answer(ColoMessage.VMSTATE_RECEIVED)
    yield _answer(ColoMessage.VMSTATE_LOADED)


def _message(message: ColoMessage, *parts: bytes, wait: int = 0) -> Unit:
    """A message of the primary, and what follows it."""
    return Unit(MAIN, "colo", parts=(MESSAGE.struct.pack(message), *parts), wait=wait)


def _answer(message: ColoMessage) -> Unit:
    """A message of the secondary."""
    return Unit(MAIN, "colo", parts=(MESSAGE.struct.pack(message),), side="server", wait=MS)
