"""The plaintext of TLS connections, as frames: what tshark decrypts with a key log.

Wire-format page, section 1.3: the plaintext of a TLS connection is exactly the stream of one
without TLS. Each piece goes into the frame that completes its TLS record, as in Wireshark.
"""

from __future__ import annotations

import contextlib
import tempfile

from analyzer.capture.raw import frame_of
from analyzer.capture.sequence import MASK
from analyzer.capture.source import Source
from analyzer.capture.tshark import Conversion, addresses_of
from analyzer.errors import CaptureError

TYPE_CHECKING = False
if TYPE_CHECKING:
    import os
    from collections.abc import Iterable

    from analyzer.capture.raw import Record

__all__ = ["OVERHEAD_MAX", "Plaintext", "Sealed", "open_plaintext", "read_keys"]

FIELDS = (
    "frame.protocols", "ip.src", "ip.dst", "ipv6.src", "ipv6.dst", "tcp.srcport", "tcp.dstport",
    "tcp.stream", "tls.record.content_type", "tls.record.length", "data.data",
)  # fmt: skip
OPTIONS = (
    "tcp.reassemble_out_of_order:TRUE", "tcp.desegment_tcp_streams:TRUE",
    "tls.desegment_ssl_records:TRUE", "ip.defragment:TRUE",
)  # fmt: skip
APPLICATION_DATA = b"23"
OVERHEAD_MAX = 64
"""A record of at most this many bytes may hold no plaintext, only IV, padding and tag."""
RECORD_HEADER = 5
PIECE_MAX = 15 << 20
"""Most plaintext of one frame, in bytes; pcap readers refuse larger frames."""
KEYS_MAX = 64 << 20
SPREAD = 0x9E3779B1
"""Multiplied with the stream's number it spaces out the initial sequence numbers of connections on
the same ports.
"""


class Sealed:
    """One direction of a TLS connection while it is decrypted.

    ``offset`` counts the bytes of plaintext so far, ``records`` the bytes on the wire of the TLS
    records they came from and of the handshake; ``origin`` is the sequence number of the first byte
    of plaintext; ``failed`` the first frame with records that could not be decrypted, 0 if there is
    none.
    """

    __slots__ = ("failed", "offset", "origin", "records")

    def __init__(self, stream: int) -> None:
        self.origin = (stream * SPREAD + 1) & MASK
        self.offset = 0
        self.records = 0
        self.failed = 0

    def piece(self, kinds: list[bytes], sizes: list[int], parts: list[bytes], frame: int) -> bytes:
        """The plaintext of a frame's records; empty from the first failure on.

        ``kinds`` and ``sizes`` are the records' content types and lengths, ``parts`` their
        decrypted application data in hexadecimal.
        """
        wanted = sum(
            kind == APPLICATION_DATA and size > OVERHEAD_MAX
            for kind, size in zip(kinds, sizes, strict=False)
        )
        data = bytes.fromhex(b"".join(parts).replace(b":", b"").decode("ascii"))
        # Before the first piece, encrypted records belong to the handshake, maybe with other keys.
        lacking = len(parts) < wanted and (self.offset or parts)
        if self.failed or lacking or len(data) > PIECE_MAX:
            self.failed = self.failed or frame
            return b""
        self.records += sum(sizes) + RECORD_HEADER * len(sizes)
        self.offset += len(data)
        return data


class Plaintext(Conversion):
    """A run of tshark that decrypts the TLS connections to ``ports`` with the key log ``keys``.

    ``sealed`` has every direction that carried TLS records, by Wireshark's number of the connection
    and the direction's flow key.
    """

    def __init__(
        self,
        path: str | os.PathLike[str] | bytes,
        keys: bytes,
        ports: Iterable[int],
        tool: str,
    ) -> None:
        self.sealed: dict[tuple[int, bytes], Sealed] = {}
        held = contextlib.ExitStack()
        file = held.enter_context(
            tempfile.NamedTemporaryFile(prefix="mfshark-", suffix=".keys")  # noqa: SIM115
        )
        file.write(keys)
        file.flush()
        arguments = ["-Y", "tls", "-o", f"tls.keylog_file:{file.name}"]
        for option in OPTIONS:
            arguments += "-o", option
        for port in sorted(ports):
            # Otherwise tshark would guess a protocol for the plaintext and dissect it.
            arguments += "-d", f"tcp.port=={port},tls", "-d", f"tls.port=={port},data"
        super().__init__(path, arguments, FIELDS, self._plain, held, tool=tool)

    def _plain(self, values: list[bytes]) -> Record | None:
        layers, ports = values[0].split(b":"), values[5:7]
        addresses = addresses_of(layers, (values[1], values[2], values[3], values[4]))
        try:
            sport, dport = (int(port.split(b",")[0]) for port in ports)
            stream = int(values[7].split(b",")[0])
            sizes = [int(size) for size in values[9].split(b",") if size]
        except ValueError:
            return None
        if addresses is None:
            return None
        key = b"".join(addresses) + sport.to_bytes(2, "big") + dport.to_bytes(2, "big")
        sealed = self.sealed.setdefault((stream, key), Sealed(stream))
        seq = sealed.origin + sealed.offset & MASK
        parts = values[10].split(b",") if values[10] else []
        data = sealed.piece(values[8].split(b","), sizes, parts, self.frame)
        return frame_of(addresses, (sport, dport), seq, data) if data else None


def open_plaintext(
    path: str | os.PathLike[str] | bytes,
    keys: bytes,
    ports: Iterable[int],
    tool: str = "tshark",
) -> tuple[Source, Plaintext]:
    """Open the plaintext as a capture to read.

    Gives the source, and the run of ``tool`` that produces it.  Raises
    :class:`analyzer.errors.ToolUnavailable` where the tool is not installed.
    """
    run = Plaintext(path, keys, ports, tool)
    return Source("<tls>", run), run


def read_keys(path: str) -> bytes:
    """Read a key log file.  Raises :class:`CaptureError`."""
    try:
        with open(path, "rb") as file:
            keys = file.read(KEYS_MAX + 1)
    except OSError as error:
        raise CaptureError(
            f"the key log cannot be opened: {error.strerror}", path=path, advice="check --keylog"
        ) from error
    if len(keys) > KEYS_MAX:
        raise CaptureError("is too large for a key log", path=path, advice="check --keylog")
    return keys
