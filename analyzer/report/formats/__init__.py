"""The formats of ``mfshark check``.

Each is a module of this package with ``render(results, fail_on)``, which returns the document in
pieces.  The output is deterministic: no clock, no randomness, only the order of the input.
``results`` are :class:`analyzer.report.result.Result`, ``fail_on`` the lowest severity that counts
as a failure.  A format that is a folder of files instead has ``prepare(folder)``, which checks
early whether it can be written, and ``write(results, folder)``.
"""

from __future__ import annotations

from analyzer.report.result import DEVICES, FIGURES, LINES, PLACES, REPORT, TABLES

__all__ = ["FORMATS", "Format", "format_of"]


class Format:
    """One format: its module here, the suffixes of its files, the parts of a result that it needs,
    and whether it is a folder.
    """

    __slots__ = ("endings", "folder", "module", "name", "wants")

    def __init__(
        self, name: str, endings: tuple[str, ...], wants: tuple[str, ...], folder: bool = False
    ) -> None:
        self.name = name
        self.folder = folder
        self.module = f"analyzer.report.formats.{name}"
        self.endings = endings
        self.wants = wants


FORMATS = {
    one.name: one
    for one in (
        Format("text", (".txt", ".log"), (LINES,)),
        Format("json", (".json",), (REPORT,)),
        Format("sarif", (".sarif", ".sarif.json"), (REPORT, PLACES)),
        Format("junit", (".xml",), (REPORT,)),
        Format("github", (), (REPORT,)),
        Format("gitlab", (".gitlab.json",), (REPORT,)),
        Format("csv", (".csv",), (REPORT,)),
        Format("html", (".html", ".htm"), (REPORT, DEVICES, FIGURES)),
        Format("parquet", (".parquet",), (REPORT, DEVICES, TABLES), folder=True),
    )
}


def format_of(path: str) -> Format | None:
    """The format that the name of a file, or of a folder, selects; the longest suffix wins."""
    name = path.rstrip("/").lower()
    fitting = [(e, one) for one in FORMATS.values() for e in one.endings if name.endswith(e)]
    return max(fitting, key=lambda pair: len(pair[0]))[1] if fitting else None
