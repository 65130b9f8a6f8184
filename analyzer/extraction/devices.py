"""The reassembled state of devices as files."""

from __future__ import annotations

from analyzer.extraction.folder import seen
from analyzer.migration.assembly import Assembler
from analyzer.migration.buffers import Buffers
from analyzer.migration.channel import known_number
from dissectors.multifd import names_device

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any

    from analyzer.extraction.folder import Folder
    from analyzer.migration.assembly import DeviceSink
    from analyzer.migration.main_channel import VfioSection
    from analyzer.migration.migration import Migration

__all__ = ["DeviceFiles"]

ZEROS = bytes(1 << 20)


def _means(text: str, name: str) -> bool:
    """Whether a text names a device, even one whose idstr contains a ``#``."""
    return names_device(text, name) or name == f"{text}#0"


class DeviceFiles:
    """The state of the devices named ``wanted`` (``idstr#instance``, or ``idstr`` for all its
    instances; empty: all devices), their config state, and with ``buffers`` each buffer; only of
    the migration ``number`` if given.
    """

    def __init__(
        self,
        folder: Folder,
        wanted: Sequence[str],
        *,
        buffers: bool,
        number: int | None = None,
    ) -> None:
        self._folder = folder
        self._wanted = wanted
        self._buffers = buffers
        self._number = number
        self._seen: set[str] = set()
        self._stems: dict[tuple[int, str], str] = {}
        self.assembler = Assembler(self._chosen, self._sink_of)

    def _chosen(self, name: str) -> bool:
        self._seen.add(name)
        return not self._wanted or any(_means(text, name) for text in self._wanted)

    def unknown(self) -> list[str]:
        """The wanted names that no device has."""
        return [t for t in self._wanted if not any(_means(t, name) for name in self._seen)]

    def names(self) -> set[str]:
        """Names of the devices in the capture."""
        return self._seen

    def incomplete(self) -> list[str]:
        """Names of the devices with missing state."""
        assemblies = self.assembler.assemblies.values()
        return [assembly.name for assembly in assemblies if assembly.state_digest is None]

    def _sink_of(self, migration: Migration, name: str) -> DeviceSink:
        """Where a device's bytes go."""
        if self._number not in (None, migration.number):
            return _nowhere
        number = migration.number
        stem = self._stems[migration.number, name] = self._folder.stem(f"m{number}-{name}")
        append = self._folder.append

        def sink(what: str, idx: int | None, data: bytes | None, size: int) -> None:
            if data is None:
                for at in range(0, size, len(ZEROS)):
                    sink(what, idx, ZEROS[: size - at], min(size - at, len(ZEROS)))
                return
            facts = {"migration": number, "device": name, "what": what}
            if what == "state":
                append(f"{stem}.state", data, **facts)
            elif what == "config":
                append(f"{stem}.config", data, **facts, index=idx)
            elif self._buffers:
                append(f"{stem}.{idx:06d}.buffer", data, **facts, index=idx)

        return sink

    def finish(self, migrations: Sequence[Migration]) -> list[dict[str, Any]]:
        """Complete the manifest entries of the files; returns the manifest's part about devices."""
        devices = []
        for (number, key), assembly in self.assembler.assemblies.items():
            if (number, assembly.name) not in self._stems:
                continue
            migration = migrations[number]
            device = migration.devices.get(key)
            section = migration.vfio_sections.get(key)
            buffers = device.buffers if device is not None else Buffers()
            when = _when(section, buffers)
            self._complete(self._stems[number, assembly.name], buffers, when)
            devices.append(
                {
                    "migration": number,
                    "name": assembly.name,
                    "main_bytes": assembly.main_bytes,
                    "data_bytes": assembly.data_bytes,
                    "buffers": assembly.buffers,
                    "state_digest": assembly.state_digest,
                    "digest": assembly.data_digest,
                    "config_digest": assembly.config_digest,
                    **when,
                }
            )
        return devices

    def _complete(self, stem: str, buffers: Buffers, when: dict[str, Any]) -> None:
        """Add to the entries of a device's files where their bytes were seen."""
        files = self._folder.files
        if f"{stem}.state" in files:
            files[f"{stem}.state"] |= when
        for buffer in buffers:
            what = "config" if buffer.is_config else f"{buffer.idx:06d}.buffer"
            entry = files.get(f"{stem}.{what}")
            if entry is not None and entry["index"] == buffer.idx:
                entry["channel"] = known_number(buffer.channel)
                entry |= seen(buffer.frame, buffer.time, buffer.end_frame, buffer.end_time)


def _nowhere(_what: str, _idx: int | None, _data: bytes | None, _size: int) -> None:
    """Discards the bytes of a device that is not wanted."""


def _when(section: VfioSection | None, buffers: Buffers) -> dict[str, Any]:
    """Where the state of a device (its data on main and the buffers without config) was seen."""
    data = [buffer for buffer in buffers if not buffer.is_config]
    begun = [(buffer.frame, buffer.time) for buffer in data]
    ended = [(buffer.end_frame, buffer.end_time) for buffer in data]
    if section is not None and section.first_data is not None and section.last_data is not None:
        begun.append((section.first_data.frame, section.first_data.time))
        ended.append((section.last_data.frame, section.last_data.time))
    return seen(*min(begun), *max(ended)) if begun else {}
