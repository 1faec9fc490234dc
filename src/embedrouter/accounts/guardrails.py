"""Guardrails: what keys may use and spend. One a key, and one for all keys of a workspace: its default guardrail."""

import re
import uuid
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final, NamedTuple

import msgspec
from sqlalchemy import Connection, Row, RowMapping, Select, delete, func, insert, select, update

from embedrouter.accounts import marks
from embedrouter.catalog.constraints import Constraints
from embedrouter.errors import EmbedRouterError, InvalidRequestError, NotFoundError
from embedrouter.periods import Period
from embedrouter.store import Batch
from embedrouter.store.tables import api_keys, guardrail_keys, guardrails, workspaces

_IDS: Final = uuid.UUID("6d1f1a37-94c5-4b0e-8f63-2f1a2c9f8a51")  # of ids that are derived from others
_ID: Final = re.compile(r"[0-9a-f-]{36}")
_ZDR: Final = tuple(f"enforce_zdr_{whose}" for whose in ("anthropic", "google", "openai", "other", "xai"))


class Rules(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """The column `body`. Models by canonical slug, providers by slug, all lower case; None allows everybody."""

    description: str | None = None
    allowed_models: tuple[str, ...] | None = None
    ignored_models: tuple[str, ...] | None = None
    allowed_providers: tuple[str, ...] | None = None
    ignored_providers: tuple[str, ...] | None = None
    enforce_zdr: bool | None = None
    enforce_zdr_anthropic: bool | None = None
    enforce_zdr_google: bool | None = None
    enforce_zdr_openai: bool | None = None
    enforce_zdr_other: bool | None = None
    enforce_zdr_xai: bool | None = None
    enable_free_model_publication: bool | None = None
    enable_free_model_training: bool | None = None
    enable_paid_model_training: bool | None = None


class Guardrail(msgspec.Struct, frozen=True, kw_only=True):
    """A row of `guardrails`. Times are microseconds."""

    id: str
    workspace_id: str
    name: str
    limit_pico: int | None
    limit_reset: Period | None  # None: the limit is for ever
    include_byok_in_budgets: bool  # whether what own credentials pay for counts in its limit
    rules: Rules
    created_at: int
    updated_at: int


class NewGuardrail(NamedTuple):
    """What to make. The id is chosen by who asks, so that asking again makes no second one."""

    id: str
    workspace_id: str
    name: str
    limit_pico: int | None
    limit_reset: Period | None
    rules: Rules
    at: int
    include_byok_in_budgets: bool = False


class GuardrailChange(NamedTuple):
    """New values of some fields of one guardrail; a default one is made by its first change."""

    id: str
    at: int
    columns: Mapping[str, Any]  # name, limit_pico, limit_reset, include_byok_in_budgets
    rules: Mapping[str, Any]  # fields of `Rules`


class Assigning(NamedTuple):
    """Keys that get a guardrail, or lose it."""

    guardrail_id: str
    key_hashes: tuple[str, ...]
    by: str
    at: int


class Assignment(NamedTuple):
    """A key and its guardrail."""

    guardrail_id: str
    key_hash: str
    key_name: str
    key_label: str
    assigned_by: str
    created_at: int

    @property
    def id(self) -> str:
        """Of the assignment itself."""
        return str(uuid.uuid5(_IDS, f"assignment {self.guardrail_id} {self.key_hash}"))


_RULES: Final = msgspec.json.Decoder(Rules)


def default_id(workspace_id: str) -> str:
    """The id of a workspace's default guardrail, whether it was made yet or not."""
    return str(uuid.uuid5(_IDS, f"default guardrail {workspace_id}"))


def constraints_of(rules: Rules) -> Constraints:
    """What they allow, as routing reads it. Zero data retention for some models' makers is taken for all."""
    return Constraints(
        allowed_models=None if rules.allowed_models is None else frozenset(rules.allowed_models),
        ignored_models=frozenset(rules.ignored_models or ()),
        allowed_providers=None if rules.allowed_providers is None else frozenset(rules.allowed_providers),
        ignored_providers=frozenset(rules.ignored_providers or ()),
        zdr=any(getattr(rules, name) for name in _ZDR),
        no_training=rules.enable_paid_model_training is False,
    )


def with_zdr(given: Mapping[str, Any]) -> dict[str, Any]:
    """The deprecated `enforce_zdr` stands for each of the five fields that is not given itself."""
    if "enforce_zdr" not in given:
        return dict(given)
    return {**dict.fromkeys(_ZDR, given["enforce_zdr"]), **given}


def create(batch: Batch, wanted: Sequence[NewGuardrail]) -> Sequence[Guardrail | Exception]:
    """The writer's handler: makes guardrails. They enforce nothing before they are assigned."""
    return [_create(batch, one) for one in wanted]


def change(batch: Batch, changes: Sequence[GuardrailChange]) -> Sequence[Guardrail | Exception]:
    """The writer's handler: changes guardrails."""
    return [_change(batch, one) for one in changes]


def remove(batch: Batch, ids: Sequence[str]) -> Sequence[EmbedRouterError | None]:
    """The writer's handler: deletes guardrails; their keys have none then."""
    return [_remove(batch, one) for one in ids]


def assign(batch: Batch, wanted: Sequence[Assigning]) -> Sequence[int | Exception]:
    """The writer's handler: gives keys a guardrail in place of the one they had; how many."""
    return [_assign(batch, one) for one in wanted]


def unassign(batch: Batch, wanted: Sequence[Assigning]) -> Sequence[int | Exception]:
    """The writer's handler: takes a guardrail away from keys; how many had it."""
    return [_unassign(batch, one) for one in wanted]


def find(connection: Connection, id_: str) -> Guardrail:
    """One by its id. Raises NotFoundError, also for a default guardrail that nobody has configured yet."""
    row = None
    if _ID.fullmatch(id_):
        row = connection.execute(select(guardrails).where(guardrails.c.id == id_)).one_or_none()
    if row is None:
        raise _unknown()
    return _guardrail(row)


def list_guardrails(connection: Connection, workspace_id: str, limit: int, offset: int) -> list[Guardrail]:
    """A workspace's, the newest first."""
    query = select(guardrails).where(guardrails.c.workspace_id == workspace_id)
    query = query.order_by(guardrails.c.created_at.desc(), guardrails.c.id).limit(limit).offset(offset)
    return [_guardrail(row) for row in connection.execute(query)]


def count(connection: Connection, workspace_id: str) -> int:
    """Of a workspace's."""
    query = select(func.count()).where(guardrails.c.workspace_id == workspace_id)
    return int(connection.execute(query).scalar_one())


def all_guardrails(connection: Connection) -> list[Guardrail]:
    """Of all workspaces."""
    return [_guardrail(row) for row in connection.execute(select(guardrails))]


def guarded_keys(connection: Connection) -> dict[int, str]:
    """The guardrail of each key that has one, by the key's id."""
    rows = connection.execute(select(guardrail_keys.c.key_id, guardrail_keys.c.guardrail_id))
    return {row.key_id: row.guardrail_id for row in rows}


def assignments(connection: Connection, guardrail_id: str | None, limit: int, offset: int) -> list[Assignment]:
    """Of one guardrail or of all, the newest first. Deleted keys have none."""
    query = _assigned(
        select(
            guardrail_keys.c.guardrail_id,
            api_keys.c.hash,
            api_keys.c.name,
            api_keys.c.label,
            guardrail_keys.c.assigned_by,
            guardrail_keys.c.created_at,
        ),
        guardrail_id,
    )
    query = query.order_by(guardrail_keys.c.created_at.desc(), guardrail_keys.c.key_id).limit(limit).offset(offset)
    return [Assignment(*row) for row in connection.execute(query)]


def count_assignments(connection: Connection, guardrail_id: str | None) -> int:
    """As above."""
    return int(connection.execute(_assigned(select(func.count()), guardrail_id)).scalar_one())


def _assigned(query: Select[Any], guardrail_id: str | None) -> Select[Any]:
    query = query.select_from(guardrail_keys.join(api_keys)).where(api_keys.c.deleted_at.is_(None))
    return query if guardrail_id is None else query.where(guardrail_keys.c.guardrail_id == guardrail_id)


def _create(batch: Batch, wanted: NewGuardrail) -> Guardrail | Exception:
    connection = batch.connection
    if batch.again:
        there = connection.execute(select(guardrails).where(guardrails.c.id == wanted.id)).one_or_none()
        if there is not None:
            return _guardrail(there)
    known = connection.execute(select(workspaces.c.id).where(workspaces.c.id == wanted.workspace_id)).first()
    if known is None:
        return InvalidRequestError("workspace_id: no such workspace", metadata={"field": "workspace_id"})
    values = wanted._asdict()
    values |= {"body": _json(values.pop("rules")), "created_at": wanted.at, "updated_at": values.pop("at")}
    row = connection.execute(insert(guardrails).values(values).returning(guardrails)).one()
    marks.grow(batch, marks.RULES)
    return _guardrail(row)


def _change(batch: Batch, wanted: GuardrailChange) -> Guardrail | Exception:
    connection = batch.connection
    if not _ID.fullmatch(wanted.id):
        return _unknown()
    of_workspace = _default_of(connection, wanted.id)
    if of_workspace is not None and "name" in wanted.columns:
        return InvalidRequestError(
            "name: a default guardrail is named for its workspace; leave it out", metadata={"field": "name"}
        )
    row = connection.execute(select(guardrails).where(guardrails.c.id == wanted.id)).one_or_none()
    if row is None:
        if of_workspace is None:
            return _unknown()
        name = f"{of_workspace['name'][:190]} default"
        made = _create(batch, NewGuardrail(wanted.id, of_workspace["id"], name, None, None, Rules(), wanted.at))
        if isinstance(made, Exception):
            return made
    rules = Rules() if row is None else _RULES.decode(row.body)
    values = {**wanted.columns, "updated_at": wanted.at}
    values["body"] = _json(msgspec.structs.replace(rules, **wanted.rules))
    query = update(guardrails).where(guardrails.c.id == wanted.id).values(values).returning(guardrails)
    changed = connection.execute(query).one()
    marks.grow(batch, marks.RULES)
    return _guardrail(changed)


def _remove(batch: Batch, id_: str) -> EmbedRouterError | None:
    gone = batch.connection.execute(delete(guardrails).where(guardrails.c.id == id_))
    if gone.rowcount == 0 and not batch.again:
        return _unknown()
    marks.grow(batch, marks.RULES)
    return None


def _assign(batch: Batch, wanted: Assigning) -> int | Exception:
    ids = _keys(batch.connection, wanted)
    if isinstance(ids, Exception):
        return ids
    if _default_of(batch.connection, wanted.guardrail_id) is not None:
        return InvalidRequestError("a workspace's default guardrail holds for all its keys: it is assigned to none")
    batch.connection.execute(delete(guardrail_keys).where(guardrail_keys.c.key_id.in_(ids)))
    batch.connection.execute(
        insert(guardrail_keys),
        [
            {"key_id": one, "guardrail_id": wanted.guardrail_id, "assigned_by": wanted.by, "created_at": wanted.at}
            for one in ids
        ],
    )
    marks.grow(batch, marks.RULES)
    return len(ids)


def _unassign(batch: Batch, wanted: Assigning) -> int | Exception:
    ids = _keys(batch.connection, wanted)
    if isinstance(ids, Exception):
        return ids
    gone = batch.connection.execute(
        delete(guardrail_keys).where(
            guardrail_keys.c.key_id.in_(ids), guardrail_keys.c.guardrail_id == wanted.guardrail_id
        )
    )
    marks.grow(batch, marks.RULES)
    return gone.rowcount


def _keys(connection: Connection, wanted: Assigning) -> list[int] | Exception:
    """The ids of all keys that are named."""
    if connection.execute(select(guardrails.c.id).where(guardrails.c.id == wanted.guardrail_id)).first() is None:
        return _unknown()
    hashes = set(wanted.key_hashes)
    query = select(api_keys.c.id, api_keys.c.hash).where(api_keys.c.hash.in_(hashes), api_keys.c.deleted_at.is_(None))
    found = {row.hash: row.id for row in connection.execute(query)}
    missing = _first(one for one in wanted.key_hashes if one not in found)
    if missing is not None:
        index = wanted.key_hashes.index(missing)
        field = f"key_hashes[{index}]"
        return InvalidRequestError(f"{field}: no API key has this hash", metadata={"field": field})
    return sorted(found.values())


def _first(found: Iterable[str]) -> str | None:
    return next(iter(found), None)


def _default_of(connection: Connection, id_: str) -> RowMapping | None:
    """The workspace whose default guardrail this is."""
    rows = connection.execute(select(workspaces.c.id, workspaces.c.name)).mappings()
    return next((row for row in rows if default_id(row["id"]) == id_), None)


def _guardrail(row: Row[Any]) -> Guardrail:
    return Guardrail(
        id=row.id,
        workspace_id=row.workspace_id,
        name=row.name,
        limit_pico=row.limit_pico,
        limit_reset=row.limit_reset,
        include_byok_in_budgets=row.include_byok_in_budgets,
        rules=_RULES.decode(row.body),
        created_at=row.created_at,
        updated_at=row.updated_at,
    )


def _json(rules: Rules) -> str:
    return msgspec.json.encode(rules).decode()


def _unknown() -> NotFoundError:
    return NotFoundError("no guardrail has this id", metadata={"field": "id"})
