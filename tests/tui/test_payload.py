"""The payload window: pages, decompressed, and buffers."""

from __future__ import annotations

import asyncio
import hashlib
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from analyzer.migration.rows import DEVICE_STATE, RAM_PACKET
from analyzer.migration.settings import Settings
from analyzer.synth.compression import compressor
from analyzer.tui.app import MfsharkApp
from analyzer.tui.dialogs.find import FindDialog
from analyzer.tui.dialogs.help import HelpScreen
from analyzer.tui.dialogs.payload import PayloadScreen
from analyzer.tui.field_panes import FieldPanes
from analyzer.tui.hex_pane import HexPane
from analyzer.tui.payload_rows import PageRows, entropy
from analyzer.tui.pieces import with_payload
from analyzer.tui.row_list import RowList
from dissectors.multifd import Compression
from tests.checks.craft import PAGE, Tiny, buffer, ram
from tests.shipped import capture
from tests.tui.driving import LARGE, SMALL, enter, opened, press, settle

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from textual.pilot import Pilot

    Drive = Callable[[MfsharkApp, Pilot[int]], Awaitable[None]]

ZSTD, VFIO = "11.1.3-veth-mtu1500-zstd-3ch", "10.0.13-vfio-3dev-4ch"


def drive(path: Path, way: Drive, size: tuple[int, int] = SMALL) -> None:
    async def run() -> None:
        async with opened(path, size) as (app, pilot):
            await way(app, pilot)

    asyncio.run(run())


def window(app: MfsharkApp) -> PayloadScreen:
    assert isinstance(app.screen, PayloadScreen)
    return app.screen


def pages(app: MfsharkApp) -> PageRows:
    rows = window(app).query_one("#pages RowList", RowList).rows
    assert isinstance(rows, PageRows)
    return rows


def shown(app: MfsharkApp) -> bytes:
    return window(app).query_one("#pages HexPane", HexPane).data


def title(app: MfsharkApp) -> str:
    return str(window(app).query_one("ContentSwitcher").border_title)


def below(app: MfsharkApp) -> str:
    return str(window(app).query_one("ContentSwitcher").border_subtitle)


def rows_of(app: MfsharkApp, kind: int) -> list[int]:
    table = app.document.table
    kinds = table.column("kind")
    payload = with_payload(table, 0, len(table))
    return [row for row in range(len(table)) if kinds[row] == kind and payload[row]]


def test_pages_of_a_compressed_packet() -> None:
    async def way(app: MfsharkApp, pilot: Pilot[int]) -> None:
        row = rows_of(app, RAM_PACKET)[-1]
        app.select_row(row)
        await press(pilot, "p")
        found = pages(app).found
        assert found.wrong == []
        assert "zstd" in title(app)
        assert len(found.pages) == len(pages(app)) > 1
        assert shown(app) == found.pages[0].content
        await press(pilot, "j")
        assert shown(app) == found.pages[1].content
        await press(pilot, "enter", "G")
        hexes = window(app).query_one("#pages HexPane", HexPane)
        assert hexes.has_focus
        assert hexes.cursor == PAGE - 1
        await press(pilot, "escape")
        assert not isinstance(app.screen, PayloadScreen)

    drive(capture(ZSTD), way)


def test_stepping_stays_on_the_channel_and_the_screens_follow() -> None:
    async def way(app: MfsharkApp, pilot: Pilot[int]) -> None:
        stream = app.document.table.column("stream")
        first = rows_of(app, RAM_PACKET)[0]
        own = [row for row in rows_of(app, RAM_PACKET) if stream[row] == stream[first]]
        app.select_row(first)
        await press(pilot, "p")
        for row in (*own[1:4], *own[1:3][::-1], first, first):
            await press(pilot, "n" if row > app.state.row else "N")
            assert app.state.row == row
            assert title(app).startswith(f"Packet {row + 1},")
        await press(pilot, "q")
        assert app.state.row == first

    drive(capture(ZSTD), way)


def test_stepping_on_packets_stays_within_the_filter() -> None:
    async def way(app: MfsharkApp, pilot: Pilot[int]) -> None:
        device = rows_of(app, DEVICE_STATE)
        idx, stream = app.document.table.column("idx"), app.document.table.column("stream")
        even = [row for row in device if idx[row] % 2 == 0]
        wanted = [row for row in even if stream[row] == stream[even[0]]]
        assert 1 < len(wanted) < sum(stream[row] == stream[even[0]] for row in device)
        await press(pilot, "slash")
        await enter(pilot, "vfio.idx in {0, 2, 4, 6}")
        await press(pilot, "home", "p")
        for row in wanted:
            assert f"Packet {row + 1}," in title(app)
            assert app.state.row == row
            await press(pilot, "n")
        assert "that was the last one" in below(app)

    drive(capture(VFIO), way)


