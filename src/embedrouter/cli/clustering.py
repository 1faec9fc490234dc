"""embedrouter cluster | dedupe."""

import os
from typing import Annotated, Literal

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
from embedrouter.settings import load

OutputOption = Annotated[
    str | None,
    typer.Option(
        "--output",
        "-o",
        help="CSV, JSONL or Parquet with all columns; - for JSONL on standard output.",
        show_default=False,
    ),
]

CLUSTER_EXAMPLES = examples(
    "embedrouter cluster tickets.csv --column subject",
    "embedrouter cluster tickets.csv --column subject --k 12 -o tickets-with-clusters.csv",
    "embedrouter cluster vectors.parquet --vectors embedding --method hdbscan --json",
)
DEDUPE_EXAMPLES = examples(
    "embedrouter dedupe questions.csv -o unique.csv --threshold 0.9 --report groups.jsonl",
    "embedrouter dedupe vectors.parquet --vectors embedding -o unique.parquet --keep longest",
    "embedrouter dedupe questions.txt",
)


def cluster(
    file: FileArgument,
    k: Annotated[
        int | None, typer.Option("--k", "-k", help="How many clusters of kmeans.", show_default="chosen", min=1)
    ] = None,
    method: Annotated[
        Literal["kmeans", "hdbscan", "agglomerative"] | None,
        typer.Option(
            help="kmeans puts each row into one; hdbscan finds dense groups; agglomerative joins what is similar.",
            show_default="kmeans; agglomerative with --threshold",
        ),
    ] = None,
    threshold: Annotated[
        float | None,
        typer.Option(help="For agglomerative: the cosine up to which groups are joined.", show_default=False),
    ] = None,
    smallest: Annotated[
        int | None,
        typer.Option(help="For hdbscan and agglomerative: rows of the smallest cluster.", show_default=False),
    ] = None,
    seed: Annotated[int, typer.Option(help="Another number begins elsewhere.")] = 0,
    output: OutputOption = None,
    cluster_column: Annotated[
        str, typer.Option(help="The new column; that of titles has _title after it.")
    ] = "cluster",
    column: ColumnOption = None,
    input_format: InputFormatOption = None,
    on_empty: OnEmptyOption = "error",
    vectors: VectorsOption = None,
    truncate: TruncateOption = None,
    window_tokens: WindowTokensOption = 256,
    overlap: OverlapOption = 1,
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
    """Group the rows of a file by what they mean, and name the groups. With -o, write each row with its cluster."""
    with told():
        from embedrouter.bulk.row_writers import row_target, write_rows
        from embedrouter.tasks.cluster import cluster as find_clusters

        target = row_target(output, file, overwrite=overwrite) if output else None
        _one_output(output, as_json)
        settings = load(model_flags(model_dir, offline, engine, precision, threads), os.environ, config)
        options = reading(column, input_format, on_empty, window_tokens, overlap)
        with loaded(file, settings, options, vectors=vectors, truncate=truncate, quiet=quiet) as found:
            texts = found.texts
            chosen = method or ("kmeans" if threshold is None else "agglomerative")
            done = find_clusters(
                found.vectors,
                method=chosen,
                k=k,
                threshold=threshold,
                smallest=smallest,
                texts=texts.values,
                seed=seed,
            )
            if target is not None:
                titles = {one.label: one.title for one in done.clusters}
                labels = done.labels.tolist()
                added = {cluster_column: labels, f"{cluster_column}_title": [titles.get(label) for label in labels]}
                write_rows(found.place, texts.column, texts.rows, target, added)
        wide = room(30 + max((len(one.title) for one in done.clusters), default=0), piped=200)
        none = int((done.labels < 0).sum())
        rows = [(one.label, one.size, one.title, for_line(texts.values[one.central], wide)) for one in done.clusters]
        if output != "-":
            document = {
                "rows": len(texts.values),
                "unclustered": none,
                "clusters": [
                    {**one._asdict(), "row": texts.numbers[one.central], "text": texts.values[one.central]}
                    for one in done.clusters
                ],
                "labels": done.labels.tolist() if target is None else None,
            }
            show(document, as_json, lambda: show_table(("cluster", "size", "title", "most central text"), rows))
        if not quiet:
            beside = f", {none:,} rows in none" if none else ""
            goal = f" -> {output}" if output else ""
            note(f"{len(texts.values):,} rows, {len(done.clusters):,} clusters by {chosen}{beside}{goal}")


def dedupe(
    file: FileArgument,
    output: OutputOption = None,
    threshold: Annotated[
        float, typer.Option(help="Rows with a cosine of this or more are duplicates.", min=-1, max=1)
    ] = 0.95,
    keep: Annotated[Literal["first", "longest", "central"], typer.Option(help="Which row of a group stays.")] = "first",
    report: Annotated[
        str | None, typer.Option(help="Write the groups here, as JSONL; - for standard output.", show_default=False)
    ] = None,
    column: ColumnOption = None,
    input_format: InputFormatOption = None,
    on_empty: OnEmptyOption = "error",
    vectors: VectorsOption = None,
    truncate: TruncateOption = None,
    window_tokens: WindowTokensOption = 256,
    overlap: OverlapOption = 1,
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
    """Leave out rows that say the same as another one. Without -o, only tell which they are."""
    with told():
        from embedrouter.bulk.duplicate_reports import groups_of, report_target, write_report
        from embedrouter.bulk.row_writers import row_target, write_rows
        from embedrouter.tasks.dedupe import deduplicate

        target = row_target(output, file, overwrite=overwrite) if output else None
        reported = report_target(report, overwrite=overwrite) if report else None
        _one_output(output, as_json)
        _one_output(report, as_json or output == "-")
        settings = load(model_flags(model_dir, offline, engine, precision, threads), os.environ, config)
        options = reading(column, input_format, on_empty, window_tokens, overlap)
        with loaded(file, settings, options, vectors=vectors, truncate=truncate, quiet=quiet) as found:
            texts = found.texts
            done = deduplicate(found.vectors, threshold=threshold, keep=keep, texts=texts.values)
            groups = groups_of(done, texts, found.vectors)
            if reported is not None:
                write_report(groups, reported)
            if target is not None:
                write_rows(found.place, texts.column, texts.rows[done.kept], target)
        left_out = len(texts.values) - len(done.kept)
        if "-" not in {output, report}:
            document = {"rows": len(texts.values), "kept": len(done.kept), "left_out": left_out, "groups": groups}
            wide = room(40, 2, piped=200)
            lines = [
                (f"{one.score:.4f}", one.row, for_line(one.text, wide), group.kept.row, for_line(group.kept.text, wide))
                for group in groups
                for one in group.left_out
            ]
            if as_json or output is None:
                show(document, as_json, lambda: show_table(("score", "row", "left out", "row", "kept"), lines))
        if not quiet:
            goal = f" -> {output}" if output else ""
            note(
                f"{len(texts.values):,} rows: {len(done.kept):,} kept, {left_out:,} left out "
                f"in {len(groups):,} group{'' if len(groups) == 1 else 's'}{goal}"
            )


def _one_output(output: str | None, taken: bool) -> None:
    if output == "-" and taken:
        raise InvalidRequestError("standard output takes one thing: name a file for the other")
