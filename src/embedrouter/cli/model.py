"""embedrouter model: the built-in model's files."""

import os

import typer

from embedrouter.cli.common import (
    CacheDirOption,
    ConfigOption,
    EngineOption,
    ModelDirOption,
    PrecisionOption,
    ThreadsOption,
    model_flags,
    note,
    told,
)
from embedrouter.errors import EmbedRouterError
from embedrouter.settings import load

app = typer.Typer(help="The model's files: fetch, look at, verify.", no_args_is_help=True)


@app.command()
def pull(cache_dir: CacheDirOption = None, config: ConfigOption = None) -> None:
    """Fetch the weights into the cache, check them, and do nothing if they are there."""
    with told():
        from embedrouter.minilm import weights

        settings = load({"cache_dir": cache_dir}, os.environ, config)
        found = weights.pull(settings.cache_dir, report=note)
        note(f"all-MiniLM-L6-v2 is in {found.folder}")


@app.command()
def verify(model_dir: ModelDirOption = None, cache_dir: CacheDirOption = None, config: ConfigOption = None) -> None:
    """Check the sha256 of the weights that are there."""
    with told():
        from embedrouter.minilm import weights

        settings = load({"model_dir": model_dir, "cache_dir": cache_dir}, os.environ, config)
        found = weights.check(settings.model_dir or weights.cache_folder(settings.cache_dir))
        for fact in weights.FILES:
            typer.echo(f"ok  {fact.sha256}  {found.folder / fact.name}")


@app.command()
def info(
    config: ConfigOption = None,
    model_dir: ModelDirOption = None,
    cache_dir: CacheDirOption = None,
    engine: EngineOption = None,
    precision: PrecisionOption = None,
    threads: ThreadsOption = None,
) -> None:
    """What the model is, where its files are, and which engine runs it here and why."""
    with told():
        from embedrouter.minilm import cpu, facts, weights
        from embedrouter.minilm.engines.choose import choose

        flags = {"model_dir": model_dir, "cache_dir": cache_dir} | model_flags(None, None, engine, precision, threads)
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
