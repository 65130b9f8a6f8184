"""Scrubbed captures: the same verdict, and nothing of the original in them."""

from __future__ import annotations

import io
import json
import shutil
import struct
import subprocess
from random import Random
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from analyzer.analysis import analyze
from analyzer.capture.file import CaptureFile
from analyzer.capture.segment import decode as segment_of
from analyzer.capture.source import open_source
from analyzer.migration.consumers import DeviceCollector, PageCollector
from analyzer.migration.outcome import outcome_of
from analyzer.migration.scan import Scan
from analyzer.migration.settings import Settings
from analyzer.migration.vmdescription import decode, verify
from analyzer.scrub.frame import mend, total
from analyzer.scrub.scrubbing import scrub
from analyzer.scrub.structure import subsection_spans
from analyzer.scrub.verdict import verdict
from analyzer.synth import build
from dissectors import xbzrle
from dissectors.main_stream import RamFlag
from dissectors.multifd import RAM
from tests.capture.files import pcap
from tests.checks.craft import Craft, Tiny, fired
from tests.checks.test_channels import RAM_RECORD, rfc0, with_stranger
from tests.commands.run import mfshark
from tests.lossy import CONNECTIONS, LOSSES, frames_of, kept, without
from tests.migration import main_streams as streams
from tests.migration.main_streams import EOS, RAM_ID
from tests.migration.test_foreign import needs_tshark
from tests.migration.tls_captures import KEYS, stripped
from tests.shipped import FILES, NAMES, capture
from tests.tunnelled import NATIVE, TUNNELS, wrapped

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from pathlib import Path

KEY = b"k" * 32
WITH_SECRETS = "10.0.13-tls13-x509-2ch-secrets-embedded"
"""Its original is decrypted with the secrets inside, which a scrubbed one does not have."""


TSHARK = (
    *("tshark", "-o", "tcp.check_checksum:TRUE", "-o", "ip.check_checksum:TRUE"),
    *("-Y", "not ip.fragment and not ip.flags.mf == 1 and not ip.frag_offset > 0"),
    *("-T", "fields", "-e", "frame.time_epoch", "-e", "frame.len"),
    *("-e", "tcp.seq_raw", "-e", "tcp.checksum.status", "-e", "ip.checksum.status"),
)


def scrubbed(path: Path | bytes, key: bytes = KEY, **options: Any) -> bytes:
    out = io.BytesIO()
    scrub(path, out, key, Settings(), **options)  # type: ignore[arg-type]
    return out.getvalue()


def payloads(path: Path | bytes) -> Iterator[bytes]:
    for batch in CaptureFile(open_source(path)).batches():
        for start in batch.starts:
            held, wire = batch.record(batch.buffer, start - 16)[2:]
            segment = segment_of(batch.buffer, start, held, wire, batch.interface.link_type)
            if not isinstance(segment, str):
                yield bytes(batch.buffer[segment.start : segment.start + segment.captured])


@pytest.mark.parametrize("name", [name for name in NAMES if name != WITH_SECRETS])
def test_check_says_the_same(name: str) -> None:
    path = capture(name)
    result = scrubbed(path)
    assert verdict(analyze(result)) == verdict(analyze(path))


@pytest.mark.parametrize(
    "made",
    [
        with_stranger(RAM_RECORD),
        rfc0(stranger=bytes(16)),
        rfc0(stranger=RAM_RECORD),
        with_stranger(b"GET / HTTP/1.1\r\n"),
    ],
)
def test_check_says_the_same_of_a_connection_that_is_no_channel(made: Callable[[], bytes]) -> None:
    original = made()
    assert sorted(fired(scrubbed(original))) == sorted(fired(original))


@pytest.mark.parametrize("name", [3, 6, 7], ids=lambda size: f"{size} bytes")
def test_check_says_the_same_of_headers_cut_in_the_block_name(name: int) -> None:
    cut = Tiny().craft().pcap(snaplen=54 + RAM["ramblock"].offset + name)
    before, after = analyze(cut), analyze(scrubbed(cut))
    assert verdict(after) == verdict(before)
    assert [len(m.pages.blocks) for m in before.migrations] == [int(name == 7)]


def test_an_initial_packet_behind_a_header_of_the_rfc_needs_no_handshake_to_be_known() -> None:
    data = build({"dialect": "rfc0", "fault": [{"kind": "tcp-no-handshake"}]})
    analysis = analyze(data)
    (uuid,) = {c.init.uuid for c in analysis.migrations[0].multifd if c.init is not None}
    result = scrubbed(data)
    assert uuid in data
    assert uuid not in result
    assert verdict(analyze(result)) == verdict(analysis)


