"""Configuration files: found, read with their lines, and put under the command line."""

from __future__ import annotations

import json
import tomllib
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from analyzer.config.file import ConfigFile, _lines, find
from analyzer.errors import UsageError
from tests.commands.run import mfshark
from tests.shipped import capture

if TYPE_CHECKING:
    from pathlib import Path

CLEAN = capture("10.0.13-vfio-3dev-4ch")
TINY = capture("10.0.13-alpha-8k-pages-2ch")


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder to be in."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


def write(folder: Path, text: str, name: str = "mfshark.toml") -> Path:
    """A configuration file."""
    path = folder / name
    path.write_text(text, encoding="utf-8")
    return path


def severities(*words: object) -> dict[str, str]:
    """Severity of every rule that ``check`` found."""
    ran = mfshark("check", "--format", "json", *words)
    findings = json.loads(ran.out)["captures"][0]["findings"]
    return {finding["rule"]: finding["severity"] for finding in findings}


# -- where it is found -----------------------------------------------------------------------------


def test_the_nearest_file_is_taken(project: Path) -> None:
    inner = project / "a" / "b"
    inner.mkdir(parents=True)
    assert find(str(inner)) is None
    outer = write(project, "[tool.mfshark]\ndeep = true\n", "pyproject.toml")
    assert find(str(inner)) == str(outer)
    write(inner, "[project]\nname = 'x'\n", "pyproject.toml")
    assert find(str(inner)) == str(outer)
    write(inner, "no TOML at all", "pyproject.toml")
    assert find(str(inner)) == str(outer)
    own = write(project, "")
    assert find(str(inner)) == str(own)
    near = write(inner.parent, "")
    assert find(str(inner)) == str(near)


def test_a_link_to_a_file_that_is_gone_is_no_silent_pass(project: Path) -> None:
    (project / "mfshark.toml").symlink_to("gone.toml")
    ran = mfshark("check", CLEAN)
    assert (ran.status, ran.out) == (2, "")
    assert "mfshark.toml cannot be read: No such file or directory" in ran.err
    assert mfshark("check", "--no-config", CLEAN).status == 0


def test_found_named_and_none(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(project, "severity.uuid-zero = 'error'\n")
    other = write(project, "severity.uuid-zero = 'warning'\n", "other.toml")
    assert severities(CLEAN)["MF105"] == "error"
    assert mfshark("check", CLEAN).status == 1
    assert severities("--config", other, CLEAN)["MF105"] == "warning"
    assert severities("--no-config", CLEAN)["MF105"] == "info"
    (project / "inner").mkdir()
    monkeypatch.chdir(project / "inner")
    assert severities(CLEAN)["MF105"] == "error"
    assert "../mfshark.toml:1" in mfshark("config", "show").out


def test_a_shared_file_has_a_table_of_ours(project: Path) -> None:
    text = '[project]\nname = "x"\n\n[tool.mfshark]\ndeep = true\n\n[[tool.mfshark.files]]\n'
    path = write(project, text + 'pattern = "x*"\nwire.sync = "round"\n', "pyproject.toml")
    shown = mfshark("config", "show", "x.pcap").out
    assert "pyproject.toml:5" in shown
    assert "pyproject.toml:9" in shown
    write(project, text + 'pattern = "x*"\nwires.sync = "round"\n', "pyproject.toml")
    assert "pyproject.toml:9: nothing is called wires" in mfshark("check", CLEAN).err
    write(project, "[tool.other]\n", "pyproject.toml")
    assert "no table [tool.mfshark]" in mfshark("check", "--config", path, CLEAN).err


# -- what is refused -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("\nfail-onn = 'error'", ":2: nothing is called fail-onn; did you mean fail-on?"),
        ("fail-on = 'warnin'", ":1: fail-on: cannot be 'warnin'; did you mean warning?"),
        ("[limits]\n\ndowntme = 1", ":3: nothing is called limits.downtme; did you mean downtime?"),
        ("[limit]\ndowntime = 1", ":1: nothing is called limit; did you mean limits?"),
        ("downtime = 1", ":1: nothing is called downtime; downtime belongs in [limits]"),
        ("[wire]\ndeep = true", ":2: nothing is called wire.deep; deep belongs above all tables"),
        ("[limits]\ndowntime = '3 MiB'", ":2: limits.downtime: takes seconds"),
        ("[limits]\ndowntime = 'soon'", "that is not a number"),
        ("[limits]\nmax-queued-bytes = '3 s'", ":2: limits.max-queued-bytes: takes bytes"),
        ("select = [\n  'MF5',\n  'vfio-idx-gapp',\n]", "did you mean vfio-idx-gap?"),
        ("[severity]\nuuid-zro = 'info'", ":2: severity.uuid-zro: no rule is called 'uuid-zro'"),
        ("[severity]\nMF1 = 'fatal'", ":2: severity.MF1: takes info, warning, error"),
        ("a = 1\n[[files]]\n", ":1: nothing is called a"),
        ("[[files]]\n\n[[files]]\npattern = '*'", ":1: pattern takes a file name pattern"),
        ("[[files]]\npattern='*'\n\n[[files]]\npattern='*'\ndep=true", ":6: nothing is called dep"),
        ("[[files]]\npattern = '*'\nfail-on = 'info'", ":3: fail-on cannot differ"),
        ("[[files]]\npattern = '*'\n[files.limits]\ndowntime = -1", ":4: limits.downtime"),
        ("[[files]]\npatern = '*'", ":2: nothing is called patern; did you mean pattern?"),
        ("[limits]\nfairness-ram = 80", ":2: limits.fairness-ram: takes a share from 0 to 1"),
        ("[limits]\nfairness-ram = '101 %'", ":2: limits.fairness-ram: takes a share from 0 to 1"),
        ("files = [1]", ":1: "),
        ("deep =\n", "(at line 1"),
        ("limits.downtime = nan", ":1: limits.downtime"),
    ],
)
def test_what_makes_no_sense_is_refused(text: str, told: str, project: Path) -> None:
    write(project, text)
    ran = mfshark("check", TINY)
    assert ran.status == 2
    assert told in ran.err
    assert not ran.out


