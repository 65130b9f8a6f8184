"""One table of settings: the options, the schema that is shipped and the page agree with it."""

from __future__ import annotations

import json
import re
import tomllib
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from analyzer.checks.selection import USUAL
from analyzer.cli import build_parser
from analyzer.config.reference import PAGE, SHIPPED, schema, schema_text, settings_page
from analyzer.config.settings import ANY, SECTIONS, SETTINGS
from tests.commands.run import mfshark

ROOT = Path(__file__).resolve().parents[2]
EVERYTHING = """
select = ["MF5", "uuid-zero"]
ignore = ["MF910"]
fail-on = "info"
allow-empty = true
digest = "sha256"
deep = false
expected-dialect = "v1"
require = "completed"
expect = "expect.toml"
baseline = "known.json"
severity = {MF105 = "warning", uuid-zero = "error"}
[wire]
dialect = "v3"
ram-era = "9.0"
page-size = "16k"
byte-order = "be"
sync = "round"
decode-as = [4444, 65535]
keylog = "keys.txt"
via = "native"
[limits]
max-queued-bytes = "64 MiB"
max-queued-buffers = 0
fairness-ram = 0.5
fairness-device = "50 %"
device-starved = 1
downtime = "300 ms"
switchover-gap = 0.1
iterations = 20
resent-pages = 1000
channels-unused = 1
checkpoint-pause = "50 ms"
tcp-zero-window = "2 s"
[destination]
channels = 4
version = "10.0"
transfer-off = false
[[files]]
pattern = "*"
limits.downtime = 1
[[files]]
pattern = ["a/*", "b"]
"""


def test_the_schema_that_is_shipped_is_that_of_the_table() -> None:
    assert SHIPPED.read_text(encoding="utf-8") == schema_text()
    assert mfshark("config", "schema").out == schema_text()
    assert (ROOT / "docs" / PAGE).read_text(encoding="utf-8") == settings_page()
    jsonschema.Draft202012Validator.check_schema(schema())


def test_every_setting_is_an_option_of_check() -> None:
    parser = build_parser("check")
    options = vars(parser.parse_args(["check", "x.pcap"]))
    for setting in SETTINGS.values():
        assert options[setting.dest] is None, setting.key
        assert setting.section in SECTIONS
    assert {f"limits.{name}" for name in USUAL} < set(SETTINGS)


def test_schema_and_parser_take_the_same(tmp_path: Path) -> None:
    document = tomllib.loads(EVERYTHING)
    jsonschema.validate(document, schema())
    file = tmp_path / "all.toml"
    file.write_text(EVERYTHING, encoding="utf-8")
    shown = mfshark("config", "show", "--config", file)
    assert shown.status == 0, shown.err
    assert "default" not in shown.out
    assert {key for key in SETTINGS if ANY not in key} <= set(shown.out.split())


@pytest.mark.parametrize(
    "change",
    [
        {"fail-onn": "error"},
        {"fail-on": "never"},
        {"deep": 1},
        {"select": "MF5"},
        {"select": [5]},
        {"limits": {"downtim": 1}},
        {"limits": {"downtime": -1}},
        {"limits": {"downtime": True}},
        {"limits": 3},
        {"severity": {"MF5": "fatal"}},
        {"wire": {"decode-as": [0]}},
        {"wire": {"decode-as": [True]}},
        {"destination": {"channels": 0}},
        {"destination": {"version": 10.0}},
        {"destination": {"version": "10"}},
        {"files": [{"deep": True}]},
        {"files": [{"pattern": []}]},
        {"files": [{"pattern": "*", "baseline": "x"}]},
        {"files": [{"pattern": "*", "files": []}]},
        {"files": {"pattern": "*"}},
    ],
    ids=str,
)
def test_schema_and_parser_refuse_the_same(change: dict[str, Any], tmp_path: Path) -> None:
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(change, schema())
    file = tmp_path / "wrong.toml"
    file.write_text("".join(_toml(change)), encoding="utf-8")
    shown = mfshark("config", "show", "--config", file)
    assert shown.status == 2
    assert "wrong.toml:1: " in shown.err


def _toml(table: dict[str, Any]) -> str:
    """One line a key, tables inline; JSON's values are TOML's."""
    return "".join(f"{json.dumps(key)} = {_inline(value)}\n" for key, value in table.items())


def _inline(value: Any) -> str:
    if isinstance(value, dict):
        return "{" + ", ".join(f"{json.dumps(k)} = {_inline(v)}" for k, v in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(map(_inline, value)) + "]"
    return json.dumps(value)


def test_the_page_shows_what_is_valid(tmp_path: Path) -> None:
    page = (ROOT / "docs/configuration.md").read_text(encoding="utf-8")
    example = page.partition("```toml\n")[2].partition("```")[0]
    jsonschema.validate(tomllib.loads(example), schema())
    file = tmp_path / "mfshark.toml"
    file.write_text(example, encoding="utf-8")
    shown = mfshark("config", "show", "--config", file, tmp_path / "old/x.pcap")
    assert shown.status == 0, shown.err
    file.write_text(example.replace("downtime", "downtme", 1), encoding="utf-8")
    told = mfshark("config", "show", "--config", file).err.partition("mfshark.toml")[2]
    assert told.strip() in page


@pytest.mark.parametrize(
    "key", [key for key, setting in SETTINGS.items() if setting.option == "--limit"]
)
def test_a_rule_with_a_limit_tells_it(key: str) -> None:
    setting = SETTINGS[key]
    (rule,) = re.findall("MF[0-9]+", setting.meaning)
    told = " ".join(mfshark("rule", rule).out.split())
    assert f"--limit {setting.name}=" in told
    if setting.default is not None:
        assert re.search(rf"Reported (above|below) {setting.default:g}\b", told)
