"""MF636 to MF639: every rule fires on its own fault, and stays silent where it must."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from analyzer.checks.main_description import VERIFIED_MAX, description_anomalies
from analyzer.migration import vmdescription
from analyzer.migration.scan import Scan
from analyzer.synth import records
from tests.checks.case import Case, edited, verify
from tests.checks.craft import STATE, Tiny, findings, fired
from tests.migration import main_streams as build
from tests.migration.main_streams import walk
from tests.shipped import NAMES, capture

if TYPE_CHECKING:
    from collections.abc import Callable

    from analyzer.checks.finding import Finding

OPTIONAL = "timer/optional"


def described(change: Callable[[dict[str, Any]], object]) -> Callable[[], bytes]:
    """The clean migration with another description."""

    def edit(tiny: Tiny) -> None:
        tiny.main[-1] = records.redescribed(tiny.main[-1], change)

    return edited(edit)


def text(content: bytes) -> Callable[[], bytes]:
    """The clean migration with this text for its description."""
    return edited(lambda tiny: tiny.main.__setitem__(-1, build.vmdescription(text_=content)))


def longer_field(whole: dict[str, Any]) -> None:
    whole["devices"][0]["fields"][1]["size"] = 9


def with_subsection(name: str | None) -> Callable[[], bytes]:
    """A device with a subsection in the stream; the description calls it ``name``, or does not
    have it.
    """
    body = b"\x05" + records.counted(OPTIONAL) + build.u32(1) + bytes(4)

    def edit(tiny: Tiny) -> None:
        at = tiny.main.index(STATE)
        timer = records.timer()
        tiny.main[at] = timer[:-5] + body + timer[-5:] + records.globalstate()
        if name is None:
            return
        fields = [{"name": "more", "type": "uint32", "size": 4}]
        entry = {"vmsd_name": name, "version": 1, "fields": fields}
        tiny.main[-1] = records.redescribed(
            tiny.main[-1], lambda whole: whole["devices"][0].update(subsections=[entry])
        )

    return edited(edit)


def cut_description(tiny: Tiny) -> None:
    tiny.main[-1] = tiny.main[-1][:-20]


CASES = {
    "MF636": Case(edited(cut_description), alone=True),
    "MF637": Case(text(b"no JSON"), alone=True),
    "MF638": Case(described(longer_field), alone=True),
    "MF639": Case(with_subsection("timer/optionaL"), with_subsection(OPTIONAL), alone=True),
}


@pytest.mark.parametrize("rule", CASES)
def test_fires_and_stays_silent(rule: str) -> None:
    verify(rule, CASES[rule])


# -- what the findings say -------------------------------------------------------------------------


def told(made: bytes) -> list[Finding]:
    return [f for f in findings(made) if "MF636" <= f.rule.id <= "MF639"]


def test_subsection_that_is_not_described() -> None:
    (finding,) = [f for f in findings(with_subsection(None)()) if f.severity != "info"]
    assert (finding.rule.id, finding.severity) == ("MF639", "error")
    assert finding.message == f"subsection {OPTIONAL!r} is not in the description"


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"[1, 2]", "not a JSON object"),
        (b'{"devices": }', "not a JSON object"),
        (b'{"devices": []}', "section '0000:00:02.0/vfio' is not in it"),
    ],
)
def test_ways_to_be_no_description(content: bytes, message: str) -> None:
    first = told(text(content)())[0]
    assert (first.rule.id, first.message) == ("MF637", message)


def test_each_fault_is_told_once() -> None:
    (finding,) = told(described(longer_field)())
    assert finding.spot.device == "timer#0"
    assert finding.message == "24 bytes up to the footer, 25 described"


def test_a_device_too_many() -> None:
    extra = {"name": "ghost", "instance_id": 3, "fields": []}
    (finding,) = told(described(lambda whole: whole["devices"].append(extra))())
    assert finding.rule.id == "MF637"
    assert "ghost" in finding.message


def test_subsection_of_the_configuration_is_verified() -> None:
    def edit(tiny: Tiny) -> None:
        tiny.main[0] += build.subsection(b"configuration/new", b"")

    assert fired(edited(edit)())["MF639"] == "error"


def test_huge_descriptions_are_left_alone() -> None:
    padding = b" " * VERIFIED_MAX
    facts = walk(build.OPENING + build.RAM_START + build.CPU + b"\0" + build.vmdescription(
        text_=b"{" + padding + b"}"))  # fmt: skip
    assert facts.description_complete
    assert not description_anomalies(facts)


@pytest.mark.parametrize("make", [CASES["MF639"].faulty, CASES["MF638"].faulty, Tiny().pcap])
def test_structure_alone_shows_what_the_values_show(make: Callable[[], bytes]) -> None:
    facts = Scan(make()).run().migrations[0].main_facts
    assert facts is not None
    quick, whole = (
        [(device.complete, [(a.slug, a.offset, a.detail) for a in device.anomalies])
         for device in vmdescription.decode(facts, values=values)]
        for values in (False, True)
    )  # fmt: skip
    assert quick == whole


@pytest.mark.parametrize("name", NAMES)
def test_real_descriptions_agree_with_their_streams(name: str) -> None:
    path = capture(name)
    assert not told(path.read_bytes())
