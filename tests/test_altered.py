"""However the network cut, ordered and repeated it, a migration is the same; and what was only
missed by the capture is no error.
"""

from __future__ import annotations

from random import Random
from typing import TYPE_CHECKING, Any

import pytest

from analyzer.analysis import analyze
from analyzer.report.model import capture_report
from tests.altered import cut_anew, out_of_order, read, sent_twice, with_losses
from tests.shipped import capture

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.altered import Frames

NAMES = (
    "10.0.13-arm-1k-pages-2ch",
    "10.0.13-cancelled-2ch",
    "10.0.13-ipv6-2ch",
    "10.0.13-vfio-many-small-buffers-4ch",
    "10.0.13-vfio-truncated-no-returnpath-2ch",
    "10.0.13-vlan-2ch",
    "10.0.13-xbzrle-nomultifd",
    "11.1.3-postcopy-multifd-2ch",
    "11.1.3-returnpath-2ch",
    "11.1.3-vfio-mixed-on-off-4ch",
    "11.1.3-veth-mtu1500-zstd-3ch",
    "7.2-multifd-2ch",
)
ALTERED: dict[str, Callable[[Frames, Random], Frames]] = {
    "small segments": lambda c, _: cut_anew(c, 1200),
    "out of order": lambda c, dice: out_of_order(cut_anew(c, 8948), 17, dice),
    "twice and out of order": lambda c, d: out_of_order(sent_twice(cut_anew(c, 4000), 7, d), 13, d),
}
ABOUT_TIME_OR_TCP = ("MF9", "MF52")


def facts(source: Path | bytes) -> Any:
    """What must not depend on the network."""
    analysis = analyze(source, digest=True)
    found: list[Any] = []
    for migration in capture_report(analysis)["migrations"]:
        channels = [
            [channel[name] for name in ("kind", "id", "bytes", "packets", "missing_bytes")]
            for channel in migration["channels"]
        ]
        devices = [
            [device[name] for name in ("idstr", "instance_id", "digest", "complete")]
            for device in migration["devices"]
        ]
        found.append((migration["outcome"], sorted(channels, key=repr), sorted(devices, key=repr)))
    findings = {
        (finding.rule.id, finding.severity)
        for finding in analysis.findings
        if not finding.rule.id.startswith(ABOUT_TIME_OR_TCP)
    }
    return found, findings


@pytest.mark.parametrize("name", NAMES)
def test_the_network_makes_no_difference(name: str) -> None:
    path, expected = capture(name), facts(capture(name))
    frames = read(path)
    for how, alter in ALTERED.items():
        assert facts(alter(frames, Random(name)).pcap()) == expected, how


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("share", [0.002, 0.01, 0.05])
def test_what_the_capture_missed_is_no_error(name: str, share: float) -> None:
    path = capture(name)
    known = {f.rule.id for f in analyze(path).findings if f.severity == "error"}
    dice = Random(f"{name} {share}")
    frames = with_losses(cut_anew(read(path), 1448), share, dice)
    whole = len(frames.frames)
    for kept in (slice(None), slice(whole // 10, None), slice(whole * 9 // 10)):
        part = frames._replace(frames=frames.frames[kept])
        found = {f.rule.id for f in analyze(part.pcap()).findings if f.severity == "error"}
        assert found <= known
