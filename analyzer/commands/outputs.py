"""The outputs of ``check``: standard output and files, each in its format."""

from __future__ import annotations

import os
import sys
from importlib import import_module

from analyzer.commands.common import style_of
from analyzer.commands.standard_output import print_pieces
from analyzer.errors import UsageError
from analyzer.report.formats import FORMATS, format_of
from analyzer.report.formats.text import Row, summary
from analyzer.report.style import Style

TYPE_CHECKING = False
if TYPE_CHECKING:
    from argparse import Namespace
    from collections.abc import Iterable

    from analyzer.report.formats import Format
    from analyzer.report.result import Result
    from analyzer.report.result_file import ResultFile

__all__ = ["Outputs"]

STDOUT = "-"
TEXT = FORMATS["text"]


class Outputs:
    """All outputs of one run.

    ``wants`` is what a result must contain for them, ``style`` that of its text, and
    ``streams`` whether text goes to standard output; that is printed as results arrive, everything
    else when all are there.  ``inputs`` are files that must not be overwritten.  Raises
    :class:`UsageError` for an unknown format or a file that cannot be written, before any check
    starts.
    """

    def __init__(self, options: Namespace, inputs: Iterable[str]) -> None:
        wanted = _wanted(options.output or [STDOUT], options.format)
        self.wants = frozenset(want for _, one in wanted for want in one.wants)
        self.streams = (STDOUT, TEXT) in wanted
        in_files = any(one is TEXT and path != STDOUT for path, one in wanted)
        plain = options.color == "auto" and in_files
        style = style_of(options, sys.stdout)
        self.style = Style(style.colour and not plain, sys.maxsize if in_files else style.width)
        self._results: list[Result] = []
        self._quiet = options.quiet
        self._rows: list[Row] = []
        self._begun = False
        self._documents: list[tuple[Format, ResultFile | None]] = []
        self._folders: list[tuple[Format, str]] = []
        for path, one in wanted:
            if one.folder:
                import_module(one.module).prepare(path)
                self._folders.append((one, path))
            elif path != STDOUT:
                from analyzer.report.result_file import ResultFile

                self._documents.append((one, ResultFile(path, inputs)))
            elif one is not TEXT:
                self._documents.append((one, None))

    def add(self, result: Result) -> None:
        """Add a result."""
        self._rows.append(Row(result))
        if self._documents or self._folders:
            self._results.append(result)
        lines = result.lines or []
        if self.streams:
            _print(["", *lines] if self._begun and len(lines) > 1 else lines)
        self._begun = self._begun or bool(lines)

    def finish(self, fail_on: str) -> None:
        """Write the remaining outputs.  Raises :class:`UsageError` if a file cannot be written."""
        end: list[str] = []
        if len(self._rows) > 1 and not self._quiet:
            end = [*([""] if self._begun else []), *summary(self._rows, self.style)]
        if self.streams:
            _print(end)
        for one, file in self._documents:
            lines = import_module(one.module).render(self._results, fail_on)
            if one is TEXT:
                lines = [*lines, *(f"{line}\n" for line in end)]
            _write(file, lines)
        for one, path in self._folders:
            import_module(one.module).write(self._results, path)


def _print(lines: list[str]) -> None:
    print_pieces(f"{line}\n" for line in lines)


def _write(file: ResultFile | None, pieces: Iterable[str]) -> None:
    """Write a whole document, to standard output if no file is given."""
    if file is None:
        print_pieces(pieces)
        return
    with file.text() as stream:
        stream.writelines(pieces)


def _wanted(outputs: list[str], name: str | None) -> list[tuple[str, Format]]:
    """The path and format of each output.  ``name`` is the value of ``--format``: the format of a
    single output regardless of its suffix; with several outputs, that of files whose suffix does
    not imply one.
    """
    wanted: list[tuple[str, Format]] = []
    files = set()
    for text in outputs:
        prefix, colon, rest = text.partition(":")
        path, forced = (rest, prefix) if colon and prefix in FORMATS else (text, None)
        if len(outputs) == 1:
            forced = forced or name
        file = path if path == STDOUT else os.path.realpath(path)  # may have several names
        if file in files:
            raise UsageError(f"{path} is given twice as an output")
        files.add(file)
        wanted.append((path, _format(path, forced, name)))
    return wanted


def _format(path: str, forced: str | None, usual: str | None) -> Format:
    found = FORMATS[forced] if forced else None if path == STDOUT else format_of(path)
    if found is None and usual is None and "." in path.rsplit("/", 1)[-1]:
        raise UsageError(f"{path}: no format has this suffix; name one, as in -o json:{path}")
    found = found or FORMATS[usual or TEXT.name]
    if found.folder and path == STDOUT:
        raise UsageError(f"{found.name} is a folder of tables: -o FOLDER says where")
    return found
