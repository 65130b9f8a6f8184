"""Scenarios: the contents of a synthetic capture, checked key by key.  A scenario is a TOML table
(``docs/synth.md`` explains every key).  Each class below is one table of it; a field is a key, and
its default the value of an omitted key.
"""

from __future__ import annotations

import ipaddress
import tomllib
from dataclasses import MISSING, dataclass, field, fields
from difflib import get_close_matches
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, TypeVar, get_type_hints
from uuid import UUID

from analyzer.errors import UsageError
from analyzer.report.bounds import quantity
from dissectors.dialects import DIALECTS, RAM_ERAS
from dissectors.multifd import PAGE_SIZES, Compression

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from dissectors.dialects import Dialect

__all__ = [
    "TYPES",
    "Capture",
    "Device",
    "FaultSpec",
    "Migration",
    "Network",
    "Noise",
    "Ram",
    "Scenario",
    "ScenarioError",
    "load",
    "one_of",
    "override",
    "parse",
]

MIB: Final = 1 << 20
T = TypeVar("T")


class ScenarioError(UsageError):
    """A scenario that cannot be built: ``key`` is the invalid key, ``nearest`` the valid name that
    is closest to the given one (or None).
    """

    def __init__(self, key: str, reason: str, nearest: str | None = None) -> None:
        hint = f"; did you mean {nearest!r}?" if nearest else ""
        super().__init__(f"{key}: {reason}{hint}")
        self.key = key
        self.reason = reason
        self.nearest = nearest


def one_of(key: str, value: str, names: Iterable[str]) -> None:
    """Raise :class:`ScenarioError` unless ``value`` is one of ``names``."""
    names = list(names)
    if value not in names:
        nearest = get_close_matches(value, names, 1, 0.0)
        raise ScenarioError(
            key, f"{value!r} is not one of {', '.join(names)}", nearest[0] if nearest else None
        )


def at_least(key: str, value: float, low: float, high: float = float("inf")) -> None:
    """Raise :class:`ScenarioError` unless ``low <= value <= high``."""
    if not low <= value <= high:
        bound = f"at least {low}" if value < low else f"at most {high}"
        raise ScenarioError(key, f"{value} must be {bound}")


@dataclass(frozen=True, slots=True)
class Capture:
    """``[capture]``: the file."""

    format: str = "pcap"
    resolution: str = "us"
    byte_order: str = "little"
    link: str = "ethernet"
    snaplen: int = 262144
    keep: int = 0

    def check(self) -> None:
        """Raise :class:`ScenarioError` for values that mean nothing."""
        one_of("capture.format", self.format, ("pcap", "pcapng"))
        one_of("capture.resolution", self.resolution, ("us", "ns"))
        one_of("capture.byte_order", self.byte_order, ("little", "big"))
        one_of("capture.link", self.link, ("ethernet", "sll", "sll2", "raw", "null", "loop"))
        at_least("capture.snaplen", self.snaplen, 1, 1 << 30)
        at_least("capture.keep", self.keep, 0)


@dataclass(frozen=True, slots=True)
class Network:
    """``[network]``: addresses, segments and clock."""

    source: str = "10.77.0.1"
    destination: str = "10.77.0.2"
    port: int = 4444
    client_port: int = 46448
    mtu: int = 1500
    vlans: tuple[int, ...] = ()
    extension_headers: int = 0
    ip_length: str = "real"
    checksums: bool = True
    timestamps: bool = True
    isn: int = -1
    burst: int = 4
    ack_every: int = 2
    rate: float = 1.25e8
    delay: float = 0.0001

    def check(self) -> None:
        """Raise :class:`ScenarioError` for values that mean nothing."""
        versions = {self._version(name) for name in ("source", "destination")}
        if len(versions) != 1:
            raise ScenarioError("network.destination", "source and destination mix IPv4 and IPv6")
        one_of("network.ip_length", self.ip_length, ("real", "zero"))
        for name in ("port", "client_port"):
            at_least(f"network.{name}", getattr(self, name), 1, 65000)
        at_least("network.mtu", self.mtu, 128, 65535 if self.ip_length == "real" else 1 << 20)
        for vlan in self.vlans:
            at_least("network.vlans", vlan, 0, 4095)
        at_least("network.extension_headers", self.extension_headers, 0, 4)
        at_least("network.isn", self.isn, -1, 0xFFFFFFFF)
        at_least("network.burst", self.burst, 1)
        at_least("network.ack_every", self.ack_every, 0)
        at_least("network.rate", self.rate, 1)
        at_least("network.delay", self.delay, 0, 3600)

    def _version(self, name: str) -> int:
        try:
            return ipaddress.ip_address(getattr(self, name)).version
        except ValueError as error:
            raise ScenarioError(f"network.{name}", str(error)) from None


