"""diff: what differs between two captures or reports, and nothing else."""

from __future__ import annotations

import json
import random
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from tests.checks.craft import Tiny, buffer, config, ram
from tests.commands.run import Ran, mfshark
from tests.schemas import conform
from tests.shipped import CAPTURES, capture

if TYPE_CHECKING:
    from collections.abc import Callable

DEVICE = "0000:00:02.0/vfio#0"
CLEAN = capture("10.0.13-vfio-3dev-4ch")


def written(folder: Path, name: str, edit: Callable[[Tiny], object] = lambda _: None) -> Path:
    tiny = Tiny()
    edit(tiny)
    path = folder / name
    path.write_bytes(tiny.pcap())
    return path


def diff(*words: object) -> tuple[Ran, dict[str, Any]]:
    ran = mfshark("diff", "--format", "json", *words)
    loaded: dict[str, Any] = json.loads(ran.out) if ran.out else {}
    if loaded:
        conform(loaded, "diff-1")
    return ran, loaded


def found(loaded: dict[str, Any]) -> set[tuple[str, str, str | None]]:
    return {(d["section"], d["thing"], d["field"]) for d in loaded["differences"]}


@pytest.mark.parametrize("name", ["10.0.13-vfio-3dev-4ch", "11.1.3-veth-mtu1500-zstd-3ch"])
def test_a_capture_is_the_same_as_itself(name: str) -> None:
    ran, loaded = diff("--times", "--addresses", capture(name), capture(name))
    assert (ran.status, loaded["differences"], loaded["contents"]) == (0, [], [])
    assert mfshark("diff", capture(name), capture(name)).out.startswith("SAME  ")


def test_another_dialect_of_the_same_bytes() -> None:
    """The derived capture has the device state of the real one in the format of the series."""
    ran, loaded = diff(CLEAN, capture("derived-v1-vfio-3dev-4ch"))
    assert ran.status == 1
    assert found(loaded) == {("parameters", "", "dialect")}
    assert loaded["contents"] == []


def test_the_first_index_and_byte_that_differ(tmp_path: Path) -> None:
    def edit(tiny: Tiny) -> None:
        tiny.multifd[1][-1] = buffer(1, b"stAte")

    a, b = written(tmp_path, "a.pcap"), written(tmp_path, "b.pcap", edit)
    ran, loaded = diff(a, b)
    assert ran.status == 1
    assert found(loaded) == {("devices", DEVICE, "digest"), ("devices", DEVICE, "state_digest")}
    assert loaded["contents"] == [
        {"migration": 0, "device": DEVICE, "part": "buffer", "index": 1, "byte": 2,
         "a": b"ate".hex(), "b": b"Ate".hex()},
    ]  # fmt: skip
    assert "index 1, byte 2" in mfshark("diff", a, b).out


def test_a_shorter_buffer_ends_there(tmp_path: Path) -> None:
    def edit(tiny: Tiny) -> None:
        tiny.multifd[1][-1] = buffer(1, b"sta")

    a, b = written(tmp_path, "a.pcap"), written(tmp_path, "b.pcap", edit)
    _, loaded = diff(a, b)
    (content,) = loaded["contents"]
    assert (content["index"], content["byte"], content["b"]) == (1, 3, "")
    assert "B  ends there" in mfshark("diff", a, b).out


def test_a_hole_in_a_capture_is_no_difference_of_contents() -> None:
    whole, holes = CLEAN, capture("10.0.13-vfio-gaps-2ch")
    _, loaded = diff(holes, holes)
    assert loaded["contents"] == []
    assert diff(whole, holes)[0].status == 1


def test_things_that_only_one_side_has(tmp_path: Path) -> None:
    def edit(tiny: Tiny) -> None:
        tiny.multifd[0] += [buffer(0, idstr=b"other/vfio"), config(1, idstr=b"other/vfio")]
        tiny.multifd[0][2] = ram([0, 1], [4, 5], num=2, pages_alloc=129)

    a, b = written(tmp_path, "a.pcap"), written(tmp_path, "b.pcap", edit)
    _, loaded = diff(a, b)
    one_sided = {(d["thing"], d["a"], d["b"]) for d in loaded["differences"] if not d["field"]}
    assert ("other/vfio#0", False, True) in one_sided
    assert any(d["section"] == "findings" for d in loaded["differences"])
    assert "only in B" in mfshark("diff", a, b).out
    assert ("channels", "multifd 0", "packets") in found(loaded)


def test_times_and_addresses_only_when_asked(tmp_path: Path) -> None:
    def edit(tiny: Tiny) -> None:
        tiny.server_port = 5555
        tiny.multifd[0][-2:], tiny.multifd[1][-1:] = [config(2)], [buffer(1), buffer(0)]

    a, b = written(tmp_path, "a.pcap"), written(tmp_path, "b.pcap", edit)
    _, plain = diff(a, b)
    assert {"server", "destination", "out_of_order"}.isdisjoint(f for _, _, f in found(plain))
    _, full = diff("--times", "--addresses", a, b)
    assert {
        ("parameters", "", "destination"),
        ("channels", "main", "server"),
        ("devices", DEVICE, "out_of_order"),
    } <= found(full)


