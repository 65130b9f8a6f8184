"""Where in a file the main stream of a saved migration begins: at the first byte, behind the bytes
that ``offset=`` of a ``file:`` migration left free, or behind the header of a libvirt save image.

Wire-format page, section 7.
"""

from __future__ import annotations

from analyzer.errors import CaptureError
from dissectors.main_stream import BEGINNING, begins_stream
from dissectors.save_image import COMPLETE, HEADERS, PARTIAL, ImageFormat

TYPE_CHECKING = False
if TYPE_CHECKING:
    from analyzer.capture.source import Source

__all__ = ["Beginning", "find_beginning", "is_preceded"]

HEAD = 4 << 20
"""Bytes from the start of the file within which the stream must begin."""
FREE = b"\0"
READABLE = (ImageFormat.RAW, ImageFormat.SPARSE)


class Beginning:
    """The stream begins at byte ``offset`` of the file, behind what ``before`` names: empty if
    that is nothing.  ``unfinished`` says that this is the header of a libvirt save image that
    libvirt did not finish, and will not restore.
    """

    __slots__ = ("before", "offset", "unfinished")

    def __init__(self, offset: int, before: str = "", *, unfinished: bool = False) -> None:
        self.offset = offset
        self.before = before
        self.unfinished = unfinished


def is_preceded(source: Source) -> bool:
    """Whether the file is a libvirt save image, or a stream with something else before it."""
    return _is_image(source.peek(HEADERS[0].size)) or find_beginning(source) is not None


def find_beginning(source: Source) -> Beginning | None:
    """Find where the stream begins; ``None`` if there is none.

    Only before anything was read from the source.  Raises :class:`CaptureError` for a libvirt save
    image whose stream has to be decompressed first.
    """
    head = source.peek(BEGINNING)
    if begins_stream(head):
        return Beginning(0)
    head = source.peek(HEAD)
    begin, before = _after_image_header(source.path, head) if _is_image(head) else (0, "zeros")
    begin = len(head) - len(head[begin:].lstrip(FREE))  # sparse images are aligned
    if not begins_stream(head[begin : begin + BEGINNING]):
        return None
    return Beginning(begin, before, unfinished=head.startswith(PARTIAL))


def _is_image(head: bytes) -> bool:
    return head.startswith((COMPLETE, PARTIAL)) and len(head) >= HEADERS[0].size


def _after_image_header(path: str, head: bytes) -> tuple[int, str]:
    """Where the stream of an image begins at the earliest, and what stands before it."""
    # As libvirt does: a version that is too large is one in the other byte order.
    header = min((layout.values(head) for layout in HEADERS), key=lambda values: values["version"])
    begin = HEADERS[0].size + int(header["data_len"])
    names = {int(known): known.name.lower() for known in ImageFormat}
    way = int(header["format"])
    name = names.get(way)
    if way not in READABLE:
        unpack = f"tail -c +{begin + 1} IMAGE | {name} -dc | mfshark check -"
        raise CaptureError(
            f"is a libvirt save image of format {name or way}",
            path=path,
            offset=begin,
            advice=unpack if name else "mfshark knows the formats raw and sparse",
        )
    return begin, f"the header of a libvirt save image of format {name}"
