"""What ``check`` loads: starting is most of a small check's time."""

from __future__ import annotations

import subprocess
import sys

from tests import shipped

HEAVY = (
    "scapy", "numpy", "textual", "rich", "pyshark", "lark", "zstandard", "tomllib", "typing",
    "dataclasses", "inspect", "json", "hashlib", "argcomplete",
)  # fmt: skip


def test_check_loads_none_of_the_heavy_libraries() -> None:
    script = (
        "import sys\n"
        "from analyzer.cli import main\n"
        f"status = main(['check', {str(shipped.capture('10.0.13-alpha-8k-pages-2ch'))!r}])\n"
        f"print(status, [name for name in {HEAVY!r} if name in sys.modules])\n"
    )
    ran = subprocess.run(
        [sys.executable, "-S", "-c", f"import sys; sys.path[:0] = {sys.path!r}\n{script}"],
        capture_output=True,
        text=True,
        check=True,
    )
    assert ran.stdout.splitlines()[-1] == "0 []"
