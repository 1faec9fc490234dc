"""Texts from files made of lines: plain text, CSV, JSONL."""

import csv
import hashlib
from collections.abc import Iterable, Iterator
from itertools import islice
from types import TracebackType
from typing import Any, Literal, Self, TypeVar

import msgspec
import orjson
import pyarrow as pa

from embedrouter.bulk.columns import DEFAULT_COLUMN, Column, check_columns, json_kind, pick_column, taken
from embedrouter.bulk.formats import Place, SourceFormat
from embedrouter.bulk.lines import MAX_LINE, LineFile, decoded
from embedrouter.bulk.records import ArrowRecords, Batch, JsonRecords, infer_schema, merge_schemas
from embedrouter.bulk.source import MAX_BATCH_BYTES, ReadOptions, Span, grouped
from embedrouter.errors import InvalidRequestError

T = TypeVar("T")
_DELIMITERS = {",": "commas", ";": "semicolons", "\t": "tabs", "|": "bars"}


class _LineSource:
    """What the formats made of lines share."""

    unit: Literal["line", "row"] = "line"

    def __init__(self, place: Place[SourceFormat], options: ReadOptions) -> None:
        self._place = place
        self._options = options
        self._lines = LineFile(place)
        self.total = self._lines.total
        self._digest = hashlib.blake2b(digest_size=16)  # of what is cut, since the last cut

    def position(self) -> int:
        return self._lines.position()

    def cuts(self, rows: int) -> Iterator[Span]:
        """After the last line of each span, so that it begins where the one before it ends."""
        first = count = 0
        offset, line = self._lines.offset, self._lines.number
        for count, _ in enumerate(self._counted(), 1):
            if count - first == rows:
                yield self._cut(first, rows, offset, line)
                first, offset, line = count, self._lines.offset, self._lines.number
        if count > first:
            yield self._cut(first, count - first, offset, line)

    def _cut(self, first: int, rows: int, offset: int, line: int) -> Span:
        digest = self._digest.hexdigest()
        self._digest = hashlib.blake2b(digest_size=16)
        return Span(first, rows, offset, line, digest)

    def _counted(self) -> Iterator[object]:
        """The rows, each to be counted only; what is read goes into the digest."""
        raise NotImplementedError

    def _spanned(self, rows: Iterator[T]) -> Iterator[T]:
        """The rows of the span: the file stands at its beginning."""
        span = self._options.span
        return rows if span is None else islice(rows, span.rows)

    def _go_to_span(self) -> None:
        if (span := self._options.span) is not None:
            self._lines.go_to(span.offset, span.line)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._lines.__exit__(kind, error, at)


class TextSource(_LineSource):
    """One text a line; blank lines are rows too, so that rows and lines stay in step."""

    column = DEFAULT_COLUMN

    def __init__(self, place: Place[SourceFormat], options: ReadOptions) -> None:
        if options.column is not None and options.span is None:
            raise InvalidRequestError(f"{place.name} is read as lines, which have no columns: leave out --column")
        super().__init__(place, options)
        check_columns([self.column], options.vector_column, place.name)

    def schema(self) -> pa.Schema:
        return pa.schema([(self.column, pa.string())])

    def _counted(self) -> Iterator[object]:
        for number, line in self._lines:
            decoded(line, number, self._place.name)
            self._digest.update(line)
            yield number

    def batches(self) -> Iterator[Batch]:
        schema = self.schema()
        self._go_to_span()
        for group in grouped(self._spanned(iter(self._lines)), self._options.batch_rows, lambda row: len(row[1])):
            texts = [decoded(line, number, self._place.name).rstrip("\r\n") for number, line in group]
            records = ArrowRecords(pa.RecordBatch.from_pydict({self.column: texts}, schema=schema))
            yield Batch(texts, [number for number, _ in group], records)


