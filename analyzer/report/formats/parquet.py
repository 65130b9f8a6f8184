"""``--format parquet``: packets, buffers and findings as tables for DuckDB, polars or Spark."""

from __future__ import annotations

import os
from contextlib import ExitStack
from typing import Any

from analyzer.errors import UsageError
from analyzer.migration.table import PacketTable
from analyzer.report.columns import packet_columns
from analyzer.report.escape import unicode
from analyzer.report.result_file import ResultFile
from dissectors.multifd import device_name

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

    from analyzer.report.columns import Column
    from analyzer.report.parts import Json
    from analyzer.report.result import Result

__all__ = ["prepare", "write"]

FINDINGS = {
    "capture": "string", "rule": "string", "name": "string", "severity": "string",
    "message": "string", "migration": "int32", "frame": "int64", "channel": "int32",
    "tcp_stream": "int32", "offset": "int64", "device": "string", "index": "int64",
    "repeats": "int64", "known": "bool_",
}  # fmt: skip
BUFFERS = {
    "capture": "string", "migration": "int32", "device": "string", "index": "int64",
    "channel": "int32", "bytes": "int64", "missing_bytes": "int64", "config": "bool_",
    "first_frame": "int64", "last_frame": "int64", "start": "float64", "end": "float64",
}  # fmt: skip


def prepare(folder: str) -> None:
    """Make the folder.  Raises :class:`UsageError` without pyarrow, or if it cannot be made."""
    try:
        import pyarrow.parquet  # noqa: F401
    except ImportError as error:
        raise UsageError(
            "parquet needs pyarrow: pip install 'mfshark[parquet]', or pip install pyarrow"
        ) from error
    try:
        os.makedirs(folder, exist_ok=True)
    except OSError as error:
        raise UsageError(f"{folder} cannot be written: {error.strerror}") from error


def write(results: Iterable[Result], folder: str) -> None:
    """Write ``packets.parquet``, ``buffers.parquet`` and ``findings.parquet`` into a prepared
    folder.  Raises :class:`UsageError` if that fails.
    """
    import pyarrow.parquet as store

    results = list(results)
    tables = {
        "packets": _packets(results),
        "buffers": _rows(BUFFERS, (row for result in results for row in _buffers(result))),
        "findings": _rows(FINDINGS, (row for result in results for row in _findings(result))),
    }
    with ExitStack() as files:  # the old tables stay until all of the new ones are written
        for name, table in tables.items():
            path = os.path.join(folder, f"{name}.parquet")
            store.write_table(table, files.enter_context(ResultFile(path).binary()))


def _rows(types: dict[str, str], rows: Iterable[Json]) -> Any:
    import pyarrow

    schema = pyarrow.schema([(name, getattr(pyarrow, kind)()) for name, kind in types.items()])
    plain = [{name: _valid(row[name]) for name in types} for row in rows]
    return pyarrow.Table.from_pylist(plain, schema=schema)


def _valid(value: Any) -> Any:
    """Text that can be encoded as UTF-8, whatever the capture holds."""
    return unicode(value) if isinstance(value, str) else value


def _findings(result: Result) -> Iterable[Json]:
    for finding in result.findings:
        yield {"capture": result.path, "known": False, **finding}


def _buffers(result: Result) -> Iterable[Json]:
    for number, migration in enumerate((result.devices or {}).get("migrations", ())):
        for device in migration["devices"]:
            name = device_name(device["idstr"], device["instance_id"])
            for arrival in device["arrivals"]:
                yield {
                    "capture": result.path,
                    "migration": number,
                    "device": name,
                    **arrival,
                }


def _packets(results: list[Result]) -> Any:
    import pyarrow

    made = [
        _packet_table(result.path, result.tables["packets"])
        for result in results
        if result.tables is not None
    ]
    made = made or [_packet_table("", packet_columns(PacketTable()))]
    return pyarrow.concat_tables(made).unify_dictionaries()


def _packet_table(path: str, columns: dict[str, Column]) -> Any:
    import pyarrow

    arrays = {name: _array(column) for name, column in columns.items()}
    count = len(next(iter(arrays.values())))
    captures = pyarrow.array([_valid(path)], pyarrow.string())
    numbers = pyarrow.array([0] * count, pyarrow.int32())
    captures = pyarrow.DictionaryArray.from_arrays(numbers, captures)
    return pyarrow.table({"capture": captures, **arrays})


def _array(column: Column) -> Any:
    import pyarrow

    mask = None if column.present is None else ~column.present
    if column.texts is None:
        return pyarrow.array(column.values, mask=mask)
    texts = pyarrow.array([_valid(text) for text in column.texts], pyarrow.string())
    numbers = pyarrow.array(column.values.astype("int32"), mask=mask)
    return pyarrow.DictionaryArray.from_arrays(numbers, texts)
