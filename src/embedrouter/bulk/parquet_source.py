"""Texts from a column of a Parquet file."""

from collections.abc import Iterator
from types import TracebackType
from typing import Any, Literal, Self

import pyarrow as pa
import pyarrow.parquet as pq

from embedrouter.bulk import storage
from embedrouter.bulk.columns import Column, check_columns, pick_column
from embedrouter.bulk.formats import Place, SourceFormat
from embedrouter.bulk.lines import size_of
from embedrouter.bulk.records import ArrowRecords, Batch
from embedrouter.bulk.source import MAX_BATCH_BYTES, ReadOptions, Span
from embedrouter.errors import InvalidRequestError


class ParquetSource:
    """A Parquet file; columns that nobody asked for are not read."""

    unit: Literal["line", "row"] = "row"

    def __init__(self, place: Place[SourceFormat], options: ReadOptions) -> None:
        if place.location is None:
            raise InvalidRequestError("Parquet cannot be read from a stream: name a file")
        self._name = place.name
        raw = storage.open_input(place.location)
        try:
            if size_of(place.location) is None:
                raise InvalidRequestError(f"{place.name} is not a regular file, and Parquet is read from its end")
            # buffer_size makes it read a column in pieces; without, a whole row group lies in memory.
            self._file = pq.ParquetFile(raw, buffer_size=1 << 20, pre_buffer=False)
            schema = self._file.schema_arrow
            check_columns(schema.names, options.vector_column, place.name)
            columns = [Column(field.name, _is_text(field.type)) for field in schema]
            self.column = pick_column(columns, options.column, place.name)
            kind = schema.field(self.column).type
            if not _is_text(kind):
                raise InvalidRequestError(f'{place.name}: the column "{self.column}" holds {kind}, not texts')
        except (pa.ArrowException, OSError) as error:
            raw.close()
            raise InvalidRequestError(f"{place.name} is not a readable Parquet file: {_line(error)}") from error
        except BaseException:
            raw.close()
            raise
        self._raw = raw
        self._keep = options.vector_column is not None
        self._batch_rows = _rows_within(self._file.metadata, options.batch_rows)
        rows = self._file.metadata.num_rows
        self.total: int | None = rows
        self._span = options.span or Span(0, rows)
        self._done = 0  # rows of the file that were read or passed over

    def position(self) -> int:
        return self._done

    def schema(self) -> pa.Schema:
        return self._file.schema_arrow

    def cuts(self, rows: int) -> Iterator[Span]:
        """The footer tells all there is to know."""
        total = self._file.metadata.num_rows
        for first in range(0, total, rows):
            yield Span(first, min(rows, total - first))

    def batches(self) -> Iterator[Batch]:
        groups, self._done = _groups_from(self._file.metadata, self._span.first_row)
        end = self._span.first_row + self._span.rows
        batches = self._file.iter_batches(self._batch_rows, groups, columns=None if self._keep else [self.column])
        while self._done < end:
            try:
                batch = next(batches, None)
                if batch is None:
                    return
                before = min(batch.num_rows, max(0, self._span.first_row - self._done))
                self._done += before
                batch = batch.slice(before, end - self._done)
                if not batch.num_rows:
                    continue
                texts = self._texts(batch.column(batch.schema.names.index(self.column)))
            except (pa.ArrowException, OSError) as error:
                raise InvalidRequestError(f"cannot read {self._name} past row {self._done}: {_line(error)}") from error
            numbers = range(self._done + 1, self._done + 1 + len(texts))
            self._done += len(texts)
            yield Batch(texts, numbers, ArrowRecords(batch))

    def _texts(self, column: "pa.Array[Any]") -> list[Any]:
        """The texts of the next rows. Raises InvalidRequestError naming the one that is not UTF-8."""
        try:
            return column.to_pylist()
        except UnicodeDecodeError:
            for number, value in enumerate(column, self._done + 1):
                try:
                    value.as_py()
                except UnicodeDecodeError as error:
                    raise InvalidRequestError(
                        f'{self._name}: row {number}: "{self.column}" is not UTF-8 '
                        f"(byte {error.start + 1} is 0x{error.object[error.start]:02x})"
                    ) from error
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._raw.close()


def _line(error: Exception) -> str:
    return " ".join(str(error).split())


def _is_text(kind: pa.DataType) -> bool:
    if isinstance(kind, pa.DictionaryType):
        return _is_text(kind.value_type)
    return bool(pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_string_view(kind))


def _groups_from(metadata: pq.FileMetaData, row: int) -> tuple[list[int], int]:
    """The row groups from the one that holds a row on, and the first row of that."""
    before = 0
    for index in range(metadata.num_row_groups):
        rows = metadata.row_group(index).num_rows
        if before + rows > row:
            return list(range(index, metadata.num_row_groups)), before
        before += rows
    return [], before


def _rows_within(metadata: pq.FileMetaData, most: int) -> int:
    """Rows a batch, so that the row group with the longest rows stays within MAX_BATCH_BYTES."""
    groups = [metadata.row_group(index) for index in range(metadata.num_row_groups)]
    longest = max((group.total_byte_size / group.num_rows for group in groups if group.num_rows), default=1.0)
    return max(1, min(most, int(MAX_BATCH_BYTES / max(longest, 1.0))))
