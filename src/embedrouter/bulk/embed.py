"""Embedding a file: read a batch, embed it, write it, until the file ends."""

import sys
import time
from collections.abc import Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import BinaryIO, Protocol

import msgspec
import numpy as np
from numpy.typing import NDArray

from embedrouter.bulk import targets
from embedrouter.bulk.columns import OnEmpty, screen
from embedrouter.bulk.formats import Place, SourceFormat, TargetFormat, source_place, target_place
from embedrouter.bulk.progress import meter
from embedrouter.bulk.readers import open_source
from embedrouter.bulk.records import Batch
from embedrouter.bulk.source import ReadOptions
from embedrouter.bulk.writers import WriteOptions, open_writer
from embedrouter.errors import ContextLengthExceededError, EmbedRouterError, InvalidRequestError


class Encoder(Protocol):
    """The model, as far as this room knows it."""

    @property
    def dimensions(self) -> int:
        """Length of a vector."""

    def encode(self, inputs: Sequence[str], *, truncate: bool | None = None) -> NDArray[np.float32]:
        """Vectors of shape (len(inputs), dimensions). Raises EmbedRouterError for an input it does not take."""


class EmbedOptions(msgspec.Struct, frozen=True, kw_only=True):
    """How a file is embedded."""

    column: str | None = None  # None: "text", or the only column of texts
    input_format: SourceFormat | None = None  # None: by the suffix
    output_format: TargetFormat | None = None
    vector_column: str = "embedding"
    on_empty: OnEmpty = "error"  # what to do with a row that has no text
    overwrite: bool = False
    truncate: bool | None = None  # handed to the model
    quiet: bool = False  # no progress on standard error
    batch_rows: int = 2048


class EmbedReport(msgspec.Struct, frozen=True):
    """What was done."""

    rows: int  # embedded and written
    skipped: int  # rows without a text
    seconds: float


def embed_file(
    encoder: Encoder, source: Path | str, target: Path | str, options: EmbedOptions | None = None
) -> EmbedReport:
    """Embed the texts of `source` into `target`, in memory that does not grow with either; `-` is a standard stream.

    `target` appears at the end and whole, or not at all.
    Raises InvalidRequestError naming the file and line for whatever is wrong with the input or the output, and what
    the encoder raises, with the line it was about.
    """
    options = options or EmbedOptions()
    if options.batch_rows < 1:
        raise InvalidRequestError("batch_rows has to be at least 1")
    started = time.monotonic()
    origin = source_place(source, options.input_format)
    goal = target_place(target, options.output_format)
    opened = _open_target(goal, origin, overwrite=options.overwrite)
    keeps_columns = goal.format != "npy"
    reading = ReadOptions(options.column, options.batch_rows, options.vector_column if keeps_columns else None)
    rows = skipped = 0
    with open_source(origin, reading) as reader:
        schema = reader.schema() if goal.format == "parquet" else None
        writing = WriteOptions(schema, options.vector_column, encoder.dimensions, goal.gzip)
        with (
            opened as stream,
            open_writer(goal.format, stream, writing) as writer,
            meter(sys.stderr, reader.total, quiet=options.quiet) as progress,
        ):
            for batch in reader.batches():
                where = f'{origin.name}, column "{reader.column}"'
                kept = screen(batch.values, batch.numbers, unit=reader.unit, on_empty=options.on_empty, where=where)
                chosen = batch if len(kept) == len(batch.values) else _only(batch, kept)
                if kept:
                    vectors = _encode(encoder, chosen, options.truncate, f"{origin.name}: {reader.unit}")
                    writer.write(chosen.records, vectors)
                rows += len(kept)
                skipped += len(batch.values) - len(kept)
                progress.advance(len(batch.values), reader.position())
    return EmbedReport(rows, skipped, time.monotonic() - started)


def _open_target(
    goal: Place[TargetFormat], origin: Place[SourceFormat], *, overwrite: bool
) -> AbstractContextManager[BinaryIO]:
    if goal.path is None:
        return targets.standard_output()
    return targets.replacing(targets.check_target(goal.path, origin.path, overwrite=overwrite), overwrite=overwrite)


def _only(batch: Batch, kept: Sequence[int]) -> Batch:
    return Batch([batch.values[i] for i in kept], [batch.numbers[i] for i in kept], batch.records.kept(kept))


def _encode(encoder: Encoder, batch: Batch, truncate: bool | None, where: str) -> NDArray[np.float32]:
    try:
        vectors = encoder.encode(batch.values, truncate=truncate)
    except (InvalidRequestError, ContextLengthExceededError) as error:
        index, refusal = _culprit(encoder, batch.values, truncate, error)
        raise type(error)(f"{where} {batch.numbers[index]}: {refusal.message}", metadata=refusal.metadata) from error
    if vectors.shape != (len(batch.values), encoder.dimensions) or not np.isfinite(vectors).all():
        raise EmbedRouterError(f"the model gave vectors that cannot be right, of shape {vectors.shape}")
    return vectors.astype(np.float32, copy=False)


def _culprit(
    encoder: Encoder, texts: Sequence[str], truncate: bool | None, first: EmbedRouterError
) -> tuple[int, EmbedRouterError]:
    """The first text that the encoder refuses, and what it says of that alone. It knows batches, the user knows lines.

    By halves: as much work as one more batch.
    """
    low, high, refusal = 0, len(texts), first
    while low < high:
        middle = (low + high) // 2 if high - low > 1 else high
        try:
            encoder.encode(texts[low:middle], truncate=truncate)
            low = middle
        except (InvalidRequestError, ContextLengthExceededError) as error:
            refusal = error
            if middle - low == 1:
                break
            high = middle
    return min(low, len(texts) - 1), refusal
