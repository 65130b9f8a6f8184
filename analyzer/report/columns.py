"""The packet table as columns of plain values, for column stores."""

from __future__ import annotations

from analyzer.filter.masks import Rows
from analyzer.migration.table_fields import TABLE_FIELDS
from analyzer.report.packets import USUAL
from dissectors.multifd import uuid_text

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    import numpy as np

    from analyzer.migration.table import PacketTable

__all__ = ["Column", "packet_columns"]


class Column:
    """One field of all packets: numbers, and a mask of the packets that have it (``None``: all);
    ``texts`` are the texts that the numbers index, if they do.
    """

    __slots__ = ("present", "texts", "values")

    def __init__(
        self,
        values: np.ndarray[Any, np.dtype[Any]],
        present: np.ndarray[Any, np.dtype[np.bool_]] | None,
        texts: list[str] | None,
    ) -> None:
        self.values = values
        self.present = present
        self.texts = texts


def packet_columns(table: PacketTable) -> dict[str, Column]:
    """The fields that ``packets`` lists, by name; times are ns."""
    rows = Rows(table, 0, len(table))
    columns = {}
    for name in (*USUAL, "severity"):
        field = TABLE_FIELDS[name]
        texts = None
        if field.texts:
            known = range(field.text_count(table))
            texts = [_text(field.text(table, number)) for number in known]
        # Columns that are views of the table must not outlive it.
        columns[name] = Column(rows.numbers(name).copy(), rows.present(name), texts)
    return columns


def _text(value: str | bytes) -> str:
    return value if isinstance(value, str) else uuid_text(value[:16].ljust(16, b"\0"))
