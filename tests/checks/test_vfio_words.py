"""What is said of buffers, word for word, and what is not."""

from __future__ import annotations

import pytest

from analyzer.synth import build, records
from dissectors.vfio import VfioTag
from tests.checks.craft import IDSTR, VFIO_FULL, VFIO_ID, Tiny, buffer, config, findings, full

DATA, CONFIG = buffer(1), config(1)


def said(rule: str, zero: list[bytes], one: list[bytes], *, ready: bool = False) -> list[str]:
    """The findings of a rule, if these are the device's packets on the two channels; ``ready``:
    main has DEV_CONFIG_LOAD_READY.
    """
    tiny = Tiny(return_path=False)
    tiny.multifd[0][-2:] = zero
    tiny.multifd[1][-1:] = one
    if ready:
        body = records.tag(VfioTag.DEV_CONFIG_LOAD_READY)
        tiny.main[tiny.main.index(VFIO_FULL)] = full(IDSTR.decode(), VFIO_ID, body)
    return [finding.message for finding in findings(tiny.pcap()) if finding.rule.id == rule]


@pytest.mark.parametrize(
    ("first", "second", "again"),
    [(DATA, DATA, True), (DATA, CONFIG, True), (CONFIG, DATA, True), (CONFIG, CONFIG, False)],
    ids=["data", "config again", "data again", "config"],
)
def test_an_index_that_comes_twice(first: bytes, second: bytes, again: bool) -> None:
    """Two config states are told by a rule of their own."""
    found = said("MF505", [buffer(0), first, second], [config(2)])
    assert [text.partition(";")[0] for text in found] == ["idx 1 again"] * again
    assert bool(said("MF510", [buffer(0), first, second], [])) is (second == first == CONFIG)


def test_the_channel_of_a_buffer_that_comes_twice() -> None:
    """Where the capture began late, no initial packet tells its number."""
    (known,) = said("MF505", [buffer(0), DATA, DATA], [config(2)])
    assert known.endswith(" on multifd 0")
    late = [{"kind": "vfio-idx-duplicate"}, {"kind": "tcp-midstream", "channel": "0", "at": 12}]
    (unknown,) = (f.message for f in findings(build({"fault": late})) if f.rule.id == "MF505")
    assert " on multifd ? (stream " in unknown


CUT = buffer(3, bytes(50))[:-10]


@pytest.mark.parametrize(
    ("last", "told"),
    [
        (5, ["idx 1 to 2 are missing", "idx 4 is missing"]),
        (3, ["idx 1 to 2 are missing"]),
    ],
)
def test_which_indices_are_missing(last: int, told: list[str]) -> None:
    assert (
        said("MF506", [buffer(0)], [buffer(3), config(last)] if last > 3 else [config(3)]) == told
    )


def test_a_missing_buffer_that_was_cut_off_is_told() -> None:
    cut = " was cut off on multifd 1 after 40 of 50 bytes"
    assert said("MF506", [buffer(0), config(4)], [CUT]) == [f"idx 1 to 3 are missing: idx 3{cut}"]
    rest = [buffer(0), buffer(1), buffer(2), config(4)]
    assert said("MF506", rest, [CUT]) == [f"idx 3 is missing: it{cut}"]
    assert said("MF506", [buffer(0), config(2)], [CUT]) == ["idx 1 is missing"]


def test_the_lowest_index() -> None:
    assert said("MF508", [buffer(2), config(3)], []) == ["the lowest idx is 2"]
    cut = buffer(1, bytes(50))[:-10]
    assert said("MF508", [buffer(2), config(3)], [cut]) == [
        "the lowest idx is 2: idx 1 was cut off on multifd 1 after 40 of 50 bytes"
    ]
    assert not said("MF508", [buffer(0), config(3)], [])


@pytest.mark.parametrize(
    ("packets", "told"),
    [
        ([buffer(2)], "the config state has idx 1, 1 data buffer is above"),
        ([buffer(2), buffer(3)], "the config state has idx 1, 2 data buffers are above"),
        ([buffer(1)], "the config state has idx 1, and a data buffer too"),
    ],
    ids=range(3),
)
def test_a_config_state_that_is_not_the_last(packets: list[bytes], told: str) -> None:
    assert said("MF511", [buffer(0), config(1)], packets) == [told]


def test_a_config_state_that_comes_before_data() -> None:
    """What has a higher index is another rule's; what came before is none."""
    early = [buffer(0), config(2), buffer(4)]
    assert said("MF525", early, [buffer(3), buffer(1)]) == [
        "the config state came before 1 buffer with a lower idx"
    ]
    assert not said("MF525", [buffer(0), buffer(1), config(2)], [buffer(3)])


def test_no_config_state() -> None:
    assert said("MF509", [buffer(0)], [buffer(1)]) == ["no CONFIG_STATE in 2 buffers"]
    cut = config(2)[:-10]
    (told,) = said("MF509", [buffer(0)], [buffer(1), cut])
    assert told.startswith("no CONFIG_STATE in 2 buffers: idx 2 was cut off on multifd 1 after ")
    (told,) = said("MF509", [buffer(0), buffer(1)], [buffer(1, bytes(50))[:-10]])
    assert told == "no CONFIG_STATE in 2 buffers"


def test_main_and_multifd_agree_on_the_config_state() -> None:
    assert said("MF524", [buffer(0)], [buffer(1)], ready=True) == [
        "DEV_CONFIG_LOAD_READY on main, no config state on multifd"
    ]
    assert not said("MF524", [buffer(0), config(2)], [buffer(1)], ready=True)
    assert not said("MF524", [buffer(0)], [buffer(1)])
