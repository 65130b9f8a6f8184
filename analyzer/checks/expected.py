"""MF96x: what the user expected of the capture."""

from __future__ import annotations

from analyzer.checks.finding import Finding
from analyzer.checks.ram_pages import told_page_sizes
from analyzer.checks.rule import (
    ERROR,
    RULES,
    WARNING,
    Spot,
    limit_rule,
    migration_rule,
    walker_rule,
)
from analyzer.checks.sync import shown_sync
from analyzer.checks.vfio_buffers import ORDERS
from analyzer.checks.wording import counted, listed
from analyzer.migration.outcome import is_complete, outcome_of
from dissectors.multifd import MultifdFlag

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

    from analyzer.checks.selection import Selection
    from analyzer.migration.main_channel import MainFacts
    from analyzer.migration.migration import Migration
    from dissectors.dialects import Dialect

__all__ = ["not_saved", "unmet"]

SYNCS = {
    "round": "main has MULTIFD_FLUSH records",
    "legacy": "main has a SYNC round for each RAM section, and no MULTIFD_FLUSH record",
}


@walker_rule("MF961", "expectation-unmet", ERROR)
def expectation_unmet() -> None:
    """The capture does not meet the expectation.

    An expectation (``check --expect``) says what must hold; the message names what differs, with
    the expected and the actual value.

    Receiver: not affected; only the expectation is violated.

    Usual cause: a regression, a test that ran differently, or an expectation that is too narrow.
    """


@limit_rule("MF962", "dialect-unexpected", ERROR)
def dialect_unexpected(migration: Migration, selection: Selection) -> Iterator[Spot]:
    """Device state came in a different dialect than expected.

    Runs with ``--expected-dialect``, or the setting of that name, if the capture shows the dialect.

    Receiver: not affected, if it speaks that dialect.

    Usual cause: a different version of QEMU, or revision of the patch series, than intended.
    """
    dialect, expected = migration.framing.dialect, selection.expected_dialect
    if expected is not None and dialect is not None and dialect.name != expected:
        yield Spot(f"expected {expected}, found {dialect.name} ({dialect.meaning})")


@migration_rule("MF963", "not-completed", ERROR)
def not_completed(migration: Migration) -> Iterator[Spot]:
    """The migration did not complete, or a device's state is not known to be complete.

    Runs with ``--require completed``, or the setting ``require``; otherwise a failed or cancelled
    migration is not a finding, since it need not break any rule.  If the outcome cannot be
    determined, for example because of holes, the migration does not count as completed.  A paused
    postcopy counts by the migration that recovered it.

    Receiver: the guest does not run on the destination, or runs with incomplete state.

    Usual cause: a cancelled or failed migration, a network that broke, or a capture that begins
    late or ends early.
    """
    if migration.recovered_by is not None:
        return
    outcome = outcome_of(migration)
    if outcome.name != "completed":
        verb = {"failed": "failed", "cancelled": "was cancelled"}.get(outcome.name)
        what = verb or f"did not complete, as far as the capture tells: {outcome.name}"
        yield Spot(f"the migration {what} ({outcome.evidence})", frame=outcome.frame)
        return
    states = {device.name: is_complete(device, migration) for device in migration.awaited}
    broken = [name for name, state in states.items() if state is False]
    unknown = [name for name, state in states.items() if state is None]
    if broken:
        yield Spot(f"device state is incomplete: {listed(broken)}", frame=outcome.frame)
    elif unknown:
        text = f"cannot tell whether device state is complete: {listed(unknown)}"
        yield Spot(text, frame=outcome.frame)


def not_saved(facts: MainFacts) -> Iterator[Spot]:
    """The same for a saved migration."""
    if facts.eof is None or facts.truncated is not None:
        yield Spot("the saved migration is incomplete: its stream does not reach its end")


@migration_rule("MF964", "override-contradicted", WARNING, holes="LGX")
def override_contradicted(migration: Migration) -> Iterator[Spot]:
    """An option that forces the format contradicts the captured bytes.

    ``--dialect``, ``--ram-era``, ``--page-size``, ``--byte-order`` and ``--sync`` override what is
    detected in the capture.  A wrong value makes decoding and verdicts wrong; where it makes faults
    of what is right, it is an error.

    Receiver: not affected.

    Usual cause: an option meant for another capture.
    """
    framing, settings, facts = migration.framing, migration.framing.settings, migration.main_facts
    if (dialect := settings.dialect) is not None:
        for text, severity in _not_of(dialect, migration):
            yield Spot(f"--dialect {dialect.name}, but {text}", severity=severity)
    found = migration.found_era
    if settings.era is not None and found is not None and found.since > settings.era.since:
        yield Spot(f"--ram-era {settings.era.name}, but packets are of era {found.name}")
    if settings.page_size and facts is not None and migration.multifd:
        forced = f"--page-size {settings.page_size // 1024}k"
        for size, where, _ in told_page_sizes(facts):
            if size != settings.page_size:
                yield Spot(f"{forced}, but {where} {size}", channel=migration.main, severity=ERROR)
    order = framing.shown_order
    if settings.byte_order is not None and order is not None and order != settings.byte_order:
        headers = counted(framing.orders[order].count, "VFIO header")
        text = f"--byte-order {settings.byte_order}, but {headers} can only be {ORDERS[order]}"
        yield Spot(text, severity=ERROR)
    shown = None if facts is None else shown_sync(migration, facts)
    if settings.sync is not None and shown is not None and shown != settings.sync:
        yield Spot(f"--sync {settings.sync}, but {SYNCS[shown]}", severity=ERROR)


def _not_of(dialect: Dialect, migration: Migration) -> Iterator[tuple[str, str]]:
    """What shows that the packets are of another dialect than the one that is forced, and the
    severity.
    """
    framing = migration.framing
    others = [marker for marker in framing.markers if marker not in (0, dialect.device_flag)]
    for marker in others:
        packets = counted(framing.markers[marker].count, "packet")
        yield f"{packets} of device state have the flag {marker:#x}", WARNING
    is_device = dialect.device_flag == MultifdFlag.UADK
    if count := framing.bit4[not is_device]:
        what = "carry pages (UADK)" if is_device else "are of device state"
        yield f"{counted(count, 'packet')} with the flag 0x10 {what}", ERROR
    channels = [channel for channel in migration.multifd if channel.init is not None]
    if not others and channels and dialect.channel_header != framing.channel_header:
        have = "have" if framing.channel_header else "lack"
        yield f"the channels {have} the RFC's header", WARNING


def unmet(difference: str, selection: Selection) -> Finding:
    """The finding for a sentence that describes a difference from the expectation."""
    severity = selection.severity.get("MF961", ERROR)
    return Finding(RULES["MF961"], Spot(difference), None, severity, "")
