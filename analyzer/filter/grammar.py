"""The grammar of display filters: text to syntax tree."""

from __future__ import annotations

from functools import lru_cache

from lark import Lark, Token, Tree, UnexpectedCharacters, UnexpectedToken

from analyzer.filter.error import FilterError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable
    from typing import TypeAlias

    Syntax: TypeAlias = Tree[Token]

__all__ = ["COMPARISONS", "LENGTH_MAX", "WORDS", "parse", "parser"]

LENGTH_MAX = 8192
"""The maximum length of a filter."""

GRAMMAR = r"""
start: disjunction?
?disjunction: conjunction ((_BARS | _OR) conjunction)*
?conjunction: term ((_ANDS | _AND) term)*
?term: (_BANG | NOT) term -> negation
     | _OPEN disjunction _CLOSE
     | operand -> presence
     | operand (compare operand)+ -> comparison
     | operand textual atom -> text
     | operand [NOT] _IN _BEGIN element (_COMMA? element)* _END -> member

operand: atom [_BITS LITERAL]
element: atom [_RANGE atom]
?atom: LITERAL | STRING
?compare: EQUAL | UNEQUAL | BELOW | ABOVE | LESS | MORE | EQ | NE | LE | GE | LT | GT
?textual: CONTAINS | MATCHES | TILDE

_BARS: "||"
_OR: "or"
_ANDS: "&&"
_AND: "and"
_BANG: "!"
NOT: "not"
_OPEN: "("
_CLOSE: ")"
_IN: "in"
_BEGIN: "{"
_END: "}"
_COMMA: ","
_BITS: "&"
_RANGE: ".."
EQUAL: "=="
UNEQUAL: "!="
BELOW: "<="
ABOVE: ">="
LESS: "<"
MORE: ">"
EQ: "eq"
NE: "ne"
LE: "le"
GE: "ge"
LT: "lt"
GT: "gt"
CONTAINS: "contains"
MATCHES: "matches"
TILDE: "~"
STRING: /r?"(?:[^"\\]|\\.)*"/s | /'(?:[^'\\]|\\.)*'/s
LITERAL: /[+-]?(?:[\w:\/#+-]|\.(?!\.))+/
%ignore /\s+/
"""

COMPARISONS = ("EQUAL", "UNEQUAL", "BELOW", "ABOVE", "LESS", "MORE")
WORDS = {
    "_OR": "or",
    "_AND": "and",
    "NOT": "not",
    "_IN": "in",
    "EQ": "eq",
    "NE": "ne",
    "LE": "le",
    "GE": "ge",
    "LT": "lt",
    "GT": "gt",
    "CONTAINS": "contains",
    "MATCHES": "matches",
}
"""Operators that are words, by terminal."""

EXPECTED = {
    "LITERAL": "a field or a value",
    "STRING": "a field or a value",
    **dict.fromkeys(COMPARISONS, "an operator"),
    "_OPEN": "'('",
    "_CLOSE": "')'",
    "_AND": "'and' or 'or'",
    "_BEGIN": "'{'",
    "_END": "'}'",
    "$END": "the end",
}
MEANT = {"=": "'=='", "|": "'||'"}


@lru_cache(maxsize=1)
def parser() -> Lark:
    """The parser, made when the first filter is used."""
    return Lark(GRAMMAR, parser="lalr", maybe_placeholders=True)


def parse(text: str) -> Syntax:
    """The syntax tree of a filter; raises :class:`FilterError`."""
    if len(text) > LENGTH_MAX:
        raise FilterError(LENGTH_MAX, "", "", reason=f"longer than {LENGTH_MAX} characters")
    try:
        return parser().parse(text)
    except UnexpectedToken as error:
        token = error.token
        ended = token.type == "$END"
        column = len(text.rstrip()) if ended else token.start_pos or 0
        raise FilterError(column, str(token), _expected(error.accepts)) from None
    except UnexpectedCharacters as error:
        column = error.pos_in_stream or 0
        found = text[column]
        if found in "\"'":
            raise FilterError(column, found, "", reason="the string is not closed") from None
        raise FilterError(column, found, MEANT.get(found, "")) from None


def _expected(terminals: Iterable[str]) -> str:
    words = list(dict.fromkeys(word for name, word in EXPECTED.items() if name in terminals))
    return f"{', '.join(words[:-1])} or {words[-1]}" if len(words) > 1 else "".join(words)
