"""The vectors of a file's texts: computed, or read from a column that has them."""

import sys
from collections.abc import Iterator
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from embedrouter.bulk.encoding import Encoder, for_rows
from embedrouter.bulk.formats import Place, SourceFormat
from embedrouter.bulk.progress import meter
from embedrouter.bulk.readers import open_source
from embedrouter.bulk.row_files import Texts
from embedrouter.bulk.scratch import Scratch, rows_of, scratch
from embedrouter.bulk.source import ReadOptions
from embedrouter.errors import ContextLengthExceededError, InvalidRequestError, nearest

_AT_ONCE = 4096

Vectors = NDArray[np.float32]


def embedded(encoder: Encoder, texts: Texts, *, truncate: bool | None, quiet: bool) -> Scratch:
    """Vectors (n, dimensions) of all texts. Raises what the encoder raises, naming the row."""
    vectors = scratch(len(texts.values), encoder.dimensions)
    with meter(sys.stderr, len(texts.values), quiet=quiet) as progress:
        for start in range(0, len(texts.values), _AT_ONCE):
            some = texts.values[start : start + _AT_ONCE]
            try:
                vectors[start : start + len(some)] = encoder.encode(some, truncate=truncate)
            except (InvalidRequestError, ContextLengthExceededError) as error:
                index = error.metadata.get("index")
                if not isinstance(index, int):
                    raise
                raise type(error)(f"{texts.where} {texts.numbers[start + index]} {for_rows(error)}") from error
            progress.advance(len(some), start + len(some))
    return vectors


def read_vectors(place: Place[SourceFormat], column: str, texts: Texts) -> Scratch:
    """The vectors (n, dimensions) that stand beside the texts, in a column of Parquet or JSONL.

    Raises InvalidRequestError naming the row whose vector is missing, of another length or not of numbers.
    """
    if place.format not in {"parquet", "jsonl"}:
        raise InvalidRequestError(f"{place.name}: vectors are read from columns of Parquet and JSONL")
    vectors: Scratch | None = None
    done = 0
    for piece in _parquet(place, column, texts) if place.format == "parquet" else _jsonl(place, column, texts):
        if vectors is None:
            vectors = scratch(texts.total, piece.shape[1])
        if piece.shape[1] != vectors.shape[1] or done + len(piece) > texts.total:
            raise InvalidRequestError(f"{place.name}: past row {done} its vectors are of another length or number")
        vectors[done : done + len(piece)] = piece
        done += len(piece)
    if vectors is None or done != texts.total:
        raise InvalidRequestError(f"{place.name} has {texts.total:,} rows and {done:,} vectors")
    chosen = rows_of(vectors, texts.rows)
    for start in range(0, len(chosen), _AT_ONCE):
        lengths = np.linalg.norm(chosen[start : start + _AT_ONCE].astype(np.float32), axis=1)
        wrong = np.flatnonzero(~(np.isfinite(lengths) & (lengths > 0)))
        if wrong.size:
            raise InvalidRequestError(
                f'{texts.where} {texts.numbers[start + wrong[0]]} has no usable vector in "{column}"'
            )
    return chosen


def _parquet(place: Place[SourceFormat], column: str, texts: Texts) -> Iterator[Vectors]:
    # The texts were read before, so the file is there and sound.
    schema = pq.read_schema(place.name)
    if column not in schema.names:
        raise InvalidRequestError(f'{place.name} has no column "{column}"{nearest(column, schema.names)}')
    kind = schema.field(column).type
    if not (_is_list(kind) and (pa.types.is_floating(kind.value_type) or pa.types.is_integer(kind.value_type))):
        raise InvalidRequestError(f'{place.name}: the column "{column}" holds {kind}, not vectors')
    wanted = np.zeros(texts.total, np.bool_)
    wanted[texts.rows] = True
    done = 0
    width = kind.list_size if pa.types.is_fixed_size_list(kind) else 0  # else that of the first
    with pq.ParquetFile(place.name) as file:
        for batch in file.iter_batches(_AT_ONCE, columns=[column]):
            lists: Any = batch.column(0)
            lengths = lists.value_lengths().fill_null(0).to_numpy(zero_copy_only=False)
            width = width or int(next((length for length in lengths if length), 0))
            good = lengths == width if width else np.zeros(len(lists), np.bool_)
            wrong = np.flatnonzero(wanted[done : done + len(lists)] & ~good)
            if wrong.size:
                row = done + int(wrong[0]) + 1
                raise InvalidRequestError(
                    f'{place.name}, column "{column}", row {row}: its vector is missing or of another length'
                )
            yield _matrix(lists, good, width)
            done += len(lists)


def _is_list(kind: pa.DataType) -> bool:
    return bool(pa.types.is_fixed_size_list(kind) or pa.types.is_list(kind) or pa.types.is_large_list(kind))


def _matrix(lists: Any, good: NDArray[np.bool_], width: int) -> Vectors:
    """The lists at `good`, all of one width; zeros for the others, and NaN for numbers that are missing."""
    chosen = lists if good.all() else lists.filter(pa.array(good))
    numbers: Vectors = chosen.flatten().to_numpy(zero_copy_only=False).astype(np.float32, copy=False)
    if good.all():
        return numbers.reshape(len(lists), width)
    vectors = np.zeros((len(lists), width), np.float32)
    vectors[good] = numbers.reshape(-1, width)
    return vectors


def _jsonl(place: Place[SourceFormat], column: str, texts: Texts) -> Iterator[Vectors]:
    width = 0
    wanted = set(texts.numbers)
    with open_source(place, ReadOptions(column, _AT_ONCE, None)) as reader:
        for batch in reader.batches():
            for value, number in zip(batch.values, batch.numbers, strict=True):
                width = width or (len(value) if isinstance(value, list) else 0)
                if number in wanted and not (isinstance(value, list) and len(value) == width and _numbers(value)):
                    raise InvalidRequestError(
                        f'{place.name}: line {number}: "{column}" is missing, of another length or not of numbers'
                    )
            pairs = zip(batch.values, batch.numbers, strict=True)
            rows = [value if number in wanted else [0.0] * width for value, number in pairs]
            yield np.array(rows, np.float32).reshape(len(rows), width)


def _numbers(values: list[Any]) -> bool:
    return all(isinstance(value, int | float) for value in values)
