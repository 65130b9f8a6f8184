"""A network interface as a source, captured by dumpcap, the only process that needs privileges.

dumpcap writes to a file, which is read while it grows, or to a pipe, of which nothing is kept.
"""

from __future__ import annotations

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
"""Folders to look in for a dumpcap that this user may not execute."""
BUFFER = 32
"""Kernel buffer in MiB; dumpcap's default of 2 fills within a hundredth of a second at 2 Gbit/s."""
READY_SECONDS = 20
END_SECONDS = 10
LINES_KEPT = 20
LINE_MAX = 1000
GROUP = (
    "on Debian and Ubuntu 'sudo dpkg-reconfigure wireshark-common' (answer yes), then 'sudo "
    "usermod -aG wireshark $USER' and log in again; elsewhere join the group that may run it, or "
    "'sudo setcap cap_net_raw=eip {path}'"
)
IDLE = ("Packets", "Capturing on", "Running as", "dumpcap: cap_set_proc")
"""Beginnings of lines that are no error messages."""
DENIED = ("permission", "not permitted", "CAP_NET_RAW")


def find() -> str:
    """The path of dumpcap.  Raises :class:`ToolUnavailable` if there is none or it may not be
    executed.
    """
    path = shutil.which(TOOL)
    if path is not None:
        return path
    for folder in [*os.environ.get("PATH", "").split(os.pathsep), *PLACES]:
        if folder and os.path.isfile(found := os.path.join(folder, TOOL)):
            if os.access(found, os.X_OK):
                return found
            raise ToolUnavailable(
                f"{found} may not be run by this user", advice=GROUP.format(path=found)
            )
    raise ToolUnavailable("dumpcap is not installed", advice=f"it comes with tshark: {INSTALL}")


def interfaces() -> list[tuple[str, str]]:
    """Name and description of the interfaces that dumpcap can use.  Raises
    :class:`CaptureError`.
    """
    path = find()
    try:
        ran = subprocess.run(
            [path, "-D", "-M"],
            capture_output=True,
            errors="surrogateescape",  # names as in the arguments of a command
            timeout=READY_SECONDS,
            check=False,
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
    """A running dumpcap on an interface; ``source`` reads what it captures.

    ``output`` is the file to write, ``None`` for a pipe.  ``capture_filter`` is in libpcap's
    syntax, ``buffer`` the kernel buffer in MiB. As a context manager it ends dumpcap on exit.
    Raises :class:`CaptureError` when capturing cannot begin, :class:`ToolUnavailable` if dumpcap is
    missing or this user may not run it.
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
            # In a session of its own, so that Ctrl-C reaches only this process, which then ends
            # dumpcap in good order. dumpcap writes its counts to the stderr pipe, and so ends by
            # itself if this process is gone.
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
        """Wait until dumpcap captures; raises :class:`CaptureError` if it does not begin."""
        if not self._told.ready.wait(READY_SECONDS):
            raise CaptureError(f"dumpcap did not start capturing on {self.interface}")
        if not self._told.capturing:
            self._process.wait()
            raise _refused(path, self._told.lines, self.interface)

    def _feed(self, output: str | None) -> Feed:
        if output is not None:
            try:
                written = os.open(output, os.O_RDONLY)
            except OSError as error:
                raise CaptureError(
                    f"the output of dumpcap cannot be read: {error.strerror}", path=output
                ) from error
            return _DumpcapFeed(written, self._process, self._told)
        assert self._process.stdout is not None
        descriptor = os.dup(self._process.stdout.fileno())
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
    """What dumpcap writes, until it exits."""

    def __init__(self, descriptor: int, process: subprocess.Popen[bytes], told: _Told) -> None:
        super().__init__(descriptor)
        self._process = process
        self._told = told

    def finish(self) -> None:
        """Make dumpcap flush its frames and its statistics, and exit."""
        super().finish()
        self._process.send_signal(signal.SIGINT)

    def ended(self) -> bool:
        """Whether dumpcap has exited."""
        return self._process.poll() is not None

    def lost(self) -> int:
        """Frames that the kernel or dumpcap dropped."""
        self._told.join()
        return self._told.dropped

    def failure(self) -> str:
        """The error message of dumpcap if it failed, else empty."""
        return self._last_words() if self._process.wait() else ""

    def notes(self) -> list[str]:
        """Why dumpcap stopped by itself, if it did, as when the interface went away."""
        return [] if self._finished or self._process.wait() else [self._last_words()]

    def _last_words(self) -> str:
        self._told.join()
        return f"dumpcap stopped: {_sentence(self._told.lines)}"


class _Told:
    """dumpcap's standard error, read in a thread.

    ``ready`` is set once dumpcap is ``capturing`` or has exited; ``lines`` are its error messages;
    ``dropped`` counts dropped frames, taken from its final statistics.
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
        """Wait until all of it is read."""
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
        count, _, said = line.partition(" dumpcap: ")
        if said and count.startswith("Packets: "):  # it does not begin a new line for an error
            line = said
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
    """The error message: the first line, without the program's name."""
    said = lines[0] if lines else "no reason given"
    return said.removeprefix("dumpcap: ").rstrip(".")
