"""embedrouter serve."""

import gc
import os
from typing import Annotated

import typer

from embedrouter.cli.common import (
    CacheDirOption,
    ConfigOption,
    DatabaseUrlOption,
    DataDirOption,
    EngineOption,
    ModelDirOption,
    OfflineOption,
    PrecisionOption,
    ThreadsOption,
    from_variable,
    say,
    told,
)
from embedrouter.settings import Billing, Durability, LogFormat, load


def serve(
    config: ConfigOption = None,
    host: Annotated[
        str | None, typer.Option(help=from_variable("HOST", "Bind here."), show_default="127.0.0.1")
    ] = None,
    port: Annotated[int | None, typer.Option(help=from_variable("PORT", "Listen here."), show_default="8000")] = None,
    data_dir: DataDirOption = None,
    database_url: DatabaseUrlOption = None,
    billing: Annotated[
        Billing | None,
        typer.Option(
            help=from_variable("BILLING", "enforce refuses what the balance does not cover; track only counts."),
            show_default="track",
        ),
    ] = None,
    durability: Annotated[
        Durability | None,
        typer.Option(
            help=from_variable(
                "DURABILITY", "What an answer waits for: durable an fsync, commit a commit, async none."
            ),
            show_default="commit",
        ),
    ] = None,
    cache_dir: CacheDirOption = None,
    model_dir: ModelDirOption = None,
    offline: OfflineOption = None,
    engine: EngineOption = None,
    precision: PrecisionOption = None,
    threads: ThreadsOption = None,
    new_key: Annotated[
        bool | None,
        typer.Option("--new-key", help=from_variable("NEW_KEY", "Replace the kept key."), show_default=False),
    ] = None,
    log_format: Annotated[
        LogFormat | None, typer.Option(help=from_variable("LOG_FORMAT", "Lines or JSON."), show_default="text")
    ] = None,
    access_log: Annotated[
        bool | None,
        typer.Option("--access-log", help=from_variable("ACCESS_LOG", "Log each request."), show_default=False),
    ] = None,
) -> None:
    """Serve the API. The API key is EMBEDROUTER_API_KEY, or made at first start."""
    with told():
        flags = {
            "host": host,
            "port": port,
            "data_dir": data_dir,
            "database_url": database_url,
            "billing": billing,
            "durability": durability,
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
        gc.disable()  # until it serves: what starting makes stays, and walking it again and again takes time
        from embedrouter.serve import run

        run(settings, say)
