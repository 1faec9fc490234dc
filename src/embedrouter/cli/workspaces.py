"""embedrouter workspaces: groups of keys with budgets of their own. A running server takes changes in within 2 s."""

import re
from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated, Final, Literal

import msgspec
import typer

from embedrouter.cli.common import (
    ConfigOption,
    DatabaseUrlOption,
    DataDirOption,
    JsonOption,
    facts,
    money_of,
    note,
    plain,
    show,
    table,
    text_of,
    told,
)
from embedrouter.cli.store import Opened, reading, writing
from embedrouter.errors import InvalidRequestError, NotFoundError
from embedrouter.money import usd
from embedrouter.periods import INTERVAL_OF, INTERVALS, iso

if TYPE_CHECKING:
    from embedrouter.accounts.workspaces import Budget, Workspace

app = typer.Typer(help="Workspaces: list, make, show, their budgets and members.", no_args_is_help=True)
budget = typer.Typer(help="What all keys of a workspace may spend together.", no_args_is_help=True)
app.add_typer(budget, name="budget")

Interval = Literal["daily", "weekly", "monthly", "lifetime"]
Sort = Literal["price", "throughput", "latency"]

Which = Annotated[str, typer.Argument(help="The workspace's slug or id.", metavar="WORKSPACE", show_default=False)]
Of = Annotated[Interval, typer.Argument(help="In UTC; weeks begin on Monday.", show_default=False)]

_ALL: Final = 1_000_000


class BudgetShown(msgspec.Struct, frozen=True, kw_only=True):
    """A budget, and what is used of it in the period that runs; USD."""

    interval: Interval
    limit: float
    spent: float
    held: float
    remaining: float


class WorkspaceShown(msgspec.Struct, frozen=True, kw_only=True):
    """A workspace as these commands tell of it."""

    id: str
    slug: str
    name: str
    description: str | None
    default_provider_sort: Sort | None
    in_rankings: bool
    created_at: str
    budgets: list[BudgetShown]


class Member(msgspec.Struct, frozen=True, kw_only=True):
    """A user of this installation."""

    id: str
    email: str
    name: str
    role: str
    disabled: bool


class Removed(msgspec.Struct, frozen=True, kw_only=True):
    """What `budget remove` prints."""

    workspace: str
    interval: Interval
    deleted: bool = True


@app.command("list")
def list_(
    config: ConfigOption = None,
    data_dir: DataDirOption = None,
    database_url: DatabaseUrlOption = None,
    as_json: JsonOption = False,
) -> None:
    """All workspaces, the oldest first."""
    with told():
        from embedrouter.accounts.workspaces import list_budgets, list_workspaces
        from embedrouter.ledger.book import now

        with reading(config, data_dir, database_url) as store:
            found = store.read(list_workspaces, _ALL, 0)
            limits = store.read(list_budgets, now())
        shown = [_shown(one, [limit for limit in limits if limit.slug == one.slug]) for one in found]
        show(
            shown,
            as_json,
            lambda: table(
                ("slug", "name", "id", "budgets"), [(one.slug, one.name, one.id, _told(one.budgets)) for one in shown]
            ),
        )


@app.command()
def create(
    name: Annotated[str, typer.Option(help="For people.", show_default=False)],
    slug: Annotated[str, typer.Option(help="For commands and URLs: a-z, 0-9 and single hyphens.", show_default=False)],
    description: Annotated[str | None, typer.Option(help="What it is for.", show_default=False)] = None,
    sort: Annotated[
        Sort | None, typer.Option(help="For requests without a sort and an order of their own.", show_default=False)
    ] = None,
    private: Annotated[bool, typer.Option("--private", help="Keep it out of rankings and app pages.")] = False,
    config: ConfigOption = None,
    data_dir: DataDirOption = None,
    database_url: DatabaseUrlOption = None,
    as_json: JsonOption = False,
) -> None:
    """Make a workspace. Keys are put into it by POST or PATCH /keys."""
    with told():
        import uuid

        from embedrouter.accounts.workspaces import SLUG, NewWorkspace, Preferences, create
        from embedrouter.ledger.book import now

        if len(slug) > 50 or not re.fullmatch(SLUG, slug):
            raise InvalidRequestError("--slug must have 1 to 50 of a-z and 0-9, in words with single hyphens")
        if description is not None:
            text_of("--description", description, 500)
        preferences = Preferences(description=description, default_provider_sort=sort)
        named = text_of("--name", name, 100)
        with writing(config, data_dir, database_url) as store:  # which may make the default one, the older of the two
            new = NewWorkspace(str(uuid.uuid4()), named, slug, not private, preferences, now())
            made = store.write(create, new)
        _tell(made, [], as_json)


