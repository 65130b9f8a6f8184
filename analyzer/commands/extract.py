"""``mfshark extract``: device state, guest memory and raw streams as files."""

from __future__ import annotations

from pathlib import Path

from analyzer.analysis import Analysis, analyze_saved_file, is_saved
from analyzer.capture.source import open_source
from analyzer.commands.common import BROKEN, complain, judged, need_file, open_analysis
from analyzer.commands.options import add_shown_options, add_wire_options
from analyzer.commands.standard_output import print_pieces
from analyzer.errors import UsageError
from analyzer.extraction.devices import DeviceFiles
from analyzer.extraction.folder import SIZE_MAX, Folder
from analyzer.filter.amounts import number
from analyzer.report.escape import terminal

TYPE_CHECKING = False
if TYPE_CHECKING:
    from argparse import ArgumentParser, Namespace

    from analyzer.analysis import SavedAnalysis
    from analyzer.extraction.ram import RamFiles

__all__ = ["add_arguments", "run"]


def size_of(text: str, option: str) -> int:
    """A size in bytes, written as ``4096``, ``0x1000`` or ``4G``.  Raises :class:`UsageError`."""
    ambiguous = len(text) > 1 and text.startswith("0") and text.isdecimal()
    value = None if ambiguous else number(text)
    if value is None or value < 0:
        raise UsageError(
            f"{option} takes a number of bytes, as in 4096, 0x1000 or 4G, not {text!r}"
        )
    return value


def add_arguments(parser: ArgumentParser) -> None:
    """Declare the command's options."""
    parser.description = (
        "Writes to files: each device's whole state (main's data, then the buffers by index) and "
        "its config state; with --ram guest memory; with --stream the bytes of a channel; and a "
        "manifest. File names are sanitised; existing files are not overwritten without --force; "
        "a failed run leaves no partial files. Exit status: 0 everything is there, 2 something is "
        "missing or could not be read; what there is is written."
    )
    add_wire_options(parser, "do not list the files; no progress, no notes")
    add_shown_options(parser)
    parser.add_argument(
        "capture",
        metavar="CAPTURE",
        help="pcap or pcapng, or a saved migration (file:, virsh save), - for stdin",
    )
    parser.add_argument(
        "--device",
        action="append",
        metavar="IDSTR[#INSTANCE]",
        help="only this device; without #INSTANCE all instances of that name",
    )
    parser.add_argument("-o", "--output", metavar="DIR", required=True, help="target folder")
    parser.add_argument(
        "--buffers", action="store_true", help="also write each buffer to a file of its own"
    )
    parser.add_argument(
        "--ram",
        action="append",
        metavar="BLOCK",
        help="write the memory of a RAM block (e.g. pc.ram), as last sent, to a sparse file",
    )
    parser.add_argument("--offset", metavar="N", help="with --ram: start at this offset")
    parser.add_argument(
        "--length", metavar="N", help="with --ram: number of bytes, as in 0x1000 or 4M"
    )
    parser.add_argument(
        "--stream",
        action="append",
        metavar="CHANNEL",
        help="write the raw bytes of a channel: main, return-path, or a multifd channel's id",
    )
    parser.add_argument(
        "--max-size",
        metavar="N",
        default=str(SIZE_MAX),
        help=f"limit of the total size of all files (default: {SIZE_MAX >> 30}G)",
    )
    parser.add_argument("--force", action="store_true", help="overwrite existing files")


def run(options: Namespace) -> int:
    """Run it.  Raises :class:`CaptureError` and :class:`UsageError`."""
    if options.stream:
        need_file(options.capture, "--stream")
    if options.output in ("", "-"):
        raise UsageError("extract writes files, not to standard output: -o names a folder")
    if not options.ram and (options.offset is not None or options.length is not None):
        raise UsageError("--offset and --length need --ram")
    listing: list[str] = []
    try:
        status = _extract(options, listing)
    except FileExistsError as error:
        name = terminal(str(error.filename))
        raise UsageError(f"{name} exists; --force overwrites existing files") from error
    except OSError as error:
        name = terminal(str(error.filename or options.output))
        raise UsageError(f"{name} cannot be written: {error.strerror}") from error
    if not options.quiet:
        print_pieces(f"{terminal(line)}\n" for line in listing)
    return status


