"""``mfshark scrub``: a capture that can be shared."""

from __future__ import annotations

import os

from analyzer.analysis import analyze
from analyzer.checks.wording import counted
from analyzer.commands.common import (
    BROKEN,
    CLEAN,
    FOUND,
    Progress,
    complain,
    failure,
    need_file,
    open_capture,
    settings_of,
)
from analyzer.commands.options import add_wire_options, inputs_of
from analyzer.commands.result_file import packed
from analyzer.commands.standard_output import print_pieces
from analyzer.errors import UsageError
from analyzer.report.escape import terminal
from analyzer.report.result_file import ResultFile

TYPE_CHECKING = False
if TYPE_CHECKING:
    from argparse import ArgumentParser, Namespace

    from analyzer.analysis import Analysis
    from analyzer.scrub.scrubbing import Scrubbed

__all__ = ["add_arguments", "run"]

KEY_SIZE = 32


def add_arguments(parser: ArgumentParser) -> None:
    """Declare the command's options."""
    parser.description = (
        "Writes a copy of a capture with guest memory, device state, names, uuids and addresses "
        "replaced; lengths, headers, order, times and the verdict are preserved. Contents of TLS "
        "and of connections that belong to no migration become zeros. See docs/scrub.md for what "
        "is preserved. Exit status: 0 the same verdict, 1 another one, 2 no readable migration, or "
        "a damaged original, which is copied up to the damage."
    )
    add_wire_options(parser, "report only problems, no progress")
    parser.add_argument(
        "capture",
        metavar="CAPTURE",
        help="pcap or pcapng, also compressed with gzip or zstd; read twice",
    )
    parser.add_argument(
        "output", metavar="OUTPUT", help="file to write, compressed if its name ends in .gz or .zst"
    )
    parser.add_argument(
        "--seed", metavar="TEXT", help="the same seed gives the same result (default: random)"
    )
    parser.add_argument(
        "--digests",
        metavar="FILE",
        help="write digests of the original contents to a file, as JSON",
    )
    parser.add_argument(
        "--keep-names", action="store_true", help="keep the names of devices and RAM blocks"
    )
    parser.add_argument("--ports", action="store_true", help="replace port numbers too")
    parser.add_argument(
        "--no-verify", action="store_true", help="do not compare the verdicts of both captures"
    )
    parser.add_argument("--force", action="store_true", help="overwrite an existing file")


def run(options: Namespace) -> int:
    """Run it.  Exit status 1 if the verdicts differ, 2 if the capture is damaged or holds no
    migration.  Raises :class:`UsageError` and :class:`analyzer.errors.CaptureError`.
    """
    need_file(options.capture, "scrub")
    open_capture(options.capture).close()
    inputs = inputs_of(options)
    target = _new(options.output, inputs, force=options.force)
    digests = None
    if options.digests:
        digests = _new(options.digests, [*inputs, options.output], force=options.force)
    done = _scrub(options, target)
    if digests is not None:
        _write_digests(options, digests)
    return _tell(options, done)


def _new(path: str, inputs: list[str], *, force: bool) -> ResultFile:
    """Check that a file does not exist yet, or may be overwritten.  Raises :class:`UsageError`."""
    file = ResultFile(path, inputs)
    if os.path.exists(path) and not force:
        raise UsageError(f"{terminal(path)} exists; --force overwrites it")
    return file


def _scrub(options: Namespace, target: ResultFile) -> Scrubbed:
    from analyzer.scrub.scrubbing import scrub

    key = options.seed.encode().ljust(KEY_SIZE, b"\0") if options.seed else os.urandom(KEY_SIZE)
    progress = Progress(options.capture, not (options.quiet or options.no_progress))
    try:
        with target.binary() as file, packed(file, options.output) as stream:
            return scrub(
                options.capture,
                stream,
                key,
                settings_of(options),
                keep_names=options.keep_names,
                ports=options.ports,
                progress=progress,
            )
    finally:
        progress.done()


def _write_digests(options: Namespace, target: ResultFile) -> None:
    import hashlib

    from analyzer.report.json_text import json_text
    from analyzer.report.model import capture_report

    report = capture_report(analyze(options.capture, settings_of(options), digest=True))
    digests = {}
    for name, path in (("original", options.capture), ("scrubbed", options.output)):
        with open(path, "rb") as stream:
            digests[name] = hashlib.file_digest(stream, "sha256").hexdigest()
    devices = [m["devices"] for m in report["migrations"]]
    with target.text() as file:
        file.write(json_text({"sha256": digests, "migrations": devices}, 2) + "\n")


def _tell(options: Namespace, done: Scrubbed) -> int:
    """Report what was done; returns the exit status."""
    if done.damage is not None:
        complain(failure(done.damage))
    name = terminal(options.output)
    if not options.quiet:
        for note in done.notes:
            complain(terminal(f"{options.capture}: {note}"))
        what = f"{counted(done.frames, 'frame')}, {counted(done.migrations, 'migration')}"
        _say(f"{name}: {what}")
    if done.encrypted:
        complain(
            f"contents of {counted(done.encrypted, 'encrypted connection')} became zeros"
            + (", and the secrets inside the file were dropped" if done.secrets else "")
        )
    if not done.migrations:
        frames = counted(done.frames, "frame")
        complain(f"{terminal(options.capture)}: no readable migration in {frames}")
    status = BROKEN if done.damage is not None or not done.migrations else CLEAN
    if options.no_verify or (done.encrypted and done.secrets):
        return status
    return _compare(options, done, status)


def _compare(options: Namespace, done: Scrubbed, status: int) -> int:
    """Compare the verdicts; returns the exit status, ``status`` unless they differ."""
    from analyzer.scrub.verdict import verdict

    original = _checked(options, options.capture)
    if not done.migrations and (why := original.scan.reading.through):
        what = "scrub does not read through tshark what check does"
        complain(f"{terminal(options.capture)}: {what}: {why}")
        return status
    if verdict(original) != verdict(_checked(options, options.output)):
        name = terminal(options.output)
        complain(f"{name}: mfshark check does not give the same verdict on it; please report this")
        return FOUND
    if not options.quiet:
        _say("mfshark check gives the same verdict on both")
    return status


def _say(text: str) -> None:
    print_pieces((f"{text}\n",))


def _checked(options: Namespace, path: str) -> Analysis:
    """What ``check`` finds without a key log, whose secrets decrypt only the original."""
    settings = settings_of(options)
    settings.keylog = os.devnull
    return analyze(path, settings)
