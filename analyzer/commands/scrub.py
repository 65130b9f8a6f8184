"""``mfshark scrub``: a capture that can be shared."""

from __future__ import annotations

import os
from pathlib import Path

from analyzer.analysis import analyze
from analyzer.checks.wording import counted
from analyzer.commands.common import BROKEN, CLEAN, FOUND, Progress, complain, failure, settings_of
from analyzer.commands.options import add_wire_options
from analyzer.errors import UsageError
from analyzer.report.escape import terminal

TYPE_CHECKING = False
if TYPE_CHECKING:
    from argparse import ArgumentParser, Namespace
    from contextlib import AbstractContextManager
    from typing import IO

    from analyzer.scrub.scrubbing import Scrubbed

__all__ = ["add_arguments", "run"]

KEY_SIZE = 32


def add_arguments(parser: ArgumentParser) -> None:
    """Declare the command's options."""
    parser.description = (
        "Writes a copy of a capture with guest memory, device state, names, uuids and addresses "
        "replaced; lengths, headers, order and times stay, and so does the verdict. Contents of "
        "TLS and of connections that are no migration become zeros. See docs/scrub.md for what "
        "stays."
    )
    add_wire_options(parser)
    parser.add_argument(
        "capture", metavar="CAPTURE", help="pcap or pcapng, also gzip or zstd; it is read twice"
    )
    parser.add_argument(
        "output", metavar="OUTPUT", help="file to write, compressed if its name ends in .gz or .zst"
    )
    parser.add_argument(
        "--seed", metavar="TEXT", help="the same seed gives the same result (default: random)"
    )
    parser.add_argument(
        "--digests", metavar="FILE", help="keep digests of the originals, as JSON, in a file"
    )
    parser.add_argument(
        "--keep-names", action="store_true", help="leave names of devices and RAM blocks"
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
    target = Path(options.output)
    written = [target, *([Path(options.digests)] if options.digests else [])]
    if not os.path.isfile(options.capture):  # noqa: PTH113
        raise UsageError("scrub reads the capture twice: save it to a file first")
    for path in written:
        if path.exists() and path.samefile(options.capture):
            raise UsageError("the original is never overwritten")
        if path.exists() and not options.force:
            raise UsageError(f"{terminal(str(path))} exists; --force overwrites it")
    try:
        done = _scrub(options, target)
        if options.digests:
            _write_digests(options, target)
    except OSError as error:
        name = terminal(str(error.filename or target).removesuffix(".part"))
        raise UsageError(f"{name} cannot be written: {error.strerror}") from error
    return _tell(options, done)


def _scrub(options: Namespace, target: Path) -> Scrubbed:
    from analyzer.scrub.scrubbing import scrub

    key = options.seed.encode().ljust(KEY_SIZE, b"\0") if options.seed else os.urandom(KEY_SIZE)
    progress = Progress(options.capture, not (options.quiet or options.no_progress))
    unfinished = target.with_name(target.name + ".part")
    try:
        with _open(unfinished, target.suffix) as stream:
            done = scrub(
                options.capture,
                stream,
                key,
                settings_of(options),
                keep_names=options.keep_names,
                ports=options.ports,
                progress=progress,
            )
        unfinished.replace(target)
        return done
    finally:
        progress.done()
        unfinished.unlink(missing_ok=True)


def _open(path: Path, suffix: str) -> AbstractContextManager[IO[bytes]]:
    if suffix == ".gz":
        import gzip

        return gzip.GzipFile(path, "wb", mtime=0)  # type: ignore[return-value]
    if suffix == ".zst":
        import zstandard

        stream: IO[bytes] = zstandard.open(path, "wb")
        return stream
    return path.open("wb")


def _write_digests(options: Namespace, target: Path) -> None:
    import hashlib
    import json

    from analyzer.report.model import capture_report

    report = capture_report(analyze(options.capture, settings_of(options), digest=True))
    digests = {}
    for name, path in (("original", Path(options.capture)), ("scrubbed", target)):
        with path.open("rb") as stream:
            digests[name] = hashlib.file_digest(stream, "sha256").hexdigest()
    devices = [m["devices"] for m in report["migrations"]]
    text = json.dumps({"sha256": digests, "migrations": devices}, indent=2)
    Path(options.digests).write_text(text + "\n", encoding="utf-8")


def _tell(options: Namespace, done: Scrubbed) -> int:
    """Say what was done, and hold the verdicts against each other."""
    if done.damage is not None:
        complain(failure(done.damage))
    name = terminal(options.output)
    if not options.quiet:
        what = f"{counted(done.frames, 'frame')}, {counted(done.migrations, 'migration')}"
        print(f"{name}: {what}")
    if done.encrypted:
        complain(
            f"contents of {counted(done.encrypted, 'encrypted connection')} became zeros"
            + (", and the secrets inside the file were dropped" if done.secrets else "")
        )
    status = BROKEN if done.damage is not None or not done.migrations else CLEAN
    if options.no_verify or (done.encrypted and done.secrets):
        return status
    if _verdict(options, options.capture) != _verdict(options, options.output):
        complain(f"{name}: mfshark check does not say the same of it; please report this")
        return FOUND
    if not options.quiet:
        print("mfshark check says the same of both")
    return status


def _verdict(options: Namespace, path: str) -> object:
    """What ``check`` says, without what was replaced."""
    from analyzer.scrub.verdict import verdict

    return verdict(analyze(path, settings_of(options)))
