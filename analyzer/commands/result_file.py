"""Where a command writes its results."""

from __future__ import annotations

import sys
from contextlib import contextmanager, nullcontext

from analyzer.commands.options import inputs_of
from analyzer.commands.standard_output import drop_output
from analyzer.errors import UsageError
from analyzer.report.escape import terminal
from analyzer.report.formats import format_of
from analyzer.report.result_file import ResultFile

TYPE_CHECKING = False
if TYPE_CHECKING:
    from argparse import Namespace
    from collections.abc import Iterator
    from contextlib import AbstractContextManager
    from typing import IO, BinaryIO

__all__ = ["output", "packed", "settle_format"]

JSON_LINES = (".jsonl", ".ndjson")


def settle_format(options: Namespace, formats: tuple[str, ...]) -> None:
    """Without ``--format`` the suffix of the output selects the format; an unknown suffix means
    text.  Raises :class:`UsageError` for the suffix of a format that the command does not write.
    """
    if options.format is not None:
        return
    path = options.output or "-"
    known = format_of(path)
    name = "jsonl" if path.lower().endswith(JSON_LINES) else known.name if known else "text"
    if name not in formats:
        raise UsageError(
            f"{terminal(path)}: {options.command} writes {', '.join(formats)}, not {name}; "
            "choose one with --format"
        )
    options.format = name


@contextmanager
def output(options: Namespace, *, live: bool = False, listing: bool = False) -> Iterator[IO[str]]:
    """The output stream: standard output, or the file that ``-o`` names; ``live`` if it will be
    read while it grows.  Raises :class:`UsageError`.

    A reader that closes standard output early changes nothing, as for :func:`print_pieces`; but a
    ``listing`` is printed while the capture is read, which then ends too: raises
    :class:`BrokenPipeError`.
    """
    if options.output and options.output != "-":
        with ResultFile(options.output, inputs_of(options), live=live).text() as stream:
            yield stream
        return
    try:
        yield sys.stdout
        sys.stdout.flush()
    except BrokenPipeError:
        if listing:
            raise
        drop_output()


def packed(file: BinaryIO, name: str) -> AbstractContextManager[BinaryIO]:
    """A stream to a file, compressed as the suffix of its name says."""
    if name.endswith(".gz"):
        import gzip

        return gzip.GzipFile("", "wb", fileobj=file, mtime=0)  # type: ignore[return-value]
    if name.endswith(".zst"):
        import zstandard

        stream: BinaryIO = zstandard.open(file, "wb", closefd=False)
        return stream
    return nullcontext(file)
