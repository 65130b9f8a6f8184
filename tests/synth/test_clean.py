"""Clean captures of every dialect, era, page size and method are whole and in order."""

from __future__ import annotations

import zlib
from typing import Any

import pytest
import zstandard
from hypothesis import given, settings
from hypothesis import strategies as st

from analyzer.synth import records
from analyzer.synth.pattern import Pattern
from dissectors.scapy_layers import MultiFDInit
from dissectors.vfio import VfioTag
from tests.synth.capture_reader import FIN, Seen
from tests.synth.capture_reader import records as frames

IDSTR = "0000:00:02.0/vfio"
SCENARIOS: dict[str, dict[str, Any]] = {
    "default": {},
    "without return path": {"return_path": False},
    "rfc0": {"dialect": "rfc0"},
    "v1": {"dialect": "v1"},
    "v3": {"dialect": "v3"},
    "10.1": {"dialect": "10.1", "config_after_iter": True},
    "7.2": {"ram": {"era": "7.2"}},
    "8.2": {"ram": {"era": "8.2"}},
    "9.0": {"ram": {"era": "9.0"}},
    "9.1 with a last SYNC": {"ram": {"era": "9.0"}, "sync": "final"},
    "1 KiB": {"ram": {"page_size": 1024}},
    "8 KiB": {"ram": {"page_size": 8192}},
    "64 KiB": {"ram": {"page_size": 65536, "normal_pages": 8}},
    "zlib": {"compression": "zlib"},
    "zstd": {"compression": "zstd"},
    "qpl": {"compression": "qpl", "ram": {"payload": "random"}},
    "uadk": {"compression": "uadk"},
    "qatzip": {"compression": "qatzip"},
    "zero pages on main": {"ram": {"zero_pages": "legacy"}},
    "wrap": {"network": {"isn": 0xFFFFFF00}},
    "jumbo": {"network": {"mtu": 9000}},
    "64 KiB segments": {"network": {"mtu": 65535, "timestamps": False}},
    "packet by packet": {"interleave": "packet"},
    "random channels": {"channels": 5, "policy": "random"},
    "few channels": {"channels": 4, "policy": "skewed"},
    "one channel of two": {"policy": "single"},
    "switchover-ack": {"switchover_ack": True},
    "transfer off": {"device": [{"transfer": False}]},
    "no device": {"device": []},
    "one round": {"ram": {"iterations": 1}},
    "rounds": {"ram": {"iterations": 5}},
    "short reads": {"device": [{"short_reads": True, "buffer_size": 9000}]},
    "PCI with MSI-X": {"device": [{"config": "pci", "msix": 3}]},
}


@pytest.fixture(scope="module", params=SCENARIOS.values(), ids=list(SCENARIOS))
def case(request: pytest.FixtureRequest) -> tuple[dict[str, Any], Seen]:
    scenario: dict[str, Any] = request.param
    return scenario, Seen(scenario)


def test_channels_are_whole(case: tuple[dict[str, Any], Seen]) -> None:
    scenario, seen = case
    extra = 2 if scenario.get("dialect") == "rfc0" else 0
    assert sorted(seen.channels) == list(range(scenario.get("channels", 2) + extra))
    for packets in seen.channels.values():
        assert isinstance(packets[0], MultiFDInit)
        assert all(packet.magic == 0x11223344 for packet in packets)


def test_packet_numbers_are_dense_and_rise(case: tuple[dict[str, Any], Seen]) -> None:
    _, seen = case
    assert [packet.packet_num for packet in seen.ram()] == list(range(len(seen.ram())))
    for packets in seen.channels.values():
        numbers = [p.packet_num for p in packets if "packet_num" in p.fields]
        assert numbers == sorted(numbers)


def test_syncs_match_main(case: tuple[dict[str, Any], Seen]) -> None:
    scenario, seen = case
    shared = range(scenario.get("channels", 2))
    (count,) = {seen.syncs(channel) for channel in shared}
    rounds = scenario.get("ram", {}).get("iterations", 2)
    legacy = scenario.get("ram", {}).get("era") == "7.2"
    assert count == 1 + rounds + (legacy or scenario.get("sync") == "final")


