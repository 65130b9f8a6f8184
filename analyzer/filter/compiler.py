"""Compiles a syntax tree to tests that produce masks; all checks of a filter are here."""

from __future__ import annotations

from lark import Token, Tree

from analyzer.filter import values
from analyzer.filter.error import FilterError
from analyzer.filter.grammar import parse
from analyzer.filter.masks import TextTest, compared, compared_fields, one_of, present
from analyzer.filter.pattern import Pattern
from analyzer.migration.table import KINDS, SEVERITIES
from dissectors.multifd import names_device
from dissectors.registry import FIELDS, nearest

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from typing import Any

    from analyzer.filter.grammar import Syntax
    from analyzer.filter.masks import Mask, Rows, Test
    from dissectors.registry import FilterField

__all__ = ["CHOICES", "DEPTH_MAX", "Compiler"]

DEPTH_MAX = 100
SIGNS = {"eq": "==", "ne": "!=", "lt": "<", "le": "<=", "gt": ">", "ge": ">="}
MIRRORED = {"<": ">", "<=": ">=", ">": "<", ">=": "<=", "==": "==", "!=": "!="}
CHOICES = {"kind": KINDS, "severity": SEVERITIES}
"""Text fields with few values; those of severity have an order."""
NUMERIC = ("uint", "int", "bool", "time", "duration")
READERS: dict[str, tuple[Callable[[str], int | None], str]] = {
    "uint": (values.number, "a number"),
    "int": (values.number, "a number"),
    "bool": (values.boolean, "true or false"),
    "time": (values.moment, "a time as 2025-03-01T10:00:00.5"),
    "duration": (values.duration, "a time as 1.5, 20ms or 3us"),
}


class _Operand:
    """A field, perhaps with some of its bits picked, or a value."""

    def __init__(self, token: Token, bits: int | None = None) -> None:
        self.token = token
        self.field = FIELDS.get(token) if token.type == "LITERAL" else None
        self.bits = bits

    @property
    def column(self) -> int:
        """Its column in the filter."""
        return self.token.start_pos or 0


class Compiler:
    """Compiles one filter; ``fields`` are the names of the fields it uses.

    Raises :class:`FilterError`.
    """

    def __init__(self) -> None:
        self.fields: set[str] = set()

    def compile(self, text: str) -> Test:
        """The test of a filter; an empty filter matches everything."""
        tree = parse(text)
        if not tree.children:
            return lambda rows: rows.constant(True)
        return self._term(tree.children[0], 0)

    def _term(self, tree: Syntax | Token, depth: int) -> Test:
        assert isinstance(tree, Tree)
        if depth > DEPTH_MAX:
            raise FilterError(0, "", "", reason="nested too deeply")
        if tree.data in ("disjunction", "conjunction"):
            tests = [self._term(child, depth + 1) for child in tree.children]
            return _all(tests) if tree.data == "conjunction" else _any(tests)
        if tree.data == "negation":
            return _inverted(self._term(tree.children[-1], depth + 1))
        nodes: list[Any] = tree.children
        return {
            "presence": self._presence,
            "comparison": self._comparison,
            "text": self._text,
            "member": self._member,
        }[tree.data](nodes)

    # -- operands -----------------------------------------------------------------------------

    def _operand(self, tree: Syntax) -> _Operand:
        token, bits = tree.children
        assert isinstance(token, Token)
        if bits is None:
            operand = _Operand(token)
        else:
            assert isinstance(bits, Token)
            number = values.number(bits)
            if number is None or not 0 <= number < 1 << 64:
                raise _unexpected(bits, "a number")
            operand = _Operand(token, number)
            field = self._required(operand)
            if field.type != "uint":
                raise _unexpected(token, "a number field")
        return operand

    def _required(self, operand: _Operand) -> FilterField:
        """The field of an operand that must be a field."""
        if operand.field is None:
            name = str(operand.token)
            raise FilterError(operand.column, name, "a field", nearest(name))
        self.fields.add(operand.field.name)
        return operand.field

    # -- tests --------------------------------------------------------------------------------

    def _presence(self, nodes: list[Any]) -> Test:
        operand = self._operand(nodes[0])
        field = self._required(operand)
        if operand.bits is not None:
            return compared(field.name, "!=", 0, operand.bits)
        if field.type == "bool":
            return compared(field.name, "==", 1)
        return present(field.name)

    def _comparison(self, nodes: list[Any]) -> Test:
        """``a < b``, and also ``a < b < c``: every neighbouring pair."""
        operands = [self._operand(node) for node in nodes[::2]]
        signs = [SIGNS.get(token, str(token)) for token in nodes[1::2]]
        pairs = zip(operands, signs, operands[1:], strict=False)
        return _all([self._pair(left, sign, right) for left, sign, right in pairs])

    def _pair(self, left: _Operand, sign: str, right: _Operand) -> Test:
        if left.field is None and right.field is not None:
            left, sign, right = right, MIRRORED[sign], left
        field = self._required(left)
        if right.field is not None and not _is_choice(field, right.token):
            return self._two_fields(left, sign, right)
        if field.type in NUMERIC:
            return compared(field.name, sign, _number(field, right.token), left.bits)
        if field.name in CHOICES:
            return self._choice(field, sign, right.token)
        value = _comparable(field, right.token)
        if sign not in ("==", "!="):
            raise _unexpected(left.token, "a number field before " + sign)
        alike = _equal(field, [value])
        return TextTest(field.name, alike if sign == "==" else lambda v: not alike(v))

    def _two_fields(self, left: _Operand, sign: str, right: _Operand) -> Test:
        one, other = self._required(left), self._required(right)
        if left.bits is not None or right.bits is not None:
            raise _unexpected(right.token, "a number")
        kinds = {"int" if field.type == "uint" else field.type for field in (one, other)}
        if one.type not in NUMERIC or len(kinds) > 1:
            raise _unexpected(right.token, f"a value or a field that compares with {one.name}")
        return compared_fields(one.name, sign, other.name)

    def _choice(self, field: FilterField, sign: str, token: Token) -> Test:
        number = _choice(field, token)
        if field.name != "severity" and sign not in ("==", "!="):
            raise _unexpected(token, "== or !=: it has no order")
        return compared(field.name, sign, number)

    def _text(self, nodes: list[Any]) -> Test:
        operand, word, token = self._operand(nodes[0]), str(nodes[1]), nodes[2]
        field = self._required(operand)
        if field.type not in ("string", "bytes") or (field.type == "bytes" and word != "contains"):
            kinds = "a text or bytes field" if word == "contains" else "a text field"
            raise _unexpected(operand.token, f"{kinds} before {word!r}")
        if word == "contains":
            part = _comparable(field, token)
            return TextTest(field.name, lambda value: part in value)
        return TextTest(field.name, Pattern(values.unquoted(token), token.start_pos or 0).matches)

    def _member(self, nodes: list[Any]) -> Test:
        operand, inverted, elements = self._operand(nodes[0]), nodes[1] is not None, nodes[2:]
        field = self._required(operand)
        if field.type in NUMERIC or field.name in CHOICES:
            ranges = [_range(field, *element.children) for element in elements]
            test: Test = one_of(field.name, ranges, operand.bits)
        else:
            known = [_element(field, *element.children) for element in elements]
            test = TextTest(field.name, _equal(field, known))
        if not inverted:
            return test
        return _all([present(field.name), _inverted(test)])