@dataclass(frozen=True, slots=True)
class Ram:
    """``[ram]``: blocks, rounds and what the pages hold."""

    era: str = ""
    page_size: int = 4096
    blocks: dict[str, int] = field(
        default_factory=lambda: {"pc.ram": 4 * MIB, "pc.bios": 256 * 1024}
    )
    normal_pages: int = 64
    dirty_pages: int = 16
    iterations: int = 2
    zero_pages: str = ""
    payload: str = "sparse"

    def check(self) -> None:
        """Raise :class:`ScenarioError` for values that mean nothing."""
        one_of("ram.era", self.era, ("", *RAM_ERAS))
        one_of(
            "ram.page_size",
            str(self.page_size),
            map(str, PAGE_SIZES),
        )
        one_of("ram.zero_pages", self.zero_pages, ("", "multifd", "legacy", "none"))
        one_of("ram.payload", self.payload, ("sparse", "random"))
        if not self.blocks:
            raise ScenarioError("ram.blocks", "a guest has at least one block")
        for name, size in self.blocks.items():
            if not 0 < len(name.encode()) < 256:
                raise ScenarioError(f"ram.blocks.{name}", "a name has 1 to 255 bytes")
            if size <= 0 or size % self.page_size:
                raise ScenarioError(f"ram.blocks.{name}", f"{size} is not a multiple of page_size")
        pages = self.pages
        at_least("ram.normal_pages", self.normal_pages, -1, pages)
        at_least("ram.dirty_pages", self.dirty_pages, 0, pages)
        at_least("ram.iterations", self.iterations, 1)

    @property
    def pages(self) -> int:
        """All pages of all blocks."""
        return sum(self.blocks.values()) // self.page_size


@dataclass(frozen=True, slots=True)
class Device:
    """``[[device]]``: one VFIO device; ``size`` bytes of state in buffers of ``buffer_size``."""

    idstr: str = "0000:00:02.0/vfio"
    instance_id: int = 0
    size: int = 200_000
    buffer_size: int = MIB
    short_reads: bool = False
    precopy: int = 48
    transfer: bool = True
    config: str = "pcie"
    msix: int = 0

    def check(self, key: str) -> None:
        """Raise :class:`ScenarioError` for values that mean nothing."""
        if not 0 < len(self.idstr.encode()) < 256:
            raise ScenarioError(f"{key}.idstr", "an idstr has 1 to 255 bytes")
        at_least(f"{key}.instance_id", self.instance_id, 0, 0xFFFFFFFF)
        at_least(f"{key}.size", self.size, 0)
        at_least(f"{key}.buffer_size", self.buffer_size, 1, 64 * MIB)
        at_least(f"{key}.precopy", self.precopy, 0, 64 * MIB)
        one_of(f"{key}.config", self.config, ("pcie", "pci"))
        at_least(f"{key}.msix", self.msix, 0, 2048)


@dataclass(frozen=True, slots=True)
class FaultSpec:
    """``[[fault]]``: the kind, and the keys that belong to it, not yet checked."""

    kind: str
    values: dict[str, Any]


