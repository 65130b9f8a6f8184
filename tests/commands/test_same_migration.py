"""diff --same-migration: pairs of captures made from one by a network that is known."""

from __future__ import annotations

import json
import tracemalloc
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from analyzer.capture.segment import decode
from analyzer.capture.source import open_source
from analyzer.errors import CaptureError
from analyzer.migration.settings import Settings
from analyzer.migration.sightings import Sightings
from analyzer.migration.two_views import Clock, _partners, match
from analyzer.report.style import Style
from analyzer.report.two_views import two_views_json, two_views_text
from analyzer.synth import build
from tests.altered import Frame, Frames, read
from tests.commands.run import Ran, mfshark
from tests.schemas import conform
from tests.shipped import capture

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from analyzer.capture.segment import Segment
    from analyzer.migration.two_views import MigrationPair

AHEAD, THERE, BACK = 5_000_000_000, 300_000, 100_000
"""The destination's clock, and the ways there and back, ns."""
DEVICES = "10.0.13-vfio-3dev-4ch"


def compared(source: Path, destination: Path, *words: str) -> tuple[Ran, dict[str, Any]]:
    ran = mfshark("diff", "--same-migration", "--format", "json", *words, source, destination)
    loaded: dict[str, Any] = json.loads(ran.out) if ran.out else {}
    if loaded:
        conform(loaded, "same-migration-1")
        assert loaded["same"] == (ran.status == 0)
    return ran, loaded


def segment_of(frame: Frame, link: int) -> Segment | None:
    found = decode(bytearray(frame.data), 0, len(frame.data), frame.original, link)
    return None if isinstance(found, str) else found


def seen_there(whole: Frames, server_port: int, back: int = BACK) -> Frames:
    """What the destination's host captured of the frames that the source's host captured."""
    port = server_port.to_bytes(2, "big")
    made = []
    for frame in whole.frames:
        segment = segment_of(frame, whole.link)
        to_server = segment is None or segment.key[-2:] == port
        made.append(frame._replace(time=frame.time + AHEAD + (THERE if to_server else -back)))
    return Frames(whole.link, sorted(made, key=lambda frame: frame.time))


def written(path: Path, capture: Frames) -> Path:
    path.write_bytes(capture.pcap())
    return path


class Pair:
    """Both captures of a migration, with a known network between them."""

    def __init__(self, folder: Path, source: Path, port: int) -> None:
        self.folder = folder
        self.source = source
        self.frames = read(source)
        self.port = port
        self.there = seen_there(self.frames, port)

    def destination(self, keep: Callable[[int, Frame], bool] = lambda *_: True) -> Path:
        kept = [frame for at, frame in enumerate(self.there.frames) if keep(at, frame)]
        return written(self.folder / "there.pcap", Frames(self.there.link, kept))

    def data_frames(self, size: int = 2000) -> list[int]:
        """Places of the destination's frames with much payload from the client."""
        segments = [segment_of(frame, self.there.link) for frame in self.there.frames]
        port = self.port.to_bytes(2, "big")
        return [
            at for at, segment in enumerate(segments)
            if segment is not None and segment.length > size and segment.key[-2:] == port
        ]  # fmt: skip


@pytest.fixture
def real(tmp_path: Path) -> Pair:
    return Pair(tmp_path, capture(DEVICES), 20785)


@pytest.fixture
def made(tmp_path: Path) -> Pair:
    scenario = {
        "seed": 5,
        "channels": 2,
        "return_path": True,
        "device": [{"idstr": "0000:00:02.0/vfio", "size": "300 KiB", "buffer_size": "64 KiB"}],
    }
    path = tmp_path / "here.pcap"
    path.write_bytes(build(scenario))
    return Pair(tmp_path, path, 4444)


def test_delays_and_clocks(made: Pair) -> None:
    ran, loaded = compared(made.source, made.destination())
    assert (ran.status, loaded["notes"]) == (0, [])
    (migration,) = loaded["migrations"]
    round_trip, error = (THERE + BACK) / 1e9, (THERE - BACK) / 2e9
    assert migration["clock"]["round_trip"] == pytest.approx(round_trip, abs=1e-9)
    assert migration["clock"]["offset"] == pytest.approx(AHEAD / 1e9 + error, abs=1e-9)
    channels = {(c["kind"], c["id"]): c for c in migration["channels"]}
    assert set(channels) == {("main", None), ("multifd", 0), ("multifd", 1), ("return-path", None)}
    for channel in channels.values():
        assert channel["both"] > 0
        assert channel["shift"] == 0
        assert channel["delay"] == pytest.approx(dict.fromkeys(("min", "median", "max"), 2e-4))
    shown = mfshark("diff", "--same-migration", made.source, made.destination()).out
    assert shown.startswith("SAME  ")
    assert "destination's clock 5000.100 ms ahead of the source's, give or take 0.200 ms" in shown