def test_another_number_of_migrations() -> None:
    _, loaded = diff(capture("10.0.13-cancel-then-retry-2ch"), capture("10.0.13-cancelled-2ch"))
    assert ("migrations", "", None) in found(loaded)


def test_saved_reports(tmp_path: Path) -> None:
    saved = tmp_path / "saved.json"
    mfshark("check", "--format", "json", "--digest", "sha256", CLEAN, "-o", saved)
    assert diff(saved, saved)[0].status == 0
    ran, loaded = diff(saved, CLEAN)
    assert ran.status == 0
    assert loaded["notes"] == [f"phases were not compared: {saved} has none"]
    bare = tmp_path / "bare.json"
    mfshark("check", "--format", "json", CLEAN, "-o", bare)
    ran, loaded = diff(CLEAN, bare)
    assert ran.status == 0
    assert any("digests were not compared" in note for note in loaded["notes"])


def test_saved_statistics(tmp_path: Path) -> None:
    saved = tmp_path / "stats.json"
    mfshark("stats", "--format", "json", CLEAN, "-o", saved)
    ran, loaded = diff(saved, CLEAN)
    assert (ran.status, found(loaded)) == (0, set())
    told = "only outcomes and phases were compared: a report of stats has nothing else"
    assert loaded["notes"] == [told]
    assert diff(saved, capture("10.0.13-veth-mtu1500-2ch"))[0].status == 1


def test_a_report_of_check_and_one_of_stats_share_the_outcome(tmp_path: Path) -> None:
    checked, measured = tmp_path / "checked.json", tmp_path / "measured.json"
    mfshark("check", "--format", "json", CLEAN, "-o", checked)
    mfshark("stats", "--format", "json", CLEAN, "-o", measured)
    ran, loaded = diff(checked, measured)
    assert ran.status == 0
    told = "only outcomes were compared: one is a report of check, the other of stats"
    assert loaded["notes"] == [told]


@pytest.mark.parametrize(
    ("path", "words", "told"),
    [
        (CLEAN, ("--only", "sections"), "no sections in both"),
        (CLEAN, ("--only", "ram", "--ignore", "ram"), "no section is left"),
        (CAPTURES / "10.0.13-file-plain.mig.gz", ("--only", "phases,contents"), "no contents or"),
    ],
)
def test_what_compares_nothing_is_no_success(path: Path, words: tuple[str, ...], told: str) -> None:
    ran = mfshark("diff", path, path, *words)
    assert (ran.status, ran.out) == (2, "")
    assert f"there is nothing to compare: {told}" in ran.err


def test_saved_migrations() -> None:
    plain = CAPTURES / "10.0.13-file-plain.mig.gz"
    ran, loaded = diff(plain, CAPTURES / "10.0.13-file-mapped-ram.mig.gz")
    assert ran.status == 1
    assert ("parameters", "", "capabilities") in found(loaded)
    assert diff(plain, plain)[0].status == 0


# -- sections, and how they read -----------------------------------------------------------------

PRECOPY, LOSS = capture("10.0.13-vfio-precopy-2ch"), capture("10.0.13-vfio-netem-loss-2ch")


def test_sections_can_be_left_out() -> None:
    everything = {d[0] for d in found(diff(PRECOPY, LOSS)[1])}
    assert everything == {"parameters", "channels", "devices", "phases"}
    ran, loaded = diff(PRECOPY, LOSS, "--ignore", "channels,phases", "--ignore", "contents")
    assert {d[0] for d in found(loaded)} == {"parameters", "devices"}
    assert (ran.status, loaded["contents"]) == (1, [])
    ran, loaded = diff(PRECOPY, LOSS, "--only", "ram,Findings")
    assert (ran.status, loaded["same"]) == (0, True)
    assert mfshark("diff", PRECOPY, LOSS, "--only", "contents").out.count("Contents") == 1
    refused = mfshark("diff", PRECOPY, LOSS, "--only", "chanels")
    assert refused.status == 2
    assert "--only: no section is called 'chanels'; did you mean channels?" in refused.err


def test_values_have_units_and_changes() -> None:
    lines = mfshark("diff", "--times", CLEAN, capture("11.1.3-vfio-2dev-8ch")).out.splitlines()
    told = {" ".join(line.split()) for line in lines}
    assert {
        "wire downtime 198.1 ms -> 184.8 ms (-6.7%)",
        "0000:00:03.0/vfio#0 queue peak bytes 265.1 KiB -> 4.0 KiB (-98%)",
        "0000:00:03.0/vfio#0 channels 0:2 1:1 2:1 3:1 -> 1:1 2:1 3:2 4:1 6:1 7:1",
        "0000:00:03.0/vfio#0 last index 4 -> 6",
        "multifd 4 to 7 only in B",
        "vmstate bytes 31.8 KiB -> 31.9 KiB (+0.1%)",
    } <= told
    numbers = [line.split()[1] for line in lines if line.startswith("  multifd ")]
    channels = [int(number) for number in numbers if number.isdecimal()]
    assert channels == sorted(channels)


