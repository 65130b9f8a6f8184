"""Makes the documentation's pictures: ``python -m tests.tui.pictures``.

Needs rsvg-convert (Debian: librsvg2-bin) and netpbm.
"""

from __future__ import annotations

import asyncio
import re
import subprocess
from itertools import groupby
from pathlib import Path

from tests.shipped import FILES
from tests.tui.driving import opened, press

FOLDER = Path(__file__).resolve().parents[2] / "docs" / "images"
GOOD, LOST = "10.0.13-vfio-3dev-4ch", "10.0.13-vfio-truncated-no-returnpath-2ch"
SIZE = (112, 32)
WIDTH = 1120
"""Width of a picture in pixels."""
PICTURES = {
    "packets": (GOOD, "ctrl+f", *"04.0", "enter", "tab", "down", "down", "down", "shift+tab"),
    "devices": (GOOD, "2", "down", "tab", "right", "right", "right"),
    "channels": (GOOD, "3", "down", "down", "down", *["right"] * 70),
    "lost-findings": (LOST, "5"),
    "lost-device": (LOST, "2", "tab"),
}
LINE, ASCENT = 24.4, 18.5
"""Height of a line in the drawing, and the part of it above the base line."""
SHADES = {"░": 0.25, "▒": 0.5, "▓": 0.75}
BLOCKS = "▁▂▃▄▅▆▇█" + "".join(SHADES)
BLANK = "&#160;"
TEXT = re.compile(
    r'<text class="([^"]*)" x="([\d.]+)" y="([\d.]+)" textLength="([\d.]+)"[^>]*>([^<]*)</text>'
)


def rectangles(look: str, x: float, y: float, cell: float, glyphs: str) -> list[str]:
    """Block characters as rectangles, one per run, so that they join in every font."""
    found, column = [], 0
    for glyph, run in groupby(glyphs):
        columns = len(list(run))
        if glyph in BLOCKS:
            height = LINE if glyph in SHADES else (BLOCKS.index(glyph) + 1) / 8 * LINE
            found.append(
                f'<rect class="{look}" shape-rendering="crispEdges" x="{x + column * cell:.1f}" '
                f'y="{y - ASCENT + LINE - height:.2f}" width="{columns * cell:.1f}" '
                f'height="{height:.2f}" fill-opacity="{SHADES.get(glyph, 1)}"/>'
            )
        column += columns
    return found


def redrawn(match: re.Match[str]) -> str:
    """A text of the drawing with its block characters replaced by rectangles."""
    look, x, y, length, text = match.groups()
    glyphs = text.replace("&#160;", " ")
    if "&" in glyphs or not set(BLOCKS) & set(glyphs):
        return match.group()
    letters = "".join(BLANK if glyph in BLOCKS or glyph == " " else glyph for glyph in glyphs)
    kept = match.group().replace(f">{text}<", f">{letters}<")
    cell = float(length) / len(glyphs)
    return kept + "".join(rectangles(look, float(x), float(y), cell, glyphs))


def prepared(svg: str) -> str:
    """The drawing changed so that rsvg-convert keeps blanks and joins block characters."""
    svg = TEXT.sub(redrawn, svg)
    return svg.replace("<svg ", '<svg xml:space="preserve" ', 1).replace(
        "font-family: Fira Code, monospace", "font-family: DejaVu Sans Mono, monospace"
    )


async def draw(name: str, shown: str, *keys: str) -> None:
    """Write picture ``name``: the application with the capture ``shown`` after ``keys``."""
    async with opened(FILES[shown], SIZE) as (app, pilot):
        await press(pilot, *keys)
        await pilot.pause(0.5)
        image = prepared(app.export_screenshot(title="mfshark")).encode()
    for command in (
        ["rsvg-convert", f"--width={WIDTH}"],
        ["pngtopnm"],
        ["pnmquant", "-quiet", "200"],
        ["pnmtopng", "-quiet", "-compression=9"],
    ):
        image = subprocess.run(command, input=image, stdout=subprocess.PIPE, check=True).stdout
    (FOLDER / f"{name}.png").write_bytes(image)


if __name__ == "__main__":
    FOLDER.mkdir(exist_ok=True)
    for name, shown in PICTURES.items():
        asyncio.run(draw(name, *shown))
