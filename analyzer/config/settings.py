"""All settings, declared once: their names in configuration files and as options, and their values.
The options of the command line, the parser of configuration files, their JSON schema and their
documentation page are made from this table.
"""

from __future__ import annotations

from analyzer.checks.selection import USUAL
from analyzer.config.kinds import (
    Choice,
    Count,
    FilePath,
    Flag,
    Levels,
    Ports,
    Quantity,
    Rules,
    Version,
)
from dissectors.dialects import DIALECTS, RAM_ERAS

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Any

    from analyzer.config.kinds import Kind

__all__ = ["ANY", "LIMIT", "SECTIONS", "SETTINGS", "Setting", "in_section"]

LIMIT = "--limit"
SEVERITY = "severity"
ANY = "*"
SECTIONS = {
    "": "What is judged",
    SEVERITY: "Severities of rules",
    "wire": "How captures are read; detected from the bytes unless set here",
    "limits": "Limits beyond which a measure is a warning; beyond the default it is info",
    "destination": "Facts about the destination that the capture does not show",
}


class Setting:
    """A setting.  ``key`` is its name with its section (``wire.dialect``); in a section with free
    names it ends in ``*``.  ``meaning`` may have a line for each value, ``option`` sets it on the
    command line, ``default`` is its value if it is not set.  ``per_file`` says whether it can
    differ from capture to capture.
    """

    __slots__ = ("default", "key", "kind", "meaning", "option", "per_file")

    def __init__(
        self,
        key: str,
        kind: Kind,
        meaning: str,
        *,
        default: Any = None,
        option: str = "",
        per_file: bool = True,
    ) -> None:
        self.key = key
        self.kind = kind
        self.meaning = meaning
        self.default = default
        self.option = option or f"--{self.name}"
        self.per_file = per_file

    @property
    def section(self) -> str:
        """The table that contains it; empty for the top level."""
        return self.key.rpartition(".")[0]

    @property
    def name(self) -> str:
        """Its name in that table."""
        return self.key.rpartition(".")[2]

    @property
    def dest(self) -> str:
        """The attribute of the options that holds it."""
        return self.option[2:].replace("-", "_")

    def held(self, value: Any) -> Any:
        """The value of that attribute; limits share one attribute, a list of names and values."""
        return [(self.name, value)] if self.option == LIMIT else value

    @property
    def joined(self) -> bool:
        """Whether values from several places accumulate in it."""
        return self.kind.joined or self.option == LIMIT


def _limit(name: str, measure: str, meaning: str) -> Setting:
    default = None if USUAL[name] == float("inf") else USUAL[name]
    return Setting(f"limits.{name}", Quantity(measure), meaning, default=default, option=LIMIT)


