"""pytest plugin: the fixture ``mfshark`` checks captures inside a test.

When the test fails, its captures' reports are kept and shown.  The analyzer is only loaded when a
test requests the fixture.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    import os
    from collections.abc import Generator, Iterable

    from analyzer.testing import Capture

__all__ = ["MFShark", "mfshark"]

REPORTS = "--mfshark-reports"
NAME_SHOWN = 80


class MFShark:
    """The fixture's value: called with a capture it returns a :class:`analyzer.testing.Capture`.
    ``checked`` are those of this test, in order; ``folder`` is where their reports go if it fails.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.checked: list[Capture] = []

    def __call__(
        self,
        path: str | os.PathLike[str],
        *,
        digest: bool = True,
        deep: bool = False,
        dialect: str = "auto",
        keylog: str | os.PathLike[str] | None = None,
        select: str | Iterable[str] = (),
        ignore: str | Iterable[str] = (),
        trace: str | os.PathLike[str] | Iterable[str | os.PathLike[str]] = (),
        require: str | None = None,
    ) -> Capture:
        """Check a capture; the options are those of :func:`analyzer.testing.check`, but digests are
        computed unless ``digest`` is false.  Raises the same errors.
        """
        from analyzer.testing import check

        found = check(
            path, digest=digest, deep=deep, dialect=dialect, keylog=keylog,
            select=select, ignore=ignore, trace=trace, require=require,
        )  # fmt: skip
        self.checked.append(found)
        return found

    def keep(self) -> list[tuple[str, str]]:
        """Write the reports, text and JSON; returns a title and the text of each."""
        from analyzer.report.escape import file_name, terminal
        from analyzer.report.json_text import json_text
        from analyzer.report.model import report

        self.folder.mkdir(parents=True, exist_ok=True)
        sections = []
        for number, capture in enumerate(self.checked, 1):
            path = self.folder / f"{number}-{file_name(Path(capture.path).name)}"
            text, whole = f"{path}.txt", f"{path}.json"
            Path(text).write_text(capture.text, encoding="utf-8")
            Path(whole).write_text(json_text(report([capture.report]), 1), encoding="utf-8")
            title = f"mfshark {terminal(capture.path)}"
            sections.append((title, f"{capture.text}kept: {text}\n      {whole}"))
        return sections


KEPT = pytest.StashKey[MFShark]()


def pytest_addoption(parser: pytest.Parser) -> None:
    """Declare the option for where reports go."""
    parser.getgroup("mfshark").addoption(
        REPORTS,
        metavar="DIR",
        help="keep the reports of captures that failed tests have checked in a folder of their own "
        "below DIR, not in the test's temporary folder",
    )


@pytest.fixture
def mfshark(request: pytest.FixtureRequest, tmp_path: Path) -> MFShark:
    """Check captures of migrations: ``mfshark("x.pcap").assert_clean()``; docs/pytest.md."""
    folder = request.config.getoption(REPORTS)
    if folder is None:
        fixture = MFShark(tmp_path / "mfshark")
    else:
        below = request.config.invocation_params.dir / folder
        fixture = MFShark(below / _folder_name(request.node.nodeid))
    request.node.stash[KEPT] = fixture
    return fixture


def _folder_name(nodeid: str) -> str:
    """The end of a test's name, which distinguishes it from its neighbours, made unique."""
    import hashlib

    from analyzer.report.escape import file_name

    unique = hashlib.sha256(nodeid.encode()).hexdigest()[:8]
    return file_name(f"{nodeid[-NAME_SHOWN:]}-{unique}")


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item,
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Keep the reports of a failed test, and show them with it."""
    outcome = yield
    kept = item.stash.get(KEPT, None)
    if outcome.failed and kept is not None and kept.checked:
        outcome.sections.extend(kept.keep())
        kept.checked.clear()
    return outcome


def pytest_assertrepr_compare(op: str, left: Any, right: Any) -> list[str] | None:
    """Explain why a verdict differs from the expected one, and show findings one per line."""
    import sys

    testing = sys.modules.get("analyzer.testing")
    if testing is None:
        return None
    for verdict, other in ((left, right), (right, left)):
        if isinstance(verdict, testing.Verdict):
            pair = (str(verdict), other) if verdict is left else (other, str(verdict))
            return [f"{pair[0]!r} {op} {pair[1]!r}", *verdict.capture.explanation()]
    if _findings(left, testing.Finding) or _findings(right, testing.Finding):
        return [f"findings {op} expected", *_lines(left), "expected:", *_lines(right)]
    return None


def _findings(side: Any, kind: type[Any]) -> bool:
    return isinstance(side, list) and bool(side) and all(isinstance(one, kind) for one in side)


def _lines(side: Any) -> list[str]:
    if not isinstance(side, list):
        return [f"  {side!r}"]
    return [f"  {one}" for one in side] or ["  none"]