def test_a_text_is_found_in_pages_though_they_came_compressed() -> None:
    async def way(app: MfsharkApp, pilot: Pilot[int]) -> None:
        contents: list[bytes] = []
        for row in rows_of(app, RAM_PACKET):
            found = app.reread.pages(row, lambda _share: True)
            assert found is not None
            contents = [page.content or b"" for page in found.pages]
            if b"seed" in b"".join(contents):
                app.select_row(row)
                break
        await press(pilot, "p")
        places = [
            (number, match.start())
            for number, content in enumerate(contents)
            for match in re.finditer(b"seed", content)
        ]
        assert places[0][0] < places[-1][0]
        hexes = window(app).query_one("#pages HexPane", HexPane)
        await press(pilot, "ctrl+f", "tab")
        await enter(pilot, "seed")
        for number, offset in places[:3]:
            assert window(app).query_one("#pages RowList", RowList).cursor == number
            assert (hexes.data, hexes.field) == (contents[number], (offset, 4))
            assert f"found at byte {offset:#x}  n N step" in below(app)
            await press(pilot, "ctrl+f", "enter")
        await press(pilot, "G", "enter", "G", "ctrl+f", "enter")
        assert (hexes.data, hexes.field) == (contents[places[0][0]], (places[0][1], 4))
        await press(pilot, "n", "N", "ctrl+f")
        await enter(pilot, "nowhere")
        assert below(app).startswith("not found  n N step")

    drive(capture(ZSTD), way)


def test_bytes_are_found_in_a_buffer() -> None:
    async def way(app: MfsharkApp, pilot: Pilot[int]) -> None:
        app.select_row(rows_of(app, DEVICE_STATE)[-1])
        await press(pilot, "p")
        hexes = window(app).query_one(FieldPanes).bytes
        wanted = hexes.data[-9:]
        await press(pilot, "ctrl+f")
        await enter(pilot, wanted.hex(" "))
        assert hexes.field == (hexes.data.index(wanted), 9)
        line = hexes.field[0] // hexes._per_line
        assert 0 <= line - hexes.scroll_target_y < hexes.size.height
        await press(pilot, "escape", "n")
        assert app._told is not None
        assert app._told.plain.startswith("found in packet")

    drive(capture(VFIO), way)


def test_what_was_looked_for_as_text_is_looked_for_as_text_in_the_payload() -> None:
    async def way(app: MfsharkApp, pilot: Pilot[int]) -> None:
        await press(pilot, "ctrl+f")
        await enter(pilot, "vfio")
        await press(pilot, "p", "ctrl+f")
        assert isinstance(app.screen, FindDialog)
        assert app.screen.mode == "text in bytes"

    drive(capture(VFIO), way)


def test_a_buffer_from_the_devices_screen() -> None:
    async def way(app: MfsharkApp, pilot: Pilot[int]) -> None:
        await press(pilot, "2", "p")
        assert not isinstance(app.screen, PayloadScreen)  # no buffer is selected
        await press(pilot, "tab", "right", "p")
        panes = window(app).query_one(FieldPanes)
        facts = {node.name: node.value for node in panes.fields.nodes[0].children}
        assert facts["sha256"] == hashlib.sha256(panes.bytes.data).hexdigest()
        assert facts["size"] == f"{len(panes.bytes.data):,} bytes"
        await press(pilot, "escape", "end", "p")
        panes = window(app).query_one(FieldPanes)
        assert [node.name for node in panes.fields.nodes] == [
            "Buffer", "VFIO header", "Config state",
        ]  # fmt: skip
        assert panes.fields.nodes[0].value == "config state"

    drive(capture(VFIO), way)


def test_places_of_buffers_add_up_to_the_state() -> None:
    async def way(app: MfsharkApp, pilot: Pilot[int]) -> None:
        ends: dict[str, int] = {}
        for row in rows_of(app, DEVICE_STATE):
            app.select_row(row)
            await press(pilot, "p")
            panes = window(app).query_one(FieldPanes)
            facts = {node.name: node.value for node in panes.fields.nodes[0].children}
            if facts["place in the state"].startswith("0x"):
                end = int(facts["place in the state"], 16) + len(panes.bytes.data)
                name = str(app.document.table.row(row).device)
                ends[name] = max(end, ends.get(name, 0))
            await press(pilot, "escape")
        (migration,) = app.document.migrations()
        assert migration.main_facts is not None
        assert ends == {
            device.name: migration.main_facts.devices[key].main_bytes
            + sum(buffer.size for buffer in device.buffers if not buffer.is_config)
            for key, device in migration.devices.items()
        }

    drive(capture("10.0.13-vfio-precopy-2ch"), way)


