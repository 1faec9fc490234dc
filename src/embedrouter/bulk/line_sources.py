"""Texts from files made of lines: plain text, CSV, JSONL."""

import csv
from collections.abc import Iterable, Iterator
from types import TracebackType
from typing import Any, Literal, Self

import msgspec
import orjson
import pyarrow as pa

from embedrouter.bulk.columns import DEFAULT_COLUMN, Column, check_columns, json_kind, pick_column, taken
from embedrouter.bulk.formats import Place, SourceFormat
from embedrouter.bulk.lines import MAX_LINE, LineFile, decoded
from embedrouter.bulk.records import ArrowRecords, Batch, JsonRecords, infer_schema, merge_schemas
from embedrouter.bulk.source import ReadOptions, grouped
from embedrouter.errors import InvalidRequestError


class _LineSource:
    """What the formats made of lines share."""

    unit: Literal["line", "row"] = "line"

    def __init__(self, place: Place[SourceFormat], options: ReadOptions) -> None:
        self._place = place
        self._options = options
        self._lines = LineFile(place)
        self.total = self._lines.total

    def position(self) -> int:
        return self._lines.position()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._lines.__exit__(kind, error, at)


class TextSource(_LineSource):
    """One text a line; blank lines are rows too, so that rows and lines stay in step."""

    column = DEFAULT_COLUMN

    def __init__(self, place: Place[SourceFormat], options: ReadOptions) -> None:
        if options.column is not None:
            raise InvalidRequestError(f"{place.name} is read as lines, which have no columns: leave out --column")
        super().__init__(place, options)
        check_columns([self.column], options.vector_column, place.name)

    def schema(self) -> pa.Schema:
        return pa.schema([(self.column, pa.string())])

    def batches(self) -> Iterator[Batch]:
        schema = self.schema()
        for group in grouped(self._lines, self._options.batch_rows, lambda row: len(row[1])):
            texts = [decoded(line, number, self._place.name).rstrip("\r\n") for number, line in group]
            records = ArrowRecords(pa.RecordBatch.from_pydict({self.column: texts}, schema=schema))
            yield Batch(texts, [number for number, _ in group], records)


class CsvSource(_LineSource):
    """Comma- or tab-separated values with a header; every column is text, as CSV has no types."""

    def __init__(self, place: Place[SourceFormat], options: ReadOptions, *, delimiter: str) -> None:
        # The limit is one for the process; the default of 128 KiB is less than a long document.
        csv.field_size_limit(max(MAX_LINE, csv.field_size_limit()))
        super().__init__(place, options)
        texts = (decoded(line, number, place.name) for number, line in self._lines)
        self._reader = csv.reader(texts, delimiter=delimiter, strict=True)
        try:
            header = next(self._rows(), None)
            self._names = header[1] if header else []
            self.column = options.column or DEFAULT_COLUMN
            if header:
                columns = [Column(name, is_text=True) for name in self._names]
                self.column = pick_column(columns, options.column, place.name)
            check_columns(self._names, options.vector_column, place.name)
        except BaseException:
            self._lines.__exit__(None, None, None)
            raise

    def schema(self) -> pa.Schema:
        return pa.schema([(name, pa.string()) for name in self._names])

    def batches(self) -> Iterator[Batch]:
        schema = self.schema()
        for group in grouped(self._full_rows(), self._options.batch_rows, lambda row: sum(map(len, row[1]))):
            columns = dict(zip(self._names, map(list, zip(*(row for _, row in group), strict=True)), strict=True))
            records = ArrowRecords(pa.RecordBatch.from_pydict(columns, schema=schema))
            yield Batch(columns[self.column], [number for number, _ in group], records)

    def _full_rows(self) -> Iterator[tuple[int, list[str]]]:
        width = len(self._names)
        for number, row in self._rows():
            if len(row) != width:
                raise InvalidRequestError(
                    f"{self._place.name}: the row at line {number} has {len(row)} fields, and the header {width}"
                )
            yield number, row

    def _rows(self) -> Iterator[tuple[int, list[str]]]:
        """Rows with the line they start at. Blank lines are no rows."""
        while True:
            number = self._reader.line_num + 1
            try:
                row = next(self._reader)
            except StopIteration:
                return
            except csv.Error as error:
                hint = "; is a quote not closed, or not doubled?" if "new-line" not in str(error) else ""
                raise InvalidRequestError(
                    f"{self._place.name}: the row at line {number} is not valid CSV: {error}{hint}"
                ) from error
            if row:
                yield number, row


class _JsonRow(msgspec.Struct, frozen=True):
    number: int
    line: bytes
    item: dict[str, Any]


class JsonlSource(_LineSource):
    """One JSON object a line. Blank lines are no rows."""

    column = DEFAULT_COLUMN

    def schema(self) -> pa.Schema:
        if self.total is None:
            raise InvalidRequestError(
                f"{self._place.name}: the Parquet columns of JSONL are known only when all of it was read, "
                "and a stream can be read only once: name a file, or write JSONL"
            )
        schema = pa.schema([])
        with LineFile(self._place) as lines:
            for group in grouped(self._parsed(lines), self._options.batch_rows, lambda row: len(row.line)):
                schema = merge_schemas(schema, infer_schema([row.item for row in group]))
        return schema

    def batches(self) -> Iterator[Batch]:
        for index, group in enumerate(
            grouped(self._parsed(self._lines), self._options.batch_rows, lambda row: len(row.line))
        ):
            items = [row.item for row in group]
            if index == 0:
                self.column = pick_column(_json_columns(items), self._options.column, self._place.name)
            values = [item.get(self.column) for item in items]
            yield Batch(values, [row.number for row in group], JsonRecords([row.line for row in group], items))

    def _parsed(self, lines: Iterable[tuple[int, bytes]]) -> Iterator[_JsonRow]:
        for number, line in lines:
            stripped = line.strip()
            if not stripped:
                continue
            where = f"{self._place.name}: line {number}"
            try:
                item = orjson.loads(stripped)
            except orjson.JSONDecodeError as error:
                raise InvalidRequestError(f"{where} is not valid JSON: {error}") from error
            if not isinstance(item, dict):
                raise InvalidRequestError(f"{where} is {json_kind(item)}, not an object")
            if self._options.vector_column in item:
                raise InvalidRequestError(taken(self._options.vector_column or "", where))
            yield _JsonRow(number, stripped, item)


def _json_columns(items: list[dict[str, Any]]) -> list[Column]:
    """The fields of the first batch; one is of texts if all its values are, nulls aside."""
    found: dict[str, set[type]] = {}
    for item in items:
        for name, value in item.items():
            found.setdefault(name, set()).add(type(value))
    return [Column(name, is_text=kinds - {type(None)} == {str}) for name, kinds in found.items()]
