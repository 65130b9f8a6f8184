"""A self-contained web page: its frame, its style, and tables."""

from __future__ import annotations

from analyzer.report.escape import html

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

__all__ = ["PAGE_END", "html_table", "page_begin"]

STYLE = """
:root { color-scheme: light dark; --ink: #222; --soft: #666; --line: #ddd; --paper: #fff;
  --box: #f6f6f7; --warn: #a15c00; --error: #b3261e; }
@media (prefers-color-scheme: dark) { :root { --ink: #ddd; --soft: #999; --line: #444;
  --paper: #1c1c1e; --box: #262629; --warn: #e0a040; --error: #ff8a80; } }
body { font: 14px/1.45 system-ui, sans-serif; color: var(--ink); background: var(--paper);
  max-width: 1080px; margin: 2em auto; padding: 0 1em; }
h1 { font-size: 1.5em; } h2 { font-size: 1.25em; margin-top: 2em; }
h3 { font-size: 1.05em; margin: 1.8em 0 .3em; }
p { margin: .2em 0; } .soft { color: var(--soft); } .warn { color: var(--warn); }
.error { color: var(--error); } .word { font-weight: bold; font-size: 1.15em; }
.cards { display: flex; flex-wrap: wrap; gap: .8em; margin: 1em 0; }
.card { background: var(--box); border-radius: 6px; padding: .6em 1em; }
.card b { display: block; font-size: 1.3em; }
.wide { overflow-x: auto; }
table { border-collapse: collapse; margin: .6em 0; font-variant-numeric: tabular-nums; }
th, td { padding: .2em .7em; text-align: right; white-space: pre; }
th { color: var(--soft); font-weight: normal; border-bottom: 1px solid var(--line);
  white-space: normal; vertical-align: bottom; }
th:first-child, td:first-child { text-align: left; padding-left: 0; }
.share { display: inline-block; width: 110px; height: .8em; background: var(--box); }
.share i { display: block; height: 100%; }
svg.plot { display: block; width: 100%; height: auto; margin: .4em 0; }
svg.plot text { fill: var(--soft); } svg.plot .axis.left text { fill: var(--ink); }
svg.plot .tick line { stroke: var(--line); }
svg.map { display: block; margin: .3em 0; }
svg.map rect.missing, svg.map rect.cut-off { stroke: var(--error); }
svg.map rect.cut-off { stroke-dasharray: 3 2; }
details { margin: .4em 0; } summary { cursor: pointer; }
details p, details ul { margin-left: 1.2em; }
"""
PAGE_END = "</body>\n</html>\n"


def page_begin(title: str, heading: str, remark: str) -> str:
    """Everything before the contents; the texts are escaped here."""
    return (
        '<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        f"<title>{html(title)}</title>\n"
        '<meta name="viewport" content="width=device-width">\n'
        '<meta http-equiv="Content-Security-Policy" '
        "content=\"default-src 'none'; style-src 'unsafe-inline'\">\n"
        f"<style>{STYLE}</style>\n</head>\n<body>\n<h1>{html(heading)}</h1>\n"
        f'<p class="soft">{html(remark)}</p>\n'
    )


def html_table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> Iterator[str]:
    """A table; the headings are escaped here, the cells are HTML."""
    titles = "".join(f"<th>{html(title)}</th>" for title in head)
    yield f'<div class="wide"><table>\n<tr>{titles}</tr>\n'
    for row in rows:
        cells = "".join(f"<td>{cell}</td>" for cell in row)
        yield f"<tr>{cells}</tr>\n"
    yield "</table></div>\n"
