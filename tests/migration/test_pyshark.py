"""pyshark as the reader: the rows and numbers of reading natively, whoever's event loop runs."""

from __future__ import annotations

import asyncio
import os
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import pytest

from analyzer.capture import tshark
from analyzer.errors import CaptureError, ToolUnavailable
from analyzer.migration.scan import Scan
from analyzer.migration.settings import Settings
from analyzer.migration.table import COLUMNS, PacketTable
from analyzer.synth import build
from tests import shipped
from tests.migration.tls_captures import EMBEDDED, KEYS, stripped
from tests.tcp.tshark import MISSING
from tests.tunnelled import TUNNELS, wrapped

if TYPE_CHECKING:
    from pathlib import Path

needs_tshark = pytest.mark.skipif(MISSING, reason="tshark is not installed")
PYSHARK = Settings(via="pyshark")
SMALL = build(
    {
        "ram": {"normal_pages": 3, "dirty_pages": 1},
        "migration": [{"channels": 1}],
        "device": [{"size": 5000}],
    }
)
WITHOUT_314 = """
import asyncio, warnings
warnings.simplefilter("ignore")
for name in ("SafeChildWatcher", "ThreadedChildWatcher", "get_child_watcher", "set_child_watcher"):
    if hasattr(asyncio, name):
        delattr(asyncio, name)
policy = asyncio.get_event_loop_policy()
set_loop, loops = asyncio.set_event_loop, []
asyncio.set_event_loop = lambda loop: (loops.append(loop), set_loop(loop))
def get_event_loop():
    if not loops:
        raise RuntimeError("There is no current event loop in thread 'MainThread'.")
    return loops[-1]
asyncio.get_event_loop = get_event_loop
"""


SAME = [name for name, *_ in COLUMNS if name != "pos"]
"""All that a row has but where in the file to read it again."""


def rows(path: Path | bytes, settings: Settings | None = None) -> tuple[list[list[int]], Scan]:
    table = PacketTable()
    scan = Scan(path, settings, watchers=(table,)).run()
    table.finish(scan.migrations, scan.engine.first_time)
    return [list(table.column(name)) for name in SAME], scan


@pytest.fixture
def modules(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder whose modules come before the installed ones in programs that are started."""
    folder = tmp_path / "modules"
    folder.mkdir()
    inherited = os.environ.get("PYTHONPATH")
    monkeypatch.setenv("PYTHONPATH", str(folder) + (os.pathsep + inherited if inherited else ""))
    return folder


@needs_tshark
@pytest.mark.parametrize("name", ["10.0.13-snaplen128-2ch", EMBEDDED])
def test_real_captures_have_the_same_rows(name: str) -> None:
    path = shipped.capture(name)
    expected, _ = rows(path)
    found, scan = rows(path, PYSHARK)
    assert len(expected[0]) > 20
    assert found == expected
    assert scan.ways.tool == "pyshark"
    assert not any("pyshark" in note for note in scan.file.notes)


@needs_tshark
def test_tls_with_a_key_log_has_the_same_rows(tmp_path: Path) -> None:
    without_secrets = stripped(tmp_path / "plain.pcapng")
    expected, _ = rows(without_secrets, Settings(keylog=str(KEYS)))
    found, scan = rows(without_secrets, Settings(keylog=str(KEYS), via="pyshark"))
    assert len(expected[0]) > 100
    assert found == expected
    assert scan.ways.tool == "pyshark"


@needs_tshark
def test_a_tunnel_has_the_same_rows(tmp_path: Path) -> None:
    inner = tmp_path / "inner.pcap"
    inner.write_bytes(SMALL)
    expected, _ = rows(inner)
    found, scan = rows(wrapped(inner, tmp_path / "vxlan.pcap", TUNNELS["vxlan"]), PYSHARK)
    assert expected[0]
    assert found == expected
    assert scan.ways.tool == "pyshark"


@needs_tshark
def test_it_runs_inside_an_event_loop_in_any_thread() -> None:
    async def read() -> list[list[int]]:
        return rows(SMALL, PYSHARK)[0]

    with ThreadPoolExecutor(1) as pool:
        assert pool.submit(asyncio.run, read()).result() == rows(SMALL)[0]


@needs_tshark
def test_it_runs_without_what_python_3_14_took_away(modules: Path) -> None:
    (modules / "sitecustomize.py").write_text(WITHOUT_314)
    assert tshark.pyshark_fault() == ""
    found, scan = rows(SMALL, PYSHARK)
    assert found == rows(SMALL)[0]
    assert (scan.ways.tool, scan.file.notes) == ("pyshark", [])


@needs_tshark
@pytest.mark.parametrize(
    ("code", "why"),
    [
        ("raise ImportError('there is none')", "there is none"),
        ("raise AttributeError('no SafeChildWatcher')", "no SafeChildWatcher"),
        ("import os; os._exit(7)", "it does not start"),
        ("import sys; print(' ', file=sys.stderr); sys.exit(1)", "it does not start"),
    ],
)
def test_where_it_is_broken_tshark_serves_and_a_note_says_so(
    code: str, why: str, modules: Path
) -> None:
    (modules / "pyshark").mkdir()
    (modules / "pyshark" / "__init__.py").write_text(code)
    found, scan = rows(SMALL, PYSHARK)
    assert found == rows(SMALL)[0]
    (note,) = scan.file.notes
    assert note.startswith("read through tshark itself: pyshark cannot be used: ")
    assert why in note


def test_without_tshark_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "")
    with pytest.raises(ToolUnavailable, match="apt install tshark"):
        Scan(SMALL, PYSHARK)


@needs_tshark
def test_what_is_no_capture_is_told_in_tsharks_words(tmp_path: Path) -> None:
    path = tmp_path / "text"
    path.write_text("nothing of the kind\n" * 10)
    with pytest.raises(CaptureError, match="not a capture that tshark knows"):
        Scan(path, PYSHARK)


@needs_tshark
def test_a_capture_cut_short_is_read_up_to_there() -> None:
    expected, _ = rows(SMALL[:-7])
    found, scan = rows(SMALL[:-7], PYSHARK)
    assert found == expected
    assert any("cut short" in note for note in scan.file.notes)
