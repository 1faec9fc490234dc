"""embedrouter index: build, add, search, delete, info."""

import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

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
    facts,
    model_flags,
    note,
    opened,
    say,
    show,
    told,
)
from embedrouter.cli.inputs import (
    ColumnOption,
    InputFormatOption,
    OnEmptyOption,
    OverlapOption,
    OverwriteOption,
    QuietOption,
    TruncateOption,
    WindowTokensOption,
    windowed,
)
from embedrouter.errors import EmbedRouterError, InvalidRequestError
from embedrouter.settings import Settings, load

if TYPE_CHECKING:
    from embedrouter.bulk.documents import DocumentOptions
    from embedrouter.bulk.indexing import IndexReport
    from embedrouter.tasks.index import Index

app = typer.Typer(help="Search indexes of your documents: build, add, search, delete, info.", no_args_is_help=True)

FolderArgument = Annotated[Path, typer.Argument(help="The index: a folder.", show_default=False)]
InputsArgument = Annotated[
    list[str],
    typer.Argument(
        help="Folders and files: .txt, .md, .html, .pdf; or rows: .csv, .tsv, .jsonl, .parquet; - for standard input."
    ),
]
SplitOption = Annotated[bool, typer.Option("--split", help="Cut the texts of rows into passages, too.")]
StrictOption = Annotated[bool, typer.Option("--strict", help="Stop at a document that cannot be read.")]
WhereOption = Annotated[
    list[str] | None,
    typer.Option("--where", metavar="FIELD=VALUE", help="Only passages of which this holds.", show_default=False),
]