@dataclass(frozen=True, slots=True)
class Noise:
    """``[noise]``: unrelated traffic, as numbers of frames."""

    arp: int = 0
    udp: int = 0
    tcp: int = 0
    fragments: int = 0
    truncated: int = 0

    def check(self) -> None:
        """Raise :class:`ScenarioError` for values that mean nothing."""
        for item in fields(self):
            at_least(f"noise.{item.name}", getattr(self, item.name), 0, 100_000)


@dataclass(frozen=True, slots=True)
class Migration:
    """One migration; these keys stand at the top of a scenario or in ``[[migration]]``."""

    dialect: str = "upstream"
    machine: str = ""
    channels: int = 2
    device_channels: int = 2
    uuid: str = ""
    return_path: bool = True
    switchover_ack: bool = False
    config_after_iter: bool = False
    checkpoints: int = 0
    compression: str = "none"
    policy: str = "round-robin"
    interleave: str = "segment"
    sync: str = ""
    close: str = ""
    start: float = 0.0
    after: bool = False
    network: Network = field(default_factory=Network)
    ram: Ram = field(default_factory=Ram)
    device: tuple[Device, ...] = (Device(buffer_size=65536),)
    fault: tuple[FaultSpec, ...] = ()

    def check(self) -> None:
        """Raise :class:`ScenarioError` for values that mean nothing."""
        one_of("dialect", self.dialect, DIALECTS)
        at_least("channels", self.channels, 0, 255)
        at_least("device_channels", self.device_channels, 0, 64)
        at_least("checkpoints", self.checkpoints, 0, 10_000)
        one_of("compression", self.compression, (method.name for method in Compression))
        one_of("policy", self.policy, ("round-robin", "random", "skewed", "single"))
        one_of("interleave", self.interleave, ("segment", "packet"))
        one_of("sync", self.sync, ("", "legacy", "round", "final"))
        one_of("close", self.close, ("", "source", "destination"))
        at_least("start", self.start, 0, 1e9)
        if self.uuid not in ("", "none"):
            try:
                UUID(self.uuid)
            except ValueError as error:
                raise ScenarioError("uuid", str(error)) from None
        self.network.check()
        self.ram.check()
        seen = set()
        for number, device in enumerate(self.device):
            device.check(f"device[{number}]")
            if (device.idstr, device.instance_id) in seen:
                raise ScenarioError(f"device[{number}].idstr", f"{device.idstr!r} is taken")
            seen.add((device.idstr, device.instance_id))
        if self.config_after_iter and self.dialect != "10.1":
            raise ScenarioError("config_after_iter", "only dialect 10.1 knows it")
        if self.switchover_ack and not self.return_path:
            raise ScenarioError("switchover_ack", "the destination answers on the return path")
        if self.zero_page_mode == "multifd" and self.since < (9, 0):
            raise ScenarioError("ram.zero_pages", "packets have zero pages since RAM era 9.0")
        if self.sync == "final" and not self.may_sync_last:
            raise ScenarioError("sync", "'final' is of RAM era 9.0, and of v3's device state")
        if self.checkpoints and not self.return_path:
            raise ScenarioError("checkpoints", "the secondary answers on the return path")
        if self.checkpoints and self.sync == "final":
            raise ScenarioError("checkpoints", "no sender has both COLO and sync 'final'")

    @property
    def spoken(self) -> Dialect:
        """The dialect of device state."""
        return DIALECTS[self.dialect]

    @property
    def era(self) -> str:
        """The RAM era: given, or the one of the dialect's time."""
        if self.ram.era:
            return self.ram.era
        return "9.2" if self.spoken.switchover else "9.0"

    @property
    def since(self) -> tuple[int, int]:
        """The first version of the RAM era, for comparisons."""
        return RAM_ERAS[self.era].since

    @property
    def switchover_start(self) -> bool:
        """Whether the sender writes the SWITCHOVER_START command."""
        return self.spoken.switchover and self.since >= (9, 2)

    @property
    def sync_mode(self) -> str:
        """``legacy``: before every RAM EOS; ``round``: with each FLUSH; ``final``: one more."""
        return self.sync or ("legacy" if self.since < (8, 2) else "round")

    @property
    def may_sync_last(self) -> bool:
        """Whether there is a sender that ends with a SYNC round without a FLUSH."""
        own = self.dialect == "v3" and any(map(self.uses_multifd, self.device))
        return own or self.era == "9.0"

    @property
    def zero_page_mode(self) -> str:
        """Where zero pages go: ``multifd``, ``legacy`` (main channel) or ``none`` (as others)."""
        return self.ram.zero_pages or ("multifd" if self.since >= (9, 0) else "legacy")

    def uses_multifd(self, device: Device) -> bool:
        """Whether the sender puts this device's state on the multifd channels."""
        able = self.switchover_start if self.spoken.switchover else self.since >= (9, 0)
        return device.transfer and able and self.compression == "none" and self.channels > 0


