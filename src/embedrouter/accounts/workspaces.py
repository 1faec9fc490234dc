"""Workspaces: rows in the database, their settings, and what each may spend."""

import re
import time
import uuid
from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Any, Final, Literal, NamedTuple

import msgspec
from sqlalchemy import Connection, Row, delete, func, insert, or_, select, update

from embedrouter.accounts import marks
from embedrouter.accounts.first import WORKSPACE
from embedrouter.accounts.keys import REVISION
from embedrouter.accounts.private_endpoints import REVISION as PRIVATE_ENDPOINTS
from embedrouter.errors import EmbedRouterError, InvalidRequestError, NotFoundError, PermissionDeniedError
from embedrouter.ledger.spent import Sum
from embedrouter.money import usd_price
from embedrouter.periods import INTERVAL_OF, INTERVALS, PERIODS, Period, start_of
from embedrouter.store import Batch
from embedrouter.store.tables import api_keys, budgets, guardrail_keys, guardrails, spending, workspaces

Sort = Literal["price", "throughput", "latency"]

SLUG: Final = r"^[a-z0-9]+(-[a-z0-9]+)*$(?!\n)"

_REF: Final = re.compile(r"[a-z0-9-]{1,100}")
_BREADTH: Final = tuple(INTERVALS.values())  # the narrowest first


