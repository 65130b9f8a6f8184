"""The result of checking one file, as plain data that can be sent to another process."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from analyzer.report.parts import Json

__all__ = [
    "BROKEN",
    "CLEAN",
    "DEVICES",
    "FIGURES",
    "FOUND",
    "LINES",
    "PLACES",
    "REPORT",
    "STATS",
    "TABLES",
    "Result",
]

CLEAN, FOUND, BROKEN = 0, 1, 2
"""The exit statuses: nothing that counts, findings or differences, something not analysed."""
LINES, REPORT, STATS, DEVICES = "lines", "report", "stats", "devices"
FIGURES, PLACES, TABLES = "figures", "places", "tables"
"""The parts that a result can hold besides its verdict; a job says which are wanted."""


class Result:
    """The result of one file.  ``path`` names it as the user did, ``status`` is the exit status it
    gives.  ``word`` and ``sentence`` are its verdict, ``outcomes`` those of its migrations,
    ``counts`` how many findings there are by severity, repeats included and known ones left out,
    ``known`` how many are known or expected.  ``damaged`` says that only a part of the file could
    be read.  ``complaints`` are lines for standard error, ``rules`` the ids of the rules that were
    verified.  ``begun_before`` are the connections (client, server) of channels whose beginning the
    capture lacks, ``still_open`` those of channels that may go on behind its end.

    The following are ``None`` unless requested: ``lines``, the text report; ``report``, the file's
    part of the JSON report, or its path and ``error``; ``stats`` and ``devices``, the JSON of the
    commands ``stats`` and ``devices``, ``figures``, the figures of ``stats`` as HTML, ``tables``,
    columns of values by table and name (none of these for a saved migration or a file that could
    not be read).  ``places`` has the offset and length in the file of every frame that a finding
    names, if mfshark itself read the file.
    """

    __slots__ = (
        "begun_before",
        "complaints",
        "counts",
        "damaged",
        "devices",
        "figures",
        "known",
        "lines",
        "outcomes",
        "path",
        "places",
        "report",
        "rules",
        "sentence",
        "stats",
        "status",
        "still_open",
        "tables",
        "word",
    )

    def __init__(self, path: str, status: int, word: str, sentence: str) -> None:
        self.path = path
        self.status = status
        self.word = word
        self.sentence = sentence
        self.outcomes: list[str] = []
        self.counts = {"error": 0, "warning": 0, "info": 0}
        self.known = 0
        self.damaged = False
        self.complaints: list[str] = []
        self.rules: list[str] = []
        self.begun_before: frozenset[tuple[str, str]] = frozenset()
        self.still_open: frozenset[tuple[str, str]] = frozenset()
        self.lines: list[str] | None = None
        self.report: Json | None = None
        self.stats: Json | None = None
        self.devices: Json | None = None
        self.figures: str | None = None
        self.tables: dict[str, Json] | None = None
        self.places: dict[int, tuple[int, int]] = {}

    @property
    def label(self) -> str:
        """The verdict where nothing beside it tells that there was more to read."""
        return f"{self.word} (damaged)" if self.damaged else self.word

    @property
    def findings(self) -> list[Json]:
        """The findings of the report; none for a file that could not be analysed."""
        found: list[Json] = (self.report or {}).get("findings", [])
        return found

    @property
    def failure(self) -> str | None:
        """Why the file could not be analysed; empty if it was."""
        if self.status < BROKEN:
            return None
        return self.complaints[-1] if self.complaints else self.sentence

    @classmethod
    def broken(cls, path: str, reason: str) -> Result:
        """The result of a file that could not be analysed; ``reason`` includes its name."""
        result = cls(path, BROKEN, "BROKEN", reason)
        result.complaints.append(reason)
        result.lines = []
        result.report = {"path": path, "error": reason}
        return result
