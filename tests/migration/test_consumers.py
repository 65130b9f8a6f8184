"""What watchers and collectors of a scan get."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

from analyzer.migration.consumers import DeviceCollector, PageCollector, Watcher
from analyzer.migration.scan import Scan
from tests.shipped import capture

if TYPE_CHECKING:
    from analyzer.migration.channel import Channel
    from analyzer.migration.main_channel import DeviceKey, Record
    from analyzer.migration.migration import Migration
    from analyzer.migration.rows import DevicePacket
    from analyzer.tcp.requests import Sink

NAME = "10.0.13-vfio-many-small-buffers-4ch"


class Seen(Watcher):
    """The records of main, and how many packets of devices there were."""

    def __init__(self) -> None:
        self.records: list[Record] = []
        self.devices: Counter[int] = Counter()

    def record(self, migration: Migration, record: Record) -> None:
        assert migration.number == 0
        self.records.append(record)

    def device(self, migration: Migration, channel: Channel, packet: DevicePacket) -> None:
        assert channel in migration.multifd
        self.devices[packet.instance_id] += 1


class Sizes(DeviceCollector):
    """Bytes of devices: over multifd, and on main by device."""

    def __init__(self) -> None:
        self.multifd = 0
        self.main: Counter[DeviceKey] = Counter()

    def buffer(self, migration: Migration, packet: DevicePacket) -> Sink | None:
        assert packet.idx is not None
        assert migration.number == 0

        def sink(_piece: bytes | memoryview | None, size: int) -> None:
            self.multifd += size

        return sink

    def main_data(self, migration: Migration, key: DeviceKey) -> Sink | None:
        assert migration.number == 0

        def sink(_piece: bytes | memoryview | None, size: int) -> None:
            self.main[key] += size

        return sink


def test_each_gets_what_it_asks_for() -> None:
    seen, other, sizes = Seen(), Seen(), Sizes()
    scan = Scan(capture(NAME), watchers=(seen, other), device_collector=sizes).run()
    (migration,) = scan.migrations
    assert migration.main_facts is not None
    assert seen.records == other.records == migration.main_facts.records
    assert sum(seen.devices.values()) == sum(d.packets for d in migration.devices.values()) > 0
    assert sizes.multifd == sum(device.bytes for device in migration.devices.values())
    on_main = {key: found.main_bytes for key, found in migration.vfio_sections.items()}
    assert sizes.main == Counter(on_main)


def test_who_wants_nothing_changes_nothing() -> None:
    plain = Scan(capture(NAME)).run()
    watched = Scan(
        capture(NAME),
        watchers=(Watcher(),),
        device_collector=DeviceCollector(),
        page_collector=PageCollector(),
    ).run()
    one, other = plain.migrations[0], watched.migrations[0]
    assert [(c.decoded, c.missing) for c in one.channels] == [
        (c.decoded, c.missing) for c in other.channels
    ]
    assert [d.bytes for d in one.devices.values()] == [d.bytes for d in other.devices.values()]
