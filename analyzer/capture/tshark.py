"""tshark as a source: finds it, runs it, and makes a capture of its output.

tshark prints one line of fields per frame; the lines are turned into a pcap stream, which is read
like any other.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import threading
import weakref

from analyzer.capture.raw import EMPTY, HEADER, record_of
from analyzer.capture.replayable import copied
from analyzer.capture.source import ZSTD_MAGICS, Source, open_source
from analyzer.errors import CaptureError, ToolUnavailable

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from analyzer.capture.raw import Record

__all__ = ["INSTALL", "Conversion", "addresses_of", "find", "pyshark_fault", "version"]

TOOL = "tshark"
INSTALL = (
    "install it (Debian, Ubuntu: apt install tshark; Fedora: dnf install wireshark-cli; "
    "Arch: pacman -S wireshark-cli; macOS: brew install wireshark)"
)
NS = 1_000_000_000
READY = 1 << 16
LINE_MAX = 1 << 27
"""Longest line in bytes; a longer one is dropped."""
FEED_CHUNK = 1 << 16
PYSHARK = os.path.join(os.path.dirname(__file__), "pyshark_fields.py")
PROBE_SECONDS = 30


def find() -> str:
    """The path of tshark.  Raises :class:`ToolUnavailable`."""
    path = shutil.which(TOOL)
    if path is None:
        raise ToolUnavailable("tshark is not installed", advice=INSTALL)
    return path


def version() -> str:
    """The version number of tshark; ``unknown`` where it does not run."""
    try:
        ran = subprocess.run(
            [find(), "--version"], capture_output=True, text=True, timeout=20, check=False
        )
    except (OSError, subprocess.SubprocessError):
        return "unknown"
    words = ran.stdout.partition("\n")[0].split()
    return next((word for word in words if word[:1].isdigit()), "unknown")


def pyshark_fault() -> str:
    """Why pyshark cannot be used here; empty where it can."""
    try:
        ran = subprocess.run(
            [sys.executable, "-P", PYSHARK, "--probe"],
            capture_output=True,
            text=True,
            timeout=PROBE_SECONDS,
            check=False,
        )
    except (OSError, subprocess.SubprocessError) as error:
        return str(error)
    said = [line for line in ran.stderr.splitlines() if line.strip()]
    return (said[-1] if said else "it does not start") if ran.returncode else ""


def _reader(tool: str) -> list[str]:
    """The beginning of the command that prints fields of frames."""
    if tool == "pyshark":
        # It needs the main thread and an event loop of its own: a separate process has both.
        return [sys.executable, "-P", PYSHARK, "--tshark", find()]
    return [find(), "-n", "-l", "-T", "fields", "-E", "occurrence=a"]


def addresses_of(
    protocols: list[bytes], values: tuple[bytes, bytes, bytes, bytes]
) -> tuple[bytes, bytes] | None:
    """The addresses around the frame's first TCP header; ``None`` where there is no such header.

    ``protocols`` are the frame's layers from the outside in; ``values`` tshark's ``ip.src``,
    ``ip.dst``, ``ipv6.src`` and ``ipv6.dst``, each with every occurrence.
    """
    if b"tcp" not in protocols:
        return None
    first = protocols.index(b"tcp")
    outside, behind = protocols[:first], protocols[first:]
    if b"icmp" in outside or b"icmpv6" in outside:
        return None  # it is the header quoted in an ICMP error
    found = {b"ip": values[:2], b"ipv6": values[2:]}
    inner = next((layer for layer in reversed(outside) if layer in found), b"")
    if outside and outside[-1] != inner:
        # Since 4.4 Wireshark does not list an IP layer that it guessed, as after MPLS.
        for layer, pair in found.items():
            if len(_occurrences(pair[0])) > protocols.count(layer):
                inner = layer
    if not inner:
        return None
    last = -1 - behind.count(inner)
    try:
        source, destination = (
            socket.inet_pton(
                socket.AF_INET if inner == b"ip" else socket.AF_INET6,
                _occurrences(value)[last].decode("ascii"),
            )
            for value in found[inner]
        )
    except (OSError, ValueError, IndexError):
        return None
    return source, destination


def _occurrences(value: bytes) -> list[bytes]:
    return value.split(b",") if value else []


def _time(text: bytes) -> int:
    """``frame.time_epoch`` as ns since the epoch; it is seconds, or ISO 8601 from tshark 4.6 on."""
    whole, _, rest = text.partition(b".")
    digits = rest.rstrip(b"Z+0:").ljust(9, b"0")[:9] if b"T" in text else rest.ljust(9, b"0")[:9]
    try:
        if b"T" in text:
            from calendar import timegm
            from time import strptime

            seconds = timegm(strptime(whole.rstrip(b"Z").decode("ascii"), "%Y-%m-%dT%H:%M:%S"))
        else:
            seconds = int(whole)
        return seconds * NS + int(digits)
    except ValueError:
        return 0


class Conversion:
    """A run of tshark over a file, whose frames come out as a pcap stream.

    ``path`` may be a growing source: a thread feeds it to tshark, which prints while it reads.
    ``tool`` is ``tshark``, or ``pyshark`` for a process that runs tshark through pyshark and prints
    the same lines.  ``fields`` are printed after the frame's number and time; ``convert`` turns
    their values into a frame and its length on the wire, or ``None`` for an empty record.
    ``complaint`` is the error message if reading or tshark failed, else empty; ``frame`` the number
    of the last frame so far, ``packets`` whether any frame had a time or was converted.  ``held``
    is closed with the run.
    """

    def __init__(
        self,
        path: str | os.PathLike[str] | bytes | Source,
        arguments: list[str],
        fields: tuple[str, ...],
        convert: Callable[[list[bytes]], Record | None],
        held: contextlib.ExitStack | None = None,
        *,
        tool: str = TOOL,
    ) -> None:
        self._held = held or contextlib.ExitStack()
        weakref.finalize(self, self._held.close)  # also at interpreter exit
        self._fed = path if isinstance(path, Source) else None
        try:
            self._start(path, [*_reader(tool), *arguments], fields)
        except BaseException:
            self._held.close()
            raise
        self.complaint = ""
        self.frame = 0
        self.packets = False
        self._convert = convert
        self._columns = len(fields)
        self._parts = self._pcap()
        self._ready = bytearray()

    def _start(
        self,
        path: str | os.PathLike[str] | bytes | Source,
        command: list[str],
        fields: tuple[str, ...],
    ) -> None:
        name = "-" if isinstance(path, Source) else self._held.enter_context(_input_file(path))
        command += "-r", name
        for field in ("frame.number", "frame.time_epoch", *fields):
            command += "-e", field
        self._errors = self._held.enter_context(tempfile.TemporaryFile())  # noqa: SIM115
        try:
            self._process = subprocess.Popen(
                command,
                stdin=subprocess.PIPE if isinstance(path, Source) else subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=self._errors,
                start_new_session=isinstance(path, Source),  # Ctrl-C ends the source first
            )
        except OSError as error:
            raise ToolUnavailable(f"tshark cannot be run: {error}", advice=INSTALL) from error
        if isinstance(path, Source):
            self._feeder = threading.Thread(target=self._feed, args=(path,), daemon=True)
            self._feeder.start()

    def _feed(self, source: Source) -> None:
        """Feed a growing source to tshark, until it ends or tshark does."""
        stdin = self._process.stdin
        assert stdin is not None
        view = memoryview(bytearray(FEED_CHUNK))
        with contextlib.suppress(BrokenPipeError), stdin:
            try:
                while count := source.readinto(view):
                    stdin.write(view[:count])
                    stdin.flush()
            except CaptureError as error:
                self.complaint = error.reason

    def read1(self, size: int, /) -> bytes:
        """At most ``size`` bytes of the pcap stream; ``b""`` at its end."""
        while len(self._ready) < min(size, READY):
            part = next(self._parts, b"")
            if part is None:
                if self._fed is not None and self._ready:
                    break
            elif not part:
                break
            else:
                self._ready += part
        part = bytes(self._ready[:size])
        del self._ready[:size]
        return part

    def _pcap(self) -> Iterator[bytes | None]:
        """The pcap stream in parts of at most READY bytes or one frame; ``None`` where the next
        part may be long in coming.
        """
        assert self._process.stdout is not None
        yield HEADER
        rest = bytearray()
        while piece := os.read(self._process.stdout.fileno(), FEED_CHUNK):
            rest += piece
            if b"\n" in piece:
                *lines, rest = rest.split(b"\n")
                for line in lines:
                    yield from self._records(bytes(line))
            elif len(rest) > LINE_MAX:
                rest.clear()
            yield None
        self._finish()

    def _records(self, line: bytes) -> Iterator[bytes]:
        """The record of a line's frame, preceded by empty ones for frames that were not printed."""
        values = line.rstrip(b"\r").split(b"\t")
        if len(values) < self._columns + 2 or not values[0].isdigit():
            return
        number, time = int(values[0]), _time(values[1])
        if number <= self.frame:
            return
        empty = record_of(time, EMPTY)
        most = READY // len(empty)
        for first in range(self.frame + 1, number, most):
            yield empty * min(most, number - first)
        self.frame = number
        record = self._convert(values[2:])
        self.packets = self.packets or bool(values[1]) or record is not None
        yield record_of(time, record or EMPTY)

    def _finish(self) -> None:
        """Set ``complaint`` if tshark exited with an error."""
        if self._errors.closed or not self._process.wait() or self.complaint:
            return
        self._errors.seek(0, os.SEEK_END)
        self._errors.seek(max(0, self._errors.tell() - 2000))
        said = self._errors.read().decode("utf-8", "replace").splitlines()
        lines = [line.strip() for line in said if line.strip() and "as user" not in line]
        text = lines[-1].removeprefix("tshark: ") if lines else "no reason given"
        self.complaint = f"tshark {version()} stopped: {text}"

    def close(self) -> None:
        """End tshark."""
        if self._process.poll() is None:
            self._process.kill()
            self._process.wait()
        if self._process.stdout is not None:
            self._process.stdout.close()
        if self._fed is not None:
            self._fed.finish()  # the feeder may be waiting for more after tshark died
            self._feeder.join()
        self._held.close()


@contextlib.contextmanager
def _input_file(path: str | os.PathLike[str] | bytes) -> Iterator[str]:
    """The path of a capture for tshark: itself, or a temporary copy of one that is in memory or
    compressed with zstd, which not every tshark reads.
    """
    if not isinstance(path, bytes):
        name = os.fspath(path)
        try:
            with open(name, "rb") as file:
                head = file.read(4)
        except OSError as error:
            raise CaptureError(
                f"cannot be opened: {error.strerror}", path=name, advice="check the path"
            ) from error
        if head not in ZSTD_MAGICS:
            yield os.path.abspath(name)  # a name may begin with a dash
            return
    source = open_source(path)
    try:
        copy = copied(source)
    finally:
        source.close()
    with copy:
        yield copy.name
