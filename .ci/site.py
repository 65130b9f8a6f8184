"""Hooks of mkdocs: the menu, and the pages that lie outside docs/.

README.md is the front page.  A link is written for who reads the repository, and is turned here
into one that works in the site; what leads to a file that is no page becomes plain text.
"""

from __future__ import annotations

import posixpath
import re
from pathlib import Path
from typing import TYPE_CHECKING

from mkdocs.structure.files import File

if TYPE_CHECKING:
    from mkdocs.config.defaults import MkDocsConfig
    from mkdocs.structure.files import Files
    from mkdocs.structure.pages import Page

ROOT = Path(__file__).resolve().parent.parent
OUTSIDE = {
    "README.md": "index.md",
    "CONTRIBUTING.md": "contributing.md",
    "CHANGELOG.md": "changelog.md",
    "captures/MANIFEST.md": "captures.md",
}
"""Pages of the site by the path in the repository."""

MENU = {
    "Start": ["index", "install", "tutorial"],
    "How to": [
        "howto/how-it-ended",
        "howto/lost-buffer",
        "howto/downtime",
        "live",
        "tls",
        "formats",
        "expectations",
        "many-captures",
        "configuration",
        "two-views",
        "trace",
        "payload",
        "scrub",
        "wireshark",
        "howto/tshark-loses-packets",
        "howto/multipath",
        "howto/colo",
    ],
    "Python": ["api", "recipes", "pytest"],
    "Reference": ["tui", "display-filters", "fields", "rules", "settings", "synth", "captures"],
    "Inside": ["wire-format", "architecture", "contributing", "changelog"],
}
"""Sections and their pages, without ``.md``; pages of no section come last in Reference."""

TITLES = {
    "index.md": "What it is",
    "formats.md": "Reports, and CI on GitHub and GitLab",
    "tls.md": "TLS keys from QEMU",
    "scrub.md": "Sharing a capture",
    "two-views.md": "Captures of both hosts",
    "wire-format.md": "Wire format",
    "captures.md": "Captures that come with it",
}
"""What the menu calls pages whose heading says less to who looks for something."""

LINK = re.compile(r"(!?)\[([^\]]*)\]\(([^)\s]+)\)")
FENCE = re.compile(r"^(```.*?^```)", re.MULTILINE | re.DOTALL)


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the pages from outside, and make the menu of what there is."""
    for source, target in OUTSIDE.items():
        files.append(File.generated(config, target, abs_src_path=str(ROOT / source)))
    config.nav = menu({file.src_uri for file in files.documentation_pages()})
    return files


def menu(pages: set[str]) -> list[dict[str, list[str | dict[str, str]]]]:
    """The sections with their pages.  Raises :class:`ValueError` for one that does not exist."""
    listed = {title: [f"{name}.md" for name in names] for title, names in MENU.items()}
    known = [page for names in listed.values() for page in names]
    if wrong := {page for page in known if page not in pages or known.count(page) > 1}:
        raise ValueError(f"the menu has pages that are not there, or twice: {sorted(wrong)}")
    listed["Reference"] += sorted(pages.difference(known))
    return [
        {section: [{TITLES[name]: name} if name in TITLES else name for name in names]}
        for section, names in listed.items()
    ]


def on_page_markdown(markdown: str, page: Page, files: Files, **_: object) -> str:
    """Links that lead somewhere in the site."""
    parts = FENCE.split(markdown)
    parts[::2] = [
        LINK.sub(lambda link: relink(link, page.file.src_uri, files), part) for part in parts[::2]
    ]
    return "".join(parts)


def relink(link: re.Match[str], page: str, files: Files) -> str:
    """One link; ``page`` is the path in the site of the page that it stands on."""
    picture, text, target = link.groups()
    path, hash_mark, anchor = target.partition("#")
    if not path or "://" in path:
        return link[0]
    origin = next((source for source, at in OUTSIDE.items() if at == page), f"docs/{page}")
    wanted = posixpath.normpath(posixpath.join(posixpath.dirname(origin), path))
    there = OUTSIDE.get(wanted, wanted.removeprefix("docs/"))
    if files.get_file_from_path(there) is None and not wanted.startswith("docs/"):
        if not (ROOT / wanted).exists():
            raise ValueError(f"{page}: {target} leads nowhere")
        return text if text.startswith("`") else f"`{wanted}`"
    relative = posixpath.relpath(there, posixpath.dirname(page) or ".")
    return f"{picture}[{text}]({relative}{hash_mark}{anchor})"
