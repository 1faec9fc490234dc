"""What the commands over files share: options, and how a file becomes texts and vectors."""

import os
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NamedTuple

import typer

from embedrouter.bulk.columns import OnEmpty
from embedrouter.bulk.formats import SourceFormat
from embedrouter.cli.common import opened
from embedrouter.settings import Settings

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from embedrouter.bulk.formats import Place
    from embedrouter.bulk.passage_windows import WindowOptions
    from embedrouter.bulk.row_files import InputOptions, Texts
    from embedrouter.bulk.scratch import Scratch

FILE_HELP = "Text lines, CSV, TSV, JSONL, Parquet, a document or a folder of them; - for standard input."
FileArgument = Annotated[str, typer.Argument(help=FILE_HELP)]
ColumnOption = Annotated[str | None, typer.Option(help="The column that holds the text.", show_default="text")]
InputFormatOption = Annotated[SourceFormat | None, typer.Option(help="What the input is.", show_default="by suffix")]
OnEmptyOption = Annotated[OnEmpty, typer.Option(help="What to do with rows without text.")]
VectorsOption = Annotated[
    str | None,
    typer.Option(
        "--vectors", metavar="COLUMN", help="Take the vectors from this column, and compute none.", show_default=False
    ),
]
TruncateOption = Annotated[
    bool | None,
    typer.Option(
        "--truncate/--no-truncate",
        help="Cut long texts at 256 tokens, or refuse them; else they are embedded by windows.",
        show_default=False,
    ),
]
QuietOption = Annotated[bool, typer.Option("--quiet", "-q", help="No progress.")]
OverwriteOption = Annotated[bool, typer.Option("--overwrite", help="Replace an existing output.")]
WindowTokensOption = Annotated[int, typer.Option(help="Documents are cut into passages of so many tokens.")]
OverlapOption = Annotated[int, typer.Option(help="Sentences that a passage shares with the one before.")]


class Loaded(NamedTuple):
    """A file's texts and their vectors."""

    place: "Place[SourceFormat]"
    texts: "Texts"
    vectors: "Scratch"
    model: Any  # MiniLM; None where the vectors were read and no model was needed


@contextmanager
def model_for(settings: Settings, *, needed: bool) -> Iterator[Any]:
    """The model, loaded if it is needed; else None."""
    if needed:
        with opened(settings) as model:
            yield model
    else:
        yield None


@contextmanager
def loaded(
    source: str,
    settings: Settings,
    options: "InputOptions",
    *,
    vectors: str | None,
    truncate: bool | None,
    quiet: bool,
    always: bool = False,
) -> Iterator[Loaded]:
    """Texts and vectors of a file, which can be read again meanwhile. always: load the model also without need."""
    from embedrouter.bulk.documents import token_count
    from embedrouter.bulk.row_files import read_texts, row_file
    from embedrouter.bulk.row_vectors import embedded, read_vectors

    with model_for(settings, needed=always or vectors is None) as model:
        count = token_count(model.tokenizer) if model else None
        with row_file(source, options, count) as place:
            texts = read_texts(place, options)
            if vectors is not None:
                found = read_vectors(place, vectors, texts)
            else:
                found = embedded(model, texts, truncate=truncate, quiet=quiet)
            yield Loaded(place, texts, found, model)


def windowed(tokens: int, overlap: int) -> "WindowOptions":
    """How documents are cut. Raises InvalidRequestError."""
    from embedrouter.bulk.passage_windows import WindowOptions

    return WindowOptions(tokens, overlap).checked()


def width_of_terminal() -> int | None:
    """Columns of the terminal; None where standard output is none."""
    from shutil import get_terminal_size

    return get_terminal_size().columns if sys.stdout.isatty() else None


def place_name(metadata: Mapping[str, Any] | None) -> str:
    """Where a passage stands, for people: the file, relative where that is shorter, with page or row and heading."""
    facts = metadata or {}
    source = str(facts.get("source", ""))
    name = min(source, os.path.relpath(source), key=len) if Path(source).is_absolute() else source
    for field, word in (("page", "p."), ("row", "row")):
        if field in facts:
            name += f" {word} {facts[field]}"
    return name


def room(taken: int, texts: int = 1, piped: int = 500) -> int:
    """Characters that each of so many texts in a row of a table may have, on two lines. taken: by the other columns.

    piped: where standard output is no terminal.
    """
    width = width_of_terminal()
    return piped if width is None else max(20, 2 * ((width - taken) // texts) - 8)


def for_line(text: str, width: int) -> str:
    """A text on one line of at most `width` characters."""
    from embedrouter.bulk.snippets import shortened

    return shortened(text, width)


def reading(
    column: str | None, input_format: SourceFormat | None, on_empty: OnEmpty, window_tokens: int, overlap: int
) -> "InputOptions":
    """How an input is read. Raises InvalidRequestError."""
    from embedrouter.bulk.row_files import InputOptions

    return InputOptions(
        column=column, input_format=input_format, on_empty=on_empty, window=windowed(window_tokens, overlap)
    )


def sampled(count: int, most: int, seed: int) -> "NDArray[np.int64]":
    """At most `most` of `count` places, ascending, the same for the same seed."""
    import numpy as np

    if count <= most:
        return np.arange(count)
    return np.sort(np.random.default_rng(seed).choice(count, most, replace=False))
