"""embedrouter embed | bench."""

import os
import signal
import time
from typing import Annotated

import typer

from embedrouter.bulk.formats import TargetFormat, VectorsType
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
from embedrouter.cli.inputs import (
    ColumnOption,
    InputFormatOption,
    OnEmptyOption,
    OverwriteOption,
    QuietOption,
    TruncateOption,
)
from embedrouter.errors import InvalidRequestError
from embedrouter.settings import load


def embed(
    source: Annotated[
        str,
        typer.Argument(
            help="Text lines, CSV, TSV, JSONL or Parquet: a file, folder, pattern or URI; - for standard input."
        ),
    ],
    output: Annotated[
        str,
        typer.Option(
            "--output",
            "-o",
            help="Parquet, JSONL or .npy; NAME/ for a folder of Parquet; - for JSONL on standard output.",
        ),
    ],
    column: ColumnOption = None,
    input_format: InputFormatOption = None,
    output_format: Annotated[
        TargetFormat | None, typer.Option(help="What the output is.", show_default="by suffix")
    ] = None,
    vector_column: Annotated[str, typer.Option(help="The name of the new column.")] = "embedding",
    vectors_type: Annotated[VectorsType, typer.Option(help="float16 halves the output.")] = "float32",
    on_empty: OnEmptyOption = "error",
    overwrite: OverwriteOption = False,
    restart: Annotated[bool, typer.Option("--restart", help="Forget what an earlier run has done.")] = False,
    dedupe: Annotated[bool, typer.Option("--dedupe", help="Compute identical texts once.")] = False,
    shard_rows: Annotated[int, typer.Option(help="Rows after which what is done is safe.", min=1)] = 16_384,
    truncate: TruncateOption = None,
    quiet: QuietOption = False,
    cluster: Annotated[
        str | None,
        typer.Option(help="Compute on Ray: ray://host:port, host:port, auto or local.", show_default="this process"),
    ] = None,
    workers: Annotated[
        int | None, typer.Option(min=1, help="Workers on the cluster.", show_default="one a node")
    ] = None,
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
        from embedrouter.bulk.storage import shown

        options = EmbedOptions(
            column=column,
            input_format=input_format,
            output_format=output_format,
            vector_column=vector_column,
            vectors_type=vectors_type,
            on_empty=on_empty,
            overwrite=overwrite,
            restart=restart,
            dedupe=dedupe,
            shard_rows=shard_rows,
            truncate=truncate,
            quiet=quiet,
        )
        if workers is not None and cluster is None:
            raise InvalidRequestError("--workers goes with --cluster; here --threads says how many cores to use")
        settings = load(model_flags(model_dir, offline, engine, precision, threads), os.environ, config)
        signal.signal(signal.SIGTERM, signal.default_int_handler)  # so that a half-written output is removed
        if cluster is not None:
            from embedrouter.bulk.cluster import ClusterOptions, embed_file_on
            from embedrouter.bulk.cluster_worker import Loading

            where = ClusterOptions(cluster, workers, settings.threads)
            report = embed_file_on(where, Loading.of(settings), source, output, options)
        else:
            with opened(settings) as model:
                report = embed_file(model, source, output, options)
        if not quiet:
            skipped = f", {report.skipped:,} skipped" if report.skipped else ""
            before = f" ({report.resumed:,} by an earlier run)" if report.resumed else ""
            rate = (report.rows + report.skipped - report.resumed) / max(report.seconds, 1e-9)
            note(f"{report.rows:,} rows{before}{skipped} in {report.seconds:.1f} s ({rate:,.0f}/s) -> {shown(output)}")


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