@pytest.mark.parametrize(
    "content", [b"\xff\xfe", b"x" * (1 << 21), b"a = " + b"[" * 100_000], ids=len
)
def test_what_is_no_text_is_refused(content: bytes, project: Path) -> None:
    (project / "mfshark.toml").write_bytes(content)
    ran = mfshark("check", TINY)
    assert ran.status == 2
    assert "mfshark.toml" in ran.err
    assert mfshark("check", "--config", project / "none.toml", TINY).status == 2


KEYS = st.sampled_from(["deep", "limits", "files", "pattern", "select", "wire", "x", '"] \\u001b"'])
VALUES = st.recursive(
    st.sampled_from(["1", "true", '"info"', "-0.5", "nan", '"""\n]\n"""', "1979-05-27", "'x'"]),
    lambda inner: st.one_of(
        st.lists(inner, max_size=3).map(lambda items: f"[\n{', '.join(items)}\n]"),
        st.tuples(KEYS, inner).map(lambda pair: f"{{{pair[0]} = {pair[1]}}}"),
    ),
    max_leaves=5,
)
LINES = st.one_of(
    st.tuples(KEYS, VALUES).map(" = ".join),
    KEYS.map(lambda key: f"[{key}]"),
    KEYS.map(lambda key: f"[[{key}]]"),
    st.tuples(KEYS, KEYS).map(lambda keys: f"[{keys[0]}.{keys[1]}] # ]"),
    st.sampled_from(["", "# deep = [", "="]),
)


@given(st.lists(LINES, max_size=6).map("\n".join))
def test_any_file_is_read_or_refused(tmp_path_factory: pytest.TempPathFactory, text: str) -> None:
    path = tmp_path_factory.getbasetemp() / "any.toml"
    path.write_text(text, encoding="utf-8")
    try:
        file = ConfigFile(str(path))
    except UsageError as error:
        assert str(error).startswith(str(path))  # noqa: PT017
        return
    for entry in [*file.entries, *(e for table in file.files for e in table.entries)]:
        line = text.split("\n")[entry.line - 1]
        assert entry.key.rpartition(".")[2] in line or entry.setting.section in line


def test_lines_of_all_ways_to_write_it() -> None:
    text = (
        "a.b = 1\n"
        'c = """\n[d]\ne = 2\n"""  # no table\n'
        "f = [\n  [1],\n  2,\n]\n"
        "g = {h = 1, i = {j = 2}}\n"
        "[k.l]\n\n"
        "m = 1\n"
        "[[n]]\no = 1\n[n.p]\nq = 1\n[[n.r]]\ns = 1\n[[n.r]]\ns = 2\n[[n]]\no = 2\n"
    )
    tomllib.loads(text)
    found = _lines(text)
    assert {found["a",], found["a", "b"]} == {1}
    assert [found["c",], found["f",], found["g",], found["g", "i", "j"]] == [2, 6, 10, 10]
    assert [found["k", "l"], found["k", "l", "m"]] == [11, 13]
    assert [found["n", 0, "o"], found["n", 0, "p", "q"], found["n", 1, "o"]] == [15, 17, 23]
    assert [found["n", 0, "r", 0, "s"], found["n", 0, "r", 1, "s"]] == [19, 21]


