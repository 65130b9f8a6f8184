"""Finding a position of the main channel from which records can be read.

Sections have no length.  The end of one with an unknown body, and the position to resume from after
a hole, are found by searching for a footer followed by a plausible record.  Wire-format page, 6.9.
"""

from __future__ import annotations

from itertools import islice

from analyzer.migration.looking import occurrences
from analyzer.migration.main_ram import is_ram_record
from dissectors.main_stream import (
    ANY_FOOTER,
    COMMAND,
    FOOTER,
    FOOTER_BYTE,
    RAM_SECTION,
    SECTION_ID,
    SECTION_VERSIONS,
    SECTIONS,
    Command,
    RecordType,
    command_length_fits,
    is_vfio,
)
from dissectors.vfio import VfioTag

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from analyzer.migration.main_channel import Section

__all__ = [
    "OVERLAP",
    "RESUMING",
    "Ahead",
    "kind_by_content",
    "resumes",
]

NAME_AT = SECTION_ID.size + 1
OVERLAP = FOOTER.size + NAME_AT + 255 + SECTION_VERSIONS.size
"""A footer and the longest section header, in bytes: what a decision needs to see."""
RESUMING = 8
"""Bytes that tell a recovery's first command."""

HITS_TRIED = 8
ID_LIMIT = 1 << 16
VERSION_LIMIT = 1 << 25
"""Versions are small, or dates: that of eeprom93xx is 20061112."""
TAGS = frozenset(int(tag) for tag in VfioTag)
START, PART, END, FULL = SECTIONS
JSON_AT = 6
"""Offset of the JSON text from an EOF: the description's type and length are in between."""

STRONG_STARTS = (b"\x01", b"\x04", b"\x08")


def kind_by_content(word: bytes) -> bytes:
    """The idstr that the first eight bytes of a section's body suggest: ``ram``, ``vfio`` or
    empty.
    """
    if int.from_bytes(word, "big") in TAGS:
        return b"vfio"
    return RAM_SECTION if is_ram_record(word) else b""


def resumes(head: bytes) -> bool:
    """Whether the first :data:`RESUMING` bytes of a stream are a command with which the source
    resumes a paused postcopy: RECV_BITMAP, or OPEN_RETURN_PATH or POSTCOPY_RESUME followed by
    another record.
    """
    if len(head) < RESUMING or head[0] != RecordType.COMMAND:
        return False
    command, size = int.from_bytes(head[1:3], "big"), int.from_bytes(head[3:5], "big")
    if command == Command.RECV_BITMAP:
        name = head[6 : 6 + head[5]]
        return 0 < head[5] == size - 1 and b"\0" not in name
    lone = command in (Command.OPEN_RETURN_PATH, Command.POSTCOPY_RESUME) and size == 0
    return lone and head[5] in (RecordType.COMMAND, RecordType.SECTION_PART)


