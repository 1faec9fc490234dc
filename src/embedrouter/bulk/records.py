"""The rows of one batch with all their columns, ready to be written as Arrow or as JSON."""

import base64
import datetime as dt
import decimal
from collections.abc import Sequence
from typing import Any, Protocol

import msgspec
import orjson
import pyarrow as pa
import pyarrow.compute as pc

from embedrouter.errors import InvalidRequestError


class Records(Protocol):
    """Rows of the input, in order."""

    def kept(self, indices: Sequence[int]) -> "Records":
        """The rows at `indices` only."""

    def slice(self, start: int, stop: int) -> "Records":
        """The rows from `start` to before `stop`."""

    def to_arrow(self, schema: pa.Schema) -> pa.Table:
        """All rows with the columns of `schema`. Raises InvalidRequestError where a value does not fit."""

    def to_json(self) -> list[bytes]:
        """One JSON object a row, never an empty one, without a line end."""


class Batch(msgspec.Struct, frozen=True):
    """What a reader yields. All three have one entry a row."""

    values: list[Any]  # the column to embed: texts, and whatever else stands there
    numbers: Sequence[int]  # 1-based lines or rows of the file
    records: Records


class ArrowRecords:
    """Rows that have a schema: from Parquet, CSV and text lines."""

    def __init__(self, batch: pa.RecordBatch) -> None:
        self._batch = batch

    def kept(self, indices: Sequence[int]) -> "ArrowRecords":
        return ArrowRecords(self._batch.take(pa.array(indices, pa.int64())))

    def slice(self, start: int, stop: int) -> "ArrowRecords":
        return ArrowRecords(self._batch.slice(start, stop - start))

    def to_arrow(self, schema: pa.Schema) -> pa.Table:
        return pa.Table.from_batches([self._batch], schema=schema)

    def to_json(self) -> list[bytes]:
        try:
            rows = _without_nanoseconds(self._batch).to_pylist()
            return [orjson.dumps(row, default=_plain) for row in rows]
        except (TypeError, ValueError, pa.ArrowException) as error:
            raise InvalidRequestError(f"a column cannot be written as JSON: {error}; write Parquet") from error


class JsonRecords:
    """Rows from JSON lines. They are written back as they were: no number or field order changes on the way."""

    def __init__(self, lines: list[bytes], objects: list[dict[str, Any]]) -> None:
        self._lines = lines
        self._objects = objects

    def kept(self, indices: Sequence[int]) -> "JsonRecords":
        return JsonRecords([self._lines[i] for i in indices], [self._objects[i] for i in indices])

    def slice(self, start: int, stop: int) -> "JsonRecords":
        return JsonRecords(self._lines[start:stop], self._objects[start:stop])

    def to_arrow(self, schema: pa.Schema) -> pa.Table:
        try:
            return pa.Table.from_pylist(self._objects, schema=schema)
        except (pa.ArrowException, OverflowError, TypeError, ValueError) as error:
            raise InvalidRequestError(f"a field does not fit its Parquet column: {error}; write JSONL") from error

    def to_json(self) -> list[bytes]:
        return self._lines


def infer_schema(objects: Sequence[dict[str, Any]]) -> pa.Schema:
    """The Arrow schema that fits all objects. Raises InvalidRequestError naming a field that has two types."""
    names = dict.fromkeys(name for item in objects for name in item)
    fields = []
    for name in names:
        try:
            kind = pa.array([item.get(name) for item in objects]).type
        except (pa.ArrowException, OverflowError) as error:
            raise InvalidRequestError(_two_types(f'field "{name}": {error}')) from error
        fields.append(pa.field(name, kind))
    return pa.schema(fields)


def merge_schemas(first: pa.Schema, second: pa.Schema) -> pa.Schema:
    """The schema that fits the rows of both. Raises InvalidRequestError naming a field that has two types."""
    try:
        return pa.unify_schemas([first, second], promote_options="permissive")
    except pa.ArrowException as error:
        raise InvalidRequestError(_two_types(str(error))) from error


def _two_types(detail: str) -> str:
    return f"a Parquet column has one type: write JSONL, or mend the field ({detail})"


def _without_nanoseconds(batch: pa.RecordBatch) -> pa.RecordBatch:
    """Columns of nanoseconds as ISO texts: Python's own types stop at microseconds."""
    for index, field in enumerate(batch.schema):
        if (pa.types.is_timestamp(field.type) or pa.types.is_time64(field.type)) and field.type.unit == "ns":
            batch = batch.set_column(index, field.name, pc.cast(batch.column(index), pa.string()))
    return batch


def _plain(value: object) -> str | float:
    """What JSON has no type for, as orjson asks for it."""
    if isinstance(value, bytes):
        return base64.b64encode(value).decode("ascii")
    if isinstance(value, decimal.Decimal):
        return str(value)
    if isinstance(value, dt.timedelta):
        return value.total_seconds()
    raise TypeError(f"no JSON for {type(value).__name__}")
