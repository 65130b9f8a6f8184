"""Texts of the payload window about pages and buffers."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

import numpy as np

from analyzer.migration.replay import Excerpt
from analyzer.report.escape import terminal
from analyzer.report.style import size_text
from analyzer.tui.columns import Column
from analyzer.tui.hex_lines import PRINTABLE
from analyzer.tui.packet_rows import channel_text
from analyzer.tui.packet_tree import CONFIG_STATE, DEVICE_DATA_AT, device_header
from analyzer.tui.quantities import count
from dissectors.multifd import METHODS, Compression
from dissectors.tree import Node
from dissectors.vfio_config_tree import config_tree

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rich.style import Style

    from analyzer.migration.migration import Migration
    from analyzer.migration.packet_pages import PacketPages, Page
    from analyzer.migration.table import Row
    from analyzer.tui.columns import Cell
    from analyzer.tui.palette import Palette

__all__ = [
    "PageRows",
    "buffer_data",
    "buffer_title",
    "buffer_tree",
    "entropy",
    "page_note",
    "pages_title",
]

PREVIEW = 64


def entropy(data: bytes) -> float:
    """Shannon entropy in bits per byte: 0 if all bytes are equal, close to 8 for random ones."""
    if not data:
        return 0.0
    shares = np.bincount(np.frombuffer(data, np.uint8)) / len(data)
    shares = shares[shares > 0]
    return float(-(shares * np.log2(shares)).sum()) + 0.0


class PageRows:
    """The pages of one RAM packet."""

    columns: Sequence[Column] = (
        Column("Page", 5, right=True),
        Column("Offset", 12, right=True),
        Column("Holds", 9),
        Column("Entropy", 7, right=True),
        Column("Begins with", 24, grow=1, optional=1),
    )

    def __init__(self, found: PacketPages) -> None:
        self.found = found

    def __len__(self) -> int:
        return len(self.found.pages)

    def row(self, position: int, palette: Palette) -> tuple[Sequence[Cell], Style]:
        """The cells of one page."""
        page = self.found.pages[position]
        where = f"{page.offset:#x}"
        if page.content is None:
            word, style = ("zero page", palette.zero) if page.zero else ("lost", palette.error)
            return (str(position), where, word, "", ""), style
        zero = not any(page.content)
        begin = "".join(PRINTABLE[value] for value in page.content[:PREVIEW])
        word, style = ("zeros", palette.zero) if zero else ("content", palette.ram)
        return (str(position), where, word, f"{entropy(page.content):.2f}", begin), style


def page_note(page: Page, found: PacketPages) -> str:
    """The note shown instead of a page's bytes if it has none, else empty."""
    if page.zero:
        return "a zero page is sent without content"
    if page.content is None:
        return found.wrong[0] if found.wrong else "the page could not be decoded"
    return ""


def pages_title(row: Row, found: PacketPages, page_size: int) -> str:
    """A one-line summary of a RAM packet."""
    method = Compression(found.method).name if found.method in METHODS else f"{found.method:#x}"
    whole = (row.normal_pages or 0) * page_size
    parts = [f"Packet {row.number}", terminal(row.ramblock or "?"), count(len(found.pages), "page")]
    if found.method and whole:
        smaller = f"{whole / max(1, found.packed):.1f} to 1"
        parts.append(f"{method} {size_text(found.packed)} for {size_text(whole)}, {smaller}")
    else:
        parts.append(size_text(found.packed) if whole else "no payload")
    return ", ".join([*parts, *found.wrong])


# -- buffers ---------------------------------------------------------------------------------------


def buffer_title(row: Row) -> str:
    """A one-line summary of a device-state packet."""
    which = "no index" if row.idx is None else f"index {row.idx}"
    return f"Packet {row.number}, {terminal(row.device or '?')}, {which}"


def buffer_data(excerpt: Excerpt) -> Excerpt:
    """The data of a device-state packet, without its headers."""
    holes = [
        (max(0, first - DEVICE_DATA_AT), end - DEVICE_DATA_AT)
        for first, end in excerpt.holes
        if end > DEVICE_DATA_AT
    ]
    return Excerpt(excerpt.data[DEVICE_DATA_AT:], holes)


def buffer_tree(row: Row, excerpt: Excerpt, migration: Migration) -> list[Node]:
    """Facts about the buffer of a device-state packet; offsets count from the buffer's data."""
    found = buffer_data(excerpt)
    data, size = found.data, row.length - DEVICE_DATA_AT
    whole, there = len(data) == size and not found.holes, found.there
    facts = [
        ("size", f"{count(size)} bytes", ""),
        ("channel", channel_text(row.channel), ""),
        ("frames", f"{row.frame} to {row.end_frame}", ""),
        ("sha256", hashlib.sha256(data).hexdigest() if whole else "bytes are missing", ""),
        ("entropy", f"{entropy(there):.2f}", "bits a byte, 8 at most"),
        ("zero bytes", f"{there.count(0) / len(there):.0%}" if there else "", ""),
        ("place in the state", _place(row, migration), ""),
    ]
    config = bool((row.state_flags or 0) & CONFIG_STATE)
    nodes = [_group("Buffer", "config state" if config else "device data", facts)]
    header = device_header(excerpt.data, migration.framing)
    nodes.append(
        _group("VFIO header", "", [(node.name, node.value, node.meaning) for node in header])
    )
    if config and data:
        nodes.append(Node("Config state", f"{count(size)} bytes", 0, size, config_tree(data)))
    return nodes


def _group(name: str, value: str, facts: Sequence[tuple[str, str, str]]) -> Node:
    """A group of facts that have no bytes in the data; ``facts`` are (name, value, meaning)."""
    children = [Node(field, text, 0, 0, meaning=meaning) for field, text, meaning in facts]
    return Node(name, value, 0, 0, children)


def _place(row: Row, migration: Migration) -> str:
    """Offset of the buffer's data in the reassembled state of its device, data on main first."""
    devices = [d for d in migration.devices.values() if d.name == row.device]
    if row.idx is None or not devices or (row.state_flags or 0) & CONFIG_STATE:
        return "separate from it"
    before = {b.idx: b.size for b in devices[0].buffers if b.idx < row.idx and not b.is_config}
    if len(before) < row.idx:
        return "unknown: a lower index never arrived"
    facts = migration.main_facts
    key = devices[0].idstr, devices[0].instance_id
    section = facts.devices.get(key) if facts is not None else None
    main = section.main_bytes if section is not None else 0
    return f"{main + sum(before.values()):#x}"
