"""What a file of texts is to the one who embeds it, whatever its format."""

from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager
from typing import Literal, Protocol, TypeVar

import msgspec
import pyarrow as pa

from embedrouter.bulk.records import Batch

T = TypeVar("T")
MAX_BATCH_BYTES = 32 << 20  # of input; a batch of long rows ends sooner


class Span(msgspec.Struct, frozen=True):
    """Rows of a file that follow each other, and where they begin."""

    first_row: int  # from 0
    rows: int
    offset: int = 0  # bytes before the first row, decompressed; Parquet needs none
    line: int = 0  # lines before it
    digest: str = ""  # of its bytes; of Parquet it is not known


class ReadOptions(msgspec.Struct, frozen=True):
    """What every reader has to know."""

    column: str | None
    batch_rows: int
    vector_column: str | None  # a name that the input must leave free; None: only the texts are asked for
    span: Span | None = None  # only these rows; the column has to be named then
    typed: bool = False  # the schema will be asked for


class Source(AbstractContextManager["Source"], Protocol):
    """A file of texts, to be read once."""

    unit: Literal["line", "row"]  # what `Batch.numbers` count
    total: int | None  # how far `position` will go (bytes or rows); None where there is no telling

    @property
    def column(self) -> str:
        """The column that is embedded; for JSONL known only from the first batch on."""

    def position(self) -> int:
        """How far reading has come, towards `total`."""

    def schema(self) -> pa.Schema:
        """The columns that `Batch.records` has. Reads a JSONL file through to learn them, unless `cuts` did."""

    def cuts(self, rows: int) -> Iterator[Span]:
        """The file cut into spans of so many rows, the last with fewer; instead of `batches`. Reads it through."""

    def batches(self) -> Iterator[Batch]:
        """All rows, or the span's, in order. Raises InvalidRequestError naming the line or row that cannot be read."""


def grouped(rows: Iterable[T], most: int, size: Callable[[T], int]) -> Iterator[list[T]]:
    """Lists of at most `most` rows; a list also ends once its sizes (bytes) come to MAX_BATCH_BYTES."""
    group: list[T] = []
    weight = 0
    for row in rows:
        group.append(row)
        weight += size(row)
        if len(group) >= most or weight >= MAX_BATCH_BYTES:
            yield group
            group, weight = [], 0
    if group:
        yield group
