"""The config state of a VFIO PCI device: the data of its CONFIG_STATE buffer, and what follows
DEV_CONFIG_STATE on the main channel.

Wire-format page, section 5.3.
"""

from __future__ import annotations

from dissectors.fields import Field, Layout
from dissectors.main_stream import SUBSECTION_BYTE
from dissectors.vfio import VfioTag
from dissectors.vmstate import SectionProblem

__all__ = [
    "CAPABILITIES_AT",
    "CAPABILITIES_BEGIN",
    "CAPABILITIES_BIT",
    "CONFIG_SPACE",
    "CONFIG_VERSION",
    "CONVENTIONAL",
    "EXPRESS",
    "IRQ_STATE",
    "MSIX_CAPABILITY",
    "MSIX_ENTRY",
    "TAG",
    "VERSION",
    "ConfigState",
    "msix_size",
    "parse_config",
]

CONFIG_VERSION = 2
CONVENTIONAL, EXPRESS = 256, 4096
"""Bytes of config space of a PCI and of a PCIe device."""

IRQ_STATE = 16
"""Bytes of the interrupt lines' state behind the config space."""
MSIX_CAPABILITY = 0x11
MSIX_ENTRY = 16
CAPABILITIES_BIT = 0x10
CAPABILITIES_AT = 0x34
CAPABILITIES_BEGIN = 0x40
CAPABILITIES_MAX = 48

TAG = Field("tag", "Q", "what follows", "enum", enum=VfioTag)
VERSION = Field("version_id", "I", "2")

CONFIG_SPACE = Layout(
    "PCI config space",
    "vfio.config",
    "5.3",
    (
        Field("vendor_id", "H", "vendor", "hex"),
        Field("device_id", "H", "device", "hex"),
        Field("command", "H", "command register", "hex"),
        Field("status", "H", "status register", "hex"),
        Field("revision_id", "B", "revision", "hex"),
        Field("prog_if", "B", "programming interface", "hex"),
        Field("subclass", "B", "subclass", "hex"),
        Field("class_code", "B", "class", "hex"),
        Field("cache_line_size", "B", "cache line size"),
        Field("latency_timer", "B", "latency timer"),
        Field("header_type", "B", "header type", "hex"),
        Field("bist", "B", "built-in self test", "hex"),
        Field("bar0", "I", "base address 0", "hex"),
        Field("bar1", "I", "base address 1", "hex"),
        Field("bar2", "I", "base address 2", "hex"),
        Field("bar3", "I", "base address 3", "hex"),
        Field("bar4", "I", "base address 4", "hex"),
        Field("bar5", "I", "base address 5", "hex"),
        Field("cardbus_cis", "I", "CardBus CIS pointer", "hex"),
        Field("subsystem_vendor_id", "H", "vendor of the subsystem", "hex"),
        Field("subsystem_id", "H", "subsystem", "hex"),
    ),
    order="<",
)
"""The beginning of a type 0 header; little endian, unlike the stream around it."""


class ConfigState:
    """A parsed config state.

    ``space_at`` and ``space_size`` delimit the config space (bytes; size 0 if the data are too
    short), ``msix_entries`` is 0 without MSI-X, ``capabilities`` are (id, offset in the space),
    ``rest_at`` is where subsections may begin, ``end_at`` where they end.
    """

    __slots__ = (
        "capabilities",
        "device_id",
        "end_at",
        "msix_entries",
        "problems",
        "rest_at",
        "space_at",
        "space_size",
        "vendor_id",
        "version",
    )

    def __init__(self) -> None:
        self.version = 0
        self.space_at = TAG.size + VERSION.size
        self.space_size = 0
        self.vendor_id = 0
        self.device_id = 0
        self.capabilities: list[tuple[int, int]] = []
        self.msix_entries = 0
        self.rest_at = 0
        self.end_at = 0
        self.problems: list[SectionProblem] = []

    @property
    def telling(self) -> list[SectionProblem]:
        """The problems to report: without END_OF_STATE a wrong size proves nothing."""
        endless = any(problem.slug == "vfio-config-end" for problem in self.problems)
        return [p for p in self.problems if not (endless and p.slug == "vfio-config-size")]