def _all(tests: Sequence[Test]) -> Test:
    if len(tests) == 1:
        return tests[0]

    def test(rows: Rows) -> Mask:
        mask = tests[0](rows).copy()
        for other in tests[1:]:
            mask &= other(rows)
        return mask

    return test


def _any(tests: Sequence[Test]) -> Test:
    def test(rows: Rows) -> Mask:
        mask = tests[0](rows).copy()
        for other in tests[1:]:
            mask |= other(rows)
        return mask

    return test


def _inverted(test: Test) -> Test:
    return lambda rows: ~test(rows)


# -- values -----------------------------------------------------------------------------------


def _unexpected(token: Token, expected: str) -> FilterError:
    return FilterError(token.start_pos or 0, str(token), expected)


def _number(field: FilterField, token: Token) -> int:
    reader, expected = READERS[field.type]
    value = reader(values.unquoted(token))
    if value is None:
        if token.type == "LITERAL" and token[0].isalpha():
            raise FilterError(token.start_pos or 0, str(token), expected, nearest(token))
        raise _unexpected(token, expected)
    return int(value)


def _is_choice(field: FilterField, token: Token) -> bool:
    return token in CHOICES.get(field.name, ())


def _choice(field: FilterField, token: Token) -> int:
    """The number of a value of a field with few values."""
    choices = CHOICES[field.name]
    text = values.unquoted(token)
    if text not in choices:
        raise _unexpected(token, f"{', '.join(choices[:-1])} or {choices[-1]}")
    return choices.index(text)


def _comparable(field: FilterField, token: Token) -> str | bytes:
    """The value that a text or bytes field is compared with."""
    text = values.unquoted(token)
    if field.type == "string":
        return text
    data = values.hexadecimal(text)
    if data is None:
        raise _unexpected(token, "a uuid or bytes as 01:02:ff")
    return data


def _equal(field: FilterField, wanted: Sequence[str | bytes]) -> Callable[[Any], bool]:
    """Whether a text or bytes field is one of some values; a device can be named without its
    instance.
    """
    if field.name == "device":
        return lambda value: any(names_device(str(text), value) for text in wanted)
    return frozenset(wanted).__contains__


def _range(field: FilterField, first: Token, last: Token | None) -> tuple[int, int]:
    read = _choice if field.name in CHOICES else _number
    low = read(field, first)
    high = low if last is None else read(field, last)
    if high < low:
        raise FilterError(
            first.start_pos or 0, "", "", reason=f"the range {first}..{last} is empty"
        )
    return low, high


def _element(field: FilterField, token: Token, last: Token | None) -> str | bytes:
    if last is not None:
        raise _unexpected(last, "',' or '}': texts have no ranges")
    return _comparable(field, token)
