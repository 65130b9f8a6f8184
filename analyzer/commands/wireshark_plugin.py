"""``mfshark wireshark-plugin``: the dissector for Wireshark and tshark."""

from __future__ import annotations

from analyzer.commands.common import CLEAN
from analyzer.commands.result_file import output
from analyzer.version import VERSION

TYPE_CHECKING = False
if TYPE_CHECKING:
    from argparse import ArgumentParser, Namespace

__all__ = ["add_arguments", "run"]


def add_arguments(parser: ArgumentParser) -> None:
    """Declare the command's options."""
    parser.description = (
        "Prints a dissector in Lua for Wireshark and tshark 4.0 and later. Save it in the folder "
        "that 'tshark -G folders' calls Personal Lua Plugins (on Linux "
        "~/.local/lib/wireshark/plugins), or load it with 'tshark -X lua_script:multifd.lua'. "
        "Switch the preference tcp.reassemble_out_of_order on: without it Wireshark loses packets."
    )
    parser.add_argument("-o", "--output", metavar="FILE", help="write to a file")


def run(options: Namespace) -> int:
    """Run it.  Raises :class:`UsageError` if the file cannot be written."""
    from dissectors.lua import plugin

    with output(options) as stream:
        stream.write(plugin(VERSION))
    return CLEAN
