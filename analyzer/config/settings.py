"""All settings, declared once: what configuration files and options call them, and their values.

Of this table are made the options of the command line, the parser of configuration files, their
JSON schema and the page about them.
"""

from __future__ import annotations

from analyzer.checks.metrics import USUAL
from analyzer.checks.streams import WINDOW_CLOSED_TOLD
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
    SEVERITY: "What rules count as",
    "wire": "How captures are read; found from the bytes, unless said here",
    "limits": "The value from which a measure is a warning; beyond the default it is only noted",
    "destination": "What the capture cannot tell about the destination",
}


class Setting:
    """One of them.

    ``key`` is its name behind its section's (``wire.dialect``); in a section whose names are free
    that is ``*``.  ``meaning`` may have a line for each value, ``option`` is what sets it on the
    command line, ``default`` what it is where nobody does.  ``per_file`` says whether it can differ
    from capture to capture.
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
        """The table in which it stands; nothing for the top."""
        return self.key.rpartition(".")[0]

    @property
    def name(self) -> str:
        """What it is called there."""
        return self.key.rpartition(".")[2]

    @property
    def dest(self) -> str:
        """The attribute of the options that holds it."""
        return self.option[2:].replace("-", "_")

    def held(self, value: Any) -> Any:
        """What that attribute is for a value; limits share one, of names and values."""
        return [(self.name, value)] if self.option == LIMIT else value

    @property
    def joined(self) -> bool:
        """Whether values from several places add up there."""
        return self.kind.joined or self.option == LIMIT


def _limit(name: str, measure: str, meaning: str, usual: float | None = None) -> Setting:
    usual = USUAL[name] if usual is None else usual
    default = None if usual == float("inf") else usual
    return Setting(
        f"limits.{name}", Quantity(measure), meaning, default=default, option=LIMIT
    )  # fmt: skip


SETTINGS = {
    setting.key: setting
    for setting in (
        Setting("select", Rules("RULES", joined=False), "only these rules: ids, MF5, slugs"),
        Setting("ignore", Rules("RULES"), "not these rules"),
        Setting(
            "fail-on",
            Choice("error", "warning", "info"),
            "lowest severity that gives exit status 1",
            default="error",
            per_file=False,
        ),
        Setting("allow-empty", Flag(), "a capture without migration is no failure", default=False),
        Setting(
            "digest",
            Choice("sha256"),
            "digest of every device's reassembled state; JSON has those of its buffers and its "
            "config state too, as 'mfshark devices' has",
        ),
        Setting(
            "deep",
            Flag(),
            "decompress the payload of RAM packets and verify it (rules MF8)",
            default=False,
        ),
        Setting(
            "expected-dialect",
            Choice(*DIALECTS),
            "the dialect that migrations must have (rule MF962)",
        ),
        Setting(
            "require",
            Choice("completed"),
            "every migration must have completed, with the state of all its devices (rule MF963)",
        ),
        Setting(
            "expect",
            FilePath(),
            "what the captures must be like, as 'mfshark expect' writes it; differences are "
            "findings (MF961), expected findings do not count",
        ),
        Setting(
            "baseline",
            FilePath(),
            "known findings, which do not count; new ones do",
            per_file=False,
        ),
        Setting(f"{SEVERITY}.{ANY}", Levels(), "error, warning or info", option=f"--{SEVERITY}"),
        Setting(
            "wire.dialect",
            Choice("auto", *DIALECTS),
            "revision of device state over multifd: rfc0; v1 (also v2); v3 (to v6); upstream "
            "(10.0); 10.1",
            default="auto",
        ),
        Setting("wire.ram-era", Choice(*RAM_ERAS), "how RAM packets are filled"),
        Setting("wire.page-size", Choice("1k", "4k", "8k", "16k", "64k"), "the target's page size"),
        Setting("wire.byte-order", Choice("le", "be"), "byte order of the VFIO buffer headers"),
        Setting(
            "wire.sync", Choice("legacy", "round"), "SYNC per section, or per round with FLUSH"
        ),
        Setting(
            "wire.decode-as",
            Ports("PORT=multifd"),
            "treat every connection to PORT as a multifd channel",
        ),
        Setting(
            "wire.keylog",
            FilePath(),
            "secrets of TLS connections, as QEMU writes them with SSLKEYLOGFILE set; needs tshark",
        ),
        Setting(
            "wire.via",
            Choice("auto", "native", "mptcp", "tshark", "pyshark"),
            "what reads the file\n"
            "auto: mfshark; tshark where that finds nothing\n"
            "native: mfshark alone\n"
            "mptcp: mfshark, Multipath TCP put together, as auto does with files\n"
            "tshark: tshark, for tunnels and other formats\n"
            "pyshark: tshark, run by that library",
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
        _limit("fairness-ram", "share", "least fairness of RAM over the channels (MF951)"),
        _limit("fairness-device", "share", "least fairness of device state (MF952)"),
        _limit("device-starved", "share", "share of its time that a device may wait (MF953)"),
        _limit("downtime", "seconds", "longest downtime on the wire (MF954)"),
        _limit("switchover-gap", "seconds", "longest silence during the switchover (MF955)"),
        _limit("iterations", "count", "most scans over the guest's memory (MF956)"),
        _limit("resent-pages", "count", "most pages that are sent again (MF956)"),
        _limit("channels-unused", "count", "most channels without data (MF957)"),
        _limit("checkpoint-pause", "seconds", "longest pause for a checkpoint of COLO (MF958)"),
        _limit(
            "tcp-zero-window",
            "seconds",
            "longest time that a receive window may be closed (MF909)",
            WINDOW_CLOSED_TOLD,
        ),
        Setting(
            "destination.channels",
            Count("N"),
            "multifd-channels of the destination",
            option="--destination-channels",
        ),
        Setting(
            "destination.version",
            Version(),
            "version of the destination's QEMU",
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
