"""A network interface as a source: dumpcap captures, and is the only one that needs privileges.

It writes to a file that is read while it grows, or to a pipe, of which nothing is kept.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import threading

from analyzer.capture.growing import Feed, GrowingSource
from analyzer.capture.tshark import INSTALL
from analyzer.errors import CaptureError, ToolUnavailable

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import IO

__all__ = ["BUFFER", "LiveCapture", "find", "interfaces"]

TOOL = "dumpcap"
PLACES = ("/usr/bin", "/usr/local/bin", "/usr/sbin", "/opt/homebrew/bin")
"""Where a dumpcap may lie that this user may not run."""
BUFFER = 32
"""Kernel buffer in MiB; dumpcap's own 2 are full after a hundredth of a second at 2 Gbit/s."""
READY_SECONDS = 20
END_SECONDS = 10
LINES_KEPT = 20
LINE_MAX = 1000
PIPE_SIZE = 1 << 20
F_SETPIPE_SZ = 1031
GROUP = (
    "on Debian and Ubuntu 'sudo dpkg-reconfigure wireshark-common' (answer yes), then 'sudo "
    "usermod -aG wireshark $USER' and log in again; elsewhere join the group that may run it, or "
    "'sudo setcap cap_net_raw=eip {path}'"
)
IDLE = ("Packets", "Capturing on", "Running as", "dumpcap: cap_set_proc")
"""Beginnings of lines that say nothing about what is wrong."""
DENIED = ("permission", "not permitted", "CAP_NET_RAW")


def find() -> str:
    """The path of dumpcap.  Raises :class:`ToolUnavailable`, also where it may not be run."""
    path = shutil.which(TOOL)
    if path is not None:
        return path
    for folder in [*os.environ.get("PATH", "").split(os.pathsep), *PLACES]:
        if folder and os.path.isfile(found := os.path.join(folder, TOOL)):  # noqa: PTH113, PTH118
            if os.access(found, os.X_OK):
                return found
            raise ToolUnavailable(
                f"{found} may not be run by this user", advice=GROUP.format(path=found)
            )
    raise ToolUnavailable("dumpcap is not installed", advice=f"it comes with tshark: {INSTALL}")


def interfaces() -> list[tuple[str, str]]:
    """Name and description of what dumpcap can capture on here.  Raises :class:`CaptureError`."""
    path = find()
    try:
        ran = subprocess.run(
            [path, "-D", "-M"], capture_output=True, text=True, timeout=READY_SECONDS, check=False
        )
    except (OSError, subprocess.SubprocessError) as error:
        raise _not_run(path, error) from error
    found = []
    for line in ran.stdout.splitlines():
        name, *rest = line.partition(". ")[2].split("\t")
        addresses = rest[3].replace(",", " ") if len(rest) > 3 else ""
        text = " ".join(part for part in (rest[1] if len(rest) > 1 else "", addresses) if part)
        if name:
            found.append((name, text))
    if not found:
        said = [line for line in ran.stderr.splitlines() if line.strip()]
        raise _refused(path, said or ["there are no interfaces on which a capture can be done."])
    return found


class LiveCapture:
    """dumpcap at work on an interface; ``source`` has what it captures.

    ``output`` is the file to write, ``None`` for a pipe.  ``capture_filter`` is libpcap's,
    ``buffer`` the kernel's in MiB.  Use it as a context manager: dumpcap ends with it.  Raises
    :class:`CaptureError` when capturing cannot begin, without dumpcap or the right to run it
    :class:`ToolUnavailable`.
    """

    def __init__(
        self,
        interface: str,
        *,
        capture_filter: str = "",
        output: str | None = None,
        buffer: int = BUFFER,
        promiscuous: bool = False,
    ) -> None:
        self.interface = interface
        path = find()
        command = [path, "-i", interface, "-B", str(buffer), "-w", output or "-"]
        if not promiscuous:
            command.append("-p")
        if capture_filter:
            command += ["-f", capture_filter]
        try:
            # In a session of its own, so that Ctrl-C reaches only who ends it in good order.  It
            # reports its counts to the pipe: if nobody is left to read them, it ends.
            self._process = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL if output else subprocess.PIPE,
                stderr=subprocess.PIPE,
                start_new_session=True,
            )
        except OSError as error:
            raise _not_run(path, error) from error
        assert self._process.stderr is not None
        self._told = _Told(self._process.stderr)
        try:
            self._begin(path)
            self.source = GrowingSource(output or f"<{interface}>", self._feed(output))
        except BaseException:
            self.close()
            raise

    def _begin(self, path: str) -> None:
        """Wait until it captures, or says why it does not."""
        if not self._told.ready.wait(READY_SECONDS):
            raise CaptureError(f"dumpcap does not begin to capture on {self.interface}")
        if not self._told.capturing:
            self._process.wait()
            raise _refused(path, self._told.lines, self.interface)

    def _feed(self, output: str | None) -> Feed:
        if output is not None:
            try:
                written = os.open(output, os.O_RDONLY)
            except OSError as error:
                raise CaptureError(
                    f"what dumpcap writes cannot be read: {error.strerror}", path=output
                ) from error
            return _DumpcapFeed(written, self._process, self._told)
        assert self._process.stdout is not None
        descriptor = os.dup(self._process.stdout.fileno())
        with contextlib.suppress(OSError):
            import fcntl

            fcntl.fcntl(descriptor, F_SETPIPE_SZ, PIPE_SIZE)
        self._process.stdout.close()
        return _DumpcapFeed(descriptor, self._process, self._told)

    def __enter__(self) -> LiveCapture:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """End dumpcap."""
        _end(self._process)
        self._told.join()


