"""Main channels of the shipped captures against what QEMU says about them."""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING, Any

import pytest

from analyzer.migration import vmdescription
from analyzer.migration.consumers import PageCollector
from analyzer.migration.scan import Scan
from dissectors.vfio_config import parse_config
from tests.migration.mapped_files import Taken
from tests.shipped import NAMES, capture, truth

if TYPE_CHECKING:
    from analyzer.migration.main_channel import MainFacts

BROKEN_OFF = ("killed", "refused", "yank", "cancelled", "differ", "exceeded")
"""Runs that stopped in the middle of the stream."""
CUT = ("snaplen", "midstream")
HIDDEN = ("tls", "setup-hangs")
POSTCOPY = ("postcopy", "recovered")
"""In the names of migrations that went into postcopy."""


@cache
def mains(name: str) -> list[MainFacts]:
    scan = Scan(capture(name)).run()
    return [m.main_facts for m in scan.migrations if m.main_facts is not None]


def ram_of(name: str) -> dict[str, Any]:
    ram: dict[str, Any] = truth(name)["query_migrate_source"]["ram"]
    return ram


@pytest.mark.parametrize("name", [n for n in NAMES if not any(w in n for w in HIDDEN)])
def test_walked_without_a_fault(name: str) -> None:
    channels = mains(name)
    assert channels
    for main in channels:
        assert set(main.anomalies.counts) <= {"main-truncated"}
        if not any(word in name for word in CUT):
            assert (main.skipped, main.missing) == (0, 0)
            assert main.machine is not None or ("recovered" in name and main is channels[1])
            assert [record.name for record in main.records].count("SWITCHOVER_START") <= 1


UNFINISHED = {"8.2.2-dirty-bitmaps-2ch": ["dirty-bitmap"], "11.1.3-background-snapshot": ["ram"]}
UNTOLD = {"7.2-s390x-2ch": ["s390_css"]}


@pytest.mark.parametrize(
    "name",
    [n for n in NAMES if not any(w in n for w in (*HIDDEN, *CUT, *BROKEN_OFF, *POSTCOPY))],
)
def test_completed_ones_to_the_last_byte(name: str) -> None:
    main = mains(name)[-1]
    assert not main.anomalies
    assert main.eof is not None
    assert main.truncated is None
    assert main.description_complete
    assert [section.text for section in main.unfinished_sections] == UNFINISHED.get(name, [])
    assert not vmdescription.verify(main)
    decoded = vmdescription.decode(main)
    assert len(decoded) > 12
    untold = [device.record.name for device in decoded if not device.complete]
    assert untold == UNTOLD.get(name, [])


class Encoded(PageCollector):
    def __init__(self) -> None:
        self.taken = Taken()

    def records(self, *_: object) -> Taken:
        return self.taken


@pytest.mark.parametrize("name", ["7.2-plain-tcp-nomultifd", "10.0.13-xbzrle-nomultifd"])
def test_pages_on_main(name: str) -> None:
    encoded = Encoded()
    (migration,) = Scan(capture(name), page_collector=encoded).run().migrations
    main, ram = migration.main_facts, ram_of(name)
    assert main is not None
    assert main.ram.normal_pages == ram["normal"]
    assert main.ram.zero_pages == ram["duplicate"]
    assert main.ram.page_size == ram["page-size"]
    xbzrle = truth(name)["query_migrate_source"].get("xbzrle-cache", {})
    assert main.ram.xbzrle_pages == xbzrle.get("pages", 0)
    # QEMU adds encoding and length (3 bytes) to the encoded pages.
    encoded_bytes = encoded.taken.encoded_bytes + 3 * main.ram.xbzrle_pages
    assert encoded_bytes == xbzrle.get("bytes", 0)
    assert len(main.ram.iterations) <= ram["dirty-sync-count"]


@pytest.mark.parametrize("name", ["7.2-multifd-2ch", "10.0.13-machine-q35-7.2-2ch"])
def test_zero_pages_on_main_of_old_machines(name: str) -> None:
    (main,) = mains(name)
    assert main.ram.zero_pages == ram_of(name)["duplicate"]
    assert main.ram.normal_pages == 0
    assert main.ram.flushes == []
    assert len(main.ram.section_ends) == 3


def test_a_postcopy_migration_is_packaged_and_has_no_description() -> None:
    (main,) = mains("11.1.3-postcopy-multifd-2ch")
    assert not main.anomalies
    assert main.packaged is not None
    assert main.postcopy_run is not None
    assert main.eof is not None
    assert main.description is None
    assert main.ram.page_size == 4096
    assert [value for value, _mark in main.pings] == [1, 2, 3, 0x42, 4]
    ram = ram_of("11.1.3-postcopy-multifd-2ch")
    in_packets = truth("11.1.3-postcopy-multifd-2ch")["trace_src"]["sum_normal_pages_in_packets"]
    assert main.ram.normal_pages == ram["normal"] - in_packets


@pytest.mark.parametrize(
    ("name", "device"),
    [
        ("10.0.13-vfio-transfer-off-2ch", 0),
        ("11.1.3-vfio-zlib-auto-2ch", 0),
        ("11.1.3-vfio-mixed-on-off-4ch", 1),
    ],
)
def test_device_state_on_main(name: str, device: int) -> None:
    (main,) = mains(name)
    kernel = truth(name)["devices"][device]
    vfio = main.devices[kernel["idstr"].encode(), 0]
    assert vfio.announced == "main"
    assert vfio.main_bytes == kernel["kernel_saved"]["bytes"]
    bodies = [r.body for r in main.records if r.section_id == vfio.section_id and r.body]
    config = parse_config(bodies[-1])
    assert not config.problems
    assert (config.vendor_id, config.device_id, config.space_size) == (0x4348, 0x3253, 4096)


@pytest.mark.parametrize(
    "name",
    [
        n
        for n in NAMES
        if "vfio" in n and not any(w in n for w in (*HIDDEN, *CUT)) and "devices" in truth(n)
    ],
)
def test_how_devices_were_announced(name: str) -> None:
    on_main = ("transfer=off", "zlib", "q35-9.2")
    main = mains(name)[0]
    assert truth(name)["devices"]
    for device in truth(name)["devices"]:
        vfio = main.devices.get((device["idstr"].encode(), 0))
        if vfio is None or vfio.announced is None:
            assert any(word in name for word in BROKEN_OFF)
        else:
            off = "off" in device["transfer_property"] or any(word in name for word in on_main)
            assert vfio.announced == ("main" if off else "multifd")


def test_a_device_that_waits_for_its_mark() -> None:
    (main,) = mains("11.1.3-vfio-config-after-iter-2ch")
    (device,) = main.devices.values()
    assert len(device.load_ready) == 1
    assert device.announced == "multifd"
