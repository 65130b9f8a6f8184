"""Options that several commands take."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from argparse import ArgumentParser

__all__ = ["add_follow_options", "add_shown_options", "add_wire_options"]


def add_wire_options(parser: ArgumentParser) -> None:
    """How the capture is read; ``settings_of`` of ``analyzer.commands.common`` reads them."""
    group = parser.add_argument_group(
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
        choices=("auto", "native", "tshark", "pyshark"),
        default="auto",
        help="what reads the file: tshark knows tunnels and formats that mfshark does not; by "
        "itself it is asked where reading natively finds nothing; pyshark is tshark run by that "
        "library",
    )
    group.add_argument("-q", "--quiet", action="store_true", help="only the verdict, no progress")
    group.add_argument("--no-progress", action="store_true", help="no progress on standard error")


def add_shown_options(parser: ArgumentParser) -> None:
    """How results are shown."""
    parser.add_argument(
        "--color", choices=("auto", "always", "never"), default="auto", help="colour the output"
    )
    parser.add_argument("-v", "--verbose", action="store_true", help="leave nothing out")


def add_follow_options(parser: ArgumentParser) -> None:
    """Captures that are still being written; ``followed`` of ``analyzer.commands.watch`` reads
    them.
    """
    parser.add_argument(
        "--follow",
        action="store_true",
        help="the capture is being written: wait for more, until its migrations have ended, or "
        "Ctrl-C",
    )
    parser.add_argument(
        "--duration", type=float, metavar="SECONDS", help="with --follow: for so long at most"
    )
