"""How a migration ended, where the capture does not show all of it."""

from __future__ import annotations

import pytest

from analyzer.analysis import Analysis, analyze
from analyzer.migration.outcome import outcome_of
from tests.capture.files import pcap
from tests.shipped import capture
from tests.test_lossy import frames_of

NAME = "10.0.13-nanosecond-pcap-2ch"
MULTIFD_0 = 1
"""Its ``tcp.stream``."""


def without_end(first: int, last: int) -> Analysis:
    """The capture without some frames, counted from its end."""
    frames, link = frames_of(capture(NAME))
    count = len(frames)
    return analyze(pcap(frames[: count - first] + frames[count - last :], link=link))


def test_a_capture_that_ends_inside_a_packet_does_not_show_a_cancel() -> None:
    frames, link = frames_of(capture(NAME))
    whole = analyze(pcap(frames, link=link)).migrations[0]
    assert whole.main is not None
    assert whole.main.flow.fin is not None
    cut = [f for n, f in enumerate(frames, 1) if n < 148 or n > 174]
    analysis = analyze(pcap(cut, link=link))
    outcome = outcome_of(analysis.migrations[0])
    assert (outcome.name, outcome.evidence) == (
        "incomplete",
        "the capture ends before all channels are closed",
    )


@pytest.mark.parametrize("lost", [3, 8, 12])
def test_frames_lost_in_front_of_the_end_do_not_make_it_fail(lost: int) -> None:
    analysis = without_end(lost + 8, 8)
    assert outcome_of(analysis.migrations[0]).name in ("completed", "incomplete", "unknown")
    assert "error" not in {finding.severity for finding in analysis.findings}
