"""What is shown can be read: in every theme, without colours, and whole."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest
from rich.style import Style
from rich.text import Text
from textual.color import Color
from textual.theme import BUILTIN_THEMES

from analyzer.tui.area_chart import EIGHTHS, marked
from analyzer.tui.lines import TITLES, KeyLine, StatusLine, TabLine
from analyzer.tui.palette import KINDS, Palette, current_palette
from analyzer.tui.row_list import RowList
from analyzer.tui.time_panes import ThroughputPane
from tests.shipped import capture
from tests.tui.driving import LARGE, SMALL, opened, press, settle, shown

if TYPE_CHECKING:
    from rich.segment import Segment

VFIO = "10.0.13-vfio-3dev-4ch"
LOST = "10.0.13-vfio-truncated-no-returnpath-2ch"
READABLE = 4.5
"""Contrast that WCAG asks of text."""
FAINT = 3.0
"""What it asks of large text, and of what is not to catch the eye."""


def luminance(color: Color) -> float:
    parts = [value / 255 for value in color.rgb]
    red, green, blue = (
        part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts
    )
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def contrast(one: Color, other: Color) -> float:
    dark, light = sorted((luminance(one), luminance(other)))
    return (light + 0.05) / (dark + 0.05)


def test_the_letters_of_the_key_line_can_be_read_in_every_theme() -> None:
    async def run() -> None:
        async with opened(capture(VFIO)) as (app, pilot):
            for name, theme in BUILTIN_THEMES.items():
                app.theme = name
                await settle(pilot)
                key = current_palette(app).key
                if theme.ansi:
                    assert theme.dark or key.color is None
                    continue
                assert key.color is not None
                ground = app.query_one(KeyLine).background_colors[1]
                assert contrast(Color.from_rich_color(key.color), ground) >= READABLE, name

    asyncio.run(run())


@pytest.mark.parametrize("name", [name for name, theme in BUILTIN_THEMES.items() if not theme.ansi])
def test_every_colour_can_be_read_on_the_ground_and_text_under_the_cursor(name: str) -> None:
    theme = BUILTIN_THEMES[name]
    variables = theme.to_color_system().generate()
    palette, ground = (
        Palette(variables, theme.dark, ansi=False),
        Color.parse(variables["background"]),
    )
    for role in KINDS:
        color = getattr(palette, role).color
        least = FAINT if role == "zero" else READABLE
        assert contrast(Color.from_rich_color(color), ground) >= least, role
    cursor = palette.cursor
    assert cursor.color is not None
    assert cursor.bgcolor is not None
    text, under = Color.from_rich_color(cursor.color), Color.from_rich_color(cursor.bgcolor)
    assert contrast(text, under) >= READABLE


def test_another_theme_colours_the_verdict_anew() -> None:
    async def run() -> None:
        async with opened(capture(LOST)) as (app, pilot):
            for theme in ("textual-light", "textual-dark"):
                app.theme = theme
                await settle(pilot)
                line = app.query_one(StatusLine).render()
                word = next(span for span in line.spans if line.plain[span.start :][:5] == "ERROR")
                assert isinstance(word.style, Style)
                assert word.style.color == current_palette(app).error.color

    asyncio.run(run())


@pytest.mark.parametrize("window", ["p", "o"])
def test_another_theme_colours_open_windows_too(window: str) -> None:
    async def run() -> None:
        async with opened(capture(VFIO)) as (app, pilot):
            await press(pilot, "G", window)
            rows = app.screen.query(RowList).last()
            for theme in ("textual-light", "textual-dark"):
                app.theme = theme
                await settle(pilot)
                palette = current_palette(app)
                assert rows.palette is palette
                line = rows.render_line(rows.cursor + rows.header - round(rows.scroll_y))
                assert palette.cursor.bgcolor in {one.style.bgcolor for one in line if one.style}

    asyncio.run(run())


def test_without_colours_glyphs_tell_kinds_apart(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NO_COLOR", "1")

    async def run() -> None:
        async with opened(capture(VFIO), (120, 40)) as (app, pilot):
            await press(pilot, "4")
            pane = app.query_one(ThroughputPane)
            drawn = [segment for y in range(1, 36) for segment in pane.segments(y, 100)]
            glyphs = {char for segment in drawn for char in segment.text}
            assert glyphs >= {"▒", "█"}
            assert "▒ RAM" in shown(app)
            assert "━ main" in shown(app)
            assert current_palette(app).cursor.reverse

    asyncio.run(run())


def test_without_colours_what_is_wrong_can_be_read(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NO_COLOR", "1")

    async def run() -> None:
        async with opened(capture(LOST)) as (app, pilot):
            await press(pilot, "2")
            strips = app.screen._compositor.render_strips()
            styles = {segment.text.strip(): segment.style for strip in strips for segment in strip}
            for text in ("ERROR", "193.3 KiB"):
                style = styles[text]
                assert style is not None
                ink, ground = style.color, style.bgcolor
                assert ink is not None
                assert ground is not None
                ratio = contrast(Color.from_rich_color(ink), Color.from_rich_color(ground))
                assert ratio >= READABLE, text

    asyncio.run(run())


def test_the_titles_of_panes_and_windows_can_be_read_in_every_theme() -> None:
    async def run() -> None:
        async with opened(capture(VFIO)) as (app, pilot):
            await press(pilot, "G", "p")
            for name, theme in BUILTIN_THEMES.items():
                if theme.ansi:
                    continue
                app.theme = name
                await settle(pilot)
                parts = [part for strip in app.screen._compositor.render_strips() for part in strip]
                for title in ("Packet 134, 0000", "Buffer", "n N step"):
                    style = next(it.style for it in parts if it.text.strip().startswith(title))
                    assert style is not None
                    assert style.color is not None
                    assert style.bgcolor is not None
                    ink = Color.from_rich_color(style.color)
                    ratio = contrast(ink, Color.from_rich_color(style.bgcolor))
                    assert ratio >= READABLE, (name, title)

    asyncio.run(run())


@pytest.mark.parametrize("glyph", EIGHTHS)
def test_the_cursor_is_seen_on_any_bar(glyph: str) -> None:
    from rich.segment import Segment as Made

    bar, mark = Style(color="#ff0000"), Style(bgcolor="#0000ff")
    cell: Segment = marked(Made(glyph, bar), mark)
    assert cell.style is not None
    behind = cell.style.bgcolor
    assert behind is not None
    assert (cell.text != EIGHTHS[-1] and behind.name == "#0000ff") or (
        cell.text == "│" and behind.name == "#ff0000"
    )


@pytest.mark.parametrize("screen", ["3", "4"])
def test_the_time_cursor_has_a_sign_on_the_axis(screen: str) -> None:
    async def run() -> None:
        async with opened(capture(VFIO)) as (app, pilot):
            await press(pilot, screen, *["right"] * 20)
            assert "▲" in shown(app)

    asyncio.run(run())


@pytest.mark.parametrize(
    ("width", "numbers"), [(80, "448,363 zero pages"), (70, "425,260 zero pag…")]
)
def test_the_numbers_at_the_cursor_fit_a_small_terminal(width: int, numbers: str) -> None:
    async def run() -> None:
        async with opened(capture("11.1.3-colo-2ch"), (width, 24)) as (app, pilot):
            await press(pilot, "4", "home")
            assert numbers in shown(app)

    asyncio.run(run())


def test_the_verdict_has_several_lines_where_there_is_room() -> None:
    async def run() -> None:
        async with opened(capture(LOST), (100, 40)) as (app, pilot):
            status = app.screen.query_one(StatusLine)
            assert status.size.height == 3
            assert "the destination waits for ever)" in shown(app)
            assert "v shows all" in shown(app)
            await pilot.resize_terminal(*SMALL)
            await settle(pilot)
            assert status.size.height == 2
            assert "closed multifd 0 inside a packet: the destin" in shown(app)
            assert "v shows all" in shown(app)
            await pilot.resize_terminal(80, 20)
            await settle(pilot)
            assert status.size.height == 1
            assert "v shows all 1/118" in shown(app)
            await pilot.resize_terminal(200, 40)
            await settle(pilot)
            assert status.size.height == 2
            assert "v shows all" not in shown(app)
            await press(pilot, "v")
            assert "of 950344 bytes" in shown(app)
            await press(pilot, "v")
            assert len(app.screen_stack) == 1
            await pilot.click("#status")
            await settle(pilot)
            assert "of 950344 bytes" in shown(app)

    asyncio.run(run())


def test_reading_again_does_not_move_the_screen() -> None:
    async def run() -> None:
        async with opened(capture(LOST)) as (app, pilot):
            status = app.screen.query_one(StatusLine)
            assert status.size.height == 2
            await press(pilot, "r")
            assert "read again" in shown(app)
            assert status.size.height == 2

    asyncio.run(run())


def test_a_long_message_takes_the_room_of_the_totals() -> None:
    async def run() -> None:
        async with opened(capture(LOST), (80, 20)) as (app, pilot):
            app.tell(Text("short"))
            await settle(pilot)
            assert "short 1/118" in shown(app)
            app.tell(Text("x" * 77))
            await settle(pilot)
            assert "x" * 77 in shown(app)
            assert "1/118" not in shown(app)

    asyncio.run(run())


def test_the_verdict_is_that_of_the_chosen_migration() -> None:
    async def run() -> None:
        async with opened(capture("10.0.13-cancel-then-retry-2ch"), (160, 50)) as (app, pilot):
            await press(pilot, "M", "1")
            assert "OK migration completed" in shown(app)
            await press(pilot, "M", "0")
            assert "CANCELLED migration cancelled" in shown(app)
            await press(pilot, "v")
            assert "migration 1: OK migration completed" in shown(app)

    asyncio.run(run())


@pytest.mark.parametrize(("screen", "head"), [("3", "How it ended"), ("7", "What it carries")])
def test_what_matters_most_is_shown_on_a_small_terminal(screen: str, head: str) -> None:
    async def run() -> None:
        async with opened(capture(VFIO), SMALL) as (app, pilot):
            await press(pilot, screen)
            assert head in shown(app)

    asyncio.run(run())


@pytest.mark.parametrize(("size", "more"), [(SMALL, True), (LARGE, False)])
def test_a_sign_says_that_columns_are_hidden(size: tuple[int, int], more: bool) -> None:
    async def run() -> None:
        async with opened(capture(VFIO), size) as (app, pilot):
            await press(pilot, "6")
            assert app.view.query_one(RowList).render_line(0).text.endswith("…") is more

    asyncio.run(run())


def test_the_current_tab_is_seen_on_a_narrow_terminal() -> None:
    async def run() -> None:
        async with opened(capture("10.0.13-ipv6-2ch"), (40, 20)) as (app, pilot):
            for screen in "1234567":
                await press(pilot, screen)
                title = TITLES[int(screen) - 1]
                assert f"{screen} {title} " in shown(app).partition("─")[0]
                tabs = app.query_one(TabLine)
                assert await pilot.click(tabs, offset=(tabs._edges[4] - 1, 0))
                await settle(pilot)
                assert app.state.screen == "findings"

    asyncio.run(run())
