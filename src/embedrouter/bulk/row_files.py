"""Any input as a file of rows that can be read more than once: standard input and documents become one for a while."""

import shutil
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import NamedTuple

import msgspec
import numpy as np
import orjson
from numpy.typing import NDArray

from embedrouter.bulk.columns import OnEmpty, screen
from embedrouter.bulk.document_texts import SUFFIXES
from embedrouter.bulk.documents import DocumentOptions, DocumentReader, builtin_count
from embedrouter.bulk.formats import STANDARD_STREAM, Place, SourceFormat, source_place
from embedrouter.bulk.passage_windows import TokenCount, WindowOptions
from embedrouter.bulk.readers import open_source
from embedrouter.bulk.source import ReadOptions
from embedrouter.bulk.targets import naming
from embedrouter.errors import InvalidRequestError

_BATCH_ROWS = 2048


class Texts(NamedTuple):
    """The texts of a file, and the rows they stand in."""

    values: list[str]
    rows: NDArray[np.int64]  # 0-based, among all rows of the file
    numbers: list[int]  # 1-based line or row, as messages have it
    total: int  # rows of the file
    column: str
    where: str  # for messages: the file, and what `numbers` count


class InputOptions(msgspec.Struct, frozen=True, kw_only=True):
    """How an input becomes texts."""

    column: str | None = None  # None: "text", or the only column of texts
    input_format: SourceFormat | None = None  # None: by the suffix
    on_empty: OnEmpty = "error"
    window: WindowOptions = WindowOptions()  # of documents


@contextmanager
def row_file(
    given: Path | str, options: InputOptions, count: TokenCount | None = None
) -> Iterator[Place[SourceFormat]]:
    """A place that can be read again and again, gone at the end if it was made for this.

    A folder and a document (.md, .html, .pdf) become JSON lines, one a passage; a .txt file is one text a line.
    Raises InvalidRequestError.
    """
    path = Path(given)
    documents = options.input_format is None and (path.is_dir() or SUFFIXES.get(path.suffix.lower(), "txt") != "txt")
    if str(given) != STANDARD_STREAM and not documents:
        yield source_place(given, options.input_format)
        return
    with tempfile.TemporaryDirectory(prefix="embedrouter-") as folder:
        if documents:
            file = Path(folder) / "passages.jsonl"
            with _room_in(folder):
                _write_passages(path, file, options.window, count)
            yield msgspec.structs.replace(source_place(file, "jsonl"), name=str(path))
        else:
            file = Path(folder) / "input"
            with _room_in(folder), file.open("wb") as stream:
                shutil.copyfileobj(sys.stdin.buffer, stream)
            yield msgspec.structs.replace(source_place(file, options.input_format or "text"), name="standard input")


def read_texts(place: Place[SourceFormat], options: InputOptions) -> Texts:
    """All texts of a column. Raises InvalidRequestError naming the row that has none or cannot be read."""
    values: list[str] = []
    numbers: list[int] = []
    rows: list[int] = []
    total = 0
    with open_source(place, ReadOptions(options.column, _BATCH_ROWS, None)) as reader:
        for batch in reader.batches():
            where = f'{place.name}, column "{reader.column}"'
            kept = screen(batch.values, batch.numbers, unit=reader.unit, on_empty=options.on_empty, where=where)
            values += [batch.values[index] for index in kept]
            numbers += [batch.numbers[index] for index in kept]
            rows += [total + index for index in kept]
            total += len(batch.values)
        if not values:
            raise InvalidRequestError(f"{place.name} has no texts")
        return Texts(values, np.array(rows, np.int64), numbers, total, reader.column, f"{place.name}: {reader.unit}")


def read_columns(place: Place[SourceFormat], names: Sequence[str], options: InputOptions) -> list[Texts]:
    """Several columns of the same rows; a row without a text in one of them is left out of all, or an error."""
    found = [read_texts(place, msgspec.structs.replace(options, column=name)) for name in names]
    common = set(found[0].rows.tolist()).intersection(*(one.rows.tolist() for one in found))
    return [_only(one, common) for one in found]


def _only(texts: Texts, rows: set[int]) -> Texts:
    kept = [index for index, row in enumerate(texts.rows.tolist()) if row in rows]
    values, numbers = [texts.values[index] for index in kept], [texts.numbers[index] for index in kept]
    return texts._replace(values=values, numbers=numbers, rows=texts.rows[kept])


def _write_passages(path: Path, file: Path, window: WindowOptions, count: TokenCount | None) -> None:
    reader = DocumentReader([path], DocumentOptions(window=window), count or builtin_count(), _warn)
    with file.open("wb") as stream:
        for passage in reader.passages():
            stream.write(orjson.dumps({"text": passage.text, **passage.metadata}) + b"\n")


def _room_in(folder: str) -> AbstractContextManager[None]:
    return naming(f"temporary files in {Path(folder).parent} (TMPDIR names another folder)")


def _warn(line: str) -> None:
    """A line on standard error."""
    print(line, file=sys.stderr, flush=True)
