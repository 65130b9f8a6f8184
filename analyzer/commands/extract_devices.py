"""The reassembled state of devices as files."""

from __future__ import annotations

from analyzer.migration.assembly import Assembler
from analyzer.report.escape import file_name

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from typing import Any

    from analyzer.commands.folder import Folder
    from analyzer.migration.migration import Migration

__all__ = ["DeviceFiles"]


class DeviceFiles:
    """The state of the devices named ``wanted`` (``idstr`` or ``idstr#instance``; none: of all),
    their config state, and with ``buffers`` each buffer.
    """

    def __init__(self, folder: Folder, wanted: Sequence[str], *, buffers: bool) -> None:
        self._folder = folder
        self._wanted = wanted
        self._buffers = buffers
        self._names: dict[tuple[int, str], str] = {}
        self.assembler = Assembler(self._chosen, self._sink_of)

    def _chosen(self, name: str) -> bool:
        return not self._wanted or any(name in (text, f"{text}#0") for text in self._wanted)

    def unknown(self) -> list[str]:
        """The wanted names that no device has."""
        seen = {assembly.name for assembly in self.assembler.assemblies.values()}
        return [text for text in self._wanted if not seen & {text, f"{text}#0"}]

    def incomplete(self) -> list[str]:
        """Names of the devices of which something is missing."""
        assemblies = self.assembler.assemblies.values()
        return [assembly.name for assembly in assemblies if assembly.state_digest is None]

    def _sink_of(self, migration: Migration, name: str) -> Callable[[str, int | None, bytes], None]:
        """Where a device's bytes go."""
        stem = f"m{migration.number + 1}-{file_name(name)}"
        if stem in self._names.values():  # different names that look alike once made safe
            stem += f"-{len(self._names)}"
        self._names[migration.number, name] = stem
        append = self._folder.append

        def sink(what: str, idx: int | None, data: bytes) -> None:
            if what == "state":
                append(f"{stem}.state", data, device=name, what="state")
            elif what == "config":
                append(f"{stem}.config", data, device=name, what="config", index=idx)
            elif self._buffers:
                append(f"{stem}.{idx:06d}.buffer", data, device=name, what=what, index=idx)

        return sink

    def report(self) -> list[dict[str, Any]]:
        """What the manifest says of them."""
        return [
            {
                "name": assembly.name,
                "main_bytes": assembly.main_bytes,
                "data_bytes": assembly.data_bytes,
                "state_digest": assembly.state_digest,
                "digest": assembly.data_digest,
                "config_digest": assembly.config_digest,
            }
            for assembly in self.assembler.assemblies.values()
        ]
