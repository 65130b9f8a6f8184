"""The benchmark prints its tables and leaves nothing behind."""

from __future__ import annotations

import argparse
import shutil
from pathlib import Path

import pytest

from benchmarks import throughput

READY = shutil.which("tshark") and Path(throughput.MFSHARK[0]).exists()


@pytest.mark.parametrize(
    ("text", "size"), [("2G", 2 << 30), ("500M", 500 << 20), ("3kib", 3072), ("1000", 1000)]
)
def test_a_size_is_read_with_its_unit(text: str, size: int) -> None:
    assert throughput.parse_size(text) == size


def test_a_frame_length_may_bring_its_own_capture_size() -> None:
    assert throughput.parse_frames("1514,65549:4G") == [(1514, 0), (65549, 4 << 30)]


def test_no_size() -> None:
    with pytest.raises(argparse.ArgumentTypeError):
        throughput.parse_size("much")


def test_ratios_are_of_neighbouring_runs() -> None:
    slow = [throughput.Run(1.0, 10240), throughput.Run(20.0, 20480), throughput.Run(3.0, 20480)]
    fast = [throughput.Run(0.5, 1024), throughput.Run(10.0, 1024), throughput.Run(1.5, 1024)]
    results = {"slow": slow, "fast": fast}
    assert throughput.ratio(results, "slow", "fast") == "2.0"
    assert throughput.seconds(results, "slow") == 3.0
    assert throughput.peak(results, "slow") == "20 MiB"


def test_a_failing_command_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(RuntimeError, match="status 1"):
        throughput.measure(["cat", "--no-such-option"], tmp_path)


@pytest.mark.skipif(not READY, reason="needs tshark and an installed mfshark")
def test_the_table_is_printed_and_no_file_is_left_behind(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    if not throughput.runs_scripts():
        pytest.skip("tshark runs no Lua scripts here")
    monkeypatch.setattr(throughput, "SMALL_RUNS", 1)
    throughput.main(["--size", "2M", "--frames", "9014", "--runs", "1", "--dir", str(tmp_path)])
    output = capsys.readouterr().out.splitlines()
    assert output[0] == "|  | 9014-byte frames | small capture |"
    assert output[2] == "| size | 2 MiB | 4 MiB |"
    assert len(output) == 2 + len(throughput.LABELS)
    assert not list(tmp_path.iterdir())
