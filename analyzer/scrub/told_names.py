"""The names that main tells: they are replaced in whatever else is kept of a stream."""

from __future__ import annotations

from itertools import islice, pairwise

from analyzer.migration.looking import occurrences

TYPE_CHECKING = False
if TYPE_CHECKING:
    from analyzer.migration.main_channel import MainFacts
    from analyzer.scrub.plan import Plan
    from analyzer.scrub.secret import Names

__all__ = ["ToldNames"]


class ToldNames:
    """Puts other names into one stream's plan."""

    def __init__(self, plan: Plan, names: Names) -> None:
        self._plan = plan
        self._names = names
        self._others: dict[int, dict[bytes, bytes]] = {}  # other names for names, by length
        self._blocks = 0  # how many RAM blocks' names are among them

    def learn_section(self, idstr: bytes) -> None:
        """A section with this name is on main."""
        self._learn(idstr, self._names.idstr(idstr))

    def _learn(self, name: bytes, other: bytes) -> None:
        if name != other:
            self._others.setdefault(len(name), {})[name] = other

    def replace(self, main: MainFacts, at: int, run: bytes) -> None:
        """Replace names in a run of bytes at stream offset ``at``; each follows its length."""
        for name in islice(main.ram.blocks, self._blocks, None):
            self._learn(name, self._names.block(name))
        self._blocks = len(main.ram.blocks)
        for size, others in self._others.items():
            for pos in occurrences(run, bytes((size,))):
                if (other := others.get(run[pos + 1 : pos + 1 + size])) is not None:
                    self._plan.put_late(at + pos + 1, other)
        if main.uuid is not None and any(main.uuid):
            for pos in occurrences(run, main.uuid):
                self._plan.put_late(at + pos, self._names.uuid(main.uuid))

    def keep_description(self, main: MainFacts, begin: int, end: int) -> None:
        """Keep the text that ends main, except the names of devices."""
        text = b"".join(main.description_parts)
        if len(text) != end - begin:
            return  # parts are missing
        self._plan.keep_late(begin, end)
        others = {s.idstr: self._names.idstr(s.idstr) for s in main.sections.values()}
        for quote, following in pairwise(occurrences(text, b'"')):
            name = text[quote + 1 : following]
            if (other := others.get(name, name)) != name:
                self._plan.put_late(begin + quote + 1, other)
