"""MF96x: what the user expected of the capture."""

from __future__ import annotations

from analyzer.checks.finding import Finding
from analyzer.checks.rule import (
    ERROR,
    RULES,
    WARNING,
    Spot,
    limit_rule,
    migration_rule,
    walker_rule,
)
from analyzer.checks.wording import counted
from analyzer.migration.outcome import is_complete, outcome_of

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

    from analyzer.checks.selection import Selection
    from analyzer.migration.main_channel import MainChannel
    from analyzer.migration.migration import Migration

__all__ = ["not_saved", "unmet"]

LEGACY = "legacy"


@walker_rule("MF961", "expectation-unmet", ERROR)
def expectation_unmet() -> None:
    """The capture is not what was expected of it.

    An expectation (``check --expect``) says what must hold; the message says what does not, what
    was expected, and what was found.

    Receiver: not affected; nothing is wrong but what the expectation says.

    Usual cause: a regression, a test that went another way, or an expectation that is too narrow.
    """


@limit_rule("MF962", "dialect-unexpected", ERROR)
def dialect_unexpected(migration: Migration, selection: Selection) -> Iterator[Spot]:
    """Device state came in another dialect than was expected.

    Judged with ``--expected-dialect``, or the setting of that name, where the capture tells the
    dialect.

    Receiver: not affected, if it speaks that dialect.

    Usual cause: another version of QEMU, or another revision of the patch series, than meant.
    """
    dialect, expected = migration.framing.dialect, selection.expected_dialect
    if expected is not None and dialect is not None and dialect.name != expected:
        yield Spot(f"expected {expected}, found {dialect.name} ({dialect.meaning})")


@migration_rule("MF963", "not-completed", ERROR)
def not_completed(migration: Migration) -> Iterator[Spot]:
    """The migration did not complete, or a device's state is not known to be whole.

    Judged with ``--require completed``, or the setting ``require``; without it a migration that
    failed or was cancelled is no finding, for nobody may have broken a rule.  What the capture
    cannot tell, as where it has holes, does not count as completed.

    Receiver: the guest does not run there, or runs without what is missing.

    Usual cause: a cancelled or failed migration, a network that broke, or a capture that begins
    late or ends early.
    """
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
        yield Spot(f"device state is incomplete: {', '.join(broken)}", frame=outcome.frame)
    elif unknown:
        text = f"whether device state is complete cannot be told: {', '.join(unknown)}"
        yield Spot(text, frame=outcome.frame)


def not_saved(facts: MainChannel) -> Iterator[Spot]:
    """The same of a saved migration."""
    if facts.eof is None or facts.truncated is not None:
        yield Spot("the saved migration is incomplete: its stream does not come to its end")


@migration_rule("MF964", "override-contradicted", WARNING, holes="LGX")
def override_contradicted(migration: Migration) -> Iterator[Spot]:
    """What was forced with an option is not what the bytes say.

    ``--dialect``, ``--ram-era`` and ``--sync`` overrule what is found in the capture; a wrong one
    makes the decoding and the verdicts wrong.

    Receiver: not affected.

    Usual cause: an option that was meant for another capture.
    """
    framing, settings = migration.framing, migration.framing.settings
    if (dialect := settings.dialect) is not None:
        for marker, variant in framing.markers.items():
            if marker != dialect.device_flag:
                text = f"dialect {dialect.name} marks device state by {dialect.device_flag:#x}"
                yield Spot(f"{text}, {counted(variant.count, 'packet')} by {marker:#x}")
        channels = [channel for channel in migration.multifd if channel.init is not None]
        if channels and dialect.channel_header != framing.channel_header:
            have = "have" if framing.channel_header else "lack"
            yield Spot(f"dialect {dialect.name}, but the channels {have} the RFC's header")
    found = migration.found_era
    if settings.era is not None and found is not None and found.since > settings.era.since:
        yield Spot(f"RAM era {settings.era.name}, but packets as of {found.name}")
    facts = migration.main_facts
    if settings.sync == LEGACY and facts is not None and facts.ram.flush_count:
        records = counted(facts.ram.flush_count, "MULTIFD_FLUSH record")
        yield Spot(f"sync {LEGACY}, but main has {records}", channel=migration.main)


def unmet(difference: str) -> Finding:
    """The finding for a sentence that says what is not as expected."""
    return Finding(RULES["MF961"], Spot(difference), None, ERROR, "")
