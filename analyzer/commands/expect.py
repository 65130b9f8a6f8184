"""``mfshark expect``: what a capture shows, as an expectation for ``check --expect``."""

from __future__ import annotations

from analyzer.commands.common import (
    BROKEN,
    CLEAN,
    complain,
    failure,
    no_migration,
    open_analysis,
    output,
)
from analyzer.commands.options import add_shown_options, add_wire_options

TYPE_CHECKING = False
if TYPE_CHECKING:
    from argparse import ArgumentParser, Namespace

__all__ = ["add_arguments", "run"]


def add_arguments(parser: ArgumentParser) -> None:
    """Declare the command's options."""
    parser.description = (
        "Writes what a capture shows (outcome, channels, devices, digests, phases, findings) as "
        'TOML. Edit values into bounds (">= 20", "10..20", "<= 300 ms", "any"), and hold '
        "other captures against it: mfshark check --expect FILE CAPTURE."
    )
    add_wire_options(parser)
    add_shown_options(parser)
    parser.add_argument("capture", help="pcap or pcapng, - for stdin")
    parser.add_argument("-o", "--output", metavar="FILE", help="write to a file")


def run(options: Namespace) -> int:
    """Run it.  Exit status 2 for a capture that is damaged or holds no migration.

    Raises :class:`analyzer.errors.CaptureError` and :class:`analyzer.errors.UsageError`.
    """
    from analyzer.migration.activity import Activity
    from analyzer.migration.assembly import Assembler
    from analyzer.migration.statistics import statistics_of
    from analyzer.report.expectation import facts_of, written
    from analyzer.report.model import capture_report
    from analyzer.report.stats_json import stats_json

    activity = Activity()
    analysis = open_analysis(options.capture, options, assembler=Assembler(), watchers=(activity,))
    damage = analysis.scan.file.damage
    if damage is not None:
        complain(failure(damage))
    if not analysis.migrations:
        complain(no_migration(analysis))
        return BROKEN
    engine = analysis.scan.engine
    figures = [statistics_of(m, activity.of(m), engine.pauses) for m in analysis.migrations]
    stats = stats_json(figures, analysis.path, engine.first_time)
    with output(options) as stream:
        for line in written(facts_of(capture_report(analysis), stats), analysis.path):
            print(line, file=stream)
    return CLEAN if damage is None else BROKEN
