"""Where ``check`` writes what it found: standard output, files, each in its format."""

from __future__ import annotations

import sys
from importlib import import_module

from analyzer.commands.common import style_of
from analyzer.errors import UsageError
from analyzer.report.formats import FORMATS, format_of

TYPE_CHECKING = False
if TYPE_CHECKING:
    from argparse import Namespace

    from analyzer.report.formats import Format
    from analyzer.report.result import Result

__all__ = ["Outputs"]

STDOUT = "-"


class Outputs:
    """All outputs of one run.

    ``wants`` is what a result has to hold for them, ``colour`` whether its text is coloured, and
    ``streams`` whether text goes to standard output; it does so as results come, everything else
    is written when all are there.
    Raises :class:`UsageError` for a file whose format nobody knows.
    """

    def __init__(self, options: Namespace) -> None:
        paths = options.output or [STDOUT]
        self._wanted = [(path, _format(path, options.format)) for path in paths]
        self.wants = frozenset(want for _, one in self._wanted for want in one.wants)
        texts = [path for path, one in self._wanted if one.name == "text"]
        self.colour = bool(texts) and style_of(options, sys.stdout).colour
        if options.color == "auto" and texts != [STDOUT]:
            self.colour = False
        self._results: list[Result] = []
        self._kept = any(path != STDOUT or one.name != "text" for path, one in self._wanted)
        self.streams = (STDOUT, FORMATS["text"]) in self._wanted
        self._begun = False

    def add(self, result: Result) -> None:
        """One more."""
        if self._kept:
            self._results.append(result)
        try:
            if self.streams:
                self._print(result.lines or [])
        except BrokenPipeError:
            if not self._kept:
                raise
            self.streams = False  # whoever read it has seen enough; the files are still wanted

    def _print(self, lines: list[str]) -> None:
        if self._begun and len(lines) > 1:
            print()
        self._begun = self._begun or bool(lines)
        for line in lines:
            print(line)
        sys.stdout.flush()

    def finish(self, fail_on: str) -> None:
        """All are there.  Raises :class:`UsageError` where a file cannot be written."""
        for path, one in self._wanted:
            module = import_module(one.module)
            if one.name == "parquet":
                module.write(self._results, path)
            elif path != STDOUT:
                pieces = module.render(self._results, fail_on)
                try:
                    with open(path, "w", encoding="utf-8", newline="\n") as stream:  # noqa: PTH123
                        stream.writelines(pieces)
                except OSError as error:
                    raise UsageError(f"{path} cannot be written: {error.strerror}") from error
            elif one.name != "text":
                sys.stdout.writelines(module.render(self._results, fail_on))


def _format(path: str, name: str | None) -> Format:
    found = None if path == STDOUT or name is not None else format_of(path)
    if found is None and name is None and path != STDOUT and "." in path.rsplit("/", 1)[-1]:
        raise UsageError(f"{path}: no format has such an ending; --format says which is meant")
    found = found or FORMATS[name or "text"]
    if found.name == "parquet" and path == STDOUT:
        raise UsageError("parquet is a folder of tables: -o FOLDER says where")
    return found
