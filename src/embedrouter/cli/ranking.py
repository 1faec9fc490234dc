"""embedrouter rank | similarity."""

import os
import sys
from typing import Annotated, Any

import typer

from embedrouter.cli.common import (
    ConfigOption,
    EngineOption,
    JsonOption,
    ModelDirOption,
    OfflineOption,
    PrecisionOption,
    ThreadsOption,
    examples,
    model_flags,
    note,
    opened,
    say,
    show,
    told,
)
from embedrouter.cli.common import table as show_table
from embedrouter.cli.inputs import (
    ColumnOption,
    FileArgument,
    InputFormatOption,
    OnEmptyOption,
    OverlapOption,
    OverwriteOption,
    QuietOption,
    TruncateOption,
    VectorsOption,
    WindowTokensOption,
    for_line,
    loaded,
    reading,
    room,
)
from embedrouter.errors import InvalidRequestError
from embedrouter.settings import Settings, load

RANK_EXAMPLES = examples(
    "embedrouter rank 'how do I get my money back' faq.csv --column question --top-k 3",
    "grep -h error *.log | embedrouter rank 'the disk is full' -",
)
SIMILARITY_EXAMPLES = examples(
    "embedrouter similarity 'a cat on a mat' 'a kitten on a rug' 'the stock market fell'",
    "embedrouter similarity --file pairs.csv --pairs question,answer -o scored.csv",
    "embedrouter similarity --file titles.txt -o matrix.npy",
)


def rank(
    query: Annotated[str, typer.Argument(help="A question or a text.")],
    file: FileArgument,
    top_k: Annotated[int, typer.Option("--top-k", "-k", help="How many rows; 0 for all.", min=0)] = 10,
    column: ColumnOption = None,
    input_format: InputFormatOption = None,
    on_empty: OnEmptyOption = "error",
    vectors: VectorsOption = None,
    truncate: TruncateOption = None,
    window_tokens: WindowTokensOption = 256,
    overlap: OverlapOption = 1,
    quiet: QuietOption = False,
    as_json: JsonOption = False,
    config: ConfigOption = None,
    model_dir: ModelDirOption = None,
    offline: OfflineOption = None,
    engine: EngineOption = None,
    precision: PrecisionOption = None,
    threads: ThreadsOption = None,
) -> None:
    """The rows of a file that are nearest to a query, the best first."""
    with told():
        from embedrouter.tasks.search import semantic_search

        if not query.strip():
            raise InvalidRequestError("the query is empty")
        settings = load(model_flags(model_dir, offline, engine, precision, threads), os.environ, config)
        options = reading(column, input_format, on_empty, window_tokens, overlap)
        with loaded(file, settings, options, vectors=vectors, truncate=truncate, quiet=quiet, always=True) as (
            _,
            texts,
            found,
            model,
        ):
            asked = model.encode([query], truncate=truncate)
            [best] = semantic_search(asked, found, top_k=top_k or len(found))
        wide = room(30, piped=sys.maxsize)
        rows = [(f"{one.score:.4f}", texts.numbers[one.index], for_line(texts.values[one.index], wide)) for one in best]
        document = [
            {"score": one.score, "row": texts.numbers[one.index], "text": texts.values[one.index]} for one in best
        ]
        show(document, as_json, lambda: show_table(("score", "row", "text"), rows))


def similarity(
    left: Annotated[str | None, typer.Argument(help="A text.", show_default=False)] = None,
    right: Annotated[list[str] | None, typer.Argument(help="The texts to compare it with.", show_default=False)] = None,
    file: Annotated[str | None, typer.Option(help="Compare the rows of a file instead.", show_default=False)] = None,
    pairs: Annotated[
        str | None,
        typer.Option(
            metavar="LEFT,RIGHT",
            help="Of each row compare these two columns; else each row with each.",
            show_default=False,
        ),
    ] = None,
    output: Annotated[
        str | None,
        typer.Option(
            "--output",
            "-o",
            help="Pairs: CSV, JSONL or Parquet with all columns and the score. Each with each: .npy or .csv.",
            show_default=False,
        ),
    ] = None,
    score_column: Annotated[str, typer.Option(help="The new column.")] = "similarity",
    column: ColumnOption = None,
    input_format: InputFormatOption = None,
    on_empty: OnEmptyOption = "error",
    vectors: VectorsOption = None,
    truncate: TruncateOption = None,
    overwrite: OverwriteOption = False,
    quiet: QuietOption = False,
    as_json: JsonOption = False,
    config: ConfigOption = None,
    model_dir: ModelDirOption = None,
    offline: OfflineOption = None,
    engine: EngineOption = None,
    precision: PrecisionOption = None,
    threads: ThreadsOption = None,
) -> None:
    """Cosine similarity: of a text with others, the nearest first; or of a file's columns, or rows with each other."""
    with told():
        settings = load(model_flags(model_dir, offline, engine, precision, threads), os.environ, config)
        if file is None:
            if left is None or not right:
                raise typer.BadParameter("give a text and the texts to compare it with, or --file FILE")
            if pairs or output or vectors:
                raise InvalidRequestError("--pairs, --output and --vectors are for --file")
            _of_texts(left, right, settings, truncate, as_json)
        elif left is not None:
            raise InvalidRequestError("give texts or --file FILE, not both")
        else:
            options = reading(column, input_format, on_empty, 256, 1)
            if pairs is not None:
                if vectors or column:
                    raise InvalidRequestError("--pairs names two columns of texts; --vectors and --column name one")
                _of_pairs(file, pairs, output, score_column, settings, options, truncate, overwrite, quiet, as_json)
            else:
                _of_rows(file, output, settings, options, vectors, truncate, overwrite, quiet, as_json)


