"""The command line: the commands, dispatch, exit statuses."""

from __future__ import annotations

import argparse
import gc
import os
import signal
import sys
from importlib import import_module
from io import TextIOWrapper
from time import monotonic

from analyzer.commands.help_text import Parser
from analyzer.errors import DEBUG, CaptureError, UsageError, reason_of, unforeseen
from analyzer.version import VERSION

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["COMMANDS", "build_parser", "main", "script"]

COMMANDS = {
    # name: (module in analyzer.commands, with add_arguments() and run(); help)
    "check": ("check", "verify captures; the exit status says whether they are clean"),
    "packets": ("packets", "list multifd packets, one per line"),
    "records": ("records", "list the main channel's records and the return path's messages"),
    "live": ("live", "capture on an interface and check migrations as they happen"),
    "devices": ("devices", "show every device's buffers, their order, gaps and digests"),
    "extract": ("extract", "write device state, guest memory or raw streams to files"),
    "stats": ("stats", "show phases, downtime and what it was spent on"),
    "diff": ("diff", "compare two captures, or two saved reports"),
    "expect": ("expect", "write what a capture shows to a file, to check others against"),
    "config": ("config", "show the settings in force, and where they come from"),
    "scrub": ("scrub", "make a copy of a capture that can be shared"),
    "wireshark-plugin": ("wireshark_plugin", "print a dissector for Wireshark, in Lua"),
    "rule": ("rules", "list the rules, or explain one"),
    "synth": ("synth", "generate a capture from a scenario"),
    "tui": ("tui", "browse a capture in the terminal"),
    "completion": ("completion", "print a script for shell completion"),
}

OWN_OPTIONS = ("-h", "--help", "--version")
"""Options that can be used without a command."""
ENDINGS = (signal.SIGTERM, signal.SIGHUP)
"""The signals of a job that is ended, and of a terminal that is closed."""
AGAIN = 1.0
"""Seconds until Ctrl-C counts again, should the cleaning up hang."""


def build_parser(wanted: str | None = None) -> argparse.ArgumentParser:
    """The parser of the ``wanted`` command, of all commands if ``None``, or just of their names if
    ``wanted`` is not a command.  A command's module is only imported when its options are needed,
    for speed.
    """
    parser = Parser(
        prog="mfshark",
        description="Wireshark for QEMU's multifd device-state migration.",
        epilog="'mfshark CAPTURE' opens the terminal interface; 'mfshark COMMAND --help' explains "
        "a command.",
    )
    parser.add_argument("--version", action="version", version=f"mfshark {VERSION}")
    commands = parser.add_subparsers(
        dest="command", metavar="COMMAND", required=True, prog="mfshark"
    )
    for name in (wanted,) if wanted in COMMANDS else COMMANDS:
        module, text = COMMANDS[name]
        command = commands.add_parser(name, help=text)
        if wanted is None or wanted == name:
            import_module(f"analyzer.commands.{module}").add_arguments(command)
            command.add_argument(
                "--debug",
                action="store_true",
                help=f"show a traceback on internal errors; same as {DEBUG}=1",
            )
    return parser


def _run(words: Sequence[str]) -> int:
    options = build_parser(words[0]).parse_args(words)
    if options.debug:
        os.environ[DEBUG] = "1"  # also for worker processes
    if "no_config" in options:
        from analyzer.config.configuration import configured

        options = configured(options)
    module = import_module(f"analyzer.commands.{COMMANDS[options.command][0]}")
    status: int = module.run(options)
    return status


def main(arguments: Sequence[str] | None = None) -> int:
    """Entry point; returns the exit status."""
    # The objects of an analysis live to its end and have few cycles: running the garbage collector
    # rarely saves a tenth of the time, and far more if a capture is a flood of connections.
    gc.set_threshold(100_000, 50, 50)
    words = list(sys.argv[1:] if arguments is None else arguments)
    if "_ARGCOMPLETE" in os.environ:
        import argcomplete

        argcomplete.autocomplete(build_parser())
    try:
        status = _run(_with_command(words))
        sys.stdout.flush()
        return status
    except SystemExit as stop:
        return stop.code if isinstance(stop.code, int) else 2
    except (CaptureError, UsageError) as error:
        from analyzer.report.escape import terminal

        print(f"mfshark: {terminal(str(error))}", file=sys.stderr)
        return 2
    except OSError as error:
        from analyzer.commands.standard_output import drop_output

        drop_output()
        if isinstance(error, BrokenPipeError):
            return 0  # the reader of the output has closed it
        from analyzer.report.escape import terminal

        told = f"{error.filename or 'output'}: {reason_of(error)}"
        print(f"mfshark: {terminal(told)}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        return 130
    except Exception as error:
        from analyzer.report.escape import terminal

        print(f"mfshark: {terminal(unforeseen(error))}", file=sys.stderr)
        return 2


def _with_command(words: list[str]) -> list[str]:
    """The words, with ``tui`` prepended if they begin with a capture, or an option for it.  Raises
    :class:`UsageError` for a word that is not a capture but resembles a command, and for a command
    that comes late.
    """
    first = words[0] if words else ""
    if first in COMMANDS or first in OWN_OPTIONS:
        return words
    if first.startswith("-") and (command := next(filter(COMMANDS.__contains__, words), None)):
        raise UsageError(f"options follow the command: mfshark {command} {first} ...")
    if first and not os.path.exists(first):
        from difflib import get_close_matches

        if near := get_close_matches(first, COMMANDS, 1, 0.75):
            raise UsageError(f"{first} is neither a file nor a command; did you mean {near[0]}?")
    return ["tui", *words]


def script() -> int:
    """The program: :func:`main` in a process of its own."""
    for name, mode in (("stdin", "r"), ("stdout", "w"), ("stderr", "w")):
        if getattr(sys, name) is None:  # closed, as in some services
            setattr(sys, name, open(os.devnull, mode, encoding="utf-8"))  # noqa: SIM115
    if isinstance(sys.stdout, TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")  # names may not fit the locale's encoding
    ended = _Ended()
    for number in (signal.SIGINT, *ENDINGS):
        if signal.getsignal(number) != signal.SIG_IGN:  # as nohup has it
            signal.signal(number, ended)
    status = main()
    gc.freeze()  # the process ends at once; the interpreter need not clean up
    return status


class _Ended:
    """Ends the program without what was half written, which may be guest memory.  A second signal,
    as a closed terminal or a key that is held down sends it, does not disturb the cleaning up.
    """

    def __init__(self) -> None:
        self._since = 0.0

    def __call__(self, number: int, _frame: object) -> None:
        now = monotonic()
        if self._since and (number != signal.SIGINT or now - self._since < AGAIN):
            return
        self._since = now
        for each in ENDINGS:
            signal.signal(each, signal.SIG_IGN)  # also while the interpreter ends
        raise KeyboardInterrupt if number == signal.SIGINT else SystemExit(128 + number)
