"""The command line: options, dispatch, exit statuses."""

from __future__ import annotations

import argparse
import gc
import os
import sys

from analyzer.errors import CaptureError, UsageError
from analyzer.version import VERSION

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["main"]

COMMANDS = (
    "check", "packets", "devices", "extract", "stats", "diff", "rule", "synth", "tui", "completion",
)  # fmt: skip

EPILOG = """\
exit status:
  0  nothing at or above the threshold   1  findings
  2  an input could not be analysed or held no migration, or the command was wrong
"""


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="mfshark",
        description="Wireshark for QEMU's multifd device-state migration.",
        epilog="'mfshark CAPTURE' opens the terminal interface; 'mfshark COMMAND --help' explains "
        "a command.",
    )
    parser.add_argument("--version", action="version", version=f"mfshark {VERSION}")
    commands = parser.add_subparsers(dest="command", metavar="COMMAND", required=True)
    wire, shown = _wire_options(), _shown_options()
    _add_check(commands, wire, shown)
    _add_packets(commands, wire, shown)
    _add_devices(commands, wire, shown)
    _add_extract(commands, wire, shown)
    _add_stats(commands, wire, shown)
    _add_diff(commands, wire, shown)
    _add_rule(commands, shown)
    _add_synth(commands)
    tui = commands.add_parser("tui", parents=[wire], help="look at a capture in the terminal")
    tui.add_argument("capture", nargs="?", help="the capture; without one, choose from a list")
    completion = commands.add_parser(
        "completion", help="print what makes a shell complete mfshark's commands"
    )
    completion.add_argument("shell", choices=("bash", "zsh", "fish"))
    return parser


def _wire_options() -> argparse.ArgumentParser:
    wire = argparse.ArgumentParser(add_help=False)
    group = wire.add_argument_group(
        "wire format", "Found from the bytes; say only what you want to force."
    )
    group.add_argument(
        "--dialect",
        choices=("auto", "rfc0", "v1", "v3", "upstream", "10.1"),
        default="auto",
        help="revision of device state over multifd: rfc0; v1 (also v2); v3 (to v6); upstream "
        "(10.0); 10.1",
    )
    group.add_argument(
        "--ram-era", choices=("7.2", "8.2", "9.0", "9.2"), help="how RAM packets are filled"
    )
    group.add_argument(
        "--page-size", choices=("1k", "4k", "8k", "16k", "64k"), help="the target's page size"
    )
    group.add_argument(
        "--byte-order", choices=("le", "be"), help="byte order of the VFIO buffer headers"
    )
    group.add_argument(
        "--sync", choices=("legacy", "round"), help="SYNC per section, or per round with FLUSH"
    )
    group.add_argument(
        "--decode-as",
        action="append",
        metavar="PORT=multifd",
        help="take connections to a port for multifd channels whatever they begin with",
    )
    group.add_argument(
        "--keylog",
        metavar="FILE",
        help="secrets of TLS connections, as QEMU writes them with SSLKEYLOGFILE set; needs tshark",
    )
    group.add_argument(
        "--via",
        choices=("auto", "native", "tshark"),
        default="auto",
        help="what reads the file: tshark knows tunnels and formats that mfshark does not; by "
        "itself it is asked where reading natively finds nothing",
    )
    group.add_argument("-q", "--quiet", action="store_true", help="only the verdict, no progress")
    group.add_argument("--no-progress", action="store_true", help="no progress on standard error")
    return wire


def _shown_options() -> argparse.ArgumentParser:
    shown = argparse.ArgumentParser(add_help=False)
    shown.add_argument(
        "--color", choices=("auto", "always", "never"), default="auto", help="colour the output"
    )
    shown.add_argument("-v", "--verbose", action="store_true", help="leave nothing out")
    return shown