def test_a_device_that_is_named_in_the_verdict_makes_no_difference() -> None:
    data = build({"return_path": False, "fault": [{"kind": "vfio-idx-gap"}]})
    (migration,) = analyze(data).migrations
    assert "0000:00:02.0/vfio" in outcome_of(migration).evidence
    assert verdict(analyze(scrubbed(data))) == verdict(analyze(data))


def test_check_says_the_same_wherever_a_config_state_on_main_breaks_off() -> None:
    whole = build({"device": [{"transfer": False}], "ram": {"era": "7.2"}, "interleave": "packet"})
    for lost in range(100, 6000, 200):
        cut = whole[:-lost]
        assert verdict(analyze(scrubbed(cut))) == verdict(analyze(cut)), lost


class Originals(DeviceCollector, PageCollector):
    """Collects what must not be found, as 8-byte windows: a collector of pages and of buffers."""

    def __init__(self) -> None:
        self.windows: set[bytes] = set()

    def take(self, piece: bytes | memoryview | None, _count: int = 0) -> None:
        count = 0 if piece is None else (len(piece) - 1) // 8
        if piece is None or count <= 0:
            return
        windows = np.frombuffer(piece, np.uint8, 8 * count).reshape(count, 8)
        different = 1 + np.count_nonzero(np.diff(np.sort(windows, axis=1), axis=1), axis=1)
        self.windows.update(windows[different > 4].view("V8").ravel().tolist())

    def payload(self, *_: object) -> Any:
        return self.take

    def lost(self, _channel: object) -> None:
        pass

    def records(self, *_: object) -> Any:
        return self

    def content(self, *_: object) -> Any:
        return self.take

    def zeros(self, *_: object) -> None:
        pass

    unread = zeros

    def encoded(self, _block: object, _address: int, data: bytes) -> None:
        page = bytearray(4096)
        xbzrle.apply(data, page)
        self.take(bytes(page))

    def buffer(self, _migration: object, packet: Any) -> Any:
        return None if packet.is_config else self.take

    def main_data(self, *_: object) -> Any:
        return self.take


def contents(path: Path) -> set[bytes]:
    """Windows of page contents, buffers and sections of devices; not of names of subsections."""
    found = Originals()
    scan = Scan(path, device_collector=found, page_collector=found).run()
    for migration in scan.migrations:
        assert migration.main_facts is not None
        for device in decode(migration.main_facts, values=False):
            body = device.record.body or b""
            at = 0
            for begin, end in sorted(subsection_spans(device.nodes)):
                found.take(body[at:begin])
                at = end
            found.take(body[at:])
    return found.windows


