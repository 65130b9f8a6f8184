"""Every fault of the script is on the wire as it says; the reader here knows nothing of faults."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from analyzer.analysis import analyze
from analyzer.synth import FAULTS, build, records
from dissectors.vfio import VfioTag
from tests.synth.capture_reader import FIN, RST, SYN, Seen

if TYPE_CHECKING:
    from collections.abc import Callable

    from scapy.packet import Packet

CLEAN = Seen({})
IDSTR = b"0000:00:02.0/vfio"
ALL = [0, 1, 2, 3, 4]  # the indices of the example device, 4 being its config state


def init(seen: Seen, channel: int = 0) -> Packet:
    packet: Packet = seen.channels[channel][0]
    return packet


def any_ram(test: Callable[[Any], object]) -> Callable[[Seen], bool]:
    return lambda seen: sum(bool(test(packet)) for packet in seen.ram()) == 1


def any_state(test: Callable[[Any], object]) -> Callable[[Seen], bool]:
    return lambda seen: sum(bool(test(packet)) for packet in seen.state()) == 1


def used(packet: Any) -> list[int]:
    return list(packet.offset[: packet.normal_pages + packet.zero_pages])


def numbers(seen: Seen) -> list[int]:
    return [packet.packet_num for packet in seen.ram()]


def in_order(seen: Seen, channel: int) -> list[int]:
    return [p.packet_num for p in seen.channels[channel] if "packet_num" in p.fields]


def flags(seen: Seen, flag: int) -> int:
    return sum(bool(seg.flags & flag) for seg in seen.segments)


def port(seen: Seen, channel: int) -> int:
    return seen.ports[channel]


def config_data(seen: Seen) -> bytes:
    (packet,) = seen.configs()
    return bytes(packet.payload.payload)


def ports(seen: Seen) -> int:
    return len({seg.source for seg in seen.segments if seg.target == 4444})


def reversed_bytes(seen: Seen) -> int:
    return sum(
        len(seg.payload)
        for seg in seen.segments
        if seg.source == 4444 and seg.target in seen.ports.values()
    )


def first_time(seen: Seen, test: Callable[[bytes], bool]) -> int:
    return next(place for place, seg in enumerate(seen.segments) if test(seg.payload))


def flushes(seen: Seen) -> int:
    return seen.main.count(records.FLUSH)


def description(seen: Seen) -> dict[str, Any]:
    text: dict[str, Any] = json.loads(seen.main[seen.main.index(b'{"configuration') :])
    return text


def last_state(seen: Seen) -> int:
    return max(p for p, seg in enumerate(seen.segments) if IDSTR in seg.payload[:300])


CONFIG_TAG = records.tag(VfioTag.DEV_CONFIG_STATE)
SWITCHOVER = records.command(records.SWITCHOVER_START)
SHOWN: dict[str, Callable[[Seen], object]] = {
    # -- initial packets and connections
    "init-magic": lambda s: 0 not in s.channels and 1 in s.channels,
    "init-version": lambda s: 0 not in s.channels or init(s).version == 2,
    "init-short": lambda s: 0 not in s.channels,
    "uuid-mismatch": lambda s: init(s, 0).uuid == init(CLEAN).uuid != init(s, 1).uuid,
    "uuid-zero": lambda s: init(s).uuid.int == init(s, 1).uuid.int == 0,
    "init-duplicate-id": lambda s: list(s.channels) == [0] and ports(s) == 3,
    "init-id-gap": lambda s: sorted(s.channels) == [0, 2] and s.indices() == ALL,
    "init-id-out-of-count": lambda s: sorted(s.channels) == [0, 9],
    "init-reserved-nonzero": lambda s: init(s).unused1 == b"\1" * 7,
    "main-missing": lambda s: not s.main and len(s.channels) == 2,
    "multifd-missing": lambda s: s.main == CLEAN.main and not s.channels,
    "channel-count-mismatch": lambda s: (
        sorted(s.channels) == [0, 1, 2]
        and len(s.channels[2]) == 1
        and flags(s, RST) == 1
        and len(s.main) < 500
    ),
    "channel-reverse-data": lambda s: reversed_bytes(s) == 16,
    "roles-swapped": lambda s: (
        s.segments[0].flags & SYN and s.segments[0].source in s.ports.values()
    ),
    "channel-unterminated": lambda s: (
        not any(seg.flags & FIN for seg in s.segments if port(s, 0) in (seg.source, seg.target))
    ),
    "channel-ended-early": lambda s: len(s.channels[1]) == 4 and s.indices() == ALL,
    "channel-reset": lambda s: flags(s, RST) == 1 and len(s.main) < len(CLEAN.main),
    "rfc0-channel-type": lambda s: sorted(s.headers) == [0, 2, 3, 3, 7],
    "preempt-unannounced": lambda s: ports(s) == 4,
    "cancelled": lambda s: s.rest(0) or s.rest(1),
    "devstate-cut-off": lambda s: b'"globalstate"' in s.main and (s.rest(0) or s.rest(1)),
    "destination-reset": lambda s: flags(s, RST) == 3 and flags(s, FIN) == 0,
    "source-reset": lambda s: flags(s, RST) == 3 and flags(s, FIN) == 0,
    "rp-shut-error": lambda s: s.reply.endswith(b"\0\1\0\4\0\0\0\1"),
    "destination-hangs": lambda s: flags(s, FIN) == 0 and len(s.reply) == 8,
    # -- headers and RAM packets
    "packet-magic": lambda s: s.rest().startswith(b"\xde\xad\xbe\xef"),
    "packet-version": lambda s: s.rest().startswith(b"\x11\x22\x33\x44\0\0\0\2"),
    "packet-truncated": lambda s: len(s.rest()) > 1344,
    "trailing-bytes": lambda s: s.rest() == b"\xa5" * 40,
    "flags-two-compressions": any_ram(lambda p: int(p.flags) == 6),
    "flags-method-changes": any_ram(lambda p: int(p.flags) == 4),
    "flags-unknown-bits": any_ram(lambda p: int(p.flags) == 0x100),
    "flags-sync-compression": any_ram(lambda p: int(p.flags) == 3),
    "sync-with-pages": any_ram(lambda p: p.flags.SYNC and p.normal_pages == 1),
    "alloc-exceeds-capacity": any_ram(lambda p: p.pages_alloc == 129),
    "alloc-inconsistent": any_ram(lambda p: p.pages_alloc == 127),
    "normal-exceeds-alloc": any_ram(lambda p: p.normal_pages > p.pages_alloc),
    "zero-exceeds-rest": any_ram(lambda p: p.normal_pages + p.zero_pages == 129),
    "empty-packet": any_ram(lambda p: not (p.normal_pages or p.zero_pages or p.flags.SYNC)),
    "ramblock-empty": any_ram(lambda p: p.normal_pages and not p.ramblock.rstrip(b"\0")),
    "ramblock-unknown": any_ram(lambda p: p.ramblock.startswith(b"pc.nowhere\0")),
    "ramblock-unterminated": any_ram(lambda p: b"\0" not in p.ramblock),
    "ramblock-trailing": any_ram(lambda p: p.ramblock.startswith(b"pc.ram\0stale\0")),
    "offset-beyond-block": any_ram(lambda p: 4 << 20 in used(p)),
    "offset-unaligned": any_ram(lambda p: any(offset % 4096 for offset in used(p))),
    "offset-duplicate": any_ram(lambda p: p.offset[0] == p.offset[1] and p.normal_pages > 1),
    "page-normal-and-zero": any_ram(
        lambda p: set(used(p)[: p.normal_pages]) & set(used(p)[p.normal_pages :])
    ),
    "stale-offsets": any_ram(lambda p: p.offset[-1] == 4096 and len(used(p)) < 128),
    "reserved-nonzero": any_ram(lambda p: p.unused64 == b"\1" * 24),
    "size-mismatch-nocomp": any_ram(
        lambda p: p.normal_pages and p.next_packet_size == 4096 * (p.normal_pages - 1)
    ),
    "size-zero-with-pages": any_ram(lambda p: p.normal_pages and not p.next_packet_size),
    "size-without-pages": any_ram(lambda p: not p.normal_pages and p.next_packet_size == 4096),
    "size-exceeds-buffer": any_ram(lambda p: p.next_packet_size == (1 << 20) + 1),
    "packet-num-duplicate": lambda s: len(set(numbers(s))) == len(numbers(s)) - 1,
    "packet-num-gap": lambda s: numbers(s)[-1] == len(numbers(s)) + 4,
    "packet-num-not-increasing": lambda s: (
        in_order(s, 0) != sorted(in_order(s, 0)) and numbers(s) == numbers(CLEAN)
    ),
    "packet-num-start": lambda s: numbers(s)[0] == 7,
    "page-size-conflict": lambda s: description(s)["page_size"] == 65536,
    "data-in-postcopy": lambda s: (
        records.command(records.POSTCOPY_RUN) in s.main and s.ram()[-1].flags.SYNC
    ),
    "page-twice-in-round": lambda s: (
        len({(p.offset[0], p.normal_pages) for p in s.ram()}) < len(s.ram())
    ),
    "unexpected-non-device-packet": lambda s: any(
        "packet_num" in packet.fields for channel in (2, 3) for packet in s.channels[channel]
    ),
    # -- synchronisation
    "sync-count-differs": lambda s: (s.syncs(0), s.syncs(1)) == (2, 3),
    "sync-vs-flush": lambda s: flushes(s) == flushes(CLEAN) - 1 and s.syncs(0) == 3,
    "flush-without-multifd": lambda s: flushes(s) > flushes(Seen({"channels": 0, "device": []})),
    "sync-mode-mixed": lambda s: flushes(s) == flushes(CLEAN) and s.syncs(0) == 4,
    "sync-packet-has-payload": lambda s: s.rest().startswith(b"\x5a" * 64),
    "sync-first": lambda s: s.channels[0][1].normal_pages and s.channels[0][2].flags.SYNC,
    "data-after-last-sync": lambda s: (
        [p for p in s.channels[0] if "packet_num" in p.fields][-1].normal_pages
    ),
    "device-state-after-unpaired-sync": lambda s: s.syncs(0) == 4,
    # -- device-state packets
    "devstate-with-sync": any_state(lambda p: p.flags.SYNC),
    "devstate-compression-bits": any_state(lambda p: p.flags.ZLIB),
    "devstate-empty": any_state(lambda p: p.next_packet_size == 0),
    "devstate-idstr-unterminated": lambda s: (
        sum(b"\0" not in packet.idstr for packet in s.state()) == 5 and s.indices() == ALL
    ),
    "devstate-idstr-trailing": any_state(lambda p: p.idstr.startswith(IDSTR + b"\0stale\0")),
    "devstate-unknown-device": lambda s: s.indices(b"0000:00:1f.7/vfio") == s.indices() == ALL,
    "devstate-no-handler": lambda s: sum(p.idstr[:6] == b"timer\0" for p in s.state()) == 5,
    "devstate-dialect-mixed": any_state(lambda p: int(p.flags) == 0x10),
    "devstate-size-implausible": any_state(lambda p: p.next_packet_size == (3 << 20) + 12),
    "vfio-buffer-large": any_state(lambda p: p.next_packet_size == (1 << 20) + 4096 + 12),
    "devstate-without-switchover": lambda s: SWITCHOVER in CLEAN.main and SWITCHOVER not in s.main,
    "devstate-before-switchover": lambda s: (
        first_time(s, lambda data: SWITCHOVER in data)
        > first_time(s, lambda data: IDSTR in data and data[:4] == b"\x11\x22\x33\x44")
    ),
    "devstate-after-main-end": lambda s: (
        last_state(s) > first_time(s, lambda data: data.endswith(b"]}]}"))
    ),
    "devstate-announced-missing": lambda s: not s.state(),
    "devstate-unannounced": lambda s: CONFIG_TAG in s.main,
    "devstate-single-channel": lambda s: all(
        "idstr" not in p.fields for channel in (1, 2) for p in s.channels[channel]
    ),
    "vfio-config-load-ready-mismatch": lambda s: s.indices() == ALL[:-1],
    # -- VFIO buffers
    "vfio-short": any_state(lambda p: p.next_packet_size == 5),
    "vfio-version": any_state(lambda p: p.payload.version == 1),
    "vfio-byte-order": any_state(lambda p: "Host" in type(p.payload).__name__),
    "vfio-flags-unknown": any_state(lambda p: int(p.payload.flags) == 0x80),
    "vfio-data-empty": any_state(lambda p: p.next_packet_size == 12),
    "vfio-idx-max": lambda s: s.indices() == [*ALL, 0xFFFFFFFF],
    "vfio-idx-huge": lambda s: s.indices() == [*ALL, 50_000_000],
    "vfio-idx-duplicate": lambda s: s.indices() == [0, 1, 1, 2, 3, 4],
    "vfio-idx-gap": lambda s: s.indices() == [0, 2, 3, 4],
    "vfio-idx-above-last": lambda s: s.indices() == [*ALL, 5] and len(s.configs()) == 1,
    "vfio-idx-start": lambda s: s.indices() == [1, 2, 3, 4, 5],
    "vfio-idx-swapped": lambda s: s.indices() == ALL and s.data != CLEAN.data,
    "vfio-no-config": lambda s: s.indices() == ALL[:-1] and not s.configs(),
    "vfio-config-twice": lambda s: [p.payload.idx for p in s.configs()] == [4, 5],
    "vfio-config-not-last": lambda s: s.indices() == [0, 1, 2, 3, 3],
    "vfio-config-header": lambda s: config_data(s)[:8] == bytes(8),
    "vfio-config-end": lambda s: config_data(s)[-8:] == bytes(8),
    "vfio-config-size": lambda s: len(config_data(s)) == 4132 + 24,
    "vfio-config-version": lambda s: config_data(s)[8:12] == b"\0\0\0\3",
    "vfio-reordered": lambda s: s.indices() == ALL and arrival(s) == [1, 2, 0, 3, 4],
    "vfio-config-before-data": lambda s: s.indices() == ALL and arrival(s)[:2] == [0, 4],
}


def arrival(seen: Seen) -> list[int]:
    """Buffer indices in the order in which their headers are captured (one packet at a time)."""
    heads = [seg.payload for seg in seen.segments if seg.payload[12:29] == IDSTR]
    return [int.from_bytes(head[280:284], "big") for head in heads]


UNIT_FAULTS = [fault for fault in FAULTS if fault.stage == "units"]


def test_every_fault_is_in_the_table() -> None:
    assert {fault.kind for fault in UNIT_FAULTS} == set(SHOWN)


@pytest.mark.parametrize("fault", UNIT_FAULTS, ids=lambda fault: fault.kind)
def test_fault_is_on_the_wire(fault: Any) -> None:
    clean = {key: value for key, value in fault.example.items() if key != "fault"}
    seen = Seen(fault.example)
    assert seen.data != build(clean)
    assert SHOWN[fault.kind](seen)


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.kind)
def test_fault_says_what_it_is(fault: Any) -> None:
    assert (
        fault.meaning.split()[0] in ("pages_alloc", "next_packet_size")
        or fault.meaning[0].isupper()
    )
    assert "\n" not in fault.meaning
    assert all(rule.startswith("MF") and rule[2:].isdigit() for rule in fault.rules)


@pytest.mark.parametrize(
    ("where", "size"),
    [("header", 7), ("after-header", 12), ("fixed", 100), ("offsets", 340)],
)
def test_packet_truncated_where(where: str, size: int) -> None:
    seen = Seen({"fault": [{"kind": "packet-truncated", "where": where}]})
    assert len(seen.rest()) == size


@pytest.mark.parametrize("interleave", ["segment", "packet"])
def test_a_late_buffer_keeps_its_device_waiting(interleave: str) -> None:
    fault = {"kind": "vfio-reordered", "seconds": 2.0}
    device = {"idstr": "0000:00:02.0/vfio", "size": "256 KiB", "buffer_size": "64 KiB"}
    made = build({"interleave": interleave, "device": [device], "fault": [fault]})
    (migration,) = analyze(made).migrations
    (late,) = migration.devices.values()
    queue = late.queue()
    assert queue.waited_for == 0
    assert 2_000_000_000 <= queue.longest_wait < 2_100_000_000


def test_faults_add_up() -> None:
    faults = [{"kind": "vfio-idx-gap"}, {"kind": "destination-hangs"}, {"kind": "tcp-duplicate"}]
    seen = Seen({"fault": faults})
    assert seen.indices() == [0, 2, 3, 4]
    assert flags(seen, FIN) == 0


def test_size_mismatch_where_the_field_is_true() -> None:
    seen = Seen({"fault": [{"kind": "size-mismatch-nocomp", "payload": "field"}]})
    assert SHOWN["size-mismatch-nocomp"](seen)
    assert not seen.rest(0)
    assert not seen.rest(1)
