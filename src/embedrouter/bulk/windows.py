"""Reading the rows of shards, a window at a time. A window never reaches over the end of its shard."""

from collections.abc import Iterator, Sequence
from itertools import groupby

import msgspec

from embedrouter.bulk.columns import OnEmpty, screen
from embedrouter.bulk.readers import open_source
from embedrouter.bulk.records import Batch, JsonRecords
from embedrouter.bulk.shards import Shard, Work
from embedrouter.bulk.source import ReadOptions, Source, Span


class Window(msgspec.Struct, frozen=True):
    """Some rows that follow each other, those that have a text."""

    batch: Batch
    skipped: int  # rows without a text that stood among them
    ends: bool  # its shard ends with it
    where: str  # for messages: the file, and what `batch.numbers` count


def windows(work: Work, shards: Sequence[Shard], *, texts_only: bool = False) -> Iterator[Window]:
    """All rows of `shards`, which are in order. Shards that follow each other in a file are read in one go.

    texts_only: other columns are not asked for.
    Raises InvalidRequestError naming the line or row that cannot be read, or has no text.
    """
    for run in _runs(shards):
        if run[0].rows:
            yield from _read(work, run, texts_only=texts_only)
        else:
            yield Window(Batch([], [], JsonRecords([], [])), 0, ends=True, where="")


def streamed(reader: Source, name: str, on_empty: OnEmpty) -> Iterator[Window]:
    """All rows of a source that is read once. Raises the same."""
    for batch in reader.batches():
        good = screened(batch, unit=reader.unit, on_empty=on_empty, where=f'{name}, column "{reader.column}"')
        yield Window(good, len(batch.values) - len(good.values), ends=False, where=f"{name}: {reader.unit}")


def only(batch: Batch, kept: Sequence[int]) -> Batch:
    """The rows at `kept`."""
    return Batch([batch.values[i] for i in kept], [batch.numbers[i] for i in kept], batch.records.kept(kept))


def screened(batch: Batch, *, unit: str, on_empty: OnEmpty, where: str) -> Batch:
    """The rows that have a text. Raises InvalidRequestError at the first other, unless on_empty is "skip"."""
    kept = screen(batch.values, batch.numbers, unit=unit, on_empty=on_empty, where=where)
    return batch if len(kept) == len(batch.values) else only(batch, kept)


def _read(work: Work, run: Sequence[Shard], *, texts_only: bool) -> Iterator[Window]:
    place = work.files[run[0].file]
    first = run[0].span
    span = Span(first.first_row, sum(shard.rows for shard in run), first.offset, first.line)
    choices = work.plan.choices
    keeps = choices.output_format != "npy" and not texts_only
    reading = ReadOptions(work.plan.column, work.batch_rows, choices.vector_column if keeps else None, span)
    rest = iter(run)
    left = next(rest).rows
    with open_source(place, reading) as reader:
        about = f'{place.name}, column "{reader.column}"'
        for batch in reader.batches():
            start, rows = 0, len(batch.values)
            while start < rows:
                stop = min(rows, start + left)
                part = _part(batch, start, stop)
                good = screened(part, unit=reader.unit, on_empty=work.on_empty, where=about)
                left -= stop - start
                skipped = len(part.values) - len(good.values)
                yield Window(good, skipped, ends=not left, where=f"{place.name}: {reader.unit}")
                start = stop
                if not left and (following := next(rest, None)) is not None:
                    left = following.rows


def _runs(shards: Sequence[Shard]) -> Iterator[list[Shard]]:
    """Shards of one file with nothing between them."""
    for _, run in groupby(enumerate(shards), lambda one: (one[1].file, one[1].number - one[0])):
        yield [shard for _, shard in run]


def _part(batch: Batch, start: int, stop: int) -> Batch:
    if start == 0 and stop == len(batch.values):
        return batch
    return Batch(batch.values[start:stop], batch.numbers[start:stop], batch.records.slice(start, stop))
