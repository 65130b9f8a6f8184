"""Runs tshark with a Lua script, also for root."""

from __future__ import annotations

import functools
import os
import pwd
import shutil
import subprocess
import tempfile
from pathlib import Path

from benchmarks.throughput import runs_scripts


@functools.cache
def _refused() -> bool:
    return os.geteuid() == 0 and not runs_scripts()


def tshark(script: Path, capture: Path, *words: str) -> list[str]:
    """The lines that tshark prints; asserts that it does not complain about the script.

    Wireshark 4.4 and later run no scripts for root: then tshark runs as user nobody, on copies.
    """
    if not _refused():
        return _run(script, capture, words)
    nobody = pwd.getpwnam("nobody")
    with tempfile.TemporaryDirectory(prefix="mfshark-lua-") as name:
        folder = Path(name)
        folder.chmod(0o755)
        copies = folder / script.name, folder / capture.name
        for source, copy in zip((script, capture), copies, strict=True):
            shutil.copyfile(source, copy)
            copy.chmod(0o644)
        return _run(*copies, words, as_user=(nobody.pw_uid, nobody.pw_gid), home=name)


def _run(
    script: Path,
    capture: Path,
    words: tuple[str, ...],
    as_user: tuple[int, int] | tuple[None, None] = (None, None),
    home: str | None = None,
) -> list[str]:
    command = ["tshark", "-X", f"lua_script:{script}", "-o", "tcp.reassemble_out_of_order:TRUE"]
    done = subprocess.run(
        [*command, "-n", "-r", str(capture), *words],
        capture_output=True,
        text=True,
        check=True,
        user=as_user[0],
        group=as_user[1],
        extra_groups=None if home is None else [],
        env=None if home is None else {**os.environ, "HOME": home},
    )
    assert "Lua" not in done.stderr, done.stderr
    return done.stdout.splitlines()