def test_one_direction_tells_nothing_of_the_clocks(made: Pair) -> None:
    port = made.port.to_bytes(2, "big")

    def forward(_: int, frame: Frame) -> bool:
        segment = segment_of(frame, made.there.link)
        return segment is not None and segment.key[-2:] == port

    ran, loaded = compared(made.source, made.destination(forward))
    (migration,) = loaded["migrations"]
    assert migration["clock"]["offset"] is migration["clock"]["round_trip"] is None
    assert [c["kind"] for c in migration["channels"] if c["destination_stream"] is None] == [
        "return-path"
    ]
    delays = [c["delay"]["min"] for c in migration["channels"] if c["delay"]]
    assert delays == pytest.approx([0.0] * 3)
    assert ran.status == 1


def test_swapped_captures_are_noticed(real: Pair) -> None:
    shown = mfshark("diff", "--same-migration", real.destination(), real.source).out
    assert "packets came back 0.400 ms before they left: SRC and DST are swapped" in shown


def test_frames_that_the_capture_lost(real: Pair) -> None:
    lost = set(real.data_frames()[20:200:60])
    ran, loaded = compared(real.source, real.destination(lambda at, _: at not in lost))
    (migration,) = loaded["migrations"]
    absent = [a for c in migration["channels"] for a in c["sent_only"]]
    assert ran.status == 1
    assert {(a["why"], a["acknowledged"]) for a in absent} == {("hole", True)}
    missing = sum(a["bytes"] - a["seen_bytes"] for a in absent)
    segments = [segment_of(real.there.frames[at], real.there.link) for at in lost]
    assert missing == sum(segment.length for segment in segments if segment is not None)
    shown = mfshark("diff", "--same-migration", real.source, real.folder / "there.pcap").out
    assert f"{len(absent)} acknowledged, but not in the receiver's capture" in shown
    assert "never arrived" not in shown.splitlines()[0]


def test_what_was_sent_and_never_arrived(real: Pair) -> None:
    """The network breaks: what the source sends from then on is neither seen nor acknowledged."""
    half = len(real.there.frames) * 2 // 3
    broken = real.frames.frames[half].time
    port = real.port.to_bytes(2, "big")
    here = [
        frame for frame in real.frames.frames
        if frame.time < broken
        or (segment := segment_of(frame, real.frames.link)) is None
        or segment.key[-2:] == port
    ]  # fmt: skip
    source = written(real.folder / "source.pcap", Frames(real.frames.link, here))
    limit = broken + AHEAD
    ran, loaded = compared(source, real.destination(lambda _, frame: frame.time < limit))
    (migration,) = loaded["migrations"]
    absent = [a for c in migration["channels"] for a in c["sent_only"] if not a["acknowledged"]]
    assert ran.status == 1
    assert absent
    assert {a["why"] for a in absent} == {"cut"}
    first = mfshark("diff", "--same-migration", source, real.folder / "there.pcap").out
    assert f", {len(absent)} sent and never arrived" in first.splitlines()[0]


def test_what_only_the_destination_saw(real: Pair) -> None:
    lost = set(real.data_frames()[20:200:60])
    there = real.destination()
    kept = [frame for at, frame in enumerate(real.frames.frames) if at not in lost]
    source = written(real.folder / "source.pcap", Frames(real.frames.link, kept))
    ran, loaded = compared(source, there)
    channels = loaded["migrations"][0]["channels"]
    assert ran.status == 1
    assert not any(channel["sent_only"] for channel in channels)
    arrived = [a for channel in channels for a in channel["arrived_only"]]
    assert arrived
    assert {(a["why"], a["acknowledged"]) for a in arrived} == {("hole", None)}