def _capabilities(space: bytes) -> list[tuple[int, int]]:
    """The capability list of a config space as (id, offset), cut short if it is a loop."""
    found: list[tuple[int, int]] = []
    if not space[CONFIG_SPACE["status"].offset] & CAPABILITIES_BIT:
        return found
    at = space[CAPABILITIES_AT] & ~3
    while CAPABILITIES_BEGIN <= at < CONVENTIONAL and len(found) < CAPABILITIES_MAX:
        found.append((space[at], at))
        at = space[at + 1] & ~3
    return found


def _msix_entries(space: bytes, capabilities: list[tuple[int, int]]) -> int:
    for kind, at in capabilities:
        if kind == MSIX_CAPABILITY:
            return (int.from_bytes(space[at + 2 : at + 4], "little") & 0x7FF) + 1
    return 0


def msix_size(entries: int) -> int:
    """Bytes of an MSI-X table of so many entries, and of its pending bits."""
    return MSIX_ENTRY * entries + (entries + 7) // 8


def parse_config(data: bytes) -> ConfigState:
    """Parse ``data``, which should begin with DEV_CONFIG_STATE and end with END_OF_STATE."""
    state = ConfigState()
    state.end_at = len(data) - TAG.size
    first = int.from_bytes(data[: TAG.size], "big")
    if first != VfioTag.DEV_CONFIG_STATE or len(data) < TAG.size:
        begin = f"begins with {first:#018x}"
        if len(data) < TAG.size:
            begin = f"has {len(data)} of the {TAG.size} bytes of its first tag"
        state.problems.append(SectionProblem("vfio-config-header", 0, begin))
        return state
    last = int.from_bytes(data[-TAG.size :], "big")
    if last != VfioTag.END_OF_STATE or state.end_at < TAG.size:
        state.problems.append(
            SectionProblem("vfio-config-end", state.end_at, f"ends with {last:#018x}")
        )
        state.end_at = len(data)
    state.version = int.from_bytes(data[TAG.size : state.space_at], "big")
    if state.version != CONFIG_VERSION:
        state.problems.append(
            SectionProblem("vfio-config-version", TAG.size, f"version {state.version}, not 2")
        )
    for exactly in (True, False):
        for size in (EXPRESS, CONVENTIONAL):
            if _fill(state, data, size, exactly=exactly):
                return state
    state.problems.append(
        SectionProblem(
            "vfio-config-size", state.space_at, f"{len(data)} bytes hold no config space"
        )
    )
    return state


def _fill(state: ConfigState, data: bytes, size: int, *, exactly: bool) -> bool:
    """Fill in ``state`` for a config space of ``size`` bytes; returns whether that size fits.

    With ``exactly`` nothing but subsections may be left over; without it, that is a problem.
    """
    begin = state.space_at
    rest = begin + size + IRQ_STATE
    if rest > state.end_at:
        return False
    space = data[begin : begin + size]
    capabilities = _capabilities(space)
    entries = _msix_entries(space, capabilities)
    rest += msix_size(entries)
    subsection = data[rest : rest + 1] == bytes((SUBSECTION_BYTE,))
    if rest != state.end_at and not (rest < state.end_at and subsection):
        if exactly:
            return False
        state.problems.append(
            SectionProblem(
                "vfio-config-size",
                begin,
                f"{len(data)} bytes, {rest + TAG.size} expected with {entries} MSI-X entries",
            )
        )
    state.space_size = size
    state.capabilities = capabilities
    state.msix_entries = entries
    state.rest_at = min(rest, state.end_at)
    header = CONFIG_SPACE.values(space)
    state.vendor_id = int(header["vendor_id"])
    state.device_id = int(header["device_id"])
    return True
