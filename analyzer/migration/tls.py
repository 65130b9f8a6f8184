"""Decrypts the TLS connections of a capture that was read, with the secrets at hand.

Wire-format page, section 1.3.  Secrets come from a key log that was named, from blocks inside the
capture, and from the file that SSLKEYLOGFILE names.  The work is tshark's.
"""

from __future__ import annotations

import os

from analyzer.capture.file import CaptureFile
from analyzer.capture.plaintext import open_plaintext, read_keys
from analyzer.capture.tshark import Spool
from analyzer.errors import CaptureError
from analyzer.tcp.decrypted import Decryption

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

    from analyzer.capture.source import Source
    from analyzer.migration.scan import Scan

__all__ = ["decrypt"]

PORTS_MAX = 64
VARIABLE = "SSLKEYLOGFILE"


def decrypt(scan: Scan) -> Iterator[float]:
    """Feed the walkers the plaintext of what :class:`Grouper` found to be TLS; gives the fraction
    done.  What stays encrypted stays in ``grouper.tls``; notes of the file say why.

    Raises :class:`CaptureError` where a key log was asked for and cannot be used, without tshark
    :class:`analyzer.errors.ToolUnavailable`.
    """
    keys, demanded = _keys(scan)
    if not keys and not scan.through:  # tshark knows of secrets inside what it reads
        return
    try:
        yield from _decrypt(scan, keys)
    except CaptureError as error:
        if demanded:
            raise
        scan.file.notes.append(f"the capture has the secrets of its TLS connections, but {error}")


def _keys(scan: Scan) -> tuple[bytes, bool]:
    """All secrets at hand, and whether somebody asked for them to be used."""
    parts = list(scan.file.secrets)
    keylog = scan.settings.keylog
    if keylog is not None:
        parts.append(read_keys(keylog))
    elif not parts and os.path.isfile(path := os.environ.get(VARIABLE, "")):  # noqa: PTH113
        parts.append(read_keys(path))
    return b"\n".join(parts), keylog is not None


def _decrypt(scan: Scan, keys: bytes) -> Iterator[float]:
    path = scan.path
    if not isinstance(path, bytes) and not os.path.isfile(path):  # noqa: PTH113
        raise CaptureError(
            "standard input cannot be read a second time, as decrypting needs",
            advice="save the capture to a file first",
        )
    ports = sorted({_port(channel.server) for channel in scan.grouper.tls})[:PORTS_MAX]

    def again() -> Source:
        return open_plaintext(path, keys, ports, scan.tool)[0]

    source, run = open_plaintext(path, keys, ports, scan.tool)
    connections = [channel.flow.connection for channel in scan.grouper.tls]
    decryption = Decryption(connections, run, scan.grouper.release, scan.grouper.attach)
    try:
        for batch in CaptureFile(source).batches():
            decryption.feed(batch)
            yield min(1.0, run.frame / max(1, scan.file.frames))
    finally:
        source.close()
    decryption.end()
    scan.plaintext = Spool(scan.source.path, again)
    if run.complaint:
        scan.file.notes.append(run.complaint)
    for flow, frame in decryption.lost:
        scan.file.notes.append(
            f"stream {flow.connection.number} cannot be decrypted from frame {frame} on: the "
            "capture lacks bytes of it, and TLS needs them all"
        )


def _port(server: str) -> int:
    return int(server.rpartition(":")[2])
