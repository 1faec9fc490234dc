"""embedrouter plot."""

import os
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from embedrouter.cli.common import (
    ConfigOption,
    EngineOption,
    ModelDirOption,
    OfflineOption,
    PrecisionOption,
    ThreadsOption,
    examples,
    model_flags,
    note,
    told,
)
from embedrouter.cli.inputs import (
    ColumnOption,
    FileArgument,
    InputFormatOption,
    Loaded,
    OnEmptyOption,
    OverlapOption,
    OverwriteOption,
    QuietOption,
    TruncateOption,
    VectorsOption,
    WindowTokensOption,
    loaded,
    reading,
    sampled,
)
from embedrouter.settings import load

if TYPE_CHECKING:
    from embedrouter.bulk.row_files import InputOptions

PLOT_EXAMPLES = examples(
    "embedrouter plot tickets.csv --column subject -o map.html",
    "embedrouter plot tickets.csv --column subject --by product -o map.png",
    "embedrouter plot vectors.parquet --vectors embedding --k 12 --label id -o map.html",
)


def plot(
    file: FileArgument,
    output: Annotated[str, typer.Option("--output", "-o", help="The map: .html, or .png (needs matplotlib).")],
    by: Annotated[
        str, typer.Option(metavar="COLUMN", help="Colour by the values of this column, or by cluster.")
    ] = "cluster",
    k: Annotated[
        int | None, typer.Option("--k", "-k", help="How many clusters to colour by.", show_default="chosen", min=1)
    ] = None,
    method: Annotated[
        Literal["auto", "tsne", "pca"],
        typer.Option(help="t-SNE keeps neighbours together; PCA is quick. auto: t-SNE up to 5,000 rows."),
    ] = "auto",
    most: Annotated[int, typer.Option(help="Of more rows so many are drawn, by chance.", min=1)] = 20_000,
    label: Annotated[
        str | None, typer.Option(metavar="COLUMN", help="A column that names a point.", show_default=False)
    ] = None,
    title: Annotated[str | None, typer.Option(help="What stands above the map.", show_default="the file")] = None,
    dark: Annotated[bool, typer.Option("--dark", help="A PNG on black; a page does as its reader's system.")] = False,
    seed: Annotated[int, typer.Option(help="Another number arranges the points otherwise.")] = 0,
    column: ColumnOption = None,
    input_format: InputFormatOption = None,
    on_empty: OnEmptyOption = "error",
    vectors: VectorsOption = None,
    truncate: TruncateOption = None,
    window_tokens: WindowTokensOption = 256,
    overlap: OverlapOption = 1,
    overwrite: OverwriteOption = False,
    quiet: QuietOption = False,
    config: ConfigOption = None,
    model_dir: ModelDirOption = None,
    offline: OfflineOption = None,
    engine: EngineOption = None,
    precision: PrecisionOption = None,
    threads: ThreadsOption = None,
) -> None:
    """Draw a map of a file's texts: what is alike lies together. A page to explore, or a picture."""
    with told():
        from embedrouter.bulk.maps import Map, column_values, map_target, shown, write_map
        from embedrouter.tasks.projection import project

        target = map_target(output, file, overwrite=overwrite)
        settings = load(model_flags(model_dir, offline, engine, precision, threads), os.environ, config)
        options = reading(column, input_format, on_empty, window_tokens, overlap)
        with loaded(file, settings, options, vectors=vectors, truncate=truncate, quiet=quiet) as everything:
            chosen = sampled(len(everything.texts.values), most, seed)
            drawn = everything.vectors[chosen]
            texts = [everything.texts.values[index] for index in chosen.tolist()]
            names, group, rest = _groups(everything, chosen.tolist(), by, k, seed, options)
            labels = column_values(everything.place, label, everything.texts, options) if label is not None else []
            points = project(drawn, method=method, seed=seed)
            of = f" of {len(everything.texts.values):,}" if len(texts) < len(everything.texts.values) else ""
            note_line = f"{len(texts):,}{of} texts, coloured by {by}; what is alike lies together"
            write_map(
                Map(
                    title or everything.place.name,
                    note_line,
                    points,
                    names,
                    group,
                    rest,
                    [(labels[index] or "") for index in chosen.tolist()] if labels else [],
                    shown(texts),
                ),
                target,
                dark=dark,
            )
        if not quiet:
            note(f"{len(texts):,}{of} texts, {len(names):,} groups -> {output}")


def _groups(
    everything: Loaded, chosen: list[int], by: str, k: int | None, seed: int, options: "InputOptions"
) -> tuple[list[str], list[int], str]:
    from embedrouter.bulk.maps import column_values, grouped_by

    if by != "cluster":
        values = column_values(everything.place, by, everything.texts, options)
        return grouped_by([values[index] for index in chosen], f"no {by}")
    from embedrouter.tasks.cluster import cluster

    texts = [everything.texts.values[index] for index in chosen]
    found = cluster(everything.vectors[chosen], k=k, texts=texts, seed=seed)
    titles = {one.label: one.title for one in found.clusters}
    twice = len(set(titles.values())) < len(titles)
    named = {label: f"{title} ({label})" if twice else title for label, title in titles.items()}
    return grouped_by([named.get(label) for label in found.labels.tolist()], "no cluster")
