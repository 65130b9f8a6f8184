"""Completion of a filter that is being typed."""

from __future__ import annotations

import re

import numpy
from lark import UnexpectedInput

from analyzer.filter.compiler import CHOICES
from analyzer.filter.grammar import COMPARISONS, LENGTH_MAX, WORDS, parser
from analyzer.filter.masks import Rows
from analyzer.filter.values import quoted
from analyzer.migration.table_fields import TABLE_FIELDS
from dissectors.registry import FIELDS

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

    from lark import Token

    from analyzer.migration.table import PacketTable

__all__ = ["complete", "word_start"]

WORD = re.compile(r"[\w.:/#-]*\Z")
NAMES_MAX = 100
"""The maximum number of a capture's names that are offered."""


def word_start(text: str, cursor: int) -> int:
    """Where the word that :func:`complete` completes begins; it ends at the cursor."""
    head = text[:cursor]
    found = WORD.search(head)
    assert found is not None
    return found.start()


def complete(text: str, cursor: int, table: PacketTable | None = None) -> list[str]:
    """Words that can replace the one before the cursor, most likely first: fields, operators, and
    the values of fields with few values; with a table also its names.  Nothing if the filter is
    already invalid.
    """
    start = word_start(text, cursor)
    if start > LENGTH_MAX:
        return []
    prefix = text[start:cursor]
    lexed = _lexed(text[:start])
    if lexed is None:
        return []
    tokens, accepted = lexed
    words = list(_values(tokens, table)) if "LITERAL" in accepted else []
    fields = FIELDS if "LITERAL" in accepted and not _in_set(tokens) else ()
    operators = (word for name, word in WORDS.items() if name in accepted)
    found = dict.fromkeys([*words, *operators, *fields])
    lower = prefix.lower()
    return [word for word in found if word.lower().lstrip('"').startswith(lower) and word != prefix]


def _lexed(head: str) -> tuple[list[Token], set[str]] | None:
    """The tokens before the word, and the terminals that may follow."""
    parse = parser().parse_interactive(head)
    try:
        tokens = list(parse.exhaust_lexer())
    except UnexpectedInput:
        return None
    return tokens, set(parse.accepts())  # type: ignore[no-untyped-call]


def _in_set(tokens: list[Token]) -> bool:
    kinds = [token.type for token in tokens]
    return "_BEGIN" in kinds and "_END" not in kinds[_last(kinds, "_BEGIN") :]


def _last(kinds: list[str], kind: str) -> int:
    return len(kinds) - 1 - kinds[::-1].index(kind)


def _values(tokens: list[Token], table: PacketTable | None) -> Iterator[str]:
    """Values for the field that is compared."""
    name = _compared(tokens)
    field = FIELDS.get(name)
    if field is None:
        return
    if field.type == "bool":
        yield from ("true", "false")
    elif name in CHOICES:
        yield from CHOICES[name]
    elif table is not None and field.type == "string":
        yield from map(quoted, _texts(table, name))


def _texts(table: PacketTable, name: str) -> Iterator[str]:
    """The distinct values of a text field, in the order in which they were first seen."""
    field = TABLE_FIELDS[name]
    rows = Rows(table, 0, len(table))
    numbers, there = rows.column(field.column), rows.present(name)
    seen = numpy.zeros(field.text_count(table), numpy.bool_)
    seen[numbers if there is None else numbers[there]] = True
    for number in seen.nonzero()[0][:NAMES_MAX]:
        yield str(field.text(table, int(number)))


def _compared(tokens: list[Token]) -> str:
    """The field before the operator, or the set, that the tokens end with."""
    at = len(tokens)
    if _in_set(tokens):
        at = _last([token.type for token in tokens], "_IN")
        if at and tokens[at - 1].type == "NOT":
            at -= 1
    elif tokens and tokens[-1].type in OPERATORS:
        at -= 1
    else:
        return ""
    return str(tokens[at - 1]) if at else ""


OPERATORS = frozenset((*COMPARISONS, *WORDS, "TILDE")) - {"_OR", "_AND", "NOT", "_IN"}
