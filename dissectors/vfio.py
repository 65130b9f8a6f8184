"""VFIO device state: the header of a multifd buffer, and the tags of the main channel's section.

Wire-format page, sections 5 and 6.8.
"""

from __future__ import annotations

from enum import IntEnum, IntFlag

from dissectors.fields import Field, Layout

__all__ = ["BUFFER", "BUFFER_DATA_MAX", "BUFFER_HOST", "IDX_MAX", "VfioStateFlag", "VfioTag"]


class VfioStateFlag(IntFlag):
    """``flags`` of the header in front of every device-state buffer."""

    CONFIG_STATE = 0x01


class VfioTag(IntEnum):
    """Tags of a VFIO section on the main channel."""

    END_OF_STATE = 0xFFFFFFFFEF100001
    DEV_CONFIG_STATE = 0xFFFFFFFFEF100002
    DEV_SETUP_STATE = 0xFFFFFFFFEF100003
    DEV_DATA_STATE = 0xFFFFFFFFEF100004
    DEV_INIT_DATA_SENT = 0xFFFFFFFFEF100005
    DEV_CONFIG_LOAD_READY = 0xFFFFFFFFEF100006
    """DEV_DATA_STATE_COMPLETE in the RFC, v1 and v2 of the series (there in an END section)."""


BUFFER = Layout(
    "VFIODeviceStatePacket",
    "vfio",
    "5.1",
    (
        Field("version", "I", "format version, always 0", since="10.0"),
        Field("idx", "I", "place of the buffer in the device's state, from 0", since="10.0"),
        Field("flags", "I", "CONFIG_STATE", "flags", enum=VfioStateFlag, since="10.0"),
    ),
)
"""Big endian since the release of 10.0; see :data:`BUFFER_HOST` for the series."""

BUFFER_HOST = BUFFER.reordered("<")
"""The header in the sender's byte order, as the RFC and v1 to v6 of the series sent it."""

BUFFER_DATA_MAX = 1 << 20
"""The most data bytes that QEMU's sender puts into one buffer."""

IDX_MAX = 0xFFFFFFFF
"""The index that QEMU's receiver refuses."""