@app.command(
    epilog=examples(
        "embedrouter index build notes-index ~/notes",
        "embedrouter index build reviews-index reviews.csv --column body",
        "embedrouter index build peps-index peps.jsonl.gz --split --storage int8",
    )
)
def build(
    folder: FolderArgument,
    inputs: InputsArgument,
    storage: Annotated[
        Literal["float32", "float16", "int8"],
        typer.Option(help="How vectors are kept: exact, or 2 or 4 times smaller."),
    ] = "float32",
    kind: Annotated[
        Literal["auto", "exact", "hnsw"], typer.Option(help="How it is searched; auto: a graph from 200,000 on.")
    ] = "auto",
    column: ColumnOption = None,
    input_format: InputFormatOption = None,
    on_empty: OnEmptyOption = "error",
    truncate: TruncateOption = None,
    split: SplitOption = False,
    window_tokens: WindowTokensOption = 256,
    overlap: OverlapOption = 1,
    strict: StrictOption = False,
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
    """Build an index of documents or rows, to be searched by meaning."""
    with told():
        from embedrouter.bulk.documents import DocumentOptions
        from embedrouter.bulk.indexing import Ruled, index_name
        from embedrouter.minilm.windows import LongInput
        from embedrouter.tasks.index import Index

        index_name(folder, overwrite=overwrite)
        options = DocumentOptions(
            window=windowed(window_tokens, overlap),
            column=column,
            input_format=input_format,
            split=split,
            on_empty=on_empty,
            strict=strict,
        )
        settings = load(model_flags(model_dir, offline, engine, precision, threads), os.environ, config)
        _filled(
            folder,
            inputs,
            options,
            settings,
            lambda model: Index(
                model.dimensions, storage=storage, kind=kind, encoder=Ruled(model, LongInput.of(truncate))
            ),
            replace=False,
            quiet=quiet,
            as_json=as_json,
        )


@app.command(epilog=examples("embedrouter index add notes-index ~/notes/new.md --replace"))
def add(
    folder: FolderArgument,
    inputs: InputsArgument,
    replace: Annotated[
        bool, typer.Option("--replace", help="In place of what the index has of the same files.")
    ] = False,
    column: ColumnOption = None,
    input_format: InputFormatOption = None,
    on_empty: OnEmptyOption = "error",
    split: SplitOption = False,
    window_tokens: WindowTokensOption = 256,
    overlap: OverlapOption = 1,
    strict: StrictOption = False,
    quiet: QuietOption = False,
    as_json: JsonOption = False,
    config: ConfigOption = None,
    model_dir: ModelDirOption = None,
    offline: OfflineOption = None,
    engine: EngineOption = None,
    precision: PrecisionOption = None,
    threads: ThreadsOption = None,
) -> None:
    """Add documents or rows to an index."""
    with told():
        from embedrouter.bulk.documents import DocumentOptions
        from embedrouter.bulk.indexing import opened_index

        options = DocumentOptions(
            window=windowed(window_tokens, overlap),
            column=column,
            input_format=input_format,
            split=split,
            on_empty=on_empty,
            strict=strict,
        )
        settings = load(model_flags(model_dir, offline, engine, precision, threads), os.environ, config)
        _filled(
            folder,
            inputs,
            options,
            settings,
            lambda model: opened_index(folder, model),
            replace=replace,
            quiet=quiet,
            as_json=as_json,
        )


@app.command(
    epilog=examples(
        "embedrouter index search notes-index 'how do I renew my passport'",
        "embedrouter index search notes-index",
        "embedrouter index search peps-index 'pattern matching' --where id=pep-0634 --json",
    )
)
def search(
    folder: FolderArgument,
    queries: Annotated[
        list[str] | None,
        typer.Argument(
            help="What to look for; else asked for on a terminal, or one a line of standard input.", show_default=False
        ),
    ] = None,
    top_k: Annotated[int, typer.Option("--top-k", "-k", help="How many passages.", min=1)] = 10,
    where: WhereOption = None,
    as_json: JsonOption = False,
    config: ConfigOption = None,
    model_dir: ModelDirOption = None,
    offline: OfflineOption = None,
    engine: EngineOption = None,
    precision: PrecisionOption = None,
    threads: ThreadsOption = None,
) -> None:
    """Find the passages that are nearest to a question or text, by meaning."""
    with told():
        from embedrouter.bulk.indexing import conditions, opened_index
        from embedrouter.bulk.lines import decoded
        from embedrouter.cli.searching import Searcher, prompted

        wanted = conditions(where or [])
        settings = load(model_flags(model_dir, offline, engine, precision, threads), os.environ, config)
        with opened(settings) as model:
            searcher = Searcher(opened_index(folder, model), model, top_k, wanted or None)
            if not queries and sys.stdin.isatty() and not as_json:
                note(f"{len(searcher.index):,} passages. Type what to look for; Ctrl-D ends.")
                for query in prompted():
                    try:
                        searcher.show([query])
                    except EmbedRouterError as error:  # the next one may be better
                        note(error.message)
                return
            typed = (decoded(line, number, "standard input") for number, line in enumerate(sys.stdin.buffer, 1))
            asked = queries or [line for line in map(str.strip, typed) if line]
            if not asked or not all(map(str.strip, asked)):
                raise InvalidRequestError("there is nothing to look for: the query is empty")
            if as_json:
                say(searcher.json(asked))
            else:
                searcher.show(asked)


@app.command(epilog=examples("embedrouter index delete notes-index --source /home/me/notes/old.md"))
def delete(
    folder: FolderArgument,
    source: Annotated[
        list[str] | None, typer.Option(help="A file, as the passages name it.", show_default=False)
    ] = None,
    where: WhereOption = None,
    as_json: JsonOption = False,
) -> None:
    """Delete passages from an index: those of a file, or of which a condition holds."""
    with told():
        from embedrouter.bulk.indexing import conditions, remove
        from embedrouter.bulk.locks import changing
        from embedrouter.tasks.index import Index

        wanted = conditions([*(f"source={one}" for one in source or []), *(where or [])])
        if not wanted:
            raise InvalidRequestError("say which passages: --source FILE or --where FIELD=VALUE")
        with changing(folder):
            index = Index.load(folder)
            gone = remove(index, wanted)
            if gone:
                index.save(folder)
        show({"deleted": gone, "left": len(index)}, as_json, lambda: say(f"{gone:,} deleted, {len(index):,} left"))


@app.command()
def info(
    folder: FolderArgument,
    measure: Annotated[
        bool, typer.Option("--measure", help="Measure recall: how many of the true 10 nearest a search finds.")
    ] = False,
    as_json: JsonOption = False,
) -> None:
    """What an index holds, how it is kept and searched, and how much memory it takes."""
    with told():
        import msgspec

        from embedrouter.tasks.index import Index

        index = Index.load(folder)
        if measure:
            index.measure_recall()
        found = index.info()
        rows: list[tuple[str, object]] = [
            ("passages", f"{found.count:,}"),
            ("deleted", f"{found.deleted:,}"),
            ("dimensions", found.dimensions),
            ("storage", found.storage),
            ("searched", found.kind),
            ("in memory", f"{found.bytes_in_memory / 1e6:,.1f} MB"),
            ("mapped", f"{found.bytes_mapped / 1e6:,.1f} MB"),
            ("model", found.fingerprint),
            ("recall@10", "not measured: --measure" if found.recall is None else f"{found.recall:.4f}"),
        ]
        show(msgspec.to_builtins(found), as_json, lambda: facts(rows))


def _filled(
    folder: Path,
    inputs: list[str],
    options: "DocumentOptions",
    settings: Settings,
    make: "Callable[[Any], Index]",
    *,
    replace: bool,
    quiet: bool,
    as_json: bool,
) -> None:
    """Read, embed, add, save, and say what was done."""
    from embedrouter.bulk.documents import DocumentReader, token_count
    from embedrouter.bulk.indexing import fill
    from embedrouter.bulk.locks import changing

    signal.signal(signal.SIGTERM, signal.default_int_handler)  # so that nothing half-written is left
    with changing(folder), opened(settings) as model:
        reader = DocumentReader(inputs, options, token_count(model.tokenizer), note)
        index = make(model)
        report = fill(index, reader, replace=replace, quiet=quiet)
        if not report.passages:
            raise InvalidRequestError(f"there is no text in {', '.join(inputs)}: nothing was written")
        index.save(folder)
    show({**report._asdict(), "count": len(index)}, as_json, lambda: None if quiet else _summary(folder, index, report))


def _summary(folder: Path, index: "Index", report: "IndexReport") -> None:
    info = index.info()
    files = "file" if report.documents == 1 else "files"
    parts = [f"{report.passages:,} passages of {report.documents:,} {files} in {report.seconds:.1f} s"]
    parts += [f"{report.left_out:,} left out"] if report.left_out else []
    parts += [f"{report.replaced:,} replaced"] if report.replaced else []
    rate = report.passages / max(report.seconds, 1e-9)
    size = sum(file.stat().st_size for file in folder.rglob("*") if file.is_file())
    note(
        f"{', '.join(parts)} ({rate:,.0f}/s) -> {folder}: {len(index):,} passages, {size / 1e6:,.1f} MB, {info.storage}"
    )