def test_the_keys_of_the_window_and_its_panes_are_shown() -> None:
    async def way(app: MfsharkApp, pilot: Pilot[int]) -> None:
        app.select_row(rows_of(app, DEVICE_STATE)[0])
        await press(pilot, "p")
        where = app.focused
        await press(pilot, "question_mark")
        assert isinstance(app.screen, HelpScreen)
        lines = [line.strip() for line in app.screen._text.plain.splitlines()]
        assert "In this pane" in lines
        assert [line for line in lines if "␣" in line] == [
            "␣                Open or close the branch"
        ]
        assert re.search(r"^n +Next on its channel$", "\n".join(lines), re.MULTILINE)
        assert not any(line.startswith("7 ") for line in lines)
        await press(pilot, "question_mark")
        assert window(app).focused is where

    drive(capture(VFIO), way)


def test_what_has_no_payload_says_so() -> None:
    async def way(app: MfsharkApp, pilot: Pilot[int]) -> None:
        await press(pilot, "g", "p")
        assert not isinstance(app.screen, PayloadScreen)

    drive(capture(ZSTD), way)


def written(folder: Path, migration: Tiny) -> Path:
    path = folder / "made.pcap"
    path.write_bytes(migration.pcap())
    return path


@pytest.mark.parametrize("method", [method.name for method in Compression])
def test_every_method(method: str, tmp_path: Path) -> None:
    migration = Tiny()
    flags = Compression[method]
    payload = b"".join(compressor(method)([b"x" * PAGE, bytes(PAGE)]))
    migration.multifd[1] = [
        migration.multifd[1][0], ram([3, 4], [5], num=2, payload=payload, flags=flags),
    ]  # fmt: skip

    async def way(app: MfsharkApp, pilot: Pilot[int]) -> None:
        table = app.document.table
        app.select_row(next(r for r in rows_of(app, RAM_PACKET) if table.column("channel")[r] == 1))
        await press(pilot, "p")
        palette = app.view.palette
        words = [pages(app).row(at, palette)[0][2] for at in range(3)]
        assert words == ["content", "zeros", "zero page"]
        assert shown(app) == b"x" * PAGE

    drive(written(tmp_path, migration), way)


@pytest.mark.parametrize("size", [(1, 1), SMALL])
@pytest.mark.drawn
def test_hostile_packets_at_any_size(size: tuple[int, int], tmp_path: Path) -> None:
    migration = Tiny()
    evil = b"[red]\x1b[31m\xff" + b"\xe2\x80\xae"
    zlib = Compression.zlib
    migration.multifd[0][2] = ram([1 << 40], [4], num=2, block=evil, payload=b"!", flags=zlib)
    migration.multifd[1].append(buffer(0, idstr=evil, data=b""))
    migration.multifd[1].append(buffer(1 << 31, idstr=evil, data=b"\0" * 9))

    async def way(app: MfsharkApp, pilot: Pilot[int]) -> None:
        table = app.document.table
        for row in [row for row in range(len(table)) if table.name(row) == evil]:
            app.select_row(row)
            await press(pilot, "p")
            assert "\x1b" not in title(app)
            await press(pilot, "tab", "G", "n", "escape")

    drive(written(tmp_path, migration), way, size)


def test_bytes_that_the_capture_lacks() -> None:
    async def way(app: MfsharkApp, pilot: Pilot[int]) -> None:
        table = app.document.table
        for kind in (RAM_PACKET, DEVICE_STATE):
            row = next(row for row in rows_of(app, kind) if table.column("missing")[row])
            app.select_row(row)
            await press(pilot, "p")
            if kind == RAM_PACKET:
                assert "lost" in [pages(app).row(at, app.view.palette)[0][2] for at in range(128)]
            else:
                panes = window(app).query_one(FieldPanes)
                assert panes.fields.nodes[0].children[3].value == "bytes are missing"
                assert panes.bytes.missing
            await press(pilot, "escape")

    drive(capture("10.0.13-vfio-gaps-2ch"), way)


@pytest.mark.parametrize(
    ("data", "bits"), [(b"", 0.0), (bytes(4096), 0.0), (bytes(range(256)) * 4, 8.0), (b"ab", 1.0)]
)
def test_entropy_is_bits_per_byte_and_never_minus_zero(data: bytes, bits: float) -> None:
    assert entropy(data) == pytest.approx(bits)
    assert f"{entropy(data):.2f}" == f"{bits:.2f}"


@pytest.mark.parametrize("size", [SMALL, LARGE], ids=["small", "large"])
@pytest.mark.parametrize(
    ("name", "keys"),
    [(ZSTD, ("G", "k", "k", "k", "k", "p", "j")), (VFIO, ("2", "tab", "end", "p"))],
    ids=["pages", "buffer"],
)
def test_payloads_look_as_in_their_pictures(
    snap_compare: Any, name: str, keys: tuple[str, ...], size: tuple[int, int]
) -> None:
    app = MfsharkApp(str(capture(name)), Settings())

    async def run(pilot: Pilot[int]) -> None:
        await settle(pilot)
        for key in keys:
            await press(pilot, key)

    assert snap_compare(app, terminal_size=size, run_before=run)
