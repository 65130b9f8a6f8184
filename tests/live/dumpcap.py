"""A fake dumpcap for machines without the right to capture, with the same output."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

SCRIPT = """#!{python}
import json, os, signal, sys, time
with open({told!r}, "w") as told:
    json.dump(sys.argv[1:], told)
def say(*lines):
    print(*lines, sep="\\n", file=sys.stderr, flush=True)
plan = json.loads({plan!r})
if "-D" in sys.argv:
    sys.stdout.buffer.write(os.fsencode(plan["interfaces"]))
    sys.exit(0)
if plan["refusal"]:
    say(*plan["refusal"])
    sys.exit(2)
ended = []
signal.signal(signal.SIGINT, lambda *_: ended.append(True))
output = sys.argv[sys.argv.index("-w") + 1]
into = os.open(output, os.O_WRONLY | os.O_CREAT | os.O_TRUNC) if output != "-" else 1
say("Capturing on 'Loopback: lo'", "File: " + output)
with open({capture!r}, "rb") as capture:
    while piece := capture.read(60000):
        while piece:
            piece = piece[os.write(into, piece):]
if plan["crash"]:
    say(plan["crash"])
    sys.exit(plan["status"])
while not ended:
    time.sleep(0.005)
with open({end!r}, "rb") as end:
    os.write(into, end.read())
lost = plan["lost"]
say("Packets captured: 5")
say(f"Packets received/dropped on interface 'Loopback: lo': 5/{{lost}} "
    f"(pcap:{{lost}}/dumpcap:0/flushed:0/ps_ifdrop:0) (50.0%)")
"""


class FakeDumpcap:
    """Puts a fake ``dumpcap`` into ``folder``: it writes ``capture`` and, on SIGINT, ``end``."""

    def __init__(
        self,
        folder: Path,
        capture: bytes = b"",
        end: bytes = b"",
        *,
        lost: int = 0,
        refusal: list[str] | None = None,
        crash: str = "",
        status: int = 1,
        interfaces: str = "",
    ) -> None:
        self._told = folder / "told.json"
        (folder / "capture").write_bytes(capture)
        (folder / "end").write_bytes(end)
        plan: dict[str, Any] = {
            "lost": lost, "refusal": refusal, "crash": crash, "status": status,
            "interfaces": interfaces,
        }  # fmt: skip
        self.path = folder / "dumpcap"
        self.path.write_text(
            SCRIPT.format(
                python=sys.executable,
                told=str(self._told),
                plan=json.dumps(plan),
                capture=str(folder / "capture"),
                end=str(folder / "end"),
            )
        )
        self.path.chmod(0o755)

    @property
    def arguments(self) -> list[str]:
        """The arguments it was called with."""
        loaded: list[str] = json.loads(self._told.read_text())
        return loaded
