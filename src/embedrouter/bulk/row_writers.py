"""Writing chosen rows of a file with all their columns, and with new ones beside them."""

import csv
import gzip
import io
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any, BinaryIO, Literal, cast

import msgspec
import numpy as np
import orjson
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from embedrouter.bulk.columns import listed
from embedrouter.bulk.formats import STANDARD_STREAM, Place, SourceFormat
from embedrouter.bulk.readers import open_source
from embedrouter.bulk.records import Records
from embedrouter.bulk.row_passages import KEEP_ALL
from embedrouter.bulk.source import ReadOptions
from embedrouter.bulk.targets import check_target, replacing, standard_output
from embedrouter.errors import InvalidRequestError, nearest

RowFormat = Literal["csv", "jsonl", "parquet"]
_SUFFIXES: dict[str, RowFormat] = {
    ".csv": "csv",
    ".jsonl": "jsonl",
    ".ndjson": "jsonl",
    ".jsonl.gz": "jsonl",
    ".parquet": "parquet",
    ".pq": "parquet",
}
_BATCH_ROWS = 2048

NewColumns = Mapping[str, Sequence[Any]]
"""Names and values of columns that are added, a value for each row that is written: numbers, texts or None."""


class RowTarget(msgspec.Struct, frozen=True):
    """Where rows go."""

    path: Path | None  # None: standard output
    format: RowFormat
    gzip: bool = False
    overwrite: bool = False


def row_target(given: str, source: Path | str, *, overwrite: bool) -> RowTarget:
    """The output that `given` names; `-` is JSON lines on standard output. source: the input, which is not replaced.

    Raises InvalidRequestError before any work is done.
    """
    if given == STANDARD_STREAM:
        return RowTarget(None, "jsonl")
    path = Path(given)
    suffix = "".join(path.suffixes[-2:]).lower() if path.suffix.lower() == ".gz" else path.suffix.lower()
    if suffix not in _SUFFIXES:
        known = ", ".join(_SUFFIXES)
        raise InvalidRequestError(
            f"cannot tell the output format of {path} by its name{nearest(suffix, list(_SUFFIXES))}: use one of {known}"
        )
    sources = [] if str(source) == STANDARD_STREAM else [Path(source)]
    return RowTarget(
        check_target(path, sources, overwrite=overwrite), _SUFFIXES[suffix], suffix.endswith(".gz"), overwrite
    )


def write_rows(
    place: Place[SourceFormat], column: str, rows: NDArray[np.int64], target: RowTarget, added: NewColumns | None = None
) -> None:
    """Write the rows at `rows` (0-based, ascending) of a file, in order; the target appears whole or not at all.

    column: one that holds texts. added: new columns, whose names have to be free. Raises InvalidRequestError.
    """
    new = added or {}
    with open_source(place, ReadOptions(None if place.format == "text" else column, _BATCH_ROWS, KEEP_ALL)) as reader:
        schema = reader.schema() if target.format != "jsonl" or place.format != "jsonl" else None
        _check_free(list(schema.names) if schema else [], new, place.name)
        with _opened(target) as stream:
            writer = _writer(target, stream, schema, new)
            done = written = 0
            for batch in reader.batches():
                count = len(batch.values)
                first, last = np.searchsorted(rows, (done, done + count))
                if last > first:
                    kept = batch.records.kept((rows[first:last] - done).tolist())
                    writer.write(kept, {name: values[first:last] for name, values in new.items()})
                    written += int(last - first)
                done += count
            writer.finish()
        if written != len(rows):
            raise InvalidRequestError(f"{place.name} changed while it was read")


def _check_free(names: Sequence[str], new: NewColumns, file: str) -> None:
    taken = [name for name in new if name in names]
    if taken:
        raise InvalidRequestError(f"{file} already has a column {listed(taken)}: rename it, or the new one")


def _opened(target: RowTarget) -> AbstractContextManager[BinaryIO]:
    return standard_output() if target.path is None else replacing(target.path, overwrite=target.overwrite)


class _JsonlRows:
    def __init__(self, stream: BinaryIO, compress: bool) -> None:
        self._gzip = gzip.GzipFile("", "wb", 6, stream, mtime=0) if compress else None
        self._stream = cast("BinaryIO", self._gzip) if self._gzip else stream

    def write(self, records: Records, new: NewColumns) -> None:
        items = records.to_json()
        for item, extra in zip(items, _objects(new, len(items)), strict=True):
            if new:
                _check_free(list(orjson.loads(item)), new, "the input")
            self._stream.write((item[:-1] + b"," + extra[1:] if new else item) + b"\n")

    def finish(self) -> None:
        if self._gzip:
            self._gzip.close()


class _CsvRows:
    def __init__(self, stream: BinaryIO, names: Sequence[str], new: NewColumns) -> None:
        self._text = io.TextIOWrapper(stream, encoding="utf-8", newline="", write_through=True)
        self._names = list(names)
        self._csv = csv.writer(self._text, lineterminator="\n")
        self._csv.writerow([*self._names, *new])

    def write(self, records: Records, new: NewColumns) -> None:
        columns = [list(map(_cell, values)) for values in new.values()]
        for index, item in enumerate(map(orjson.loads, records.to_json())):
            self._csv.writerow([*(_cell(item.get(name)) for name in self._names), *(one[index] for one in columns)])

    def finish(self) -> None:
        self._text.flush()
        self._text.detach()  # the stream is not ours to close


class _ParquetRows:
    def __init__(self, stream: BinaryIO, schema: pa.Schema, new: NewColumns) -> None:
        self._schema = schema
        self._fields = [pa.field(name, pa.array(list(values)).type) for name, values in new.items()]
        for field in self._fields:
            schema = schema.append(field)
        try:
            self._file = pq.ParquetWriter(stream, schema, compression="zstd")
        except pa.ArrowException as error:
            raise InvalidRequestError(f"a column cannot be written as Parquet: {error}; write JSONL") from error

    def write(self, records: Records, new: NewColumns) -> None:
        table = records.to_arrow(self._schema)
        for field in self._fields:
            table = table.append_column(field, pa.array(list(new[field.name]), field.type))
        self._file.write_table(table)

    def finish(self) -> None:
        self._file.close()


def _writer(
    target: RowTarget, stream: BinaryIO, schema: pa.Schema | None, new: NewColumns
) -> _JsonlRows | _CsvRows | _ParquetRows:
    if target.format == "jsonl" or schema is None:
        return _JsonlRows(stream, target.gzip)
    if target.format == "csv":
        return _CsvRows(stream, schema.names, new)
    return _ParquetRows(stream, schema, new)


def _objects(new: NewColumns, count: int) -> Iterator[bytes]:
    for index in range(count):
        yield orjson.dumps({name: values[index] for name, values in new.items()}, option=orjson.OPT_SERIALIZE_NUMPY)


def _cell(value: object) -> object:
    """A value as a cell: nothing for null, JSON for what is nested."""
    if value is None:
        return ""
    if isinstance(value, bool | list | dict):
        return orjson.dumps(value).decode()
    return value
