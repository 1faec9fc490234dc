"""embedrouter catalog: providers, models and endpoints in the database. A running server takes them in within 2 s."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import msgspec
import typer

from embedrouter.cli.common import (
    ConfigOption,
    DatabaseUrlOption,
    DataDirOption,
    JsonOption,
    note,
    say,
    show,
    table,
    told,
)
from embedrouter.cli.store import Opened, Writing, actor, reading, writing
from embedrouter.errors import CatalogError, InvalidRequestError, NotFoundError

if TYPE_CHECKING:
    from embedrouter.catalog.entries import Sheet
    from embedrouter.catalog.load import Listed
    from embedrouter.catalog_keeper import CatalogKeeper
    from embedrouter.store.entries import Change

app = typer.Typer(help="Providers, models and endpoints: list, state, hide, check.", no_args_is_help=True)

Kind = Literal["provider", "model", "endpoint"]
KindArgument = Annotated[Kind, typer.Argument(help="provider, model or endpoint.", metavar="KIND")]
KeyArgument = Annotated[
    str, typer.Argument(help='The slug; of an endpoint "MODEL TAG", in quotes.', metavar="SLUG", show_default=False)
]


class Item(msgspec.Struct, frozen=True, kw_only=True):
    """An entry as these commands tell of it."""

    kind: Kind
    key: str
    source: str
    replaces: list[str]
    served: bool
    unserved_reason: str | None
    entry: dict[str, Any]


class Done(msgspec.Struct, frozen=True, kw_only=True):
    """What `set` and `remove` print."""

    changed: list[str]
    revision: int


class Checked(msgspec.Struct, frozen=True, kw_only=True):
    """What `check` prints."""

    valid: bool
    problems: list[str]
    models: list[str]  # that would be served


@app.command("list")
def list_(
    kind: Annotated[Kind | None, typer.Option(help="Only these.")] = None,
    config: ConfigOption = None,
    data_dir: DataDirOption = None,
    database_url: DatabaseUrlOption = None,
    as_json: JsonOption = False,
) -> None:
    """Every entry, whose word it is, and why it is not served. Credentials are looked for in this environment."""
    with told(), reading(config, data_dir, database_url) as store:
        items = [_item(one) for one in _keeper(store).loaded.listed if kind in (None, one.kind)]
        show(
            items,
            as_json,
            lambda: table(
                ("kind", "slug", "source", "served"),
                [(one.kind, one.key, one.source, one.unserved_reason or "yes") for one in items],
            ),
        )


@app.command("show")
def show_entry(
    kind: KindArgument,
    key: KeyArgument,
    config: ConfigOption = None,
    data_dir: DataDirOption = None,
    database_url: DatabaseUrlOption = None,
    as_json: JsonOption = False,
) -> None:
    """One entry, as TOML to change and to `set`."""
    with told(), reading(config, data_dir, database_url) as store:
        found = next((one for one in _keeper(store).loaded.listed if (one.kind, one.key) == (kind, key)), None)
        if found is None:
            raise NotFoundError(f'the catalog has no {kind} "{key[:200]}"; embedrouter catalog list shows what it has')
        show(_item(found), as_json, lambda: _print_entry(found))


@app.command("set")
def set_(
    file: Annotated[Path, typer.Argument(help="A TOML file of entries.", metavar="FILE.toml")],
    config: ConfigOption = None,
    data_dir: DataDirOption = None,
    database_url: DatabaseUrlOption = None,
    as_json: JsonOption = False,
) -> None:
    """State all entries of a file in the database, or none if one is wrong."""
    with told():
        from embedrouter.catalog.entries import body_of
        from embedrouter.store.entries import Change

        wanted = _read(file)
        if wanted.problems:
            raise CatalogError(wanted.problems)
        if not wanted.stated:
            raise InvalidRequestError(f"{file} states nothing: it needs [[providers]], [[models]] or [[endpoints]]")
        changes = [Change(stated.kind, stated.key, body_of(stated)) for stated in wanted.stated]
        with writing(config, data_dir, database_url) as store:
            _edit(store, changes, as_json)


@app.command()
def remove(
    kind: KindArgument,
    key: KeyArgument,
    hide: Annotated[bool, typer.Option("--hide", help="Hide what is shipped or in the file.")] = False,
    config: ConfigOption = None,
    data_dir: DataDirOption = None,
    database_url: DatabaseUrlOption = None,
    as_json: JsonOption = False,
) -> None:
    """Take back what the database states, so that the file's or the shipped entry holds again; or hide that, too."""
    with told():
        from embedrouter.store.entries import Change

        with writing(config, data_dir, database_url) as store:
            _edit(store, [Change(kind, key, '{"removed":true}' if hide else None)], as_json)


