"""COLO: the messages by which a pair of guests is kept in sync, checkpoint by checkpoint.

Wire-format page, section 6.10.
"""

from __future__ import annotations

from enum import IntEnum

from dissectors.fields import Field, Layout

__all__ = ["AFTER_EOF", "BY_PRIMARY", "BY_SECONDARY", "MESSAGE", "SIZE", "ColoMessage"]


class ColoMessage(IntEnum):
    """Types of COLO messages; the primary sends on main, the secondary on the return path."""

    CHECKPOINT_READY = 0
    CHECKPOINT_REQUEST = 1
    CHECKPOINT_REPLY = 2
    VMSTATE_SEND = 3
    VMSTATE_SIZE = 4
    VMSTATE_RECEIVED = 5
    VMSTATE_LOADED = 6


MESSAGE = Layout(
    "COLOMessage",
    "colo",
    "6.10",
    (Field("message", "I", "which message", "enum", enum=ColoMessage),),
)

SIZE = Layout(
    "VMSTATE_SIZE",
    "colo",
    "6.10",
    (Field("size", "Q", "bytes of device state that follow"),),
)
"""What follows a VMSTATE_SIZE message."""

BY_PRIMARY = (
    ColoMessage.CHECKPOINT_REQUEST,
    ColoMessage.VMSTATE_SEND,
    ColoMessage.VMSTATE_SIZE,
)
BY_SECONDARY = (
    ColoMessage.CHECKPOINT_REPLY,
    ColoMessage.VMSTATE_RECEIVED,
    ColoMessage.VMSTATE_LOADED,
)
"""The messages of a checkpoint by sender, in order; CHECKPOINT_READY precedes the first one."""

AFTER_EOF = tuple(
    MESSAGE.struct.pack(message)
    for message in (ColoMessage.CHECKPOINT_REQUEST, ColoMessage.VMSTATE_SIZE)
)
"""The messages that may follow an EOF on main, as bytes."""
