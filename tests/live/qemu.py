"""Two QEMUs that migrate over loopback; they need no guest but the firmware, and no privileges."""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
import time
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path
    from types import TracebackType

PROGRAM = "qemu-system-x86_64"
MISSING = shutil.which(PROGRAM) is None
SECONDS = 30.0
"""Seconds without an answer after which a test fails instead of hanging."""
PAUSE = 0.02
ENDS = ("completed", "failed", "cancelled")
PSK = "qemu:" + "5a" * 32 + "\n"


class Qemu:
    """One process, paused or waiting for a migration, and its QMP connection."""

    def __init__(
        self, folder: Path, name: str, *arguments: str, keylog: Path | None = None
    ) -> None:
        self._path = folder / f"{name}.qmp"
        listener = socket.socket(socket.AF_UNIX)
        listener.bind(str(self._path))
        listener.listen(1)
        listener.settimeout(SECONDS)
        environment = dict(os.environ)
        environment.pop("SSLKEYLOGFILE", None)
        if keylog is not None:
            environment["SSLKEYLOGFILE"] = str(keylog)
        self.process = subprocess.Popen(
            [PROGRAM, "-machine", "q35,accel=tcg", "-m", "32", "-display", "none", "-nodefaults",
             "-qmp", f"unix:{self._path}", *arguments],
            env=environment, stdin=subprocess.DEVNULL, stderr=subprocess.PIPE,
        )  # fmt: skip
        try:
            self._socket, _ = listener.accept()
        except TimeoutError:
            self.close()
            raise
        finally:
            listener.close()
        self._socket.settimeout(SECONDS)
        self._lines = self._socket.makefile("r", encoding="utf-8")
        self._lines.readline()  # its greeting
        self("qmp_capabilities")

    def __call__(self, command: str, **arguments: Any) -> Any:
        """Run a QMP command and return its result; names are written with underscores."""
        named = {key.replace("_", "-"): value for key, value in arguments.items()}
        message = {"execute": command.replace("_", "-"), "arguments": named}
        if command == "qmp_capabilities":
            message["execute"] = command
        self._socket.sendall(json.dumps(message).encode() + b"\n")
        while True:
            answer = json.loads(self._lines.readline())
            if "error" in answer:
                raise RuntimeError(f"{command}: {answer['error']['desc']}")
            if "return" in answer:
                return answer["return"]

    def close(self) -> None:
        """End the process."""
        self.process.kill()
        self.process.communicate()
        if hasattr(self, "_socket"):
            self._lines.close()
            self._socket.close()

    def __enter__(self) -> Qemu:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        at: TracebackType | None,
    ) -> None:
        self.close()


def credentials(folder: Path, endpoint: str) -> list[str]:
    """The arguments that give QEMU a pre-shared key."""
    (folder / "keys.psk").write_text(PSK, encoding="ascii")
    (folder / "keys.psk").chmod(0o600)
    named = ",username=qemu" if endpoint == "client" else ""
    return ["-object", f"tls-creds-psk,id=tls0,dir={folder},endpoint={endpoint}{named}"]


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def migrate(
    folder: Path, port: int, *, channels: int = 2, keylog: Path | None = None, tls: bool = False
) -> dict[str, Any]:
    """Run a whole migration to a port; returns the source's ``query-migrate``."""
    source = credentials(folder, "client") if tls else []
    target = credentials(folder, "server") if tls else []
    with (
        Qemu(folder, "source", *source, keylog=keylog) as one,
        Qemu(folder, "target", "-incoming", "defer", *target) as two,
    ):
        for qemu in (one, two):
            qemu("migrate_set_capabilities",
                 capabilities=[{"capability": "multifd", "state": True}])  # fmt: skip
            qemu("migrate_set_parameters", multifd_channels=channels, max_bandwidth=1 << 30)
            if tls:
                qemu("migrate_set_parameters", tls_creds="tls0")
        two("migrate_incoming", uri=f"tcp:127.0.0.1:{port}")
        one("migrate", uri=f"tcp:127.0.0.1:{port}")
        _until(lambda: one("query_migrate").get("status") in ENDS)
        if one("query_migrate")["status"] == "completed":
            # The source says so while the destination is still reading and counters still change.
            _until(lambda: two("query_status")["status"] != "inmigrate")
            _until(lambda: one("query_migrate") == _later(one))
        state: dict[str, Any] = one("query_migrate")
        return state


def _later(qemu: Qemu) -> Any:
    time.sleep(5 * PAUSE)
    return qemu("query_migrate")


def _until(holds: Callable[[], bool]) -> None:
    end = time.monotonic() + SECONDS
    while not holds():
        if time.monotonic() > end:
            raise TimeoutError("QEMU does not come to an end")
        time.sleep(PAUSE)
