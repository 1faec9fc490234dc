"""The command line: embedrouter serve | embed | similarity | model | bench | version."""

import os
import signal
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any

import typer

from embedrouter.bulk.columns import OnEmpty
from embedrouter.bulk.formats import SourceFormat, TargetFormat
from embedrouter.errors import EmbedRouterError
from embedrouter.settings import EngineName, LogFormat, Precision, Settings, load

app = typer.Typer(
    name="embedrouter",
    help="Text embeddings that you run yourself: all-MiniLM-L6-v2 over the OpenRouter and OpenAI API.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
model_app = typer.Typer(help="The model's files: fetch, look at, verify.", no_args_is_help=True)
app.add_typer(model_app, name="model")


def _from(variable: str, text: str) -> str:
    return f"{text} [dim]EMBEDROUTER_{variable}[/dim]"


ConfigOption = Annotated[
    Path | None, typer.Option("--config", help=_from("CONFIG", "A TOML file of settings."), show_default=False)
]
EngineOption = Annotated[EngineName | None, typer.Option(help=_from("ENGINE", "What computes."), show_default="auto")]
PrecisionOption = Annotated[
    Precision | None,
    typer.Option(
        help=_from("PRECISION", "bfloat16 is faster where the CPU has it; int8 is faster still, and less exact."),
        show_default="auto",
    ),
]
ThreadsOption = Annotated[
    int | None, typer.Option(help=_from("THREADS", "Cores to use; 0 for all available."), show_default="0")
]
ModelDirOption = Annotated[
    Path | None,
    typer.Option(help=_from("MODEL_DIR", "A folder with the model's files; else the cache."), show_default=False),
]
CacheDirOption = Annotated[
    Path | None, typer.Option(help=_from("CACHE_DIR", "Where fetched weights are kept."), show_default=False)
]
OfflineOption = Annotated[
    bool | None,
    typer.Option("--offline", help=_from("OFFLINE", "Never reach for the network."), show_default=False),
]


@app.command()
def serve(
    config: ConfigOption = None,
    host: Annotated[str | None, typer.Option(help=_from("HOST", "Bind here."), show_default="127.0.0.1")] = None,
    port: Annotated[int | None, typer.Option(help=_from("PORT", "Listen here."), show_default="8000")] = None,
    data_dir: Annotated[
        Path | None, typer.Option(help=_from("DATA_DIR", "Where state is kept."), show_default=False)
    ] = None,
    cache_dir: CacheDirOption = None,
    model_dir: ModelDirOption = None,
    offline: OfflineOption = None,
    engine: EngineOption = None,
    precision: PrecisionOption = None,
    threads: ThreadsOption = None,
    new_key: Annotated[
        bool | None, typer.Option("--new-key", help=_from("NEW_KEY", "Replace the kept key."), show_default=False)
    ] = None,
    log_format: Annotated[
        LogFormat | None, typer.Option(help=_from("LOG_FORMAT", "Lines or JSON."), show_default="text")
    ] = None,
    access_log: Annotated[
        bool | None,
        typer.Option("--access-log", help=_from("ACCESS_LOG", "Log each request."), show_default=False),
    ] = None,
) -> None:
    """Serve the API. The API key is EMBEDROUTER_API_KEY, or made at first start."""
    with _told():
        flags = {
            "host": host,
            "port": port,
            "data_dir": data_dir,
            "cache_dir": cache_dir,
            "model_dir": model_dir,
            "offline": offline,
            "engine": engine,
            "precision": precision,
            "threads": threads,
            "new_key": new_key,
            "log_format": log_format,
            "access_log": access_log,
        }
        settings = load(flags, os.environ, config)
        from embedrouter.serve import run

        run(settings, _say)


@app.command()
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
    with _told():
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
        settings = load(_model_flags(model_dir, offline, engine, precision, threads), os.environ, config)
        signal.signal(signal.SIGTERM, signal.default_int_handler)  # so that a half-written output is removed
        with _model(settings) as model:
            report = embed_file(model, source, output, options)
        if not quiet:
            skipped = f", {report.skipped:,} skipped" if report.skipped else ""
            rate = report.rows / max(report.seconds, 1e-9)
            _note(f"{report.rows:,} rows{skipped} in {report.seconds:.1f} s ({rate:,.0f}/s) -> {output}")


@app.command()
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
    with _told():
        settings = load(_model_flags(model_dir, offline, engine, precision, None), os.environ, config)
        with _model(settings) as model:
            scores = model.similarity(left, right)[0]
        for score, text in sorted(zip(scores.tolist(), right, strict=True), reverse=True):
            typer.echo(f"{score:.4f}  {text}")


@model_app.command()
def pull(cache_dir: CacheDirOption = None, config: ConfigOption = None) -> None:
    """Fetch the weights into the cache, check them, and do nothing if they are there."""
    with _told():
        from embedrouter.minilm import weights

        settings = load({"cache_dir": cache_dir}, os.environ, config)
        found = weights.pull(settings.cache_dir, report=_note)
        _note(f"all-MiniLM-L6-v2 is in {found.folder}")


@model_app.command()
def verify(model_dir: ModelDirOption = None, cache_dir: CacheDirOption = None, config: ConfigOption = None) -> None:
    """Check the sha256 of the weights that are there."""
    with _told():
        from embedrouter.minilm import weights

        settings = load({"model_dir": model_dir, "cache_dir": cache_dir}, os.environ, config)
        found = weights.check(settings.model_dir or weights.cache_folder(settings.cache_dir))
        for fact in weights.FILES:
            typer.echo(f"ok  {fact.sha256}  {found.folder / fact.name}")


@model_app.command()
def info(
    config: ConfigOption = None,
    model_dir: ModelDirOption = None,
    cache_dir: CacheDirOption = None,
    engine: EngineOption = None,
    precision: PrecisionOption = None,
    threads: ThreadsOption = None,
) -> None:
    """What the model is, where its files are, and which engine runs it here and why."""
    with _told():
        from embedrouter.minilm import cpu, facts, weights
        from embedrouter.minilm.engines.choose import choose

        flags = {"model_dir": model_dir, "cache_dir": cache_dir} | _model_flags(None, None, engine, precision, threads)
        settings = load(flags, os.environ, config)
        folder = settings.model_dir or weights.cache_folder(settings.cache_dir)
        chosen = choose(settings.engine, settings.precision, settings.native_path)
        try:
            state = f"{weights.check(folder).folder} (verified)"
        except EmbedRouterError as error:
            state = f"not usable: {error.message}"
        for name, value in (
            ("model", f"{facts.HUGGING_FACE_ID} at revision {facts.REVISION}"),
            ("dimensions", str(facts.DIMENSIONS)),
            ("tokens", f"{facts.MAX_LENGTH} a sequence, {facts.MAX_INPUT:,} an input by windows"),
            ("weights", state),
            ("cpu", f"{cpu.name()}, {cpu.available_cores()} core(s) for this process"),
            ("engine", str(chosen)),
        ):
            typer.echo(f"{name:<12}{value}")


@app.command()
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
    with _told():
        import numpy as np

        from embedrouter.minilm import cpu

        settings = load(_model_flags(model_dir, offline, engine, precision, threads), os.environ, config)
        with _model(settings) as model:
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


@app.command()
def version() -> None:
    """Print the version."""
    from embedrouter import __version__

    typer.echo(__version__)


def main() -> None:
    """The console script."""
    app()


def _model_flags(
    model_dir: Path | None,
    offline: bool | None,
    engine: EngineName | None,
    precision: Precision | None,
    threads: int | None,
) -> dict[str, Any]:
    return {
        "model_dir": model_dir,
        "offline": offline,
        "engine": engine,
        "precision": precision,
        "threads": threads,
    }


@contextmanager
def _model(settings: Settings) -> Iterator[Any]:
    from embedrouter.minilm import MiniLM

    with MiniLM(
        settings.model_dir,
        engine=settings.engine,
        precision=settings.precision,
        threads=settings.threads,
        native_path=settings.native_path,
        cache_dir=settings.cache_dir,
        offline=settings.offline,
        report=_note,
    ) as model:
        yield model


@contextmanager
def _told() -> Iterator[None]:
    """Our own errors end the command with one clear line and status 2; Ctrl-C with 130."""
    try:
        yield
    except EmbedRouterError as error:
        _note(f"embedrouter: {error.message}")
        raise typer.Exit(2) from error
    except KeyboardInterrupt as error:
        _note("stopped")
        raise typer.Exit(130) from error


_note: Callable[[str], None] = lambda line: print(line, file=sys.stderr, flush=True)  # noqa: E731
_say: Callable[[str], None] = lambda text: print(text, flush=True)  # noqa: E731