def _of_texts(left: str, right: list[str], settings: Settings, truncate: bool | None, as_json: bool) -> None:
    with opened(settings) as model:
        vectors = model.encode([left, *right], truncate=truncate)
    scores = (vectors[1:] @ vectors[0]).clip(-1, 1).tolist()
    best = sorted(zip(scores, right, strict=True), reverse=True)
    document = [{"score": score, "text": text} for score, text in best]
    show(document, as_json, lambda: say("\n".join(f"{score:.4f}  {text}" for score, text in best)))


def _of_pairs(
    file: str,
    pairs: str,
    output: str | None,
    score_column: str,
    settings: Settings,
    options: Any,
    truncate: bool | None,
    overwrite: bool,
    quiet: bool,
    as_json: bool,
) -> None:
    from embedrouter.bulk.row_files import read_columns, row_file
    from embedrouter.bulk.row_vectors import embedded
    from embedrouter.bulk.row_writers import row_target, write_rows

    names = [name.strip() for name in pairs.split(",")]
    if len(names) != 2 or not all(names):
        raise InvalidRequestError(f'--pairs names two columns, such as question,answer, not "{pairs}"')
    target = row_target(output, file, overwrite=overwrite) if output else None
    if output == "-" and as_json:
        raise InvalidRequestError("standard output takes one thing: name a file, or leave out --json")
    with opened(settings) as model, row_file(file, options) as place:
        left, right = read_columns(place, names, options)
        ours, theirs = (embedded(model, texts, truncate=truncate, quiet=quiet) for texts in (left, right))
        scores = (ours * theirs).sum(axis=1).clip(-1, 1).tolist()
        if target is not None:
            write_rows(place, left.column, left.rows, target, {score_column: scores})
    found = list(zip(scores, left.numbers, left.values, right.values, strict=True))
    if target is None or as_json:
        wide = room(30, 2)
        document = [{"row": row, "score": score, "left": one, "right": other} for score, row, one, other in found]
        rows = [(f"{score:.4f}", row, for_line(one, wide), for_line(other, wide)) for score, row, one, other in found]
        show(document, as_json, lambda: show_table(("score", "row", *names), rows))
    if not quiet:
        mean = sum(scores) / len(scores) if scores else 0.0
        note(f"{len(scores):,} pairs, {mean:.4f} on average{f' -> {output}' if output else ''}")


def _of_rows(
    file: str,
    output: str | None,
    settings: Settings,
    options: Any,
    vectors: str | None,
    truncate: bool | None,
    overwrite: bool,
    quiet: bool,
    as_json: bool,
) -> None:
    from embedrouter.bulk.matrices import MOST_SHOWN, matrix_target, write_matrix
    from embedrouter.tasks.vectors import unit_vectors

    target = matrix_target(output, overwrite=overwrite) if output else None
    with loaded(file, settings, options, vectors=vectors, truncate=truncate, quiet=quiet) as (_, texts, found, _model):
        unit = unit_vectors(found)
    count = len(texts.values)
    if target is not None:
        write_matrix(unit, target)
        if not quiet:
            note(f"{count:,} x {count:,} similarities -> {output}")
        return
    if count > MOST_SHOWN:
        raise InvalidRequestError(f"{file} has {count:,} rows, too many to show each with each: write them with -o")
    scores = (unit @ unit.T).clip(-1, 1).tolist()
    document = {"rows": texts.numbers, "texts": texts.values, "similarity": scores}
    rows = [
        (for_line(text, 24), *(f"{score:.2f}" for score in line))
        for text, line in zip(texts.values, scores, strict=True)
    ]
    show(document, as_json, lambda: show_table(("text", *map(str, texts.numbers)), rows))
