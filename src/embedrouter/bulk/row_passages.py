"""Rows as texts with their other columns as plain values."""

from collections.abc import Iterator, Mapping
from typing import Any, Final, NamedTuple, Self

import orjson

from embedrouter.bulk.columns import OnEmpty, screen
from embedrouter.bulk.formats import Place, SourceFormat
from embedrouter.bulk.readers import open_source
from embedrouter.bulk.records import Batch
from embedrouter.bulk.source import ReadOptions

# The readers leave a row's other columns out unless vectors are to go beside them. No column has this name.
KEEP_ALL: Final = "\0"
_VECTOR_LIKE: Final = 32  # a list of as many numbers is a vector: nobody filters by it
_BATCH_ROWS: Final = 2048


class Row(NamedTuple):
    """A text and the rest of its row."""

    text: str
    number: int  # 1-based line or row of the file
    columns: Mapping[str, Any]  # JSON's types; without the text, vectors and nulls


class RowReader:
    """A file of rows, to be read once; a context manager."""

    def __init__(self, place: Place[SourceFormat], column: str | None, on_empty: OnEmpty) -> None:
        """Raises InvalidRequestError when it cannot be opened or has no such column."""
        self._place = place
        self._on_empty = on_empty
        self._source = open_source(place, ReadOptions(column, _BATCH_ROWS, KEEP_ALL))

    def share(self) -> float:
        """How much of the file was read, 0 to 1; 0 where there is no telling."""
        return min(1.0, self._source.position() / self._source.total) if self._source.total else 0.0

    def rows(self) -> Iterator[Row]:
        """Those that have a text. Raises InvalidRequestError naming the line or row that cannot be read."""
        for batch in self._source.batches():
            where = f'{self._place.name}, column "{self._source.column}"'
            kept = screen(batch.values, batch.numbers, unit=self._source.unit, on_empty=self._on_empty, where=where)
            yield from self._plain(batch, kept)

    def _plain(self, batch: Batch, kept: list[int]) -> Iterator[Row]:
        column = self._source.column
        for index, line in zip(kept, batch.records.kept(kept).to_json(), strict=True):
            item = orjson.loads(line)
            columns = {name: value for name, value in item.items() if name != column and _worth_keeping(value)}
            yield Row(batch.values[index], batch.numbers[index], columns)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._source.__exit__(None, None, None)


def _worth_keeping(value: object) -> bool:
    if isinstance(value, list):
        return not (len(value) >= _VECTOR_LIKE and isinstance(value[0], int | float))
    return value is not None
