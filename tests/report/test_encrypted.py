"""TLS migrations that nobody can decrypt are told as such."""

from __future__ import annotations

import json
from typing import Any

import pytest

from analyzer.migration.encrypted import recognise
from analyzer.migration.scan import Scan
from analyzer.report.encrypted import encrypted_report
from analyzer.synth import build
from tests import shipped
from tests.commands.run import mfshark
from tests.migration.tls_captures import EMBEDDED, NO_KEYS
from tests.schemas import conform

PATH = shipped.capture(NO_KEYS)


def report(*arguments: str) -> dict[str, Any]:
    ran = mfshark("check", "--format", "json", *arguments)
    loaded: dict[str, Any] = json.loads(ran.out)
    return loaded


def test_the_text_report_shows_the_channels_and_what_to_do() -> None:
    ran = mfshark("check", PATH)
    assert ran.status == 2
    first = ran.out.splitlines()[0]
    assert first.startswith("ENCRYPTED")
    assert "a migration over TLS to 127.0.0.1:20081, not decrypted" in first
    assert "main and 2 multifd channels" in first
    rows = [line.split() for line in ran.out.splitlines()]
    assert [row[-1] for row in rows if row[:2] in (["main", "0"], ["multifd", "?"])] == [
        "no", "yes", "yes",
    ]  # fmt: skip
    assert "SSLKEYLOGFILE" in ran.out
    assert "--keylog" in ran.err


def test_allow_empty_makes_it_no_failure() -> None:
    assert mfshark("check", "--allow-empty", PATH).status == 0


def test_the_json_report_says_which_connection_is_what() -> None:
    told = report(str(PATH))
    conform(told, "report-1")
    tls = told["captures"][0]["tls"]
    assert [(c["kind"], c["migration"], c["close_notify"]) for c in tls] == [
        ("main", 0, False), ("multifd", 0, True), ("multifd", 0, True),
    ]  # fmt: skip
    assert all(c["bytes"] > 10 * c["bytes_back"] for c in tls)


def test_connections_are_told_by_their_numbers_whichever_spoke_first() -> None:
    tls = Scan(PATH).run().grouper.tls
    assert [c["tcp_stream"] for c in encrypted_report(tls[::-1])] == [0, 1, 2]


def test_without_tshark_embedded_keys_do_not_hide_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "")
    ran = mfshark("check", shipped.capture(EMBEDDED))
    assert ran.status == 2
    assert ran.out.startswith("ENCRYPTED")
    assert "apt install tshark" in ran.out


def test_a_plain_migration_is_none() -> None:
    assert recognise(Scan(build({})).run().grouper.tls) == []
