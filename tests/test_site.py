"""The documentation as a site: whole, and nothing in it that Markdown did not understand."""

from __future__ import annotations

import os
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

import pytest

pytest.importorskip("mkdocs")
ROOT = Path(__file__).resolve().parent.parent
OUTSIDE = {"index", "contributing", "changelog", "captures"}


class Page(HTMLParser):
    """What a page links to, its anchors, its headings, and its paragraphs but for code in them."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.links: list[str] = []
        self.anchors: set[str] = set()
        self.menu: list[str] = []
        self.titles: list[str] = []
        self.paragraphs: list[str] = []
        self.inside = ""
        self.code = False
        self.feed(path.read_text(encoding="utf-8"))

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        found = dict(attrs)
        self.anchors.add(found.get("id") or "")
        for name in ("href", "src"):
            if found.get(name):
                self.links.append(found[name] or "")
        if tag == "a" and "md-nav__link" in (found.get("class") or ""):
            self.menu.append(found.get("href") or "")
        self.code |= tag == "code"
        if tag in ("p", "h1"):
            self.inside = tag
            (self.paragraphs if tag == "p" else self.titles).append("")

    def handle_endtag(self, tag: str) -> None:
        self.code &= tag != "code"
        if tag == self.inside:
            self.inside = ""

    def handle_data(self, data: str) -> None:
        if self.inside:
            (self.paragraphs if self.inside == "p" else self.titles)[-1] += (
                "code" if self.code else data
            )


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> dict[Path, Page]:
    """The pages by file."""
    folder: Path = tmp_path_factory.mktemp("site")
    done = subprocess.run(
        [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", str(folder)],
        cwd=ROOT,
        env={**os.environ, "NO_MKDOCS_2_WARNING": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return {path: Page(path) for path in folder.rglob("index.html")}


def folder_of(site: dict[Path, Page]) -> Path:
    return min(site, key=lambda path: len(path.parts)).parent


def test_every_page_is_there_and_in_the_menu(site: dict[Path, Page]) -> None:
    folder = folder_of(site)
    docs = ROOT / "docs"
    wanted = {path.relative_to(docs).with_suffix("") for path in docs.rglob("*.md")}
    wanted |= {Path(name) for name in OUTSIDE}
    front = site[folder / "index.html"]
    listed = {(folder / urlsplit(link).path).resolve() for link in front.menu if "://" not in link}
    for page in wanted:
        path = folder / ("" if page.name == "index" else page) / "index.html"
        assert len(site[path].titles) == 1, path
        assert path.parent in listed, page


def test_how_to_pages_are_in_their_section_of_the_menu(site: dict[Path, Page]) -> None:
    """Pages of no section come last in Reference, where nobody looks for a way to do something."""
    menu = site[folder_of(site) / "index.html"].menu
    after = menu.index("display-filters/")  # of Reference
    assert not [link for link in menu[after:] if link.startswith("howto/")]


def test_links_and_anchors_lead_somewhere(site: dict[Path, Page]) -> None:
    for path, page in site.items():
        for link in page.links:
            target = urlsplit(link)
            if target.scheme:
                continue
            there = (path.parent / unquote(target.path)).resolve() if target.path else path
            there = there / "index.html" if there.is_dir() else there
            assert there.exists(), (path, link)
            if target.fragment and there in site and not target.fragment.startswith("__"):
                assert unquote(target.fragment) in site[there].anchors, (path, link)


def test_nothing_is_loaded_from_elsewhere(site: dict[Path, Page]) -> None:
    for page in site.values():
        assert not [link for link in page.links if link.endswith((".js", ".css")) and "//" in link]


def test_lists_and_tables_became_such(site: dict[Path, Page]) -> None:
    for path, page in site.items():
        for text in page.paragraphs:
            assert not text.startswith(("- ", "| ", "#", "1. ", "```")), (path, text)
            assert "\n- " not in text, (path, text)
            assert "\n| " not in text, (path, text)
