"""Embedding a file: rows are read, embedded and written at the same time, in shards that survive a crash."""

import sys
import time
from collections.abc import Generator, Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack, closing, contextmanager
from pathlib import Path
from typing import BinaryIO

import msgspec
import numpy as np
from numpy.typing import NDArray

from embedrouter.bulk import storage, targets
from embedrouter.bulk.columns import OnEmpty
from embedrouter.bulk.encoding import Encoder, Model, encode, encode_once, fingerprint
from embedrouter.bulk.formats import Place, SourceFormat, TargetFormat, VectorsType, target_place
from embedrouter.bulk.inputs import source_places
from embedrouter.bulk.overlap import overlapped
from embedrouter.bulk.progress import meter
from embedrouter.bulk.readers import open_source
from embedrouter.bulk.repeats import Marked, Vectors, grouped_texts, marked
from embedrouter.bulk.run import Run, Wanted, begin
from embedrouter.bulk.shard_files import ShardSink
from embedrouter.bulk.shards import SHARD_ROWS, Choices
from embedrouter.bulk.source import ReadOptions
from embedrouter.bulk.windows import Window, streamed, windows
from embedrouter.bulk.writers import WriteOptions, open_writer
from embedrouter.errors import EmbedRouterError, InvalidRequestError


class EmbedOptions(msgspec.Struct, frozen=True, kw_only=True):
    """How a file is embedded."""

    column: str | None = None  # None: "text", or the only column of texts
    input_format: SourceFormat | None = None  # None: by the suffix
    output_format: TargetFormat | None = None
    vector_column: str = "embedding"
    vectors_type: VectorsType = "float32"
    on_empty: OnEmpty = "error"  # what to do with a row that has no text
    overwrite: bool = False
    restart: bool = False  # forget what an earlier run has done
    dedupe: bool = False  # compute identical texts once
    truncate: bool | None = None  # handed to the model
    quiet: bool = False  # no progress on standard error
    batch_rows: int = 4096
    shard_rows: int = SHARD_ROWS


class EmbedReport(msgspec.Struct, frozen=True):
    """What was done."""

    rows: int  # in the output
    skipped: int  # rows without a text
    seconds: float  # of this run
    resumed: int = 0  # rows of the input that an earlier run had done


def embed_file(
    encoder: Encoder, source: Path | str, target: Path | str, options: EmbedOptions | None = None
) -> EmbedReport:
    """Embed the texts of `source` into `target`, in memory that does not grow with either; `-` is a standard stream.

    source: a file, or a folder or pattern of files. target: a file, which appears at the end and whole, or a folder
    of shards. Both may be URIs of object stores. What a run that was killed has done is not done again.
    Raises InvalidRequestError naming the file and line for whatever is wrong with the input or the output, and what
    the encoder raises, with the line it was about.
    """
    options = options or EmbedOptions()
    started = time.monotonic()
    origins, goal = places(source, target, options)
    rows = skipped = resumed = 0
    if _can_resume(origins, goal):
        run = begin_with(encoder, origins, goal, options, always=options.dedupe or len(origins) > 1)
        if run is not None:
            with run:
                resumed = run.resumed_rows
                with telling_what_is_kept(run):
                    _embed_shards(encoder, run, options)
                    run.finish()
                rows, skipped = sum(one.rows for one in run.done), sum(one.skipped for one in run.done)
            return EmbedReport(rows, skipped, time.monotonic() - started, resumed)
    rows, skipped = _embed_stream(encoder, origins[0], goal, options)
    return EmbedReport(rows, skipped, time.monotonic() - started)


def places(
    source: Path | str, target: Path | str, options: EmbedOptions
) -> tuple[tuple[Place[SourceFormat], ...], Place[TargetFormat]]:
    """The inputs and the output. Raises InvalidRequestError, also for options that do not go with them."""
    if options.batch_rows < 1 or options.shard_rows < 1:
        raise InvalidRequestError("batch_rows and shard_rows have to be at least 1")
    goal = target_place(target, options.output_format)
    if goal.format == "jsonl" and options.vectors_type != "float32":
        raise InvalidRequestError(f"JSONL has no {options.vectors_type}: write Parquet or .npy")
    return source_places(source, options.input_format), goal


def begin_with(
    model: Model,
    files: tuple[Place[SourceFormat], ...],
    goal: Place[TargetFormat],
    options: EmbedOptions,
    *,
    always: bool,
) -> Run | None:
    """As `begin`, with these options."""
    return begin(
        wanted(model, files, goal, options),
        batch_rows=options.batch_rows,
        on_empty=options.on_empty,
        overwrite=options.overwrite,
        restart=options.restart,
        dedupe=options.dedupe,
        always=always,
    )


def wanted(
    encoder: Model, files: tuple[Place[SourceFormat], ...], goal: Place[TargetFormat], options: EmbedOptions
) -> Wanted:
    """What `begin` has to know."""
    choices = Choices(
        options.column,
        files[0].format,
        goal.format,
        goal.gzip,
        options.vector_column,
        options.vectors_type,
        options.truncate,
        options.shard_rows,
    )
    return Wanted(files, goal, choices, fingerprint(encoder, options.truncate), encoder.dimensions)