class _DumpcapFeed(Feed):
    """What dumpcap writes, until it has ended."""

    def __init__(self, descriptor: int, process: subprocess.Popen[bytes], told: _Told) -> None:
        super().__init__(descriptor)
        self._process = process
        self._told = told

    def finish(self) -> None:
        """Have it write what it holds, and its statistics."""
        self._process.send_signal(signal.SIGINT)

    def ended(self) -> bool:
        """Whether it is gone."""
        return self._process.poll() is not None

    def lost(self) -> int:
        """Frames that the kernel or dumpcap dropped."""
        self._told.join()
        return self._told.dropped

    def failure(self) -> str:
        """What it said if it failed."""
        if not self._process.wait():
            return ""
        self._told.join()
        return f"dumpcap stopped: {_sentence(self._told.lines)}"


class _Told:
    """What dumpcap says on standard error, listened to in a thread.

    ``ready`` is set when it is ``capturing`` or has ended; ``lines`` are those that say what is
    wrong; ``dropped`` stands in its last words.
    """

    def __init__(self, stream: IO[bytes]) -> None:
        self.ready = threading.Event()
        self.capturing = False
        self.dropped = 0
        self.lines: list[str] = []
        self._stream = stream
        self._thread = threading.Thread(target=self._listen, daemon=True)
        self._thread.start()

    def join(self) -> None:
        """Wait for its last words."""
        self._thread.join(END_SECONDS)

    def _listen(self) -> None:
        rest = b""
        with self._stream as stream:
            while piece := os.read(stream.fileno(), 4096):
                *lines, rest = (rest + piece).replace(b"\r", b"\n").split(b"\n")
                rest = rest[-LINE_MAX:]
                for line in lines:
                    self._line(line.decode("utf-8", "replace").strip())
        self._line(rest.decode("utf-8", "replace").strip())
        self.ready.set()

    def _line(self, line: str) -> None:
        if line.startswith("File: "):
            self.capturing = True
            self.ready.set()
        elif line.startswith("Packets received/dropped on interface"):
            numbers = line.rpartition("': ")[2].partition(" ")[0].partition("/")
            self.dropped = int(numbers[2]) if numbers[2].isdecimal() else 0
        elif line and not line.startswith(IDLE) and len(self.lines) < LINES_KEPT:
            self.lines.append(line)


def _end(process: subprocess.Popen[bytes]) -> None:
    if process.poll() is not None:
        return
    process.send_signal(signal.SIGINT)
    try:
        process.wait(END_SECONDS)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def _not_run(path: str, error: Exception) -> ToolUnavailable:
    if isinstance(error, PermissionError):
        return ToolUnavailable(
            f"{path} may not be run by this user", advice=GROUP.format(path=path)
        )
    return ToolUnavailable(f"dumpcap cannot be run: {error}", advice=INSTALL)


def _refused(path: str, lines: list[str], interface: str = "") -> CaptureError:
    text = _sentence(lines)
    if any(word in line for line in lines for word in DENIED):
        where = f" on {interface}" if interface else ""
        return ToolUnavailable(
            f"dumpcap may not capture{where}: {text}", advice=GROUP.format(path=path)
        )
    return CaptureError(
        f"dumpcap cannot capture on {interface}: {text}" if interface else f"dumpcap: {text}",
        advice="mfshark live -D lists the interfaces" if "device" in text else "",
    )


def _sentence(lines: list[str]) -> str:
    """The line that says why."""
    said = lines[0] if lines else "no reason given"
    return said.removeprefix("dumpcap: ").rstrip(".")
