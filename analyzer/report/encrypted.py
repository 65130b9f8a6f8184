"""Reports on TLS connections that were not decrypted."""

from __future__ import annotations

from analyzer.checks.wording import counted
from analyzer.migration.encrypted import recognise
from analyzer.report.parts import iso_time
from analyzer.report.style import size_text, table

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

    from analyzer.migration.channel import Channel
    from analyzer.migration.encrypted import EncryptedMigration
    from analyzer.migration.grouping import Grouper
    from analyzer.report.parts import Json
    from analyzer.report.style import Style

__all__ = ["advice", "encrypted_report", "encrypted_sentence", "encrypted_text", "others"]

ADVICE = "run QEMU with SSLKEYLOGFILE=FILE in its environment, and give that file with --keylog"
HEAD = (
    "channel", "stream", "client", "to server", "back", "frames", "seconds", "ended", "close_notify"
)  # fmt: skip
SHOWN = 12


def encrypted_sentence(grouper: Grouper) -> str:
    """The sentence about them in the verdict; empty if they are not a migration."""
    found = recognise(grouper.tls)
    if not found:
        return ""
    first = found[0]
    count = len(first.channels) - 1
    channels = f"main and {counted(count, 'multifd channel')}" if count else "main"
    if first.main.midstream:
        channels = f"{counted(count + 1, 'channel')}, open before the capture began"
    text = f"a migration over TLS to {first.main.server}, not decrypted ({channels}, "
    text += f"{size_text(first.bytes)})"
    text += f" and {len(found) - 1} more" if len(found) > 1 else ""
    return f"{text}: {grouper.why_encrypted}" if grouper.why_encrypted else text


def advice(grouper: Grouper) -> str:
    """How to decrypt them; empty if secrets were given, in which case the sentence says why they
    did not help.
    """
    return "" if grouper.why_encrypted else ADVICE


def encrypted_text(grouper: Grouper, style: Style, begin: int, verbose: bool) -> Iterator[str]:
    """One block per migration, and how to decrypt it."""
    found = recognise(grouper.tls)
    for migration in found:
        first, last = migration.times
        yield ""
        yield style.bold("Migration over TLS") + (
            f"  {migration.main.client} -> {migration.main.server}  not decrypted, "
            f"{size_text(migration.bytes)} in {(last - first) / 1e9:.3f} s"
        )
        yield ""
        channels = migration.channels
        shown = channels if verbose or len(channels) <= SHOWN else channels[: SHOWN - 1]
        rows = [_row(channel, migration, begin) for channel in shown]
        if len(shown) < len(channels):
            rest = channels[len(shown) :]
            size = size_text(sum(channel.length for channel in rest))
            rows.append((f"{len(rest)} more", "", "", size, *[""] * 5))
        yield from table(HEAD, rows, style, left=3)
    if found and (text := advice(grouper)):
        yield ""
        yield style.dim("to read it: ") + text


def _row(channel: Channel, migration: EncryptedMigration, begin: int) -> tuple[str, ...]:
    flow = channel.flow
    return (
        migration.name(channel),
        str(channel.stream),
        channel.client,
        size_text(channel.length),
        size_text(flow.peer.offset),
        f"{flow.first.frame}-{flow.last.frame}",
        f"{(flow.first.time - begin) / 1e9:.3f}-{(flow.last.time - begin) / 1e9:.3f}",
        _end(channel),
        "yes" if channel.tls_close_notify else "no",
    )


def _end(channel: Channel) -> str:
    flow = channel.flow
    if flow.fin is not None:
        return "FIN"
    if flow.reset is not None or flow.peer.reset is not None:
        return "reset"
    return "not seen"


def others(tls: list[Channel]) -> list[Channel]:
    """The connections that do not belong to a migration."""
    known = {id(channel) for migration in recognise(tls) for channel in migration.channels}
    return [channel for channel in tls if id(channel) not in known]


def encrypted_report(tls: list[Channel]) -> list[Json]:
    """Every connection by its number, for the JSON report."""
    found = recognise(tls)
    place = {
        id(channel): (number, migration.kind(channel))
        for number, migration in enumerate(found)
        for channel in migration.channels
    }
    ordered = sorted(tls, key=lambda channel: channel.stream)
    return [_connection(channel, *place.get(id(channel), (None, None))) for channel in ordered]


def _connection(channel: Channel, number: int | None, kind: str | None) -> Json:
    flow = channel.flow
    return {
        "tcp_stream": channel.stream,
        "client": channel.client,
        "server": channel.server,
        "bytes": channel.length,
        "bytes_back": flow.peer.offset,
        "first_frame": flow.first.frame,
        "last_frame": flow.last.frame,
        "first_time": iso_time(flow.first.time),
        "last_time": iso_time(flow.last.time),
        "migration": number,
        "kind": kind,
        "close_notify": channel.tls_close_notify,
    }