def _can_resume(origins: Sequence[Place[SourceFormat]], goal: Place[TargetFormat]) -> bool:
    """Whether all can be read and written again: not the standard streams, nor a pipe or a device."""
    locations = [place.location for place in origins] + [goal.location]
    entries = [storage.entry(location) for location in locations if location is not None]
    return None not in locations and all(found is None or found.kind != "other" for found in entries)


@contextmanager
def telling_what_is_kept(run: Run) -> Iterator[None]:
    """An error says that nothing of what is done is lost."""
    try:
        yield
    except EmbedRouterError as error:
        left = run.left()
        if left and run.done:
            place, row = run.work.files[left[0].file].name, left[0].span.first_row + 1
            kept = f"{len(run.done):,} of {run.shards:,} shards are done and kept"
            error.message += f" ({kept}: once that is mended, the same command goes on from row {row:,} of {place})"
            error.args = (error.message,)
        elif not left:
            error.message += " (all shards are done and kept: once that is mended, the same command joins them)"
            error.args = (error.message,)
        raise


def _embed_shards(encoder: Encoder, run: Run, options: EmbedOptions) -> None:
    work = run.work
    if run.resumed and not options.quiet:
        print(f"resuming: {run.resumed:,} of {run.shards:,} shards are done", file=sys.stderr, flush=True)
    if not run.left():
        return
    with ExitStack() as stack:
        progress = stack.enter_context(meter(sys.stderr, run.total_rows, quiet=options.quiet, before=run.resumed_rows))
        computed = stack.enter_context(
            closing(_computed_once(encoder, run) if options.dedupe else _computed(encoder, run))
        )
        position = run.resumed_rows
        for shard in run.left():
            sink = ShardSink(work, shard)
            with sink.opened() as file:
                for window, vectors in computed:
                    file.write(window, vectors)
                    rows = len(vectors) + window.skipped
                    position += rows
                    progress.advance(rows, position)
                    if window.ends:
                        break
            run.record(sink.done)


def _embed_stream(
    encoder: Encoder, origin: Place[SourceFormat], goal: Place[TargetFormat], options: EmbedOptions
) -> tuple[int, int]:
    """From a stream or to one, or little enough to be done in one go. Returns the rows written and skipped."""
    opened = _open_target(goal, origin, overwrite=options.overwrite)
    reading = ReadOptions(options.column, options.batch_rows, options.vector_column if goal.format != "npy" else None)
    rows = skipped = 0
    with open_source(origin, reading) as reader:
        schema = reader.schema() if goal.format == "parquet" else None
        writing = WriteOptions(schema, options.vector_column, encoder.dimensions, goal.gzip, options.vectors_type)
        read = streamed(reader, origin.name, options.on_empty)
        encoded = encode_once if options.dedupe else encode

        def compute(window: Window) -> NDArray[np.float32]:
            return encoded(encoder, window.batch.values, window.batch.numbers, options.truncate, window.where)

        with (
            opened as stream,
            open_writer(goal.format, stream, writing) as writer,
            meter(sys.stderr, reader.total, quiet=options.quiet) as progress,
            closing(overlapped(read, compute)) as computed,
        ):
            for window, vectors in computed:
                if len(vectors):
                    writer.write(window.batch.records, vectors)
                rows += len(vectors)
                skipped += window.skipped
                progress.advance(len(vectors) + window.skipped, reader.position())
    return rows, skipped


def _open_target(
    goal: Place[TargetFormat], origin: Place[SourceFormat], *, overwrite: bool
) -> AbstractContextManager[BinaryIO]:
    if goal.location is None:
        return targets.standard_output()
    if storage.is_remote(goal.location):
        return storage.creating(goal.location)
    sources = [] if origin.location is None else [Path(origin.location)]
    target = targets.check_target(Path(goal.location), sources, overwrite=overwrite)
    return targets.replacing(target, overwrite=overwrite)


def _computed(encoder: Encoder, run: Run) -> Generator[tuple[Window, NDArray[np.float32]]]:
    """What is left of a run, in order, with its vectors."""
    truncate = run.work.plan.choices.truncate

    def compute(window: Window) -> NDArray[np.float32]:
        return encode(encoder, window.batch.values, window.batch.numbers, truncate, window.where)

    with closing(overlapped(windows(run.work, run.left()), compute)) as found:
        yield from found


def _computed_once(encoder: Encoder, run: Run) -> Generator[tuple[Window, NDArray[np.float32]]]:
    """The same, with identical texts computed once: all texts are read beforehand."""
    truncate = run.work.plan.choices.truncate
    groups = grouped_texts(windows(run.work, run.left(), texts_only=True))

    def compute(some: Marked) -> NDArray[np.float32]:
        return encode(encoder, some.texts(), some.numbers(), truncate, some.window.where)

    with (
        Vectors(run.work.folder, run.work.plan.dimensions) as vectors,
        closing(overlapped(marked(windows(run.work, run.left()), groups), compute)) as found,
    ):
        for some, computed in found:
            yield some.window, vectors.complete(some, computed)