class Ahead:
    """The bytes ahead on a main channel, in which a position is looked for: an offset in ``data``,
    -1 for none.

    ``known`` are the sections by id; ``final`` says that the stream ends with ``data``.  Where that
    has too few bytes to tell whether a record can begin, one can if it is ``final``.
    """

    __slots__ = ("data", "final", "known")

    def __init__(self, data: bytes, known: Mapping[int, Section], final: bool) -> None:
        self.data = data
        self.known = known
        self.final = final

    def own_footer(self, section_id: int) -> tuple[int, bool]:
        """A section's own footer, and whether the section that follows it confirms it."""
        footer = FOOTER.struct.pack(FOOTER_BYTE, section_id)
        first = -1
        for at in islice(self._hits(footer), HITS_TRIED):
            if self._goes_on(at + FOOTER.size):
                return at, True
            first = at if first < 0 else first
        return first, False

    def any_footer(self) -> int:
        """The first footer that is followed by a plausible record.

        The footer may be any section's.  But once sections are known, that of an unknown section
        only counts before a record that is recognisable by more than a few bytes, since a short one
        may be chance.
        """
        for at in occurrences(self.data, ANY_FOOTER):
            behind = at + FOOTER.size
            own = int.from_bytes(self.data[at + 1 : behind], "big") in self.known
            fits = self._fits(behind, any_name=own)
            if fits and (own or not self.known or self._strong(behind)):
                return at
        return -1

    def next_record(self, section_id: int) -> int:
        """The end of a section's body whose own footer, or the type of what follows it, is damaged
        or missing.
        """
        best = self._next_record()
        untyped = self._footer_before_untyped(section_id)
        if untyped >= 0 and not 0 <= best <= untyped + FOOTER.size:
            return untyped
        body_end = best - FOOTER.size
        own = section_id.to_bytes(4, "big")
        if body_end < 0:
            return best
        is_footer = self.data[body_end] == FOOTER_BYTE or self.data[body_end + 1 : best] == own
        return body_end if is_footer else best

    def without_footer(self) -> tuple[int, bool]:
        """The end of a body in a stream without footers, and whether that is certain."""
        best = self._next_record()
        if best < 0 and self.final and self.data.endswith(b"\0"):
            best = len(self.data) - 1  # the EOF byte; such machine types have no description
        return best, best >= 0

    def plausible_start(self) -> bool:
        """Whether a stream without QEVM header may begin with a complete record, as after a
        postcopy recovery.
        """
        return self.data[:1] in STRONG_STARTS and self._fits(0)

    # -- whether a record can begin -----------------------------------------------------------

    def _fits(self, at: int, *, any_name: bool = False) -> bool:
        """Whether a record can begin at ``at``.

        idstrs may be any bytes; ``any_name`` accepts ones that are not printable, where the bytes
        before the record are evidence enough.
        """
        left = len(self.data) - at
        if left <= 0:
            return self.final
        kind = self.data[at]
        if kind in (START, FULL):
            return self._named(at, any_name=any_name)
        if kind in (PART, END):
            return self._part(at)
        if kind == RecordType.COMMAND:
            if left < COMMAND.size:
                return self.final
            _type, command, length = COMMAND.unpack(self.data, at)
            return command_length_fits(command, length)
        if kind != RecordType.EOF:
            return False
        if left <= 1:
            return self.final
        return self.data[at + 1] == RecordType.VMDESCRIPTION or self._checkpoint(at + 1)

    def _named(self, at: int, *, any_name: bool) -> bool:
        """Whether a START or FULL header fits; with ``any_name`` the name need not be printable."""
        data = self.data
        if len(data) - at < NAME_AT:
            return self.final
        if int.from_bytes(data[at + 1 : at + 5], "big") >= ID_LIMIT or not data[at + 5]:
            return False
        end = at + NAME_AT + data[at + 5]
        name = data[at + NAME_AT : end]
        text = name.isascii() and name.decode("ascii").isprintable()
        if not text and (not any_name or b"\0" in name):
            return False
        if len(data) < end + SECTION_VERSIONS.size:
            return self.final
        return bool(SECTION_VERSIONS.unpack(data, end)[1] < VERSION_LIMIT)

    def _part(self, at: int) -> bool:
        """Whether a PART or END header fits, with the first word of its body."""
        if len(self.data) - at < SECTION_ID.size + 8:
            return self.final
        section_id = int.from_bytes(self.data[at + 1 : at + 5], "big")
        content = kind_by_content(self.data[at + 5 : at + 13])
        section = self.known.get(section_id)
        if section is None:
            return bool(content) and section_id < ID_LIMIT
        if section.idstr == RAM_SECTION or is_vfio(section.idstr):
            return bool(content) and is_vfio(section.idstr) == is_vfio(content)
        return True

    def _checkpoint(self, at: int) -> bool:
        """Whether a COLO message follows an EOF."""
        from dissectors.colo import AFTER_EOF, MESSAGE  # seldom needed

        return self.data[at : at + MESSAGE.size] in AFTER_EOF

    def _strong(self, at: int) -> bool:
        """Whether the record at ``at``, which fits, is recognisable by more than a few bytes."""
        if len(self.data) - at <= JSON_AT:
            return False
        if self.data[at] == RecordType.EOF:
            return self.data[at + JSON_AT] == ord("{")
        return self.data[at] in (START, FULL)

    def _goes_on(self, at: int) -> bool:
        """Whether the section at ``at``, if one begins there, ends with its own footer as well."""
        data = self.data
        if len(data) - at <= NAME_AT or data[at] not in (START, FULL):
            return True
        body = at + NAME_AT + data[at + 5] + SECTION_VERSIONS.size
        name = data[at + NAME_AT : at + NAME_AT + data[at + 5]]
        if name == RAM_SECTION or is_vfio(name):
            return bool(kind_by_content(data[body : body + 8])) or data[at] == START
        return any(True for _ in self._hits(bytes((FOOTER_BYTE,)) + data[at + 1 : at + 5], body))

    # -- looking ------------------------------------------------------------------------------

    def _hits(self, footer: bytes, start: int = 0) -> Iterator[int]:
        """The places from ``start`` on of a footer that is followed by a plausible record."""
        for at in occurrences(self.data, footer, start):
            if self._fits(at + FOOTER.size, any_name=True):
                yield at

    def _next_record(self) -> int:
        """The first record that is recognisable by more than a few bytes."""
        best = -1
        for begin in (b"\x04\0\0", b"\0\x06"):
            for at in occurrences(self.data, begin):
                if 0 <= best <= at:
                    break
                if self._fits(at) and self._strong(at):
                    best = at
                    break
        return best

    def _footer_before_untyped(self, section_id: int) -> int:
        """A section's own footer if the header of a section with a wrong type follows it."""
        footer = FOOTER.struct.pack(FOOTER_BYTE, section_id)
        found = occurrences(self.data, footer)
        return next((at for at in found if self._named(at + FOOTER.size, any_name=False)), -1)
