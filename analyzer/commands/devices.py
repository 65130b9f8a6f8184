"""``mfshark devices``: every device's buffers, in a block of lines or as JSON."""

from __future__ import annotations

from analyzer.commands.common import (
    BROKEN,
    CLEAN,
    complain,
    failure,
    no_migration,
    open_analysis,
    output,
    style_of,
)
from analyzer.report.devices import devices_json, devices_text

TYPE_CHECKING = False
if TYPE_CHECKING:
    from argparse import Namespace

__all__ = ["devices"]


def devices(options: Namespace) -> int:
    """Run it.  Exit status 2 when a migration was not found; raises :class:`CaptureError`."""
    analysis = open_analysis(options.capture, options, digest=True)
    damage = analysis.scan.file.damage
    if damage is not None:
        complain(failure(damage))
    if not analysis.migrations:
        complain(no_migration(analysis))
        return BROKEN
    with output(options) as stream:
        if options.format == "json":
            import json

            json.dump(devices_json(analysis), stream, indent=1)
            stream.write("\n")
        else:
            for line in devices_text(analysis, style_of(options, stream), options.verbose):
                print(line, file=stream)
    return CLEAN if damage is None else BROKEN