def test_a_changed_byte(real: Pair) -> None:
    at = real.data_frames()[100]
    frame = real.there.frames[at]
    real.there.frames[at] = frame._replace(data=frame.data[:-1] + bytes([frame.data[-1] ^ 1]))
    ran, loaded = compared(real.source, real.destination())
    (differing,) = [d for c in loaded["migrations"][0]["channels"] for d in c["differing"]]
    assert ran.status == 1
    assert differing["source"]["packet"] == differing["destination"]["packet"]
    assert differing["source"]["offset"] == differing["destination"]["offset"]
    shown = mfshark("diff", "--same-migration", real.source, real.destination()).out
    assert "1 not the same in both" in shown


def test_translated_addresses(real: Pair) -> None:
    """Both hosts and the client's ports are called differently at the destination."""

    def translated(frame: Frame) -> Frame:
        data = bytearray(frame.data)
        port = real.port.to_bytes(2, "big")
        for address, number, mine in ((26, 34, b"\x0a\x00\x00\x01"), (30, 36, b"\x0a\x00\x00\x02")):
            client = data[number : number + 2] != port
            data[address : address + 4] = mine if client else b"\x0a\x00\x00\x63"
            if client:
                data[number] ^= 0x15
        return frame._replace(data=bytes(data))

    frames = [translated(frame) for frame in real.there.frames]
    there = written(real.folder / "nat.pcap", Frames(real.there.link, frames))
    ran, loaded = compared(real.source, there)
    assert ran.status == 0
    (migration,) = loaded["migrations"]
    assert migration["destination"]["destination"] == "10.0.0.99:20785"
    assert " at the source, " in mfshark("diff", "--same-migration", real.source, there).out


def test_a_capture_that_began_late(real: Pair) -> None:
    third = len(real.there.frames) // 3
    ran, loaded = compared(real.source, real.destination(lambda at, _: at >= third))
    (migration,) = loaded["migrations"]
    assert ran.status == 1
    assert {a["why"] for c in migration["channels"] for a in c["sent_only"]} == {"before"}
    for channel in migration["channels"]:
        assert channel["shift"] < 0
        assert channel["both"] > 0
        assert channel["arrived_only"] == channel["differing"] == []


def test_two_migrations_find_their_own(tmp_path: Path) -> None:
    """Of two guests, in the other order at the destination, and only one of them there."""
    both = read(capture("10.0.13-vfio-two-vms-2ch-3ch"))
    source = written(tmp_path / "both.pcap", both)
    ran, loaded = compared(source, source)
    assert (ran.status, len(loaded["migrations"])) == (0, 2)
    second = loaded["migrations"][1]["source"]["destination"]
    port = int(second.rpartition(":")[2]).to_bytes(2, "big")
    only = [
        frame for frame in both.frames
        if (segment := segment_of(frame, both.link)) is not None
        and port in (segment.key[-4:-2], segment.key[-2:])
    ]  # fmt: skip
    ran, loaded = compared(source, written(tmp_path / "one.pcap", Frames(both.link, only)))
    assert ran.status == 1
    first, other = loaded["migrations"]
    assert first["destination"] is None
    assert other["same"]
    assert other["destination"]["destination"] == second
    shown = mfshark("diff", "--same-migration", source, tmp_path / "one.pcap").out
    assert "only in the source's capture" in shown


def test_both_captures_lack_the_same_bytes() -> None:
    path = capture("10.0.13-vfio-snaplen256-2ch")
    ran, loaded = compared(path, path)
    assert ran.status == 0
    assert sum(c["unread"] for c in loaded["migrations"][0]["channels"]) > 0
    assert "unread" in mfshark("diff", "--same-migration", path, path).out.splitlines()[0]


@pytest.mark.parametrize(
    ("words", "text"),
    [
        (("--times",), "cannot be combined with"),
        (("--addresses",), "cannot be combined with"),
    ],
)
def test_what_makes_no_sense(words: tuple[str, ...], text: str, real: Pair) -> None:
    ran, _ = compared(real.source, real.source, *words)
    assert ran.status == 2
    assert text in ran.err


def test_what_cannot_be_compared(real: Pair, tmp_path: Path) -> None:
    hostile = tmp_path / "hostile.pcap"
    hostile.write_bytes(b"{no capture")
    empty = written(tmp_path / "empty.pcap", Frames(1, []))
    for other, text in ((hostile, "hostile.pcap"), (empty, "no migration")):
        ran, _ = compared(real.source, other)
        assert ran.status == 2
        assert text in ran.err
        assert "Traceback" not in ran.err