@app.command("show")
def show_workspace(
    which: Which,
    config: ConfigOption = None,
    data_dir: DataDirOption = None,
    database_url: DatabaseUrlOption = None,
    as_json: JsonOption = False,
) -> None:
    """One workspace with its budgets."""
    with told(), reading(config, data_dir, database_url) as store:
        _tell(*_read(store, which), as_json)


@app.command()
def members(
    which: Which,
    config: ConfigOption = None,
    data_dir: DataDirOption = None,
    database_url: DatabaseUrlOption = None,
    as_json: JsonOption = False,
) -> None:
    """Who belongs to a workspace: every user of this installation does."""
    with told():
        from embedrouter.accounts.users import list_users
        from embedrouter.accounts.workspaces import find

        with reading(config, data_dir, database_url) as store:
            store.read(find, which)
            people = store.database.read_now(lambda connection: list_users(connection, limit=_ALL))
        shown = [Member(id=u.id, email=u.email, name=u.name, role=u.role, disabled=u.disabled) for u in people]
        rows = [(one.id, one.email, one.name, one.role, "disabled" if one.disabled else "") for one in shown]
        show(shown, as_json, lambda: table(("id", "email", "name", "role", "state"), rows))


@budget.command("set")
def set_(
    which: Which,
    interval: Of,
    limit: Annotated[str, typer.Argument(help="More than 0.", metavar="USD", show_default=False)],
    config: ConfigOption = None,
    data_dir: DataDirOption = None,
    database_url: DatabaseUrlOption = None,
    as_json: JsonOption = False,
) -> None:
    """Set a budget; a longer interval's must be more than each shorter one's."""
    with told():
        from embedrouter.accounts.workspaces import BudgetChange, change_budget

        most = money_of("USD", limit)
        if most <= 0:
            raise InvalidRequestError("USD must be more than 0; `budget remove` takes a budget away")
        with writing(config, data_dir, database_url) as store:
            store.write(change_budget, BudgetChange(which, INTERVALS[interval], most))
            _tell(*_read(store.opened, which), as_json)


@budget.command()
def remove(
    which: Which,
    interval: Of,
    config: ConfigOption = None,
    data_dir: DataDirOption = None,
    database_url: DatabaseUrlOption = None,
    as_json: JsonOption = False,
) -> None:
    """Take a budget away."""
    with told():
        from embedrouter.accounts.workspaces import BudgetChange, change_budget

        with writing(config, data_dir, database_url) as store:
            found, limits = _read(store.opened, which)
            if INTERVALS[interval] not in {one.period for one in limits}:
                raise NotFoundError(f'the workspace "{found.slug}" has no {interval} budget')
            store.write(change_budget, BudgetChange(found.id, INTERVALS[interval], None))
        removed = Removed(workspace=found.slug, interval=interval)
        show(removed, as_json, lambda: note(f"removed the {interval} budget of {found.slug}"))


def _read(store: Opened, which: str) -> tuple["Workspace", list["Budget"]]:
    """One by its slug or id, and its budgets. Raises NotFoundError."""
    from embedrouter.accounts.workspaces import find, list_budgets
    from embedrouter.ledger.book import now

    found = store.read(find, which)
    return found, store.read(list_budgets, now(), found.id)


def _shown(found: "Workspace", limits: Sequence["Budget"]) -> WorkspaceShown:
    return WorkspaceShown(
        id=found.id,
        slug=found.slug,
        name=found.name,
        description=found.preferences.description,
        default_provider_sort=found.preferences.default_provider_sort,
        in_rankings=found.in_rankings,
        created_at=iso(found.created_at),
        budgets=[
            BudgetShown(
                interval=INTERVAL_OF[one.period],
                limit=usd(one.limit_pico),
                spent=usd(one.spent_pico),
                held=usd(one.held_pico),
                remaining=usd(max(0, one.limit_pico - one.spent_pico - one.held_pico)),
            )
            for one in limits
        ],
    )


def _tell(found: "Workspace", limits: Sequence["Budget"], as_json: bool) -> None:
    shown = _shown(found, limits)
    pairs = [(name, getattr(shown, name)) for name in shown.__struct_fields__ if name != "budgets"]
    show(shown, as_json, lambda: facts([*pairs, ("budgets", _told(shown.budgets) or None)]))


def _told(limits: Sequence[BudgetShown]) -> str:
    return ", ".join(f"{one.interval} {plain(one.spent)} of {plain(one.limit)} USD" for one in limits)