# -- what is in force ------------------------------------------------------------------------------


def shown(*words: object) -> dict[str, tuple[str, str]]:
    """Value and origin of every setting."""
    ran = mfshark("config", "show", *words)
    assert ran.status == 0, ran.err
    rows = [line.split(None, 1) for line in ran.out.splitlines()[3:]]
    cells = [(key, rest.rsplit("  ", 1)) for key, rest in rows]
    return {key: (value.strip(), origin.strip()) for key, (value, origin) in cells}


FILES = """
fail-on = "warning"
ignore = ["MF910"]
limits.downtime = 0.1
[[files]]
pattern = "*-3dev-*"
ignore = ["MF951"]
limits.downtime = "200 ms"
severity.MF105 = "warning"
[[files]]
pattern = "sub/*"
limits.downtime = 3
"""


def test_what_is_nearer_wins(project: Path) -> None:
    write(project, FILES)
    at = "mfshark.toml"
    assert shown()["limits.downtime"] == ("0.1", f"{at}:4")
    assert shown("x-3dev-y.pcap")["limits.downtime"] == ('"200 ms"', f"{at}:8")
    assert shown("sub/x-3dev-y.pcap")["limits.downtime"] == ("3", f"{at}:12")
    assert shown("sub/x.pcap")["ignore"] == ('["MF910"]', f"{at}:3")
    found = shown("x-3dev-y.pcap", "--ignore", "MF2,MF3", "--limit", "MF954=2s", "--deep")
    assert found["ignore"] == ('["MF910", "MF951", "MF2", "MF3"]', f"{at}:3, {at}:7, option")
    assert found["limits.downtime"] == ("2.0", "option")
    assert found["severity.MF105"] == ('"warning"', f"{at}:9")
    assert found["deep"] == ("true", "option")
    assert found["wire.dialect"] == ('"auto"', "default")
    assert found["fail-on"] == ('"warning"', f"{at}:2")
    assert shown("--fail-on", "info")["fail-on"] == ('"info"', "option")


def test_check_does_as_shown(project: Path) -> None:
    write(project, FILES)
    assert "MF910" not in severities("--fail-on", "error", CLEAN)
    ran = mfshark("check", CLEAN, TINY, "--format", "json")
    assert ran.status == 1
    clean, tiny = ({f["rule"]: f["severity"] for f in one["findings"]}
                   for one in json.loads(ran.out)["captures"])  # fmt: skip
    assert clean["MF105"] == "warning"
    assert tiny["MF105"] == "info"
    assert "MF954" not in clean
    assert "MF954" in severities(CLEAN, "--limit", "downtime=0.15")


def test_processes_of_a_pool_do_so_too(project: Path) -> None:
    write(project, FILES)
    assert (
        mfshark("check", "-j2", CLEAN, TINY, "--format", "json").out
        == mfshark("check", CLEAN, TINY, "--format", "json").out
    )


def test_the_dialect_that_is_expected(project: Path) -> None:
    write(project, "expected-dialect = 'v1'\n[[files]]\npattern = '*-3dev-*'\n")
    assert severities(CLEAN)["MF962"] == "error"
    assert "MF962" not in severities(CLEAN, "--expected-dialect", "upstream")


def test_paths_are_seen_from_the_file(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (project / "inner").mkdir()
    mfshark("expect", TINY, "-o", project / "tiny.toml")
    write(project, "baseline = 'known.json'\n[[files]]\npattern='*alpha*'\nexpect = 'tiny.toml'\n")
    monkeypatch.chdir(project / "inner")
    assert mfshark("check", "--update-baseline", TINY).status == 0
    assert (project / "known.json").is_file()
    (project / "tiny.toml").write_text("schema = 'mfshark/expect/1'\nmigration = []\n")
    assert severities(TINY)["MF961"] == "error"
    assert "MF961" not in severities(CLEAN)


def test_other_commands_take_how_captures_are_read(project: Path) -> None:
    write(project, "[wire]\nvia = 'tshrk'\n")
    for command in ("packets", "devices", "stats", "expect"):
        ran = mfshark(command, TINY)
        assert ran.status == 2
        assert "did you mean tshark?" in ran.err
    write(project, "[[files]]\npattern = '*3dev*'\nwire.byte-order = 'le'\n")
    assert mfshark("devices", CLEAN).out != mfshark("devices", "--no-config", CLEAN).out