class CsvSource(_LineSource):
    """Comma- or tab-separated values with a header; every column is text, as CSV has no types."""

    def __init__(self, place: Place[SourceFormat], options: ReadOptions, *, delimiter: str) -> None:
        # The limit is one for the process; the default of 128 KiB is less than a long document.
        csv.field_size_limit(max(MAX_LINE, csv.field_size_limit()))
        super().__init__(place, options)
        self._delimiter = delimiter
        self._reader = csv.reader(self._texts(), delimiter=delimiter, strict=True)
        self._before = 0  # lines before those that the reader counts
        try:
            header = next(self._rows(), None)
            self._names = header[1] if header else []
            self.column = options.column or DEFAULT_COLUMN
            if header:
                _check_delimiter(self._names, options.column, delimiter, place.name)
                columns = [Column(name, is_text=True) for name in self._names]
                self.column = pick_column(columns, options.column, place.name)
            check_columns(self._names, options.vector_column, place.name)
        except BaseException:
            self._lines.__exit__(None, None, None)
            raise

    def schema(self) -> pa.Schema:
        return pa.schema([(name, pa.string()) for name in self._names])

    def _texts(self) -> Iterator[str]:
        for number, line in self._lines:
            self._digest.update(line)
            yield decoded(line, number, self._place.name)

    def _counted(self) -> Iterator[object]:
        return self._full_rows()

    def batches(self) -> Iterator[Batch]:
        schema = self.schema()
        if (span := self._options.span) is not None:
            self._go_to_span()
            self._before = span.line
            self._reader = csv.reader(self._texts(), delimiter=self._delimiter, strict=True)
        rows = self._spanned(self._full_rows())
        for group in grouped(rows, self._options.batch_rows, lambda row: sum(map(len, row[1]))):
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
            number = self._before + self._reader.line_num + 1
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


def _check_delimiter(names: list[str], wanted: str | None, delimiter: str, file: str) -> None:
    """A header of one name that another delimiter parts was hardly meant so: its rows would be embedded whole."""
    if len(names) != 1 or wanted is not None:
        return
    other = next((one for one in _DELIMITERS if one != delimiter and one in names[0]), None)
    if other is not None:
        raise InvalidRequestError(
            f"{file}: its columns seem to be parted by {_DELIMITERS[other]}, and {_DELIMITERS[delimiter]} part them "
            "here: convert it first; if it is one column indeed, name it with --column"
        )


class _JsonRow(msgspec.Struct, frozen=True):
    number: int
    line: bytes
    item: dict[str, Any]


class JsonlSource(_LineSource):
    """One JSON object a line. Blank lines are no rows."""

    column = DEFAULT_COLUMN

    _schema: pa.Schema | None = None  # once all was read

    def schema(self) -> pa.Schema:
        if self._schema is not None:
            return self._schema
        if self.total is None:
            raise InvalidRequestError(
                f"{self._place.name}: the Parquet columns of JSONL are known only when all of it was read, "
                "and a stream can be read only once: name a file, or write JSONL"
            )
        schema = pa.schema([])
        with LineFile(self._place) as lines:
            for group in grouped(self._parsed(lines), self._options.batch_rows, lambda row: len(row.line)):
                schema = self._fitting(schema, group)
        return schema

    def _counted(self) -> Iterator[object]:
        """The columns are found on the way, to spare another reading."""
        schema = pa.schema([])
        rows: list[_JsonRow] = []
        weight = 0
        first = True
        for row in self._parsed(self._hashed()):
            rows.append(row)
            weight += len(row.line)
            if len(rows) >= self._options.batch_rows or weight >= MAX_BATCH_BYTES:
                schema = self._learned(rows, schema, first=first)
                rows, weight, first = [], 0, False
            yield row
        if rows:
            schema = self._learned(rows, schema, first=first)
        self._schema = schema

    def _learned(self, rows: list[_JsonRow], schema: pa.Schema, *, first: bool) -> pa.Schema:
        if first:
            self.column = pick_column(_json_columns([row.item for row in rows]), self._options.column, self._place.name)
        return self._fitting(schema, rows) if self._options.typed else schema

    def _fitting(self, schema: pa.Schema, rows: list[_JsonRow]) -> pa.Schema:
        """A schema for these rows, too. Raises InvalidRequestError naming the first line that does not fit."""
        try:
            return merge_schemas(schema, infer_schema([row.item for row in rows]))
        except InvalidRequestError as error:
            low, high, refusal = 0, len(rows), error  # so many rows fit, and so many do not
            while high - low > 1:
                middle = (low + high) // 2
                try:
                    merge_schemas(schema, infer_schema([row.item for row in rows[:middle]]))
                    low = middle
                except InvalidRequestError as fewer:
                    high, refusal = middle, fewer
            raise InvalidRequestError(f"{self._place.name}: line {rows[low].number}: {refusal.message}") from error

    def _hashed(self) -> Iterator[tuple[int, bytes]]:
        for number, line in self._lines:
            self._digest.update(line)
            yield number, line

    def batches(self) -> Iterator[Batch]:
        self._go_to_span()
        rows = self._spanned(self._parsed(self._lines))
        for index, group in enumerate(grouped(rows, self._options.batch_rows, lambda row: len(row.line))):
            items = [row.item for row in group]
            if self._options.span is not None:
                self.column = self._options.column or DEFAULT_COLUMN
            elif index == 0:
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
                decoded(line, number, self._place.name)
                raise InvalidRequestError(
                    f"{where} is not valid JSON: {error.msg} (character {error.pos + 1})"
                ) from error
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