def _extract(options: Namespace, listing: list[str]) -> int:
    """Write the files, and list them."""
    folder = Folder(
        Path(options.output),
        force=options.force,
        max_size=size_of(options.max_size, "--max-size"),
    )
    try:
        return _fill(folder, options, listing)
    finally:
        folder.withdraw()


def _fill(folder: Folder, options: Namespace, listing: list[str]) -> int:
    devices = ram = None
    if options.device or options.buffers or not (options.ram or options.stream):
        devices = DeviceFiles(folder, options.device or (), buffers=options.buffers)
    if options.ram:
        from analyzer.extraction.ram import RamFiles

        length = None if options.length is None else size_of(options.length, "--length")
        first = size_of(options.offset or "0", "--offset")
        ram = RamFiles(folder, options.ram, first, length)
    try:
        analysis = _analysis(devices, ram, options)
    finally:
        folder.close()
    status = judged(analysis, options)
    if not analysis.migrations:
        return status
    _demand(devices, ram)
    complaints = _finish(folder, devices, ram, analysis, options)
    listing += [
        f"{folder.root / entry['file']}  {entry['bytes']} bytes  {entry['sha256']}"
        for entry in folder.entries()
    ]
    for text in complaints:
        complain(terminal(text))
    return BROKEN if complaints else status


def _analysis(
    devices: DeviceFiles | None, ram: RamFiles | None, options: Namespace
) -> Analysis | SavedAnalysis:
    """Read the capture, or saved migration, and write the files meanwhile.  Raises
    :class:`UsageError`.
    """
    assembler = devices.assembler if devices is not None else None
    payloads = ram.payloads if ram is not None else None
    source = open_source(options.capture)
    if is_saved(source):
        if options.stream:
            raise UsageError("--stream needs a capture: a saved migration is main's stream itself")
        return analyze_saved_file(source, assembler=assembler, page_collector=payloads)
    return open_analysis(
        source,
        options,
        assembler=assembler,
        watchers=(ram.images,) if ram is not None else (),
        page_collector=payloads,
    )


def _demand(devices: DeviceFiles | None, ram: RamFiles | None) -> None:
    """Check that everything requested exists.  Raises :class:`UsageError`."""
    if devices is not None and (unknown := devices.unknown()):
        names = sorted(devices.names())
        raise UsageError(
            f"no device is called {terminal(unknown[0])!r}; the capture has "
            f"{terminal(', '.join(names)) or 'none'}"
        )
    if ram is not None and (unknown := ram.unknown()):
        raise UsageError(
            f"no page of a RAM block called {terminal(unknown[0])!r} was found; the capture has "
            f"{terminal(', '.join(ram.blocks())) or 'none'}"
        )


def _finish(
    folder: Folder,
    devices: DeviceFiles | None,
    ram: RamFiles | None,
    analysis: Analysis | SavedAnalysis,
    options: Namespace,
) -> list[str]:
    """Complete the files and write the manifest; returns a list of complaints."""
    complaints: list[str] = []
    if ram is not None:
        complaints += ram.finish(analysis.migrations)
    if options.stream and isinstance(analysis, Analysis):
        from analyzer.extraction.streams import StreamFiles

        complaints += StreamFiles(folder, options.stream).write(analysis.scan)
    manifest: dict[str, object] = {"capture": options.capture}
    if devices is not None:
        manifest["devices"] = devices.finish(analysis.migrations)
        if not devices.names():
            complaints.append(
                "no device state was sent; --ram writes guest memory, --stream what a channel "
                "carried"
            )
        complaints += [
            f"{name} is not complete: only the available part was written"
            for name in devices.incomplete()
        ]
    if folder.files or manifest.get("devices"):
        folder.write_manifest(manifest)
    return complaints