@dataclass(frozen=True, slots=True)
class Scenario:
    """A whole capture."""

    seed: int
    time: float
    capture: Capture
    noise: Noise
    migrations: tuple[Migration, ...]


def table(cls: type[T], values: Any, key: str) -> T:
    """One table of the scenario; ``key`` is its path for messages."""
    if not isinstance(values, dict):
        raise ScenarioError(key, f"is a table: [{key}]")
    prefix = f"{key}." if key else ""
    known = {item.name: item for item in fields(cls)}  # type: ignore[arg-type]
    hints = get_type_hints(cls)
    given = {}
    for name, value in values.items():
        if name not in known:
            nearest = get_close_matches(name, known, 1, 0.0)
            raise ScenarioError(f"{prefix}{name}", "unknown key", nearest[0])
        given[name] = typed(hints[name], value, f"{prefix}{name}")
    for name, item in known.items():
        if name not in given and item.default is MISSING and item.default_factory is MISSING:
            raise ScenarioError(f"{prefix}{name}", "is missing")
    return cls(**given)


TYPES = {int: "a whole number", float: "a number", str: "text", bool: "true or false"}
"""How errors call the types of values."""


def typed(hint: Any, value: Any, key: str) -> Any:
    """``value`` converted for a field of type ``hint``."""
    if hint is float and type(value) is int:
        return float(value)
    if hint is int and isinstance(value, str):
        value = size_of(value)
    if hint in TYPES:
        if type(value) is not hint:
            raise ScenarioError(key, f"{value!r} is not {TYPES[hint]}")
        return value
    if hint == dict[str, int]:
        if not isinstance(value, dict):
            raise ScenarioError(key, "is a table of name = bytes")
        return {name: typed(int, size, f"{key}.{name}") for name, size in value.items()}
    if hint == tuple[int, ...]:
        if not isinstance(value, list) or not all(type(item) is int for item in value):
            raise ScenarioError(key, "is a list of numbers")
        return tuple(value)
    return value


def size_of(text: str) -> int | str:
    """``64 KiB`` and the like as a number; other text as it is."""
    try:
        size = quantity(text, "bytes")
    except ValueError:
        return text
    return int(size) if size.is_integer() else text


def tables(values: Any, key: str) -> list[dict[str, Any]]:
    """A list of tables (``[[key]]``)."""
    if not isinstance(values, list) or not all(isinstance(item, dict) for item in values):
        raise ScenarioError(key, f"is a list of tables: [[{key}]]")
    return values


def migration(values: Mapping[str, Any]) -> Migration:
    """One migration from its keys."""
    given = dict(values)
    for name, cls in (("network", Network), ("ram", Ram)):
        if name in given:
            given[name] = table(cls, given[name], name)
    if "device" in given:
        given["device"] = tuple(
            table(Device, item, f"device[{number}]")
            for number, item in enumerate(tables(given["device"], "device"))
        )
    given["fault"] = tuple(
        fault_spec(item, f"fault[{number}]")
        for number, item in enumerate(tables(given.get("fault", []), "fault"))
    )
    made = table(Migration, given, "")
    made.check()
    return made


