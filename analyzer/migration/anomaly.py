"""What a channel walker found wrong: a value, not an exception."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from analyzer.tcp.requests import Place

__all__ = ["Anomaly"]


class Anomaly:
    """A violation of the wire format at one place of one stream.

    ``slug`` names the rule that judges it (``packet-magic``), ``offset`` is the stream offset of
    the unit at fault, ``place`` where the capture shows it, ``detail`` what was seen, as text that
    completes the rule's message; untrusted bytes in it are already escaped.  ``device`` and
    ``index`` are given where they apply.
    """

    __slots__ = ("detail", "device", "index", "offset", "place", "slug")

    def __init__(
        self,
        slug: str,
        offset: int,
        place: Place,
        detail: str,
        device: str | None = None,
        index: int | None = None,
    ) -> None:
        self.slug = slug
        self.offset = offset
        self.place = place
        self.detail = detail
        self.device = device
        self.index = index

    def __repr__(self) -> str:
        return f"Anomaly({self.slug!r}, offset={self.offset}, {self.place}, {self.detail!r})"
