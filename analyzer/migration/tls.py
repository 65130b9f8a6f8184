"""Decrypts the TLS connections of a capture that was read, with the secrets available.

Wire-format page, section 1.3.  Secrets come from the key log that the user named and from blocks
inside the capture; without either, from the file that SSLKEYLOGFILE names. tshark does the
decryption.
"""

from __future__ import annotations

import os

from analyzer.capture.file import CaptureFile
from analyzer.capture.plaintext import open_plaintext, read_keys
from analyzer.capture.replayable import ReplayableStream
from analyzer.capture.segment import split_key
from analyzer.errors import CaptureError
from analyzer.migration.foreign import CUT_SHORT
from analyzer.tcp.decrypted import Decryption

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Generator

    from analyzer.capture.source import Source
    from analyzer.migration.channel import Channel
    from analyzer.migration.grouping import Grouper
    from analyzer.migration.reading import Reading
    from analyzer.migration.settings import Settings

__all__ = ["decrypt"]

PORTS_MAX = 64
VARIABLE = "SSLKEYLOGFILE"
NAMED_MAX = 8
NO_SECRETS = "the key log holds no secrets of TLS sessions (lines as CLIENT_RANDOM ... ...)"
LATE = "the capture lacks the handshake, without which nothing can be decrypted"
STRANGE = "the secrets at hand are those of other sessions"
REFUSED = "tshark did not decrypt it, though its secrets are at hand"
IDLE = "tshark found no more in it than a handshake"
RANDOM_DIGITS = 64
HANDSHAKE_MAX = 3
"""Most records of application data in which a client finishes its handshake: with its certificate,
the proof that it has the key, and the end.
"""


def decrypt(
    reading: Reading, grouper: Grouper, settings: Settings, tool: str
) -> Generator[float, None, ReplayableStream | None]:
    """Feed the plaintext of what ``grouper`` found to be TLS to the walkers.

    Yields the fraction done, and returns the plaintext, to be read again.  What stays encrypted
    stays in ``grouper.tls``; notes of the file say why.  ``tool`` decrypts.

    Raises :class:`CaptureError` where a key log was given and cannot be used,
    :class:`analyzer.errors.ToolUnavailable` without tshark; but a live capture is reported in any
    case.
    """
    plaintext = None
    try:
        keys = _keys(reading.file, settings)
        if not keys and not reading.through:  # tshark finds secrets inside the capture itself
            if settings.keylog is not None:
                grouper.why_encrypted = NO_SECRETS
                reading.file.notes.append(NO_SECRETS)
            return None
        plaintext = yield from _decrypt(reading, grouper, keys, tool)
    except CaptureError as error:
        if settings.keylog is not None and not reading.source.growing:
            raise
        grouper.why_encrypted = str(error)
        reading.file.notes.append(f"the TLS connections are not decrypted: {error}")
    else:
        found = _still_encrypted(grouper.tls, keys)
        grouper.why_encrypted = max(found, key=lambda reason: len(found[reason]), default="")
        reading.file.notes += (_told(found[reason], reason) for reason in found)
        grouper.join_encrypted()
    return plaintext


def _keys(file: CaptureFile, settings: Settings) -> bytes:
    """All secrets available."""
    parts = list(file.secrets)
    if settings.keylog is not None:
        parts.append(read_keys(settings.keylog))
    elif not parts and os.path.isfile(path := os.environ.get(VARIABLE, "")):
        parts.append(read_keys(path))
    return b"\n".join(parts)


def _still_encrypted(channels: list[Channel], keys: bytes) -> dict[str, list[int]]:
    """Why connections could not be decrypted: their streams by reason."""
    if not keys:
        return {}
    known = {words[1].lower() for line in keys.splitlines() if len(words := line.split()) == 3}
    known = {word for word in known if len(word) == RANDOM_DIGITS}
    if channels and not known:
        return {NO_SECRETS: []}
    late: list[int] = []
    strange: list[int] = []
    refused: list[int] = []
    idle: list[int] = []
    for channel in channels:
        if not channel.tls_random:
            late.append(channel.stream)
        elif channel.tls_random.hex().encode() not in known:
            strange.append(channel.stream)
        elif channel.tls_data <= HANDSHAKE_MAX and not channel.flow.missing:
            idle.append(channel.stream)
        else:
            refused.append(channel.stream)
    reasons = {LATE: late, STRANGE: strange, REFUSED: refused, IDLE: idle}
    return {reason: numbers for reason, numbers in reasons.items() if numbers}


def _told(numbers: list[int], reason: str) -> str:
    """A reason, with the streams that it applies to unless it applies to all."""
    if not numbers:
        return reason
    more = f" and {len(numbers) - NAMED_MAX} more" if len(numbers) > NAMED_MAX else ""
    named = ", ".join(map(str, sorted(numbers)[:NAMED_MAX]))
    return f"TLS in stream{'s' if len(numbers) > 1 else ''} {named}{more}: {reason}"


def _decrypt(
    reading: Reading, grouper: Grouper, keys: bytes, tool: str
) -> Generator[float, None, ReplayableStream]:
    path, file, growing = reading.readable(), reading.file, reading.source.growing
    if not isinstance(path, bytes) and not os.path.isfile(path):
        raise CaptureError(
            "standard input cannot be read a second time, as decrypting needs",
            advice="save the capture to a file first",
        )
    ports = sorted({split_key(channel.flow.key)[-1] for channel in grouper.tls})[:PORTS_MAX]

    def again() -> Source:
        return open_plaintext(path, keys, ports, tool)[0]

    source, run = open_plaintext(path, keys, ports, tool)
    connections = [channel.flow.connection for channel in grouper.tls]
    decryption = Decryption(connections, run, grouper.release, grouper.attach)
    try:
        for batch in CaptureFile(source).batches():
            decryption.feed(batch)
            yield min(1.0, run.frame / max(1, file.frames))
    finally:
        source.close()
    decryption.end()
    if run.complaint and not (growing and CUT_SHORT in run.complaint):
        file.notes.append(run.complaint)
    for flow, frame in decryption.lost:
        file.notes.append(
            f"stream {flow.connection.number} cannot be decrypted from frame {frame} on: the "
            "capture lacks bytes of it, and TLS needs them all"
        )
    return ReplayableStream(reading.source.path, again)