class Preferences(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """The column `settings`. The default models are kept for those who ask; nothing here uses them."""

    description: str | None = None
    default_provider_sort: Sort | None = None
    default_text_model: str | None = None
    default_image_model: str | None = None
    created_by: str | None = None  # user
    budget_times: dict[Period, tuple[int, int]] = {}  # when each budget was made and last changed, microseconds


class Workspace(msgspec.Struct, frozen=True, kw_only=True):
    """A row of `workspaces`. Times are microseconds."""

    id: str
    name: str
    slug: str
    in_rankings: bool
    include_byok_in_budgets: bool  # whether what own credentials pay for counts in them
    preferences: Preferences
    created_at: int
    updated_at: int


class NewWorkspace(NamedTuple):
    """What to make. The id is chosen by who asks, so that asking again makes no second one."""

    id: str
    name: str
    slug: str
    in_rankings: bool
    preferences: Preferences
    at: int


class WorkspaceChange(NamedTuple):
    """New values of some fields of one workspace. ref: its id or slug."""

    ref: str
    at: int
    columns: Mapping[str, Any]  # name, slug, in_rankings
    preferences: Mapping[str, Any]  # fields of `Preferences`


class BudgetChange(NamedTuple):
    """What a workspace may spend in each period of a kind; None takes the budget away."""

    slug: str  # or its id
    period: Period
    limit_pico: int | None
    include_byok: bool | None = None  # of all its budgets; None leaves it


class Budget(NamedTuple):
    """A budget and what is used of it in the period that runs."""

    slug: str
    period: Period
    limit_pico: int
    spent_pico: int  # with what own credentials paid for, where it counts; so is what is held
    held_pico: int
    created_at: int
    updated_at: int


_PREFERENCES: Final = msgspec.json.Decoder(Preferences)


def create(batch: Batch, wanted: Sequence[NewWorkspace]) -> Sequence[Workspace | Exception]:
    """The writer's handler: makes workspaces."""
    return [_create(batch, one) for one in wanted]


def change(batch: Batch, changes: Sequence[WorkspaceChange]) -> Sequence[Workspace | Exception]:
    """The writer's handler: changes workspaces."""
    return [_change(batch, one) for one in changes]


def remove(batch: Batch, refs: Sequence[str]) -> Sequence[EmbedRouterError | None]:
    """The writer's handler: deletes workspaces (by id or slug) with all that is theirs but what they spent."""
    return [_remove(batch, ref) for ref in refs]


def change_budget(batch: Batch, changes: Sequence[BudgetChange]) -> Sequence[Exception | None]:
    """The writer's handler: sets budgets. Running servers take them in with their keys."""
    return [_change_budget(batch, one) for one in changes]


def find(connection: Connection, ref: str) -> Workspace:
    """One by its id or slug. Raises NotFoundError."""
    found = _lookup(connection, ref)
    if found is None:
        raise _unknown(ref)
    return found


def list_workspaces(connection: Connection, limit: int, offset: int) -> list[Workspace]:
    """The oldest first."""
    query = select(workspaces).order_by(workspaces.c.created_at, workspaces.c.id).limit(limit).offset(offset)
    return [_workspace(row) for row in connection.execute(query)]


def count(connection: Connection) -> int:
    """Of all workspaces."""
    return int(connection.execute(select(func.count()).select_from(workspaces)).scalar_one())


def list_budgets(connection: Connection, at: int, ref: str | None = None) -> list[Budget]:
    """By workspace, the shortest period first. at: now, in microseconds; ref: one workspace's id or slug."""
    query = select(workspaces, budgets.c.period, budgets.c.limit_pico).join_from(budgets, workspaces)
    if ref is not None:
        query = query.where(workspaces.c.id == find(connection, ref).id)
    found = []
    for row in connection.execute(query.order_by(workspaces.c.slug)):
        used = connection.execute(
            select(spending).where(
                spending.c.scope == "workspace",
                spending.c.scope_id == row.id,
                spending.c.period == row.period,
                spending.c.start == start_of(row.period, at),
            )
        ).one_or_none()
        # Of one made before its times were kept: its workspace's.
        times = _workspace(row).preferences.budget_times.get(row.period, (row.created_at, row.updated_at))
        of = Sum() if used is None else Sum(used.spent_pico, used.held_pico, used.byok_pico, used.byok_held_pico)
        spent, held, *_ = of.counted(byok=row.include_byok_in_budgets)
        found.append(Budget(row.slug, row.period, row.limit_pico, spent, held, *times))
    order = (*PERIODS[1:], PERIODS[0])
    return sorted(found, key=lambda budget: (budget.slug, order.index(budget.period)))


def wrong_order(limits: dict[Period, int]) -> str | None:
    """What contradicts `lifetime > monthly > weekly > daily`, for a person; None if nothing does."""
    there = [(period, limits[period]) for period in _BREADTH if period in limits]
    for (narrow, less), (broad, more) in pairwise(there):
        if less >= more:
            return (
                f"the {INTERVAL_OF[narrow]} budget ({usd_price(less)}) must be less than the {INTERVAL_OF[broad]} one "
                f"({usd_price(more)})"
            )
    return None


def _create(batch: Batch, wanted: NewWorkspace) -> Workspace | Exception:
    if batch.again and (there := _lookup(batch.connection, wanted.id)) is not None and there.id == wanted.id:
        return there
    if (taken := _taken(batch.connection, wanted.slug, wanted.id)) is not None:
        return taken
    values = {
        "id": wanted.id,
        "name": wanted.name,
        "slug": wanted.slug,
        "in_rankings": wanted.in_rankings,
        "settings": _json(wanted.preferences),
        "created_at": wanted.at,
        "updated_at": wanted.at,
    }
    return _workspace(batch.connection.execute(insert(workspaces).values(values).returning(workspaces)).one())


def _change(batch: Batch, wanted: WorkspaceChange) -> Workspace | Exception:
    there = _lookup(batch.connection, wanted.ref)
    if there is None:
        return _unknown(wanted.ref)
    slug = wanted.columns.get("slug")
    if isinstance(slug, str) and (taken := _taken(batch.connection, slug, there.id)) is not None:
        return taken
    kept = msgspec.structs.replace(there.preferences, **wanted.preferences)
    query = update(workspaces).where(workspaces.c.id == there.id).returning(workspaces)
    values = {**wanted.columns, "settings": _json(kept), "updated_at": wanted.at}
    return _workspace(batch.connection.execute(query.values(values)).one())


def _remove(batch: Batch, ref: str) -> EmbedRouterError | None:
    connection = batch.connection
    there = _lookup(connection, ref)
    if there is None:
        return None if batch.again else _unknown(ref)
    if there.id == WORKSPACE:
        return PermissionDeniedError("the default workspace cannot be deleted")
    if refusal := _in_use(connection, there):
        return InvalidRequestError(f"the workspace {refusal}", metadata={"field": "id"})
    # Deleted keys stay, for what they spent is theirs; they open nothing in the default workspace either.
    connection.execute(
        update(api_keys)
        .where(api_keys.c.workspace_id == there.id)
        .values(workspace_id=WORKSPACE, revision=marks.grow(batch, REVISION))
    )
    connection.execute(delete(workspaces).where(workspaces.c.id == there.id))
    marks.grow(batch, marks.RULES)
    marks.grow(batch, marks.PRESETS)
    marks.grow(batch, PRIVATE_ENDPOINTS)
    return None


def _in_use(connection: Connection, there: Workspace) -> str | None:
    """Why it cannot go."""
    keys = select(func.count()).where(api_keys.c.workspace_id == there.id, api_keys.c.deleted_at.is_(None))
    if active := connection.execute(keys).scalar_one():
        return f"has {active} API keys; delete them or move them to another workspace first"
    guarded = (
        select(func.count())
        .select_from(guardrail_keys.join(guardrails).join(api_keys))
        .where(guardrails.c.workspace_id == there.id, api_keys.c.deleted_at.is_(None))
    )
    if assigned := connection.execute(guarded).scalar_one():
        return f"has guardrails that are assigned to {assigned} keys of other workspaces; unassign them first"
    return None


def _change_budget(batch: Batch, wanted: BudgetChange) -> Exception | None:
    connection = batch.connection
    there = _lookup(connection, wanted.slug)
    if there is None:
        return _unknown(wanted.slug)
    rows = connection.execute(select(budgets.c.period, budgets.c.limit_pico).where(budgets.c.workspace_id == there.id))
    limits: dict[Period, int] = {row.period: row.limit_pico for row in rows}
    times = dict(there.preferences.budget_times)
    at = time.time_ns() // 1000
    if wanted.limit_pico is None:
        connection.execute(delete(budgets).where(budgets.c.workspace_id == there.id, budgets.c.period == wanted.period))
        times.pop(wanted.period, None)
    else:
        if wanted.limit_pico < 0:
            return InvalidRequestError("a budget must not be negative", metadata={"field": "limit"})
        if (wrong := wrong_order({**limits, wanted.period: wanted.limit_pico})) is not None:
            return InvalidRequestError(f"limit_usd: {wrong}", metadata={"field": "limit_usd"})
        added = batch.database.insert(budgets)
        connection.execute(
            added.on_conflict_do_update(
                index_elements=[budgets.c.workspace_id, budgets.c.period], set_={"limit_pico": wanted.limit_pico}
            ),
            {"workspace_id": there.id, "period": wanted.period, "limit_pico": wanted.limit_pico},
        )
        made = times.get(wanted.period, (there.created_at, 0))[0] if wanted.period in limits else at
        times[wanted.period] = (made, at)
    values: dict[str, Any] = {"settings": _json(msgspec.structs.replace(there.preferences, budget_times=times))}
    if wanted.include_byok is not None:
        values["include_byok_in_budgets"] = wanted.include_byok
    connection.execute(update(workspaces).where(workspaces.c.id == there.id).values(values))
    return None


def preferences_of(settings: str) -> Preferences:
    """The column `settings`, read."""
    return _PREFERENCES.decode(settings)


def _lookup(connection: Connection, ref: str) -> Workspace | None:
    if not _REF.fullmatch(ref):
        return None
    rows = [
        _workspace(row)
        for row in connection.execute(select(workspaces).where(or_(workspaces.c.id == ref, workspaces.c.slug == ref)))
    ]
    return min(rows, key=lambda found: found.id != ref, default=None)  # an id before a slug that looks like it


def _taken(connection: Connection, slug: str, id_: str) -> InvalidRequestError | None:
    """Why a workspace cannot have this slug."""
    try:
        uuid.UUID(slug)
    except ValueError:
        there = connection.execute(select(workspaces.c.id).where(workspaces.c.slug == slug, workspaces.c.id != id_))
        if there.first() is None:
            return None
        return InvalidRequestError(f'slug: another workspace has the slug "{slug}"', metadata={"field": "slug"})
    return InvalidRequestError("slug: must not look like an id", metadata={"field": "slug"})


def _workspace(row: Row[tuple[object, ...]]) -> Workspace:
    return Workspace(
        id=row.id,
        name=row.name,
        slug=row.slug,
        in_rankings=row.in_rankings,
        include_byok_in_budgets=row.include_byok_in_budgets,
        preferences=preferences_of(row.settings),
        created_at=row.created_at,
        updated_at=row.updated_at,
    )


def _json(preferences: Preferences) -> str:
    return msgspec.json.encode(preferences).decode()


def _unknown(ref: str) -> NotFoundError:
    return NotFoundError(f'no workspace has the id or slug "{ref[:100]}"', metadata={"field": "workspace"})
