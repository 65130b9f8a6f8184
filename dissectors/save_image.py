"""libvirt's save images: what ``virsh save`` writes in front of the main stream.

Wire-format page, section 7.
"""

from __future__ import annotations

from enum import IntEnum

from dissectors.fields import Field, Layout

__all__ = ["COMPLETE", "HEADERS", "PARTIAL", "ImageFormat"]

COMPLETE, PARTIAL = b"LibvirtQemudSave", b"LibvirtQemudPart"
"""The magics of an image, and of one that libvirt has not finished."""


class ImageFormat(IntEnum):
    """What becomes of the main stream in an image: nothing, mapped-ram, or a compression."""

    RAW = 0
    GZIP = 1
    BZIP2 = 2
    XZ = 3
    LZOP = 4
    ZSTD = 5
    SPARSE = 6


FIELDS = (
    Field("magic", "16s", "LibvirtQemudSave, or LibvirtQemudPart until all is written", "name"),
    Field("version", "I", "2; 1 before there were formats"),
    Field("data_len", "I", "bytes from the end of this header to the stream: XML, cookie, padding"),
    Field("was_running", "I", "1 if the guest ran"),
    Field("format", "I", "how the stream is stored", "enum", enum=ImageFormat),
    Field("cookie_offset", "I", "where in these bytes the cookie begins; 0 without one"),
    Field("unused", "56s", "zero", "bytes"),
)

HEADERS = tuple(
    Layout("virQEMUSaveHeader", "save_image", "7", FIELDS, order) for order in ("<", ">")
)
"""The header in both byte orders: that of the host that wrote it, told by the version."""