def test_pages_are_all_there(case: tuple[dict[str, Any], Seen]) -> None:
    scenario, seen = case
    sizes = {packet.pages_alloc for packet in seen.ram() if packet.normal_pages}
    assert len(sizes) == 1
    page = 524288 // sizes.pop()
    pages = {
        (packet.ramblock, offset)
        for packet in seen.ram()
        for offset in packet.offset[: packet.normal_pages + packet.zero_pages]
    }
    on_main = "7.2" in str(scenario) or "8.2" in str(scenario) or "legacy" in str(scenario)
    if not on_main:
        assert len(pages) == (4 * 1024 + 256) * 1024 // page
    assert all(offset % page == 0 for _, offset in pages)


def test_buffers_are_dense_and_end_with_the_config(case: tuple[dict[str, Any], Seen]) -> None:
    _, seen = case
    indices = seen.indices()
    assert indices == list(range(len(indices)))
    assert [p.payload.idx for p in seen.configs()] == ([indices[-1]] if indices else [])


def test_connections_close_in_order(case: tuple[dict[str, Any], Seen]) -> None:
    scenario, seen = case
    fins = [seg for seg in seen.segments if seg.flags & FIN]
    assert len(fins) == 2 * (1 + len(seen.channels))
    by_server = scenario.get("return_path", True)
    assert (fins[0].source == 4444) == by_server
    assert seen.reply.endswith(b"\0\1\0\4\0\0\0\0") == by_server


def test_main_ends_with_its_description(case: tuple[dict[str, Any], Seen]) -> None:
    _, seen = case
    assert seen.main.startswith(b"QEVM\0\0\0\3\7")
    assert seen.main.endswith(b"]}]}")
    start = seen.main.rindex(b"\0\6\0\0")
    assert int.from_bytes(seen.main[start + 2 : start + 6], "big") == len(seen.main) - start - 6


@pytest.mark.parametrize(
    ("dialect", "flag", "host"),
    [("rfc0", 0x10, True), ("v1", 0x10, True), ("v3", 0x40, True), ("upstream", 0x40, False)],
)
def test_each_dialect_has_its_own_flags_headers_and_marks(
    dialect: str, flag: int, host: bool
) -> None:
    seen = Seen({"dialect": dialect})
    assert {int(packet.flags) for packet in seen.state()} == {flag}
    told = [packet.payload for packet in seen.state() if packet.payload.idx]  # idx 0 tells nothing
    assert {"Host" in type(header).__name__ for header in told} == {host}
    switchover = records.command(records.SWITCHOVER_START)
    assert (switchover in seen.main) == (flag == 0x40)
    assert (records.tag(VfioTag.DEV_CONFIG_LOAD_READY) in seen.main) == (flag == 0x10)
    assert sorted(seen.headers) == ([0, 2, 2, 3, 3] if dialect == "rfc0" else [])


def test_device_state_of_the_rfc_may_share_the_channels() -> None:
    seen = Seen({"dialect": "rfc0", "device_channels": 0})
    assert sorted(seen.headers) == [0, 2, 2]
    assert seen.state()
    assert sorted(seen.channels) == [0, 1]


@pytest.mark.parametrize(("method", "flag"), [("zlib", 2), ("zstd", 4)])
def test_streams_decompress(method: str, flag: int) -> None:
    seen = Seen({"compression": method, "ram": {"payload": "random"}})
    for packets in seen.channels.values():
        zstd = zstandard.ZstdDecompressor()
        stream: Any = zlib.decompressobj() if method == "zlib" else zstd.decompressobj()
        data = [p for p in packets if "packet_num" in p.fields and p.normal_pages]
        assert {int(packet.flags) for packet in data} == {flag}
        for packet in data:
            pages = stream.decompress(bytes(packet.payload))
            assert len(pages) == 4096 * packet.normal_pages


@pytest.mark.parametrize(("method", "wbits"), [("qpl", -15), ("uadk", 15)])
@pytest.mark.parametrize("content", ["random", "sparse"])
def test_single_pages_decompress(method: str, wbits: int, content: str) -> None:
    seen = Seen({"compression": method, "ram": {"payload": content}})
    for packet in (p for p in seen.ram() if p.normal_pages):
        data = bytes(packet.payload)
        at = 4 * packet.normal_pages
        for number in range(packet.normal_pages):
            size = int.from_bytes(data[4 * number : 4 * number + 4], "big")
            page = data[at : at + size]
            at += size
            assert len(page if size == 4096 else zlib.decompress(page, wbits)) == 4096
        assert at == len(data)