@given(
    st.lists(st.integers(0, 10**7), min_size=1, max_size=20),
    st.lists(st.integers(0, 10**7), min_size=1, max_size=20),
    st.integers(-(10**18), 10**18),
)
def test_the_estimate_is_as_good_as_it_says(there: list[int], back: list[int], ahead: int) -> None:
    clock = Clock([way + ahead for way in there], [way - ahead for way in back])
    assert clock.offset is not None
    assert clock.round_trip == min(there) + min(back)
    assert abs(clock.offset - ahead) <= clock.round_trip / 2 + 1
    assert not clock.swapped


SMALL = build({"channels": 2, "seed": 2, "device": [{"size": "20 KiB", "buffer_size": "8 KiB"}]})


@settings(max_examples=20)
@given(
    st.integers(0, len(SMALL)),
    st.lists(st.tuples(st.integers(24, len(SMALL) - 1), st.integers(1, 255))),
)
def test_damaged_captures_end_well(cut: int, flips: list[tuple[int, int]]) -> None:
    """Whatever came of one of the captures: every packet of the other is accounted for."""
    damaged = bytearray(SMALL)
    for at, bits in flips:
        damaged[at] ^= bits
    whole = Sightings(open_source(SMALL), Settings())
    for data in (bytes(damaged), bytes(damaged[:cut])):
        try:
            other = Sightings(open_source(data), Settings())
        except CaptureError:
            continue
        for here, there in ((whole, other), (other, whole)):
            pairs = match(here, there)
            conform(two_views_json(("a", "b"), pairs, ()), "same-migration-1")
            assert list(two_views_text(("a", "b"), pairs, (), Style(), verbose=True))
            assert_accounted(pairs, here)


def assert_accounted(pairs: list[MigrationPair], view: Sightings) -> None:
    """Every packet of the source's view is the same, differs, or is missing on one side."""
    for pair in pairs:
        for channels in pair.channels:
            if pair.source is None or channels.source is None or channels.shift is None:
                continue
            packets = view.of(pair.source, channels.source)
            of_one = channels.arrived_only if channels.backwards else channels.sent_only
            partly = channels.sent_only if channels.backwards else channels.arrived_only
            holed = sum(absent.why == "hole" for absent in partly)
            known = channels.both + len(channels.differing) + len(of_one)
            assert known <= len(packets) <= known + holed


@given(
    st.lists(st.sets(st.integers(0, 9)), max_size=6),
    st.lists(st.sets(st.integers(0, 9)), max_size=6),
)
def test_partners_are_those_with_most_in_common(
    ours: list[set[int]], theirs: list[set[int]]
) -> None:
    scores = sorted(
        (-len(mine & other), a, b)
        for a, mine in enumerate(ours)
        for b, other in enumerate(theirs)
        if mine & other
    )
    wanted: dict[int, int] = {}
    for _, a, b in scores:
        if a not in wanted and b not in wanted.values():
            wanted[a] = b

    def keys(numbers: set[int]) -> set[Any]:
        return {("", number, 0, None) for number in numbers}

    assert _partners([keys(n) for n in ours], [keys(n) for n in theirs]) == wanted


def test_thousands_of_migrations_take_no_table_of_all_pairs() -> None:
    many: list[set[Any]] = [{("", 0, 0, None), ("", 1 + n, 0, None)} for n in range(1500)]
    tracemalloc.start()
    try:
        assert _partners(many, many) == {n: n for n in range(1500)}
        assert tracemalloc.get_traced_memory()[1] < 4 << 20
    finally:
        tracemalloc.stop()


def test_captures_of_two_migrations_are_told_in_a_line() -> None:
    one, other = capture("10.0.13-vfio-precopy-2ch"), capture("10.0.13-vfio-netem-loss-2ch")
    ran = mfshark("diff", "--same-migration", one, other)
    assert ran.status == 1
    told = "these are not captures of the same migration: 5 of 154 packets match"
    assert ran.out == f"DIFFERENT  {one} -> {other}: {told}\n"
    assert len(mfshark("diff", "--same-migration", "-v", one, other).out.splitlines()) > 100
    assert compared(one, other)[1]["notes"][0] == told