def _add_check(
    commands: argparse._SubParsersAction[argparse.ArgumentParser],
    *parents: argparse.ArgumentParser,
) -> None:
    check = commands.add_parser(
        "check",
        parents=list(parents),
        help="verify captures and exit with a status",
        description="Finds the migrations in captures, reassembles their device state, verifies "
        "every rule, and reports.",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    check.add_argument(
        "captures",
        nargs="+",
        metavar="CAPTURE",
        help="pcap or pcapng, - for stdin; or a saved migration (file:)",
    )
    check.add_argument("--format", choices=("text", "json"), default="text")
    check.add_argument("-o", "--output", metavar="FILE", help="write the report to a file")
    check.add_argument(
        "--select", action="append", metavar="RULES", help="only these rules: ids, MF5, slugs"
    )
    check.add_argument("--ignore", action="append", metavar="RULES", help="not these rules")
    check.add_argument(
        "--severity", action="append", metavar="RULE=LEVEL", help="error, warning or info"
    )
    check.add_argument(
        "--fail-on",
        choices=("error", "warning", "info"),
        default="error",
        help="lowest severity that gives exit status 1 (default: error)",
    )
    check.add_argument(
        "--allow-empty", action="store_true", help="a capture without migration is no failure"
    )
    check.add_argument(
        "--digest", choices=("sha256",), help="digests of every device's reassembled state"
    )
    check.add_argument(
        "--descriptions",
        action="store_true",
        help="hold main's VMDESCRIPTION against every section (rules MF637 to MF639); always done "
        "in saved migrations",
    )
    check.add_argument(
        "--deep",
        action="store_true",
        help="decompress the payload of RAM packets and verify it (rules MF8)",
    )
    group = check.add_argument_group("limits", "What the capture cannot tell, or must not exceed.")
    group.add_argument(
        "--max-queued-bytes",
        type=int,
        metavar="N",
        help="x-migration-max-queued-buffers-size of the destination (rule MF519)",
    )
    group.add_argument(
        "--max-queued-buffers",
        type=int,
        metavar="N",
        help="x-migration-max-queued-buffers of the destination (rule MF520)",
    )
    group.add_argument(
        "--limit",
        action="append",
        metavar="RULE=VALUE",
        help="warn beyond a value: shares, seconds or counts of MF909 and MF951 to MF957, as "
        "downtime=0.3",
    )
    group.add_argument(
        "--destination-channels", type=int, metavar="N", help="multifd-channels of the destination"
    )
    group.add_argument(
        "--destination-version", metavar="X.Y", help="version of the destination's QEMU"
    )
    group.add_argument(
        "--destination-transfer-off",
        action="store_true",
        help="the destination has x-migration-multifd-transfer off (rule MF415)",
    )


def _add_packets(
    commands: argparse._SubParsersAction[argparse.ArgumentParser],
    *parents: argparse.ArgumentParser,
) -> None:
    packets = commands.add_parser(
        "packets",
        parents=list(parents),
        help="one line per multifd packet",
        description="Lists multifd packets, as tshark lists frames.",
    )
    packets.add_argument("capture", nargs="?", help="pcap or pcapng, - for stdin")
    packets.add_argument("-Y", "--filter", metavar="FILTER", help="display filter")
    packets.add_argument(
        "-e", "--field", action="append", metavar="FIELD", help="print these fields"
    )
    packets.add_argument(
        "-G", "--list-fields", action="store_true", help="list the fields that exist"
    )
    packets.add_argument("--format", choices=("text", "json", "jsonl", "csv"), default="text")
    packets.add_argument("-o", "--output", metavar="FILE", help="write to a file")


def _add_devices(
    commands: argparse._SubParsersAction[argparse.ArgumentParser],
    *parents: argparse.ArgumentParser,
) -> None:
    devices = commands.add_parser(
        "devices",
        parents=list(parents),
        help="every device's buffers, order, holes and digests",
        description="Shows each device's state: buffers by index, arrival order, what is missing, "
        "who carried what, and the sha256 of what was put together.",
    )
    devices.add_argument("capture", help="pcap or pcapng, - for stdin")
    devices.add_argument(
        "-Y", "--filter", metavar="FILTER", help="only devices and buffers that pass"
    )
    devices.add_argument("--format", choices=("text", "json"), default="text")
    devices.add_argument("-o", "--output", metavar="FILE", help="write to a file")


def _add_extract(
    commands: argparse._SubParsersAction[argparse.ArgumentParser],
    *parents: argparse.ArgumentParser,
) -> None:
    extract = commands.add_parser(
        "extract",
        parents=list(parents),
        help="write device state, guest memory or raw streams to files",
        description="Writes each device's whole state (main's data, then the buffers by index) and "
        "its config state; with --ram guest memory, with --stream what a channel carried; and a "
        "manifest. Names are made safe; nothing is overwritten.",
    )
    extract.add_argument("capture", help="pcap or pcapng, - for stdin")
    extract.add_argument(
        "--device", action="append", metavar="IDSTR[#INSTANCE]", help="only this device"
    )
    extract.add_argument("-o", "--output", metavar="DIR", required=True, help="target folder")
    extract.add_argument("--buffers", action="store_true", help="also each buffer as a file")
    extract.add_argument(
        "--ram",
        action="append",
        metavar="BLOCK",
        help="memory of a RAM block (pc.ram) as it was sent last, as a sparse file",
    )
    extract.add_argument("--offset", metavar="N", help="of --ram: from this offset on")
    extract.add_argument("--length", metavar="N", help="of --ram: so many bytes, as 0x1000 or 4M")
    extract.add_argument(
        "--stream",
        action="append",
        metavar="CHANNEL",
        help="raw bytes of a channel: main, return-path, or a multifd channel's number",
    )
    extract.add_argument(
        "--max-size",
        metavar="N",
        default="16G",
        help="bytes that all files together may have (default: 16G)",
    )
    extract.add_argument("--force", action="store_true", help="overwrite existing files")


def _add_stats(
    commands: argparse._SubParsersAction[argparse.ArgumentParser],
    *parents: argparse.ArgumentParser,
) -> None:
    stats = commands.add_parser(
        "stats",
        parents=list(parents),
        help="phases, downtime and who spent it",
        description="Phases of each migration, the downtime as seen on the wire and who spent it, "
        "throughput and fairness of the channels.",
    )
    stats.add_argument("capture", help="pcap or pcapng, - for stdin")
    stats.add_argument("--format", choices=("text", "json", "html"), default="text")
    stats.add_argument("-o", "--output", metavar="FILE", help="write to a file")


def _add_diff(
    commands: argparse._SubParsersAction[argparse.ArgumentParser],
    *parents: argparse.ArgumentParser,
) -> None:
    diff = commands.add_parser(
        "diff",
        parents=list(parents),
        help="compare two captures, or two saved reports",
        description="Compares parameters, channels, RAM, devices (with the first index and byte "
        "that differ), phases and findings. Exit status 0 the same, 1 different, 2 one side "
        "could not be read.",
    )
    diff.add_argument("a", metavar="A", help="capture, saved migration, or JSON report")
    diff.add_argument("b", metavar="B", help="what to compare it with")
    diff.add_argument(
        "--times",
        action="store_true",
        help="also durations, order of arrival, and who carried what",
    )
    diff.add_argument("--addresses", action="store_true", help="also addresses, ports and streams")
    diff.add_argument("--format", choices=("text", "json"), default="text")
    diff.add_argument("-o", "--output", metavar="FILE", help="write to a file")


def _add_rule(
    commands: argparse._SubParsersAction[argparse.ArgumentParser], shown: argparse.ArgumentParser
) -> None:
    rule = commands.add_parser(
        "rule",
        parents=[shown],
        help="list the rules, or explain one",
        description="Says what a rule verifies, why, what QEMU's receiver does, and what usually "
        "causes it.",
    )
    rule.add_argument("rule", nargs="?", metavar="ID", help="MF506 or vfio-idx-gap")


def _add_synth(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    synth = commands.add_parser(
        "synth",
        help="generate a capture from a scenario",
        description="Builds a capture, clean or with chosen faults, from a TOML scenario; the same "
        "scenario gives the same bytes. docs/synth.md describes the keys.",
    )
    synth.add_argument("scenario", help="TOML file")
    synth.add_argument("-o", "--output", metavar="CAPTURE", required=True)
    synth.add_argument(
        "--set", action="append", metavar="KEY=VALUE", dest="overrides", help="override a key"
    )


def _run(options: argparse.Namespace) -> int:
    command = options.command
    if command == "check":
        from analyzer.commands.check import check

        return check(options)
    if command == "packets":
        from analyzer.commands.packets import packets

        return packets(options)
    if command == "devices":
        from analyzer.commands.devices import devices

        return devices(options)
    if command == "extract":
        from analyzer.commands.extract import extract

        return extract(options)
    if command == "stats":
        from analyzer.commands.stats import stats

        return stats(options)
    if command == "diff":
        from analyzer.commands.diff import diff

        return diff(options)
    if command == "rule":
        from analyzer.commands.rules import rule

        return rule(options)
    if command == "synth":
        from analyzer.commands.synth import synth

        return synth(options)
    if command == "completion":
        from analyzer.commands.completion import completion

        return completion(options)
    from analyzer.commands.tui import tui

    return tui(options)


def main(arguments: Sequence[str] | None = None) -> int:
    """Entry point; gives the exit status."""
    # What an analysis makes lives to its end and holds few cycles: looking for them seldom saves
    # a tenth of the time, and far more where a capture is a flood of connections.
    gc.set_threshold(100_000, 50, 50)
    words = list(sys.argv[1:] if arguments is None else arguments)
    if not words or (words[0] not in COMMANDS and not words[0].startswith("-")):
        words.insert(0, "tui")
    parser = _parser()
    if "_ARGCOMPLETE" in os.environ:
        import argcomplete

        argcomplete.autocomplete(parser)
    try:
        options = parser.parse_args(words)
    except SystemExit as stop:
        return stop.code if isinstance(stop.code, int) else 2
    try:
        status = _run(options)
        sys.stdout.flush()
        return status
    except (CaptureError, UsageError) as error:
        from analyzer.report.escape import terminal

        print(f"mfshark: {terminal(str(error))}", file=sys.stderr)
        return 2
    except BrokenPipeError:
        # Whoever read the output has seen enough; keep the interpreter from complaining about it.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except KeyboardInterrupt:
        return 130


if __name__ == "__main__":
    sys.exit(main())