SETTINGS = {
    setting.key: setting
    for setting in (
        Setting(
            "select",
            Rules("RULES", joined=False),
            "run only these rules: ids, id prefixes (MF5), slugs",
        ),
        Setting("ignore", Rules("RULES"), "skip these rules"),
        Setting(
            "fail-on",
            Choice("error", "warning", "info"),
            "lowest severity that results in exit status 1",
            default="error",
            per_file=False,
        ),
        Setting(
            "allow-empty", Flag(), "a capture without a migration is not a failure", default=False
        ),
        Setting(
            "digest",
            Choice("sha256"),
            "print a digest of every device's reassembled state; JSON also has digests of its "
            "buffers and config state, like 'mfshark devices'",
        ),
        Setting(
            "deep",
            Flag(),
            "decompress and verify the payload of RAM packets (rules MF8)",
            default=False,
        ),
        Setting(
            "expected-dialect",
            Choice(*DIALECTS),
            "dialect that migrations must use (rule MF962)",
        ),
        Setting(
            "require",
            Choice("completed"),
            "every migration must have completed, with the state of all its devices (rule MF963)",
        ),
        Setting(
            "expect",
            FilePath(),
            "an expectation, as written by 'mfshark expect', that captures must meet; differences "
            "are findings (MF961), expected findings do not count",
        ),
        Setting(
            "baseline",
            FilePath(),
            "known findings: only new ones count",
            per_file=False,
        ),
        Setting(
            f"{SEVERITY}.{ANY}",
            Levels(),
            "count the findings of a rule as error, warning or info",
            option=f"--{SEVERITY}",
        ),
        Setting(
            "wire.dialect",
            Choice("auto", *DIALECTS),
            "revision of device state over multifd: rfc0; v1 (also v2); v3 (to v6); upstream "
            "(10.0); 10.1",
            default="auto",
        ),
        Setting("wire.ram-era", Choice(*RAM_ERAS), "QEMU version whose layout RAM packets follow"),
        Setting("wire.page-size", Choice("1k", "4k", "8k", "16k", "64k"), "the target's page size"),
        Setting("wire.byte-order", Choice("le", "be"), "byte order of the VFIO buffer headers"),
        Setting(
            "wire.sync",
            Choice("legacy", "round"),
            "SYNC per RAM section (legacy), or per round with FLUSH",
        ),
        Setting(
            "wire.decode-as",
            Ports("PORT=multifd"),
            "treat every connection to PORT as a multifd channel",
        ),
        Setting(
            "wire.keylog",
            FilePath(),
            "secrets of TLS connections, written by QEMU if SSLKEYLOGFILE is set; needs tshark",
        ),
        Setting(
            "wire.via",
            Choice("auto", "native", "mptcp", "tshark", "pyshark"),
            "which program reads the file\n"
            "auto: mfshark; tshark if mfshark finds nothing\n"
            "native: only mfshark\n"
            "mptcp: mfshark, reassembling Multipath TCP (auto does this for files)\n"
            "tshark: tshark, for rarer tunnels and other formats\n"
            "pyshark: tshark, through the pyshark library",
            default="auto",
        ),
        Setting(
            "limits.max-queued-bytes",
            Quantity("bytes", whole=True),
            "x-migration-max-queued-buffers-size of the destination (rule MF519)",
        ),
        Setting(
            "limits.max-queued-buffers",
            Quantity("count", whole=True),
            "x-migration-max-queued-buffers of the destination (rule MF520)",
        ),
        _limit("fairness-ram", "share", "minimum fairness of RAM over the channels (MF951)"),
        _limit(
            "fairness-device", "share", "minimum fairness of device state over the channels (MF952)"
        ),
        _limit("device-starved", "share", "maximum share of its time that a device waits (MF953)"),
        _limit("downtime", "seconds", "maximum downtime on the wire (MF954)"),
        _limit(
            "switchover-gap",
            "seconds",
            "maximum time without traffic during the switchover (MF955)",
        ),
        _limit("iterations", "count", "maximum number of scans over guest memory (MF956)"),
        _limit("resent-pages", "count", "maximum number of resent pages (MF956)"),
        _limit("channels-unused", "count", "maximum number of channels without data (MF957)"),
        _limit("checkpoint-pause", "seconds", "maximum pause for a COLO checkpoint (MF958)"),
        _limit(
            "tcp-zero-window",
            "seconds",
            "maximum time that a receive window stays closed (MF909)",
        ),
        Setting(
            "destination.channels",
            Count("N"),
            "multifd-channels of the destination (rule MF108)",
            option="--destination-channels",
        ),
        Setting(
            "destination.version",
            Version(),
            "QEMU version of the destination (rule MF618)",
            option="--destination-version",
        ),
        Setting(
            "destination.transfer-off",
            Flag(),
            "the destination has x-migration-multifd-transfer off (rule MF415)",
            default=False,
            option="--destination-transfer-off",
        ),
    )
}
"""By key."""


def in_section(section: str) -> Iterator[Setting]:
    """The settings of one section."""
    return (setting for setting in SETTINGS.values() if setting.section == section)