def test_qatzip_decompresses() -> None:
    for packet in (p for p in Seen({"compression": "qatzip"}).ram() if p.normal_pages):
        rest, pages = bytes(packet.payload), b""
        while rest:
            member = zlib.decompressobj(31)
            pages += member.decompress(rest)
            rest = member.unused_data
        assert len(pages) == 4096 * packet.normal_pages


def test_contents_follow_the_documented_formula() -> None:
    seen = Seen({"seed": 9})
    pattern = Pattern(9, "sparse", 1 << 20)
    for packet in seen.state():
        index = packet.payload.idx
        data = bytes(packet.payload.payload)
        if not int(packet.payload.flags):
            assert data == b"".join(pattern.buffer(f"{IDSTR}#0", index, len(data)))
    for packet in (p for p in seen.ram() if p.normal_pages):
        assert bytes(packet.payload) == pattern.pages(packet.packet_num, 4096 * packet.normal_pages)


def test_old_packets_keep_what_was_in_them() -> None:
    last = [p for p in Seen({"ram": {"era": "7.2"}}).channels[0] if "packet_num" in p.fields][-1]
    assert last.flags.SYNC
    assert last.pages_alloc == 128
    assert last.next_packet_size > 0
    assert last.ramblock.startswith(b"pc.ram\0")


def test_zero_pages_sent_as_others() -> None:
    seen = Seen({"ram": {"zero_pages": "none", "blocks": {"a": 1 << 20}, "normal_pages": 3}})
    assert sum(p.normal_pages for p in seen.ram()) == 256 + 2 * 16


def test_without_multifd_the_pages_are_on_main() -> None:
    seen = Seen({"channels": 0, "device": []})
    assert not seen.channels
    assert 80 * 4096 < len(seen.main) < 110 * 4096  # 64 pages, then 16 and 16 again


def test_config_state_of_the_real_size() -> None:
    (config,) = Seen({}).configs()
    assert config.next_packet_size == 4144
    (config,) = Seen({"device": [{"config": "pci", "msix": 3}]}).configs()
    assert config.next_packet_size == 12 + 292 + 48 + 1


def test_two_migrations_at_once_and_after_each_other() -> None:
    other = {"network": {"client_port": 50000, "port": 4445}, "start": 0.001}
    ports = {seg.target for seg in Seen({"migration": [{}, other]}).segments}
    assert {4444, 4445} <= ports
    again = Seen({"migration": [{}, {"after": True, "start": 0.5}]}).segments
    once = len(Seen({}).segments)
    assert len(again) > 1.9 * once
    assert again[once].time - again[once - 1].time >= 500_000
    assert {seg.source for seg in again[once:]} & {seg.source for seg in again[:once]} > {4444}


def test_noise_is_strewn_between_the_clean_frames() -> None:
    noise = {"arp": 2, "udp": 2, "tcp": 1, "fragments": 2, "truncated": 3}
    clean, strewn = (list(frames(Seen(scenario).data)) for scenario in ({}, {"noise": noise}))
    assert len(strewn) == len(clean) + 10
    assert [frame for frame in strewn if frame in clean] == clean


def test_capture_keep() -> None:
    assert Seen({}).data[:5000] == Seen({"capture": {"keep": 5000}}, read=False).data


@settings(max_examples=15)
@given(
    seed=st.integers(-5, 1 << 80),
    channels=st.integers(1, 6),
    mtu=st.integers(200, 9000),
    size=st.integers(0, 60_000),
    buffer=st.integers(1000, 30_000),
    dialect=st.sampled_from(["rfc0", "v1", "v3", "upstream", "10.1"]),
)
def test_any_clean_scenario_is_whole(
    seed: int, channels: int, mtu: int, size: int, buffer: int, dialect: str
) -> None:
    seen = Seen(
        {
            "seed": seed,
            "channels": channels,
            "dialect": dialect,
            "network": {"mtu": mtu},
            "ram": {"blocks": {"r": 1 << 20}, "normal_pages": 5},
            "device": [{"size": size, "buffer_size": buffer}],
        }
    )
    assert seen.indices() == list(range(-(-size // buffer) + 1))
    assert all(packet.magic == 0x11223344 for packet in seen.packets())
