"""embedrouter embed | similarity | bench."""

import os
import signal
import time
from typing import Annotated

import typer

from embedrouter.bulk.columns import OnEmpty
from embedrouter.bulk.formats import SourceFormat, TargetFormat
from embedrouter.cli.common import (
    ConfigOption,
    EngineOption,
    ModelDirOption,
    OfflineOption,
    PrecisionOption,
    ThreadsOption,
    model_flags,
    note,
    opened,
    told,
)
from embedrouter.settings import load


def embed(
    source: Annotated[str, typer.Argument(help="Text lines, CSV, TSV, JSONL or Parquet; - for standard input.")],
    output: Annotated[
        str, typer.Option("--output", "-o", help="Parquet, JSONL or .npy; - for JSONL on standard output.")
    ],
    column: Annotated[str | None, typer.Option(help="The column that holds the text.", show_default="text")] = None,
    input_format: Annotated[
        SourceFormat | None, typer.Option(help="What the input is.", show_default="by suffix")
    ] = None,
    output_format: Annotated[
        TargetFormat | None, typer.Option(help="What the output is.", show_default="by suffix")
    ] = None,
    vector_column: Annotated[str, typer.Option(help="The name of the new column.")] = "embedding",
    on_empty: Annotated[OnEmpty, typer.Option(help="What to do with rows without text.")] = "error",
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace an existing output.")] = False,
    truncate: Annotated[
        bool | None,
        typer.Option(
            "--truncate/--no-truncate",
            help="Cut long texts at 256 tokens, or refuse them; else they are embedded by windows.",
            show_default=False,
        ),
    ] = None,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="No progress.")] = False,
    config: ConfigOption = None,
    model_dir: ModelDirOption = None,
    offline: OfflineOption = None,
    engine: EngineOption = None,
    precision: PrecisionOption = None,
    threads: ThreadsOption = None,
) -> None:
    """Embed a file of texts into a file of vectors, in memory that does not grow with it."""
    with told():
        from embedrouter.bulk import EmbedOptions, embed_file

        options = EmbedOptions(
            column=column,
            input_format=input_format,
            output_format=output_format,
            vector_column=vector_column,
            on_empty=on_empty,
            overwrite=overwrite,
            truncate=truncate,
            quiet=quiet,
        )
        settings = load(model_flags(model_dir, offline, engine, precision, threads), os.environ, config)
        signal.signal(signal.SIGTERM, signal.default_int_handler)  # so that a half-written output is removed
        with opened(settings) as model:
            report = embed_file(model, source, output, options)
        if not quiet:
            skipped = f", {report.skipped:,} skipped" if report.skipped else ""
            rate = report.rows / max(report.seconds, 1e-9)
            note(f"{report.rows:,} rows{skipped} in {report.seconds:.1f} s ({rate:,.0f}/s) -> {output}")


def similarity(
    left: Annotated[str, typer.Argument(help="A text.")],
    right: Annotated[list[str], typer.Argument(help="The texts to compare it with.")],
    config: ConfigOption = None,
    model_dir: ModelDirOption = None,
    offline: OfflineOption = None,
    engine: EngineOption = None,
    precision: PrecisionOption = None,
) -> None:
    """Cosine similarity of a text with others, the nearest first."""
    with told():
        settings = load(model_flags(model_dir, offline, engine, precision, None), os.environ, config)
        with opened(settings) as model:
            scores = model.similarity(left, right)[0]
        for score, text in sorted(zip(scores.tolist(), right, strict=True), reverse=True):
            typer.echo(f"{score:.4f}  {text}")


def bench(
    seconds: Annotated[float, typer.Option(help="How long to measure each length.", min=0.1)] = 3.0,
    config: ConfigOption = None,
    model_dir: ModelDirOption = None,
    offline: OfflineOption = None,
    engine: EngineOption = None,
    precision: PrecisionOption = None,
    threads: ThreadsOption = None,
) -> None:
    """Measure the model on this machine, without HTTP: texts and tokens a second by length."""
    with told():
        import numpy as np

        from embedrouter.minilm import cpu

        settings = load(model_flags(model_dir, offline, engine, precision, threads), os.environ, config)
        with opened(settings) as model:
            typer.echo(f"{cpu.name()}; {model.engine.reason}; {model.engine.workers} worker threads")
            random = np.random.default_rng(0)
            for length in (8, 16, 32, 64, 128, 256):
                count = 0
                size = max(64, 8192 // length)
                started = time.perf_counter()
                while (took := time.perf_counter() - started) < seconds:
                    # New ids each time: identical texts in flight would be computed once.
                    model.encode(random.integers(1000, 30_000, (size, length - 2)).tolist())
                    count += size
                texts = count / took
                typer.echo(f"{length:4d} tokens: {texts:9,.0f} texts/s {texts * length:12,.0f} tokens/s")
