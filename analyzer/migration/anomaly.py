"""What a channel walker found wrong: values, not exceptions; frequent ones are only counted."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import TypeAlias

    from analyzer.tcp.requests import Place

    Snapshot: TypeAlias = tuple[int, dict[str, int]]

__all__ = ["Anomaly", "AnomalyList"]

KEPT_PER_SLUG = 50


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


class AnomalyList(list[Anomaly]):
    """The anomalies of one stream: the first :data:`KEPT_PER_SLUG` of every slug, while ``counts``
    has the number of all, by slug.
    """

    def __init__(self) -> None:
        super().__init__()
        self.counts: dict[str, int] = {}

    def note(
        self,
        slug: str,
        offset: int,
        place: Place,
        detail: str,
        device: str | None = None,
        index: int | None = None,
    ) -> None:
        """Count an anomaly, and keep it if it is one of the first of its kind."""
        count = self.counts.get(slug, 0)
        self.counts[slug] = count + 1
        if count < KEPT_PER_SLUG:
            self.append(Anomaly(slug, offset, place, detail, device, index))

    @property
    def total(self) -> int:
        """How many there were, kept or not."""
        return sum(self.counts.values())

    def snapshot(self) -> Snapshot:
        """The current state, for :meth:`restore`."""
        return len(self), dict(self.counts)

    def restore(self, snapshot: Snapshot) -> None:
        """Drop what was noted since the snapshot."""
        kept, self.counts = snapshot
        del self[kept:]

    def unlisted(self) -> dict[str, int]:
        """By slug, how many there were beyond those kept."""
        kept: dict[str, int] = {}
        for anomaly in self:
            kept[anomaly.slug] = kept.get(anomaly.slug, 0) + 1
        return {slug: count - kept.get(slug, 0) for slug, count in self.counts.items()}