def test_what_one_side_lacks_is_a_line() -> None:
    ran = mfshark("diff", capture("10.0.13-cancelled-2ch"), LOSS)
    assert "  iteration 2 to 9          only in A\n" in ran.out
    other = mfshark("diff", capture("10.0.13-cancel-then-retry-2ch"), LOSS).out
    assert "\n\nMigration 1: only in A\n" in other
    holes = mfshark("diff", CLEAN, capture("10.0.13-vfio-gaps-2ch")).out
    assert "complete      yes -> cannot tell\n" in holes


def test_every_difference_has_two_sides_to_read() -> None:
    plain = capture("7.2-plain-tcp-nomultifd")
    for one, other in ((CLEAN, plain), (plain, CLEAN)):
        changes = [line for line in mfshark("diff", one, other).out.splitlines() if " -> " in line]
        assert any("multifd channels" in line for line in changes)
        assert all(line.partition(" -> ")[2].strip() for line in changes)
        assert not any("compression" in line for line in changes)


def test_lists_say_what_differs(tmp_path: Path) -> None:
    saved, other = tmp_path / "saved.json", tmp_path / "other.json"
    mfshark("check", "--format", "json", CAPTURES / "10.0.13-file-mapped-ram.mig.gz", "-o", saved)
    loaded = json.loads(saved.read_text("utf-8"))
    loaded["captures"][0]["saved_migration"]["capabilities"] += ["multifd", "x\x1b[31m"]
    other.write_text(json.dumps(loaded), "utf-8")
    assert "only in B: multifd, x\\x1b[31m\n" in mfshark("diff", saved, other).out


# -- what cannot be compared ---------------------------------------------------------------------


@pytest.mark.parametrize(
    "text",
    [
        "{}", "{", "{\"schema\": \"mfshark/report/1\"}", "{" * 100_000,
        "{\"schema\": \"mfshark/report/1\", \"captures\": [{}, {}]}",
        "{\"schema\": \"mfshark/report/1\", \"captures\": [{\"path\": \"x\", \"error\": \"y\"}]}",
        "{\"schema\": \"mfshark/report/1\", \"captures\": [{\"migrations\": 7}]}",
        "{\"schema\": \"mfshark/stats/1\", \"migrations\": [[]]}",
        "{\"schema\": [], \"captures\": []}",
    ],
)  # fmt: skip
def test_what_is_no_report_is_refused(text: str, tmp_path: Path) -> None:
    path = tmp_path / "x.json"
    path.write_text(text, "utf-8")
    ran = mfshark("diff", path, CLEAN)
    assert ran.status == 2
    assert "report" in ran.err
    assert len(ran.err.splitlines()) == 1


def test_what_a_report_lacks_is_told(tmp_path: Path) -> None:
    path = tmp_path / "x.json"
    path.write_text('{"schema": "mfshark/report/1", "captures": [{"migrations": 7}]}', "utf-8")
    told = f"mfshark: {path}: is not a report of mfshark: 'migrations' is not a list\n"
    assert mfshark("diff", path, CLEAN).err == told


def test_what_is_unusable() -> None:
    missing = mfshark("diff", "/nowhere", CLEAN)
    empty = mfshark("diff", capture("10.0.13-tls13-x509-2ch-nokeys"), CLEAN)
    assert (missing.status, empty.status) == (2, 2)
    assert "no migration" in empty.err
    assert mfshark("diff", "-", "-").status == 2


def test_damaged_reports_never_end_in_a_traceback(tmp_path: Path) -> None:
    saved, damaged = tmp_path / "saved.json", tmp_path / "damaged.json"
    mfshark("check", "--format", "json", CLEAN, "-o", saved)
    loaded = json.loads(saved.read_text("utf-8"))
    chance = random.Random(7)
    values: list[Any] = [None, 7, "\x1b[31m", [], {}, [[]], True, 1e308]

    def damage(value: Any) -> Any:
        if chance.random() < 0.01:
            return chance.choice(values)
        if isinstance(value, dict):
            return {key: damage(entry) for key, entry in value.items()}
        return [damage(entry) for entry in value] if isinstance(value, list) else value

    for _ in range(60):
        damaged.write_text(json.dumps(damage(loaded)), "utf-8")
        ran = mfshark("diff", damaged, saved)
        assert ran.status in (0, 1, 2)
        assert "\x1b" not in ran.out + ran.err


def test_hostile_names_are_escaped(tmp_path: Path) -> None:
    def edit(tiny: Tiny) -> None:
        tiny.multifd[0] += [buffer(0, idstr=b"\x1b[31mred")]

    ran = mfshark("diff", written(tmp_path, "a.pcap"), written(tmp_path, "b.pcap", edit))
    assert "\x1b" not in ran.out
    assert r"\x1b[31mred" in ran.out
