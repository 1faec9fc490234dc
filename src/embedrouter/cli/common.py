"""What the commands share: options, how errors are told, how the model is opened."""

import re
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from embedrouter.errors import EmbedRouterError, InvalidRequestError, StoreUnavailableError
from embedrouter.settings import EngineName, Precision, Settings

if TYPE_CHECKING:
    from rich.text import Text

_CONTROLS = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]")


def from_variable(variable: str, text: str) -> str:
    """An option's help with the environment variable that sets the same."""
    return f"{text} [dim]EMBEDROUTER_{variable}[/dim]"


ConfigOption = Annotated[
    Path | None, typer.Option("--config", help=from_variable("CONFIG", "A TOML file of settings."), show_default=False)
]
EngineOption = Annotated[
    EngineName | None, typer.Option(help=from_variable("ENGINE", "What computes."), show_default="auto")
]
PrecisionOption = Annotated[
    Precision | None,
    typer.Option(
        help=from_variable(
            "PRECISION", "bfloat16 is faster where the CPU has it; int8 is faster still, and less exact."
        ),
        show_default="auto",
    ),
]
ThreadsOption = Annotated[
    int | None, typer.Option(help=from_variable("THREADS", "Cores to use; 0 for all available."), show_default="0")
]
ModelDirOption = Annotated[
    Path | None,
    typer.Option(
        help=from_variable("MODEL_DIR", "A folder with the model's files; else the cache."), show_default=False
    ),
]
CacheDirOption = Annotated[
    Path | None, typer.Option(help=from_variable("CACHE_DIR", "Where fetched weights are kept."), show_default=False)
]
OfflineOption = Annotated[
    bool | None,
    typer.Option("--offline", help=from_variable("OFFLINE", "Never reach for the network."), show_default=False),
]
DataDirOption = Annotated[
    Path | None, typer.Option(help=from_variable("DATA_DIR", "Where state is kept."), show_default=False)
]
DatabaseUrlOption = Annotated[
    str | None,
    typer.Option(
        help=from_variable("DATABASE_URL", "sqlite:///file or postgresql://...; else a file in the data folder."),
        show_default=False,
    ),
]
JsonOption = Annotated[
    bool, typer.Option("--json", help="One JSON document on standard output, nothing else.", show_default=False)
]


def examples(*lines: str) -> str:
    """What stands below a command's help."""
    return "\n\n".join(("Examples:" if len(lines) > 1 else "Example:", *lines))


def say(text: str) -> None:
    """A line on standard output."""
    try:
        print(text, flush=True)
    except BrokenPipeError:
        raise  # who reads has enough: Typer ends the command without a word
    except OSError as error:
        from embedrouter.bulk.targets import output_refused

        raise output_refused(error) from error


def note(line: str) -> None:
    """A line on standard error."""
    print(line, file=sys.stderr, flush=True)


@contextmanager
def told() -> Iterator[None]:
    """Our own errors end the command with one clear line and status 2; Ctrl-C with 130."""
    try:
        yield
    except EmbedRouterError as error:
        note(f"embedrouter: {_words(error)}")
        raise typer.Exit(2) from error
    except KeyboardInterrupt as error:
        note("stopped")
        raise typer.Exit(130) from error


def _words(error: EmbedRouterError) -> str:
    if isinstance(error, StoreUnavailableError) and isinstance(error.__cause__, Exception):
        from embedrouter.store.database import cause

        return f"the database cannot be used: {cause(error.__cause__)}"
    return error.message


def model_flags(
    model_dir: Path | None,
    offline: bool | None,
    engine: EngineName | None,
    precision: Precision | None,
    threads: int | None,
) -> dict[str, Any]:
    """Flags of the commands that compute, as `settings.load` takes them."""
    return {
        "model_dir": model_dir,
        "offline": offline,
        "engine": engine,
        "precision": precision,
        "threads": threads,
    }


@contextmanager
def opened(settings: Settings) -> Iterator[Any]:
    """The model, loaded; closed in the end."""
    from embedrouter.minilm import MiniLM

    with MiniLM(
        settings.model_dir,
        engine=settings.engine,
        precision=settings.precision,
        threads=settings.threads,
        native_path=settings.native_path,
        cache_dir=settings.cache_dir,
        offline=settings.offline,
        report=note,
    ) as model:
        yield model


def show(document: Any, as_json: bool, text: Callable[[], None]) -> None:
    """The document as JSON, or what `text` prints for people."""
    if as_json:
        import msgspec

        say(msgspec.json.format(msgspec.json.encode(document), indent=2).decode())
    else:
        text()


def table(columns: Sequence[str], rows: Sequence[Sequence[object]]) -> None:
    """A table for people on a terminal; tab-separated lines for what reads a pipe."""
    texts = [["" if value is None else str(value) for value in row] for row in rows]
    if not sys.stdout.isatty():
        for line in (columns, *texts):
            say("\t".join(line))
        return
    from rich import box
    from rich.console import Console
    from rich.table import Table

    drawn = Table(box=box.SIMPLE_HEAD)
    for number, name in enumerate(columns):
        drawn.add_column(name, no_wrap=number == 0, min_width=12 if number == 0 else None)
    for line in texts:
        drawn.add_row(*map(plain_text, line))
    Console().print(drawn)


def plain_text(text: str) -> "Text":
    """A text for a terminal as it is: no markup in it, and no characters that a terminal obeys."""
    from rich.text import Text

    return Text(_CONTROLS.sub(" ", text))


def facts(pairs: Sequence[tuple[str, object]]) -> None:
    """Names and values, a line each."""
    width = max(len(name) for name, _ in pairs) + 2
    for name, value in pairs:
        say(f"{name:<{width}}{'-' if value is None else value}")


def moment(at: int | None) -> str | None:
    """A time in microseconds, for people: UTC, to the second."""
    from embedrouter.periods import iso

    return None if at is None else f"{iso(at)[:19].replace('T', ' ')}Z"


def plain(usd: float) -> str:
    """An amount for people, without an exponent."""
    return f"{usd:.12f}".rstrip("0").rstrip(".")


def text_of(option: str, text: str, most: int) -> str:
    """What was typed, once it is one line of 1 to `most` characters. Raises InvalidRequestError naming the option."""
    if not text.strip() or len(text) > most or not text.isprintable():
        raise InvalidRequestError(f"{option} must have 1 to {most} printable characters")
    return text


def money_of(name: str, text: str) -> int:
    """Pico-USD of what was typed. Raises InvalidRequestError naming the option."""
    from embedrouter.money import pico_usd

    try:
        return pico_usd(text)
    except ValueError as error:
        raise InvalidRequestError(f"{name}: {error}") from error