def found_in(pieces: Iterable[bytes], windows: set[bytes]) -> set[bytes]:
    """Which of the windows, of eight bytes, occur anywhere."""
    wanted = np.sort(np.frombuffer(b"".join(windows), np.uint64))
    found: set[bytes] = set()
    for data in pieces:
        for shift in range(min(8, len(data))):
            words = np.frombuffer(data, np.uint64, (len(data) - shift) // 8, shift)
            at = np.searchsorted(wanted, words)
            same = wanted[np.minimum(at, len(wanted) - 1)] == words
            found |= {word.tobytes() for word in np.unique(words[same])}
    return found


@pytest.mark.parametrize(
    "name",
    [
        "10.0.13-vfio-3dev-4ch",
        "10.0.13-vfio-transfer-off-2ch",
        "11.1.3-postcopy-multifd-2ch",
        "10.0.13-xbzrle-nomultifd",
        "11.1.3-veth-mtu1500-zstd-3ch",
        "10.0.13-vfio-gaps-2ch",
    ],
)
def test_nothing_of_the_contents_remains(name: str) -> None:
    windows = contents(capture(name))
    assert len(windows) > 100
    assert any(found_in([piece], windows) for piece in payloads(capture(name)))
    left = found_in(payloads(scrubbed(capture(name))), windows)
    # The guest's memory holds the names of the ROMs that QEMU makes, and those are kept.
    assert {window for window in left if window not in b"/rom@etc/acpi/tables rsdp"} <= {
        b"acpi/rsd"
    }


@pytest.mark.parametrize(
    "name", ["8.2.2-multifd-2ch", "9.2.1-multifd-2ch", "11.1.3-vfio-3dev-4ch-shortreads"]
)
def test_check_says_the_same_of_what_is_left_of_a_capture(name: str) -> None:
    frames, link = frames_of(capture(name))
    chance = Random(name)
    fractions = [len(frames) * tenth // 10 for tenth in range(1, 10)]
    left = [frames[:count] for count in (20, *fractions)]
    left += [[frames[n] for n in kept(loss, len(frames), chance)] for loss in LOSSES]
    left += [without(what, frames, link, chance) for what in CONNECTIONS]
    left += [frames[13:], frames[:8] + frames[18:]]
    for number, some in enumerate(left):
        data = pcap(some, link=link)
        assert verdict(analyze(scrubbed(data))) == verdict(analyze(data)), number


def test_names_and_uuids_are_gone() -> None:
    path = capture("10.0.13-uuid-name-2ch")
    before = analyze(path)
    raw = path.read_bytes()
    result = scrubbed(path)
    (migration,) = before.migrations
    assert migration.uuid is not None
    assert any(migration.uuid)
    assert migration.uuid in raw
    assert migration.uuid not in result
    after = analyze(result).migrations[0]  # loopback addresses tell nothing, and stay
    assert (after.source, after.destination) == (migration.source, migration.destination)


def test_addresses_become_others() -> None:
    path = capture("10.0.13-veth-mtu1500-2ch")
    result = scrubbed(path)
    (before,), (after,) = analyze(path).migrations, analyze(result).migrations
    for one, other in zip(
        (before.source, before.destination), (after.source, after.destination), strict=True
    ):
        assert one.startswith("10.77.0.")
        assert other.startswith("10.")
        assert not other.startswith("10.77.0.")
    for address in (b"\x0a\x4d\0\1", b"\x0a\x4d\0\2"):
        assert address in path.read_bytes()
        assert address not in result


@pytest.mark.parametrize("name", NATIVE)
def test_addresses_of_tunnels_become_others_too(name: str, tmp_path: Path) -> None:
    plain = tmp_path / "plain.pcap"
    plain.write_bytes(build({"ram": {"blocks": {"pc.ram": 1 << 20}}, "network": {"mtu": 9000}}))
    path, result = wrapped(plain, tmp_path / "tunnel.pcap", NATIVE[name]), tmp_path / "result.pcap"
    result.write_bytes(scrubbed(path))
    assert verdict(analyze(result)) == verdict(analyze(path))
    original, left = path.read_bytes(), result.read_bytes()
    link = b"RT\0\x124V", b"RT\0\x124W"
    outer = b"\xc0\0\2\1", b"\xc0\0\2\2", bytes.fromhex("20010db8") + bytes(11)
    inner = b"\x0a\x4d\0\1", b"\x0a\x4d\0\2"
    for address in (*link, *outer, *inner):
        assert address not in left
    assert all(address in original for address in (*link, *inner))


@needs_tshark
def test_checksums_of_tunnels_are_none_rather_than_wrong(tmp_path: Path) -> None:
    plain, result = tmp_path / "plain.pcap", tmp_path / "result.pcap"
    plain.write_bytes(build({"ram": {"blocks": {"pc.ram": 1 << 20}}}))
    result.write_bytes(scrubbed(wrapped(plain, tmp_path / "tunnel.pcap", NATIVE["vxlan"])))
    command = [*TSHARK, "-o", "udp.check_checksum:TRUE", "-Y", "udp.checksum.status == 0"]
    ran = subprocess.run([*command, "-r", result], capture_output=True, text=True, check=True)
    assert ran.stdout == ""


def test_devices_are_renamed_everywhere_alike() -> None:
    result = scrubbed(capture("10.0.13-vfio-3dev-4ch"))
    assert b"0000:00:02.0/vfio" not in result
    (migration,) = analyze(result).migrations
    names = {name for name, _ in migration.devices}
    assert len(names) == 3
    assert names == {
        key[0] for key in (migration.main_facts.devices if migration.main_facts else ())
    }
    kept = scrubbed(capture("10.0.13-vfio-3dev-4ch"), keep_names=True)
    assert b"0000:00:02.0/vfio" in kept


def test_fields_can_still_be_read_by_the_description() -> None:
    (migration,) = analyze(scrubbed(capture("11.1.3-vfio-2dev-8ch"))).migrations
    assert migration.main_facts is not None
    assert verify(migration.main_facts) == []
    decoded = decode(migration.main_facts, values=False)
    assert len(decoded) > 20
    assert [device.anomalies for device in decoded if device.anomalies] == []


def test_a_seed_gives_the_same_bytes_and_another_other_ones() -> None:
    path = capture("10.0.13-alpha-8k-pages-2ch")
    assert scrubbed(path) == scrubbed(path)
    assert scrubbed(path) != scrubbed(path, b"another".ljust(32))


def test_zero_pages_stay_zero(tmp_path: Path) -> None:
    path = tmp_path / "x.pcap"
    path.write_bytes(build({"ram": {"blocks": {"pc.ram": 1 << 20}, "normal_pages": 20}}))
    assert verdict(analyze(scrubbed(path))) == verdict(analyze(path))


@pytest.mark.parametrize("size", [1024, 4096, 16384])
def test_parts_of_pages_on_main_do_not_stay_zero(size: int) -> None:
    content = bytes([7]) * 100 + bytes(size - 100)
    listed = streams.start(RAM_ID, b"ram", streams.mem_size({b"ram0": 4 * size}) + EOS)
    pages = [
        streams.record(at * size, RamFlag.PAGE, None if at else b"ram0", content) for at in range(3)
    ]
    sent = streams.part(RAM_ID, b"".join(pages) + EOS)
    made = Craft()
    made.connect(46000).send(streams.OPENING + listed + sent + streams.CLOSING)
    assert bytes(min(size - 100, 1000)) in b"".join(payloads(made.pcap()))
    assert bytes(100) not in b"".join(payloads(scrubbed(made.pcap())))


@pytest.mark.parametrize(
    "scenario",
    [
        {"capture": {"link": "sll", "resolution": "ns"}},
        {
            "capture": {"link": "sll2", "format": "pcapng"},
            "network": {
                "source": "2001:db8::1",
                "destination": "2001:db8::2",
                "extension_headers": 2,
            },
        },
        {"capture": {"link": "null"}},
        {"capture": {"link": "raw"}},
        {"network": {"vlans": [7, 8]}},
        {"fault": [{"kind": "ip-fragments"}]},
    ],
    ids=["sll", "sll2-v6", "null", "raw", "vlan", "fragments"],
)
def test_checksums_are_mended(scenario: dict[str, Any], tmp_path: Path) -> None:
    ram = {"blocks": {"pc.ram": 1 << 20}, "normal_pages": 20}
    path, result = tmp_path / "x", tmp_path / "y"
    path.write_bytes(build({"ram": ram, **scenario}))
    result.write_bytes(scrubbed(path))
    assert verdict(analyze(result)) == verdict(analyze(path))
    if shutil.which("tshark") is None:
        pytest.skip("tshark is not installed")
    rows = [
        subprocess.run(
            [*TSHARK, "-r", file],
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        for file in (str(path), str(result))
    ]
    assert rows[0] == rows[1]
    assert len(rows[0].splitlines()) > 40


SECRET = b"SECRETPASSWORD!!"
IPV4 = ">BBHHHBBH4s4s"
IPV6 = ">IHBB16s16s"


def udp_fragment(offset: int, data: bytes) -> bytes:
    head = (0x45, 0, 20 + len(data), 7, offset, 64, 17, 0, b"\x0a\0\0\1", b"\x0a\0\0\2")
    return bytes(12) + b"\x08\0" + struct.pack(IPV4, *head) + data


def over_ipv6(kind: int, data: bytes) -> bytes:
    ends = b"\x20\1" + bytes(14), b"\x20\1" + bytes(13) + b"\1"
    return bytes(12) + b"\x86\xdd" + struct.pack(IPV6, 6 << 28, len(data), kind, 64, *ends) + data


@pytest.mark.parametrize(
    "frame",
    [
        udp_fragment(3, SECRET),
        over_ipv6(0, b"\x11\0" + SECRET[:6] + bytes(8)),
        over_ipv6(51, b"\x11\2" + SECRET[:14] + bytes(8)),
        over_ipv6(44, b"\x11\0\0\x18" + bytes(4) + SECRET),
        over_ipv6(44, b"\x3c\0\0\x18" + bytes(4) + b"\x11\0" + SECRET[:6]),
    ],
    ids=["udp", "hop-by-hop", "authentication", "udp-v6", "extension"],
)
def test_fragments_and_extension_headers_keep_nothing(frame: bytes) -> None:
    path = pcap([(1, frame, len(frame)), (2, udp_fragment(0x2000, b"\4\x57\4\x58" + SECRET), 50)])
    result = scrubbed(path)
    assert not any(SECRET[at : at + 2] in result for at in range(len(SECRET) - 1))
    assert b"\4\x57\4\x58" in result, "the ports of a first fragment stay"


def test_a_bad_checksum_stays_bad() -> None:
    data = bytearray(b"\x45\0\0\x28\x12\x34\0\0\x40\x06\x11\x11\xc0\xa8\0\1\xc0\xa8\0\2")
    before = total(data)
    assert before != 0
    data[12] = 10
    mend(data, 10, before, total(data), False)
    assert total(data) == before


def test_the_command(tmp_path: Path) -> None:
    source = tmp_path / "in.pcapng.gz"
    shutil.copy(capture("10.0.13-vfio-3dev-4ch"), source)
    out, digests = tmp_path / "out.pcapng.gz", tmp_path / "digests.json"
    ran = mfshark("scrub", source, out, "--seed", "s", "--digests", digests)
    assert ran.status == 0, ran.err
    assert "gives the same verdict on both" in ran.out
    devices = json.loads(digests.read_text())["migrations"][0]
    assert {device["idstr"] for device in devices} == {f"0000:00:0{n}.0/vfio" for n in (2, 3, 4)}
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "digests.json", "in.pcapng.gz", "out.pcapng.gz",
    ]  # fmt: skip
    first = out.read_bytes()
    assert mfshark("scrub", source, out).status == 2
    assert mfshark("scrub", source, source, "--force").status == 2
    assert mfshark("scrub", source, out, "--seed", "s", "--force", "-q").status == 0
    assert out.read_bytes() == first


@pytest.mark.parametrize("suffix", [".gz", ".zst"])
def test_the_copy_is_compressed_as_its_name_says(suffix: str, tmp_path: Path) -> None:
    out = tmp_path / ("out.pcapng" + suffix)
    ran = mfshark("scrub", capture("10.0.13-vfio-3dev-4ch"), out, "--seed", "s")
    assert ran.out.startswith(f"{out}: 619 frames, 1 migration\n")
    assert out.read_bytes()[:2] == {".gz": b"\x1f\x8b", ".zst": b"\x28\xb5"}[suffix]


def test_what_cannot_be_written_is_named(tmp_path: Path) -> None:
    ran = mfshark("scrub", capture("10.0.13-alpha-8k-pages-2ch"), tmp_path / "none" / "x.pcap")
    assert ran.status == 2
    assert "none/x.pcap cannot be written" in ran.err


def test_a_cut_original_is_copied_up_to_the_cut(tmp_path: Path) -> None:
    cut = tmp_path / "cut.pcapng.gz"
    cut.write_bytes(FILES["10.0.13-vfio-3dev-4ch"].read_bytes()[:200_000])
    ran = mfshark("scrub", cut, tmp_path / "out.pcapng")
    assert ran.status == 2
    assert "what came before is reported" in ran.err
    assert "gives the same verdict on both" in ran.out


def test_a_status_of_2_is_explained(tmp_path: Path) -> None:
    nothing, out = tmp_path / "in.pcap", tmp_path / "out.pcap"
    nothing.write_bytes(build({})[:24])
    ran = mfshark("scrub", "-q", nothing, out)
    assert (ran.status, ran.out) == (2, "")
    assert ran.err == f"mfshark: {nothing}: no readable migration in 0 frames\n"


def test_secrets_and_contents_of_tls_are_gone() -> None:
    path = capture(WITH_SECRETS)
    result = scrubbed(path)
    assert b"TRAFFIC_SECRET" in path.read_bytes()
    assert b"TRAFFIC_SECRET" not in result
    for data in payloads(result):
        assert len(data.replace(b"\0", b"")) < 200
    assert len(analyze(result).scan.grouper.tls) == 3


@pytest.mark.parametrize("by_variable", [False, True])
def test_a_key_log_does_not_make_the_verdicts_differ(
    by_variable: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SSLKEYLOGFILE", str(KEYS) if by_variable else "")
    keys = () if by_variable else ("--keylog", KEYS)
    original, out = stripped(tmp_path / "tls.pcapng"), tmp_path / "scrubbed.pcapng"
    ran = mfshark("scrub", original, out, *keys)
    assert ran.status == 2, ran.err  # no migration can be read in the copy
    assert "please report" not in ran.err


@needs_tshark
def test_what_only_tshark_can_read_is_zeros_and_no_verdict_that_differs(tmp_path: Path) -> None:
    inner, tunnel = tmp_path / "inner.pcap", tmp_path / "tunnel.pcap"
    inner.write_bytes(build({"device": []}))
    ran = mfshark("scrub", wrapped(inner, tunnel, TUNNELS["trill"]), tmp_path / "out.pcap")
    assert ran.status == 2, ran.err
    assert ran.err.endswith(" frames are tunnels\n")
    assert b"QEVM" not in (tmp_path / "out.pcap").read_bytes()
