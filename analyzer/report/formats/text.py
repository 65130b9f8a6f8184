"""``--format text``: what a person reads first."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from analyzer.report.result import Result

__all__ = ["render", "summary"]


def render(results: Iterable[Result], fail_on: str) -> Iterator[str]:  # noqa: ARG001
    """The reports, with an empty line between those that take several."""
    before = False
    for result in results:
        lines = result.lines or []
        if before and len(lines) > 1:
            yield "\n"
        for line in lines:
            yield line + "\n"
        before = before or bool(lines)


def summary(words: Sequence[str]) -> str:
    """How many captures there were, by the leading word of their verdicts."""
    counts = {word: words.count(word) for word in dict.fromkeys(words)}
    parts = ", ".join(f"{count} {word}" for word, count in counts.items())
    return f"{len(words)} captures: {parts}"
