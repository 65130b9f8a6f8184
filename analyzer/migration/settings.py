"""What the user may force about reading a capture."""

from __future__ import annotations

from dissectors.dialects import DIALECTS, RAM_ERAS

__all__ = ["Settings"]


class Settings:
    """Settings that the user may force; ``None`` means to detect it from the bytes.

    ``sync`` is ``legacy`` (SYNCs per RAM section) or ``round`` (per round, with a FLUSH);
    ``decode_as`` are server ports whose streams are taken for multifd channels.  ``keylog`` is a
    file with the secrets of TLS connections; ``via`` says what reads the capture: ``native``,
    ``mptcp`` (with Multipath TCP reassembled), ``tshark``, ``pyshark`` (tshark run by that
    library), or ``auto``, which changes to another way where native reading finds nothing.
    """

    __slots__ = ("byte_order", "decode_as", "dialect", "era", "keylog", "page_size", "sync", "via")

    def __init__(
        self,
        *,
        dialect: str = "auto",
        era: str | None = None,
        page_size: int | None = None,
        byte_order: str | None = None,
        sync: str | None = None,
        decode_as: frozenset[int] = frozenset(),
        keylog: str | None = None,
        via: str = "auto",
    ) -> None:
        self.dialect = None if dialect == "auto" else DIALECTS[dialect]
        self.era = RAM_ERAS[era] if era else None
        self.page_size = page_size
        self.byte_order = byte_order
        self.sync = sync
        self.decode_as = decode_as
        self.keylog = keylog
        self.via = via
