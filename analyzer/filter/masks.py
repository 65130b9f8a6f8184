"""Evaluates filters: from columns of the packet table to masks, one truth value per row."""

from __future__ import annotations

import operator

import numpy

from analyzer.migration.table_fields import ALL, TABLE_FIELDS, flag_of

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from typing import Any, TypeAlias

    import numpy as np

    from analyzer.migration.table import PacketTable
    from analyzer.migration.table_fields import TableField

    Mask: TypeAlias = np.ndarray[Any, np.dtype[np.bool_]]
    Numbers: TypeAlias = np.ndarray[Any, np.dtype[Any]]
    Test: TypeAlias = Callable[["Rows"], Mask]

__all__ = ["OPERATORS", "Rows", "TextTest", "compared", "compared_fields", "one_of", "present"]

OPERATORS: dict[str, Callable[[Any, Any], Any]] = {
    "==": operator.eq,
    "!=": operator.ne,
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
}


class Rows:
    """Rows ``first`` to ``last`` (exclusive) of a table, for the evaluation of one filter."""

    def __init__(self, table: PacketTable, first: int, last: int) -> None:
        self.table = table
        self.first = first
        self.last = last
        self._columns: dict[str, Numbers] = {}
        self._present: dict[str, Mask | None] = {}

    def column(self, name: str) -> Numbers:
        """A column of the table."""
        values = self._columns.get(name)
        if values is None:
            values = self._columns[name] = self.table.view(name, self.first, self.last)
        return values

    def present(self, name: str) -> Mask | None:
        """Which packets have a field; ``None`` if all have it."""
        if name not in self._present:
            self._present[name] = self._find_present(TABLE_FIELDS[name])
        return self._present[name]

    def _find_present(self, field: TableField) -> Mask | None:
        if field.absent is not None:
            column, none = field.absent
            there: Mask = self.column(column) != none
            return there & self._of_kinds(field) if field.kinds != ALL else there
        return self._of_kinds(field) if field.kinds != ALL else None

    def _of_kinds(self, field: TableField) -> Mask:
        kind = self.column("kind")
        mask: Mask = numpy.zeros(len(kind), numpy.bool_)
        for number in field.kinds:
            mask |= kind == number
        return mask

    def numbers(self, name: str) -> Numbers:
        """The values of a field, meaningless where it is not present."""
        field = TABLE_FIELDS[name]
        if field.column == "number":
            base = self.table.base + 1
            return numpy.arange(base + self.first, base + self.last, dtype=numpy.int64)
        values = self.column(field.column)
        if field.mask:
            flags: Numbers = flag_of(values, field.mask, self.column("kind"))
            return flags
        if field.minus:
            start = self.table.start
            return values - (start if field.minus == "start" else self.column(field.minus))
        return values

    def where(self, name: str, mask: Mask) -> Mask:
        """``mask`` where the field is present, else false."""
        there = self.present(name)
        return mask if there is None else mask & there

    def constant(self, truth: bool) -> Mask:
        """The same truth value for every row."""
        return numpy.full(self.last - self.first, truth, numpy.bool_)


def present(name: str) -> Test:
    """Whether the field is present."""

    def test(rows: Rows) -> Mask:
        there = rows.present(name)
        return rows.constant(True) if there is None else there

    return test


def compared(name: str, sign: str, value: int, bits: int | None = None) -> Test:
    """A number field against a value; ``bits`` picks some of its bits first."""

    def test(rows: Rows) -> Mask:
        return rows.where(name, _compare(_picked(rows.numbers(name), bits), sign, value))

    return test


def _picked(numbers: Numbers, bits: int | None) -> Numbers:
    if bits is None:
        return numbers
    return numbers.astype(numpy.uint64) & numpy.uint64(bits)


def _compare(numbers: Numbers, sign: str, value: int) -> Mask:
    """Also for values that the column's type cannot hold."""
    if numbers.dtype != numpy.bool_:
        limits = numpy.iinfo(numbers.dtype)
        if not limits.min <= value <= limits.max:
            # Every number of the column lies on the same side of the value.
            truth = OPERATORS[sign](0, 1 if value > 0 else -1)
            return numpy.full(len(numbers), truth, numpy.bool_)
    mask: Mask = OPERATORS[sign](numbers, numbers.dtype.type(value))
    return mask


def compared_fields(left: str, sign: str, right: str) -> Test:
    """A number field against another one."""

    def test(rows: Rows) -> Mask:
        mask = OPERATORS[sign](rows.numbers(left), rows.numbers(right))
        return rows.where(left, rows.where(right, mask))

    return test


def one_of(name: str, ranges: Sequence[tuple[int, int]], bits: int | None = None) -> Test:
    """A number field against ranges, both ends included."""

    def test(rows: Rows) -> Mask:
        numbers = _picked(rows.numbers(name), bits)
        if numbers.dtype == numpy.bool_:
            numbers = numbers.astype(numpy.uint8)
        limits = numpy.iinfo(numbers.dtype)
        mask = rows.constant(False)
        singles = [a for a, b in ranges if a == b and limits.min <= a <= limits.max]
        if singles:
            mask |= numpy.isin(numbers, numpy.array(singles, numbers.dtype))
        for low, high in ranges:
            if low < high:
                mask |= _compare(numbers, ">=", low) & _compare(numbers, "<=", high)
        return rows.where(name, mask)

    return test


class TextTest:
    """A text or bytes field against a test of one text: each distinct text is tested once."""

    def __init__(self, name: str, test: Callable[[Any], bool]) -> None:
        self._name = name
        self._field = TABLE_FIELDS[name]
        self._test = test
        self._table: PacketTable | None = None
        self._known = numpy.zeros(0, numpy.bool_)

    def __call__(self, rows: Rows) -> Mask:
        """The mask of some rows."""
        numbers = rows.column(self._field.column)
        self._learn(rows.table)
        return rows.where(self._name, self._known[numbers])

    def _learn(self, table: PacketTable) -> None:
        """Test the texts that are new."""
        if self._table is not table:
            self._table, self._known = table, numpy.zeros(0, numpy.bool_)
        count = self._field.text_count(table)
        if count > len(self._known):
            fresh = [
                self._test(self._field.text(table, number))
                for number in range(len(self._known), count)
            ]
            self._known = numpy.concatenate([self._known, numpy.array(fresh, numpy.bool_)])
