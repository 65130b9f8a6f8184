"""Escaping of untrusted strings from a capture, for each kind of output."""

from __future__ import annotations

__all__ = ["csv_cell", "file_name", "html", "terminal", "unicode"]

BIDI = frozenset("\u061c\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")
FORMULA = ("=", "+", "-", "@")
SAFE = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789.-_#")
NAME_MAX = 100


def terminal(text: str) -> str:
    r"""Text for a terminal: control, bidirectional and unprintable characters become ``\xNN``."""
    if text.isascii() and text.isprintable():
        return text
    return "".join(c if c.isprintable() and c not in BIDI else _escaped(c) for c in text)


def unicode(text: str) -> str:
    r"""Text that can be encoded: half a surrogate pair becomes ``\uNNNN``."""
    if text.isascii():
        return text
    return "".join(_escaped(c) if "\ud800" <= c <= "\udfff" else c for c in text)


def _escaped(char: str) -> str:
    code = ord(char)
    if code < 0x100:
        return f"\\x{code:02x}"
    return f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"


def csv_cell(text: str) -> str:
    """Text for a spreadsheet: anything that could be a formula is quoted."""
    text = terminal(text)
    return "'" + text if text.startswith(FORMULA) else text


def html(text: str) -> str:
    """Text for a web page, inside an element or a quoted attribute."""
    text = terminal(text)
    for char, entity in (
        ("&", "&amp;"),
        ("<", "&lt;"),
        (">", "&gt;"),
        ('"', "&quot;"),
        ("'", "&#39;"),
    ):
        text = text.replace(char, entity)
    return text


def file_name(text: str) -> str:
    """Text as one component of a path: nothing but letters, digits and ``.-_#``, never hidden."""
    name = "".join(c if c in SAFE else "_" for c in text)[:NAME_MAX]
    return name if name.strip(".") and not name.startswith(".") else "_" + name
