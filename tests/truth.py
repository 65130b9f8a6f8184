"""Compares the report on a real capture with QEMU's and the kernel's own accounts of it.

See :func:`differences`; the truth files are described in captures/MANIFEST.md.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from typing import TYPE_CHECKING, Any

from analyzer.analysis import analyze
from analyzer.report.model import capture_report

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

FAULTY = ("gap", "snaplen", "midstream")
"""Words in the names of captures that lack bytes: there the true counts are upper bounds."""
WHOLE = ("completed", "colo")
SENT_AGAIN = {"4.2": 256, "5.2": 4, "6.2": 4, "7.2": 4}
"""How many pages these versions may send again without counting them again: 4.2 repeats whole
packets with a SYNC, the others sometimes a single page.
"""


def pattern(seed: int, size: int, base: int, filled: bool) -> bytes:
    """The device's test pattern: see captures/MANIFEST.md."""
    mask = (1 << 64) - 1
    parts = []
    for block in range(-(-size // 4096)):
        number = base + block
        x = (seed + number * 0x9E3779B97F4A7C15) & mask
        words = []
        count = 8 if filled else 512
        for _ in range(count):
            x = (x * 6364136223846793005 + 1442695040888963407) & mask
            words.append(x.to_bytes(8, "little"))
        data = b"".join(words)
        parts.append(data.ljust(4096, bytes([number & 255])))
    return b"".join(parts)[:size]


def formula_state(layout: dict[str, int], precopy: int, stopcopy: int) -> bytes:
    """The whole state of a device by the formula in captures/MANIFEST.md."""
    header = b"".join(
        value.to_bytes(width, "little")
        for value, width in (
            (0x7E9D09898C3E2C4E, 8), (1, 4), (0, 4), (layout["nr_ports"], 4), (0, 4),
            (layout["seed"], 8), (precopy, 4), (stopcopy, 4), (layout["mode"], 4), (0, 4),
        )
    )  # fmt: skip
    filled = bool(layout["mode"] & 1)
    port = bytes(33) + b"\x10" + bytes(2)
    return (
        header
        + pattern(layout["seed"], precopy, 0, filled)
        + port * layout["nr_ports"]
        + pattern(layout["seed"], stopcopy, 1 << 32, filled)
    )


def report_of(path: Path) -> dict[str, Any]:
    """The report on a capture, including digests."""
    return capture_report(analyze(path, digest=True))


def runs(truth: dict[str, Any]) -> list[dict[str, Any]]:
    """The single migrations of a truth file, in the order of the capture."""
    if "trace_src" in truth:
        return [truth]
    return [truth[name] for name in sorted(truth) if name.startswith("vm")]


def differences(name: str, report: dict[str, Any], truth: dict[str, Any]) -> Iterator[str]:
    """A line for each difference between report and truth."""
    migrations = report["migrations"]
    expected = runs(truth)
    if len(expected) == 1 and ("then-retry" in name or "recovered" in name):
        attempts, migrations = migrations, migrations[-1:]  # the truth is about the second one
        if "recovered" in name:
            yield from _account(name, attempts, expected[0])
    if len(migrations) != len(expected):
        yield f"{len(migrations)} migrations, expected {len(expected)}"
        return
    for migration, run in zip(migrations, _in_order(migrations, expected), strict=True):
        lossy = any(word in name for word in FAULTY)
        yield from _page_size(migration, run)
        yield from _packets(migration, run, lossy, "then-retry" in name)
        yield from _devices(migration, run, lossy)
        yield from _outcome(name, migration, run)
        if "recovered" not in name:
            yield from _account(name, [migration], run)
        yield from _colo(migration, run)


def _in_order(
    migrations: list[dict[str, Any]], expected: list[dict[str, Any]]
) -> list[dict[str, Any]]:
    """The runs in the order of their migrations, matched by the number of multifd channels or, if
    that is ambiguous, by the number of normal pages.
    """
    if len(expected) == 1:
        return expected
    counted = {len(run["trace_src"]["ram_packets_per_channel"]): run for run in expected}
    if len(counted) < len(expected):
        return _by_pages(migrations, expected)
    return [counted[sum(c["kind"] == "multifd" for c in m["channels"])] for m in migrations]


def _by_pages(
    migrations: list[dict[str, Any]], expected: list[dict[str, Any]]
) -> list[dict[str, Any]]:
    def pages(migration: dict[str, Any]) -> int:
        return sum(c["normal_pages"] for c in migration["channels"])

    return [
        min(expected, key=lambda r: abs(r["query_migrate_source"]["ram"]["normal"] - pages(m)))
        for m in migrations
    ]


def _multifd(migration: dict[str, Any]) -> dict[int | None, dict[str, Any]]:
    return {c["id"]: c for c in migration["channels"] if c["kind"] == "multifd"}


def _page_size(migration: dict[str, Any], run: dict[str, Any]) -> Iterator[str]:
    account = (run.get("query_migrate_source") or {}).get("ram", {})
    wanted = account.get("page-size")
    if wanted is not None and migration["page_size"] != wanted:
        yield f"pages of {migration['page_size']} bytes, QEMU says {wanted}"


def _packets(
    migration: dict[str, Any], run: dict[str, Any], lossy: bool, retried: bool
) -> Iterator[str]:
    channels = _multifd(migration)
    status = (run.get("query_migrate_source") or {}).get("status")
    sent = run["trace_src"].get("ram_packets_per_channel") or {}
    whole = status in WHOLE and not lossy and migration["outcome"] == "completed"
    for key, counts in sent.items():
        if retried:
            break  # the source's trace covers both attempts
        channel = channels.get(int(key))
        if channel is None:
            if not lossy:
                yield f"channel {key} was not found"
            continue
        seen = channel["ram_packets"] + channel["sync_packets"]
        wanted = counts["packets"]
        if (seen != wanted) if whole else (seen > wanted):
            yield f"channel {key}: {seen} RAM packets, QEMU sent {wanted}"
        if whole and channel["sync_packets"] > counts["with_sync_flag"]:
            yield f"channel {key}: {channel['sync_packets']} SYNC, sent {counts['with_sync_flag']}"
    if whole and not retried:
        for field in ("normal_pages", "zero_pages"):
            seen = sum(c[field] for c in channels.values())
            wanted = run["trace_src"].get(f"sum_{field}_in_packets", 0)
            if seen != wanted:
                yield f"{seen} {field}, QEMU sent {wanted}"


def _account(name: str, attempts: list[dict[str, Any]], run: dict[str, Any]) -> Iterator[str]:
    """Pages over all channels of a migration, and of its recoveries, against QEMU's own totals."""
    account = run.get("query_migrate_source") or {}
    if account.get("status") != "completed" or attempts[-1]["outcome"] != "completed":
        return
    if any(word in name for word in ("retry", "postcopy-multifd", *FAULTY)):
        return  # the account covers both attempts; pages are requested twice; bytes are missing
    blocks = [block for attempt in attempts for block in attempt["ram"]["blocks"]]
    slack = SENT_AGAIN.get(name.split("-", maxsplit=1)[0], 0)
    for field, counted in (("normal_pages", "normal"), ("zero_pages", "duplicate")):
        seen, wanted = sum(block[field] for block in blocks), account["ram"][counted]
        if not wanted <= seen <= wanted + slack:
            yield f"{seen} {field} over all channels, QEMU accounts for {wanted}"


def _colo(migration: dict[str, Any], run: dict[str, Any]) -> Iterator[str]:
    """Checkpoints against the messages that both sides traced."""
    sent = run["trace_src"].get("colo_messages_sent")
    if sent is None:
        if "colo" in migration:
            yield "COLO was not traced"
        return
    colo = migration["colo"]
    answered = Counter(run["trace_dst"]["colo_messages_sent"])
    sent = Counter(sent)
    loaded = [c for c in colo["checkpoints"] if c["loaded_frame"] is not None]
    for what, seen, wanted in (
        ("ready", int(colo["ready_frame"] is not None), answered["checkpoint-ready"]),
        ("requested", colo["checkpoint_count"], sent["checkpoint-request"]),
        (
            "sent",
            sum(c["device_state_bytes"] > 0 for c in colo["checkpoints"]),
            sent["vmstate-size"],
        ),
        ("loaded", len(loaded), answered["vmstate-loaded"]),
    ):
        if seen != wanted:
            yield f"{seen} checkpoints {what}, QEMU's traces have {wanted}"


def _devices(migration: dict[str, Any], run: dict[str, Any], lossy: bool) -> Iterator[str]:
    found = {d["idstr"]: d for d in migration["devices"]}
    arrivals = run["trace_dst"].get("device_buffers_in_arrival_order_idx_channel") or {}
    for device in run.get("devices") or ():
        report = found.get(device["idstr"])
        buffers = arrivals.get(device["destination_uuid"], [])
        if report is None:
            if buffers and not lossy:
                yield f"{device['idstr']} was not found"
            continue
        yield from _device(device, report, buffers, migration, lossy)


def _device(
    device: dict[str, Any],
    report: dict[str, Any],
    buffers: list[list[int]],
    migration: dict[str, Any],
    lossy: bool,
) -> Iterator[str]:
    name = device["idstr"]
    complete = migration["outcome"] == "completed" and not lossy
    if complete and buffers and report["buffers"] != len(buffers):
        yield f"{name}: {report['buffers']} buffers, {len(buffers)} arrived"
    # A destination may have received slightly more or fewer buffers than the capture point saw.
    if not complete and not lossy and report["buffers"] + 2 < len(buffers):
        yield f"{name}: {report['buffers']} buffers, {len(buffers)} arrived"
    if complete and report["complete"] is not True:
        yield f"{name}: complete is {report['complete']}"
    saved = device.get("kernel_saved")
    if saved is None or report["state_digest"] is None:
        if complete and saved is not None:
            yield f"{name}: no state digest"
        return
    if report["state_digest"] != saved["sha256"]:
        yield f"{name}: state {report['state_digest'][:12]}, the kernel gave {saved['sha256'][:12]}"
    layout = device.get("layout")
    if layout and saved["bytes"] < 4 << 20:
        state = formula_state(layout, layout["precopy_pattern"], layout["stopcopy_pattern"])
        if hashlib.sha256(state).hexdigest() != report["state_digest"]:
            yield f"{name}: the formula gives another state"


def _outcome(name: str, migration: dict[str, Any], run: dict[str, Any]) -> Iterator[str]:
    source = (run.get("query_migrate_source") or {}).get("status") or "gone"
    running = (run.get("run") or {}).get("destination_run_state")
    outcome = migration["outcome"]
    if "truncated-no-returnpath" in name or "load-failed" in name:
        allowed = {"failed"}
    elif source == "setup":
        allowed = {"cancelled", "incomplete"}
    elif any(word in name for word in FAULTY):
        allowed = {"completed", "unknown", "incomplete"}
    elif source in WHOLE and running in ("running", None):
        allowed = {"completed"}
    elif source == "cancelled":
        allowed = {"cancelled"}
    elif "refused" in name:
        allowed = {"cancelled", "failed"}  # a refusal looks like a cancel on the wire
    else:
        allowed = {"failed", "incomplete", "cancelled"}
    if outcome not in allowed:
        yield f"outcome {outcome}, QEMU: source {source}, destination {running}"
