"""When a capture that is being written has shown all of its migrations."""

from __future__ import annotations

import os
import signal

import pytest

from analyzer.commands.watch import Watch, ended
from analyzer.migration.scan import Scan
from analyzer.synth import build
from tests.altered import read
from tests.shipped import capture


@pytest.mark.parametrize(
    "name",
    [
        "10.0.13-snaplen128-2ch",  # the last bytes are cut off, the FINs are there
        "10.0.13-tls13-x509-2ch-nokeys",
        "10.0.13-nanosecond-pcap-2ch",
        "10.0.13-midstream-2ch",
    ],
)
def test_it_is_over_when_all_connections_are_closed(name: str) -> None:
    assert ended(Scan(capture(name)).run())


def test_it_is_not_over_before() -> None:
    data = capture("10.0.13-snaplen128-2ch").read_bytes()
    assert not ended(Scan(data[: len(data) * 3 // 4]).run())


def test_it_is_not_over_while_another_migration_is_encrypted() -> None:
    tls = read(capture("10.0.13-tls13-x509-2ch-nokeys"))
    both = read(build({"migration": [{"channels": 2}]}))
    both.frames.extend(tls.frames[: len(tls.frames) * 3 // 4])
    assert not ended(Scan(both.pcap()).run())
    both.frames.extend(tls.frames[len(tls.frames) * 3 // 4 :])
    assert ended(Scan(both.pcap()).run())


@pytest.mark.parametrize(("before", "stops"), [(signal.SIG_DFL, True), (signal.SIG_IGN, False)])
def test_a_closed_terminal_stops_it_but_under_nohup(before: signal.Handlers, stops: bool) -> None:
    usual = signal.signal(signal.SIGHUP, before)
    try:
        watch = Watch()
        with watch.signals():
            os.kill(os.getpid(), signal.SIGHUP)
            assert watch() is stops
        assert signal.getsignal(signal.SIGHUP) == before
    finally:
        signal.signal(signal.SIGHUP, usual)