def fault_spec(values: Mapping[str, Any], key: str) -> FaultSpec:
    """A fault's kind and its other keys."""
    if not isinstance(values.get("kind"), str):
        raise ScenarioError(f"{key}.kind", "names the fault")
    return FaultSpec(values["kind"], {name: v for name, v in values.items() if name != "kind"})


def merged(base: Mapping[str, Any], over: Mapping[str, Any]) -> dict[str, Any]:
    """``over`` laid over ``base``, tables within tables."""
    out = dict(base)
    for name, value in over.items():
        below = out.get(name)
        if isinstance(below, dict) and isinstance(value, dict):
            out[name] = merged(below, value)
        else:
            out[name] = value
    return out


TOP_KEYS = ("seed", "time", "capture", "noise", "migration")


def parse(values: Mapping[str, Any]) -> Scenario:
    """The scenario that the table ``values`` describes; raises :class:`ScenarioError`."""
    known = {*TOP_KEYS, *(item.name for item in fields(Migration))}
    for name in values:
        if name not in known:
            raise ScenarioError(name, "unknown key", get_close_matches(name, known, 1, 0.0)[0])
    base = {name: value for name, value in values.items() if name not in TOP_KEYS}
    entries = tables(values.get("migration", [{}]), "migration")
    made = Scenario(
        seed=typed(int, values.get("seed", 1), "seed"),
        time=typed(float, values.get("time", 1_750_000_000.0), "time"),
        capture=table(Capture, values.get("capture", {}), "capture"),
        noise=table(Noise, values.get("noise", {}), "noise"),
        migrations=tuple(migration(merged(base, entry)) for entry in entries),
    )
    made.capture.check()
    made.noise.check()
    at_least("time", made.time, 0, 4e9)
    return made


def load(path: str | Path) -> dict[str, Any]:
    """The table in a TOML file; raises :class:`ScenarioError` if it is not valid TOML."""
    try:
        return tomllib.loads(Path(path).read_text("utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ScenarioError(str(path), str(error)) from None


def override(values: Mapping[str, Any], assignments: Iterable[str]) -> dict[str, Any]:
    """A copy of the table with ``key.key=value`` assignments applied (``device.0.size=4096``).

    A value is TOML; what is not valid TOML is a string.
    """
    out = merged({}, values)
    for assignment in assignments:
        path, sign, text = assignment.partition("=")
        if not sign:
            raise ScenarioError(assignment, "is not key=value")
        try:
            value = tomllib.loads(f"value = {text}")["value"]
        except tomllib.TOMLDecodeError:
            value = text
        assign(out, path.strip(), value)
    return out


def assign(values: dict[str, Any], path: str, value: Any) -> None:
    """Set one dotted key; a number selects an entry of a list of tables, which grows by at most
    one.
    """
    *steps, last = path.split(".")
    place: Any = values
    for depth, step in enumerate(steps):
        following = [*steps, last][depth + 1]
        if isinstance(place, list):
            place = entry(place, step, path)
            continue
        child = place.get(step, [] if following.isdigit() else {})
        if not isinstance(child, list | dict):
            raise ScenarioError(path, f"{step!r} has no keys")
        place[step] = list(child) if isinstance(child, list) else dict(child)
        place = place[step]
    if not isinstance(place, dict):
        raise ScenarioError(path, "does not name a key")
    place[last] = value


def entry(place: list[Any], step: str, path: str) -> dict[str, Any]:
    """Table number ``step`` of a list, copied so that the caller's stays unchanged."""
    if not step.isdigit() or int(step) > len(place):
        raise ScenarioError(path, f"{step!r} is not a place in the list")
    number = int(step)
    if number == len(place):
        place.append({})
    place[number] = dict(place[number])
    copied: dict[str, Any] = place[number]
    return copied
