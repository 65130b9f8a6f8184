"""Edits of the main stream of a tiny migration, shared by the tests of main-channel rules."""

from __future__ import annotations

from typing import TYPE_CHECKING

from dissectors.colo import BY_SECONDARY, ColoMessage
from dissectors.main_stream import MAPPED_RAM_HEADER
from tests.checks.case import edited
from tests.checks.craft import (
    EOF,
    EOS,
    FLUSH,
    MACHINE,
    PAGE,
    PONG,
    RAM_ID,
    STATE,
    SWITCHOVER_START,
    Tiny,
    end,
    sync,
)
from tests.migration import main_streams as build

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

SECTION_HEAD = 17
"""Bytes of the head of a section called ``ram``."""
PAGES_AT = 1 << 20
READY = build.colo(ColoMessage.CHECKPOINT_READY)
ANSWERS = [build.colo(message) for message in BY_SECONDARY]


def replaced(old: bytes, *new: bytes, **options: bool) -> Callable[[], bytes]:
    """A migration whose main has the units ``new`` instead of ``old``."""

    def edit(tiny: Tiny) -> None:
        at = tiny.main.index(old)
        tiny.main[at : at + 1] = new

    return edited(edit, **options)


def inserted(before: bytes, *units: bytes, **options: bool) -> Callable[[], bytes]:
    """A migration whose main has further units in front of one of its own."""
    return replaced(before, *units, before, **options)


def returned(*units: bytes) -> Callable[[], bytes]:
    """A migration with these messages on its return path; the last one comes at the end."""
    return edited(lambda tiny: setattr(tiny, "returned", list(units)))


def stopped(unit: bytes, size: int, **options: bool) -> Callable[[], bytes]:
    """A migration whose main ends ``size`` bytes into a unit."""

    def edit(tiny: Tiny) -> None:
        tiny.main[tiny.main.index(unit) :] = [unit[:size]]

    return edited(edit, **options)


def in_colo(
    *sent: bytes, answers: Iterable[bytes] = (READY, *ANSWERS), early: bool = False
) -> Callable[[], bytes]:
    """A COLO pair: the end of main is followed by a checkpoint, or by ``sent`` instead.  With
    ``early`` the secondary answers before that.
    """

    def edit(tiny: Tiny) -> None:
        tiny.main += [b"".join(sent) if sent else checkpoint()]
        for number, units in enumerate(tiny.multifd, 9):
            units.append(sync(number))
        tiny.returned = [PONG] * (0 if early else 20) + [*answers]

    return edited(edit, device=False)


def checkpoint(state: bytes = STATE + EOF, size: int | None = None) -> bytes:
    """A checkpoint as the primary sends it."""
    return build.checkpoint(FLUSH, state, size, ram_id=RAM_ID)


def mapped_ram(
    *, announced: bool = True, version: int = 1, records: bytes = b""
) -> Callable[[], bytes]:
    """A migration with mapped-ram: only main, whose RAM section holds the region of one block, then
    further ``records``.  ``announced``: the capability is in the CONFIGURATION.
    """

    def edit(tiny: Tiny) -> None:
        capabilities = build.u32(1) + build.text(b"mapped-ram")
        named = build.subsection(b"configuration/capabilities", capabilities)
        head = build.header() + build.configuration(MACHINE.encode(), *[named] * announced)
        size = build.u64(PAGE | 4) + build.text(b"a") + build.u64(PAGE)
        bitmap_at = len(head) + SECTION_HEAD + len(size) + MAPPED_RAM_HEADER.size
        region = build.mapped_ram_header(bitmap_at, PAGES_AT, version)
        region += bytes(PAGES_AT - bitmap_at + PAGE)
        start = build.start(RAM_ID, b"ram", size + region + records + EOS)
        tiny.multifd = []
        tiny.main = [head, start, SWITCHOVER_START, end(RAM_ID, EOS), *tiny.main[-3:]]

    return edited(edit, device=False, return_path=False)
