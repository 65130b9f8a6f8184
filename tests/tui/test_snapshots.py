"""Every screen on shipped captures, small and large."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from analyzer.migration.settings import Settings
from analyzer.tui.app import MfsharkApp
from tests.shipped import FILES
from tests.tui.driving import LARGE, SMALL, press, settle

if TYPE_CHECKING:
    from collections.abc import Callable

    from textual.pilot import Pilot

    Compare = Callable[..., bool]

SCREENS = {
    "packets": "1",
    "devices": "2",
    "channels": "3",
    "timeline": "4",
    "findings": "5",
    "streams": "6",
    "main": "7",
}
SIZES = {"small": SMALL, "large": LARGE}


def shows(
    compare: Compare, name: str, size: tuple[int, int], *keys: str, theme: str = "textual-dark"
) -> bool:
    app = MfsharkApp(str(FILES[name]), Settings())

    async def drive(pilot: Pilot[Any]) -> None:
        app.theme = theme
        await settle(pilot)
        for key in keys:
            await press(pilot, key)

    return compare(app, terminal_size=size, run_before=drive)


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("screen", SCREENS)
def test_screens(snap_compare: Compare, screen: str, size: str) -> None:
    assert shows(snap_compare, "10.0.13-vfio-3dev-4ch", SIZES[size], SCREENS[screen])


@pytest.mark.parametrize(
    ("name", "keys"),
    [
        ("10.0.13-vfio-many-small-buffers-4ch", ("2", "j")),
        ("10.0.13-vfio-gaps-2ch", ("5",)),
        ("10.0.13-vfio-gaps-2ch", ("6", "j")),
        ("10.0.13-multifd-64ch", ("3",)),
        ("10.0.13-tls13-x509-2ch-nokeys", ()),
        ("10.0.13-vfio-destination-killed-2ch", ("2",)),
        ("10.0.13-vfio-machine-q35-9.2-refused-2ch", ("2",)),
        ("10.0.13-cancel-then-retry-2ch", ()),
        ("10.0.13-vfio-gaps-2ch", ("right_square_bracket", "m", "t")),
        ("10.0.13-uuid-name-2ch", ("question_mark",)),
        ("10.0.13-cancel-then-retry-2ch", ("M",)),
    ],
    ids=lambda value: "" if isinstance(value, str) else "-".join(value),
)
def test_states(snap_compare: Compare, name: str, keys: tuple[str, ...]) -> None:
    assert shows(snap_compare, name, SMALL, *keys)


@pytest.mark.parametrize("theme", ["ansi-dark", "textual-light"])
def test_themes(snap_compare: Compare, theme: str) -> None:
    assert shows(snap_compare, "10.0.13-vfio-3dev-4ch", SMALL, "G", "tab", theme=theme)
