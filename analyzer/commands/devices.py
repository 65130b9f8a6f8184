"""``mfshark devices``: every device's buffers, as a block of lines per device or as JSON."""

from __future__ import annotations

from analyzer.commands.common import judged, open_analysis, style_of
from analyzer.commands.options import add_output_options, add_shown_options, add_wire_options
from analyzer.commands.result_file import output, settle_format
from analyzer.report.devices import devices_json, devices_text

TYPE_CHECKING = False
if TYPE_CHECKING:
    from argparse import ArgumentParser, Namespace

    from analyzer.analysis import Analysis
    from analyzer.migration.rows import Buffer

__all__ = ["add_arguments", "run"]

FORMATS = ("text", "json")


class Chosen:
    """The buffers that match a display filter, and their devices.  Raises :class:`UsageError` for
    an invalid filter.
    """

    def __init__(self, text: str) -> None:
        from analyzer.filter.filter import Filter

        self._filter = Filter(text)
        self._packets: set[tuple[int, int, int]] = set()  # migration, channel, offset
        self._devices: set[tuple[int, str]] = set()

    def finish(self, analysis: Analysis) -> None:
        """The capture has been read, with its packets."""
        table = analysis.packets
        assert table is not None
        for index in self._filter.rows(table):
            row = table.row(int(index))
            if row.device is not None:
                self._packets.add((row.migration, row.channel, row.offset))
                self._devices.add((row.migration, row.device))

    def has_device(self, migration: int, name: str) -> bool:
        """Whether any of the device's buffers matches."""
        return (migration, name) in self._devices

    def has_buffer(self, migration: int, buffer: Buffer) -> bool:
        """Whether this buffer matches."""
        return (migration, buffer.channel, buffer.offset) in self._packets


def add_arguments(parser: ArgumentParser) -> None:
    """Declare the command's options."""
    parser.description = (
        "Shows each device's state: buffers by index, arrival order, what is missing, which "
        "channel carried what, and the sha256 of the reassembled state."
    )
    add_wire_options(parser)
    add_shown_options(parser, "list all buffers of each device")
    parser.add_argument("capture", metavar="CAPTURE", help="pcap or pcapng, - for stdin")
    parser.add_argument(
        "-Y",
        "--filter",
        metavar="FILTER",
        help="only devices and buffers that match a display filter",
    )
    add_output_options(parser, FORMATS)


def run(options: Namespace) -> int:
    """Run it.  Exit status 2 if no migration was found; raises :class:`CaptureError`."""
    settle_format(options, FORMATS)
    chosen = Chosen(options.filter) if options.filter else None
    packets = chosen is not None
    analysis = open_analysis(options.capture, options, digest=True, packets=packets)
    if chosen is not None:
        chosen.finish(analysis)
    status = judged(analysis, options)
    if not analysis.migrations:
        return status
    with output(options) as stream:
        if options.format == "json":
            from analyzer.report.json_text import json_text

            stream.write(json_text(devices_json(analysis, chosen), 1) + "\n")
        else:
            style = style_of(options, stream)
            for line in devices_text(analysis, style, options.verbose, chosen):
                print(line, file=stream)
    return status