@app.command()
def check(
    file: Annotated[Path | None, typer.Argument(help="A TOML file of entries.", metavar="[FILE.toml]")] = None,
    config: ConfigOption = None,
    data_dir: DataDirOption = None,
    database_url: DatabaseUrlOption = None,
    as_json: JsonOption = False,
) -> None:
    """Whether the catalog holds together, with the entries of a file if one is given. Changes nothing. Status 1: no."""
    with told(), reading(config, data_dir, database_url) as store:
        from embedrouter.catalog.entries import Sheet

        found = _checked(_keeper(store), Sheet() if file is None else _read(file))
        show(found, as_json, lambda: _print_checked(found))
    if not found.valid:
        raise typer.Exit(1)


@app.command()
def export(
    everything: Annotated[bool, typer.Option("--all", help="What is shipped and in the file, too.")] = False,
    config: ConfigOption = None,
    data_dir: DataDirOption = None,
    database_url: DatabaseUrlOption = None,
    as_json: JsonOption = False,
) -> None:
    """What the database states, as TOML for `set` or for a catalog.toml."""
    with told(), reading(config, data_dir, database_url) as store:
        listed = [one for one in _keeper(store).loaded.listed if everything or one.source == "database"]
        show([_item(one) for one in listed], as_json, lambda: _print_entries(listed))


def _keeper(store: Opened) -> "CatalogKeeper":
    """The catalog as a server in this environment would serve it."""
    from embedrouter.catalog.builtin import ALIASES, SLUG, builtin_model
    from embedrouter.catalog_keeper import CatalogKeeper

    settings = store.settings
    keeper = CatalogKeeper(
        store.database,
        builtin=builtin_model("fp32"),  # which one it computes in, no other entry depends on
        aliases={**dict.fromkeys(ALIASES, SLUG), **settings.model_aliases},
        file=settings.catalog,
        data_dir=settings.data_dir,
        mending=True,
    )
    if keeper.broken is not None:
        note(f"what the database states is left out, since it does not hold together: {keeper.broken.message}")
    return keeper


def _read(path: Path) -> "Sheet":
    """A file's entries, as the database would state them."""
    from embedrouter.catalog import files
    from embedrouter.catalog.entries import Sheet

    found = files.read(path)
    return Sheet(tuple(stated._replace(source="database") for stated in found.stated), found.problems)


def _edit(store: Writing, changes: Sequence["Change"], as_json: bool) -> None:
    from embedrouter.ledger.book import now
    from embedrouter.store.entries import Edit, edit

    after = store.write(edit, Edit(tuple(changes), now(), actor(), _keeper(store.opened).judge))
    done = Done(changed=[f"{change.kind} {change.slug}" for change in changes], revision=after.revision)
    show(done, as_json, lambda: note(f"changed: {', '.join(done.changed)}"))


def _checked(keeper: "CatalogKeeper", wanted: "Sheet") -> Checked:
    from embedrouter.catalog.entries import body_of
    from embedrouter.store.entries import Row

    rows: dict[tuple[str, str], Row] = {(row.kind, row.slug): row for row in keeper.snapshot.rows}
    rows |= {(one.kind, one.key): Row(one.kind, one.key, body_of(one), 0, "") for one in wanted.stated}
    problems = list(wanted.problems)
    models: list[str] = []
    try:
        models = [model.slug for model in keeper.attempt(rows.values()).catalog.models]
    except CatalogError as error:
        problems += error.problems
    return Checked(valid=not problems, problems=[str(problem) for problem in problems], models=models)


def _item(listed: "Listed") -> Item:
    from embedrouter.catalog.entries import document

    return Item(
        kind=listed.kind,
        key=listed.key,
        source=listed.source,
        replaces=list(listed.replaces),
        served=listed.unserved is None,
        unserved_reason=listed.unserved,
        entry=document(listed.entry),
    )


def _print_entry(listed: "Listed") -> None:
    replaced = f", instead of the one of: {', '.join(listed.replaces)}" if listed.replaces else ""
    say(f"# source: {listed.source}{replaced}")
    say(f"# served: {'yes' if listed.unserved is None else f'no, {listed.unserved}'}")
    _print_entries([listed])


def _print_entries(listed: Sequence["Listed"]) -> None:
    from embedrouter.catalog.entries import Stated
    from embedrouter.catalog.toml import text

    print(text(Stated(one.kind, one.key, one.source, "", one.entry) for one in listed), end="", flush=True)


def _print_checked(found: Checked) -> None:
    for problem in found.problems:
        say(problem)
    if found.valid:
        say(f"good: {len(found.models)} models would be served")
