"""Private endpoints: a workspace's own deployment of a model. Drafted, validated, activated; disabled, enabled.

Only a draft can be edited, and only what was validated as it is can be activated.
"""

from collections.abc import Sequence
from typing import Any, Final, Literal, NamedTuple

import msgspec
from sqlalchemy import Connection, RowMapping, delete, func, insert, select, update

from embedrouter.accounts import marks
from embedrouter.accounts.credentials import Region
from embedrouter.errors import ConflictError, InvalidRequestError, NotFoundError, UnprocessableError
from embedrouter.periods import DAY, SECOND
from embedrouter.store import Batch
from embedrouter.store.tables import credentials, private_endpoints, workspaces

REVISION: Final = "private_endpoints"  # in `marks`
VALID_FOR: Final = DAY * SECOND  # microseconds; a validation that is older is stale
MOST: Final = 1_000  # in all: each is kept in memory

Status = Literal["draft", "active", "disabled"]
Reason = Literal[
    "invalid_base_url", "model_not_found", "provider_not_found", "no_byok_key", "key_decryption_failed",
    "upstream_error", "invalid_response", "model_mismatch",
]  # fmt: skip


class Pricing(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Declared prices, in USD a token, as decimal strings."""

    prompt: str
    completion: str
    cache_read: str | None = None
    cache_write: str | None = None


class Upstream(msgspec.Struct, frozen=True, kw_only=True):
    """What a private endpoint says of its deployment."""

    upstream_model_id: str
    base_url: str | None  # None: the provider's own
    pricing: Pricing
    declared_region: Region | None = None
    declared_zdr: bool | None = None


class Check(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One thing that was looked at."""

    name: str
    passed: bool
    reason: Reason | None = None
    upstream_status: int | None = None
    upstream_message: str | None = None
    actual_model: str | None = None


class Validation(msgspec.Struct, frozen=True, kw_only=True):
    """What was found, with whose credential."""

    workspace_id: str
    credential_id: str | None
    checks: tuple[Check, ...]

    @property
    def passed(self) -> bool:
        """Whether every check did."""
        return all(check.passed for check in self.checks)


class PrivateEndpoint(msgspec.Struct, frozen=True, kw_only=True):
    """A row of `private_endpoints`. Times are microseconds."""

    id: str
    workspace_id: str | None  # None until activated
    model_permaslug: str
    provider_slug: str
    status: Status
    upstream: Upstream
    validation: Validation | None  # the last one
    validated_at: int | None  # of what it says now; None: not, or not any more
    created_by: str
    created_at: int
    updated_at: int


class NewPrivateEndpoint(NamedTuple):
    """What to draft. `id` is a new UUID."""

    id: str
    model_permaslug: str
    provider_slug: str
    upstream: Upstream
    at: int
    created_by: str
    idempotency_key: str | None = None
    request_hash: str | None = None  # of the body that the idempotency key came with


class Edit(NamedTuple):
    """New values of a draft's upstream. What is not named stays; declarations only while the upstream is the same."""

    id: str
    values: dict[str, Any]
    at: int


class Repricing(NamedTuple):
    """Other declared prices."""

    id: str
    pricing: Pricing
    at: int


class Validated(NamedTuple):
    """A validation of a draft as it was at `of` (its updated_at)."""

    id: str
    of: int
    validation: Validation
    at: int


class Activation(NamedTuple):
    """workspace_id: None takes the one it was validated for."""

    id: str
    at: int
    workspace_id: str | None = None


class Switch(NamedTuple):
    """Disable or enable what was activated."""

    id: str
    status: Literal["active", "disabled"]
    at: int


class Removal(NamedTuple):
    """What to delete. draft_only: not if it was ever activated."""

    id: str
    draft_only: bool = False


def create(batch: Batch, wanted: Sequence[NewPrivateEndpoint]) -> Sequence[PrivateEndpoint | Exception]:
    """The writer's handler: makes drafts. A known idempotency key gives what it made before, as it is now."""
    return [_create(batch, one) for one in wanted]


def edit(batch: Batch, wanted: Sequence[Edit]) -> Sequence[PrivateEndpoint | Exception]:
    """The writer's handler: edits drafts; whatever changes clears the validation."""
    return [_edit(batch, one) for one in wanted]


def reprice(batch: Batch, wanted: Sequence[Repricing]) -> Sequence[PrivateEndpoint | Exception]:
    """The writer's handler: declared prices, also of what is active."""
    return [_reprice(batch, one) for one in wanted]


def note_validation(batch: Batch, wanted: Sequence[Validated]) -> Sequence[PrivateEndpoint | Exception]:
    """The writer's handler: what a validation found, unless the draft was edited meanwhile."""
    return [_note(batch, one) for one in wanted]


def activate(batch: Batch, wanted: Sequence[Activation]) -> Sequence[PrivateEndpoint | Exception]:
    """The writer's handler: makes validated drafts routable."""
    return [_activate(batch, one) for one in wanted]


def switch(batch: Batch, wanted: Sequence[Switch]) -> Sequence[PrivateEndpoint | Exception]:
    """The writer's handler: disables and enables."""
    return [_switch(batch, one) for one in wanted]


def remove(batch: Batch, wanted: Sequence[Removal]) -> Sequence[Exception | None]:
    """The writer's handler."""
    return [_remove(batch, one) for one in wanted]


def find(connection: Connection, id_: str) -> PrivateEndpoint:
    """Raises NotFoundError."""
    query = select(private_endpoints).where(private_endpoints.c.id == id_)
    row = connection.execute(query).mappings().one_or_none()
    if row is None:
        raise no_such()
    return _read(row)


def list_private_endpoints(connection: Connection) -> list[PrivateEndpoint]:
    """All, drafts too, the oldest first."""
    query = select(private_endpoints).order_by(private_endpoints.c.created_at, private_endpoints.c.id)
    return [_read(row) for row in connection.execute(query).mappings()]


def revision(connection: Connection) -> int:
    """Grows with every change."""
    return marks.value(connection, REVISION)


def no_such() -> NotFoundError:
    """For an id that is none, too."""
    return NotFoundError("no private endpoint has this id", metadata={"field": "id"})


def edited(upstream: Upstream, values: dict[str, Any]) -> Upstream:
    """The upstream after an edit."""
    moved = any(
        name in values and values[name] != getattr(upstream, name) for name in ("upstream_model_id", "base_url")
    )
    cleared = {"declared_region": None, "declared_zdr": None} if moved else {}
    return msgspec.structs.replace(upstream, **{**cleared, **values})


def refusal(of: PrivateEndpoint, wanted: Activation) -> ConflictError | None:
    """Why it cannot be activated now."""
    if of.status != "draft":
        return ConflictError(f"it is {of.status} already: only a draft can be activated")
    if of.validation is None or of.validated_at is None:
        return _conflict("not_validated", "it was not validated as it is now: POST /private-endpoints/{id}/validate")
    if wanted.at - of.validated_at > VALID_FOR:
        return _conflict("validation_stale", "its validation is older than a day: validate it again")
    if wanted.workspace_id not in (None, of.validation.workspace_id):
        return _conflict("validation_stale", "it was validated for another workspace: validate it for this one")
    return None


def _create(batch: Batch, wanted: NewPrivateEndpoint) -> PrivateEndpoint | Exception:
    connection = batch.connection
    same = private_endpoints.c.id == wanted.id
    if wanted.idempotency_key is not None:
        same = same | (private_endpoints.c.idempotency_key == wanted.idempotency_key)
    there = connection.execute(select(private_endpoints).where(same)).mappings().one_or_none()
    if there is not None:
        if there["request_hash"] != wanted.request_hash:
            return UnprocessableError(
                "idempotency_key_reused: this Idempotency-Key came with another request before; send a new one",
                metadata={"reason": "idempotency_key_reused"},
            )
        return _read(there)
    if connection.execute(select(func.count()).select_from(private_endpoints)).scalar_one() >= MOST:
        return ConflictError(
            f"there are {MOST:,} private endpoints: delete some", metadata={"reason": "endpoint_limit_reached"}
        )
    row = connection.execute(
        insert(private_endpoints)
        .values(
            id=wanted.id,
            model_permaslug=wanted.model_permaslug,
            provider_slug=wanted.provider_slug,
            status="draft",
            body=_json(wanted.upstream),
            idempotency_key=wanted.idempotency_key,
            request_hash=wanted.request_hash,
            created_by=wanted.created_by,
            created_at=wanted.at,
            updated_at=wanted.at,
        )
        .returning(private_endpoints)
    ).mappings()
    return _read(row.one())


def _edit(batch: Batch, wanted: Edit) -> PrivateEndpoint | Exception:
    known = _found(batch, wanted.id)
    if isinstance(known, Exception):
        return known
    if known.status != "draft":
        return ConflictError(f"it is {known.status}: only a draft can be edited; delete it and make another")
    upstream = edited(known.upstream, wanted.values)
    if upstream == known.upstream:
        return known
    return _set(batch, wanted.id, wanted.at, body=_json(upstream), checks=None, validated_at=None)


def _reprice(batch: Batch, wanted: Repricing) -> PrivateEndpoint | Exception:
    known = _found(batch, wanted.id)
    if isinstance(known, Exception):
        return known
    upstream = msgspec.structs.replace(known.upstream, pricing=wanted.pricing)
    return _set(batch, wanted.id, known.updated_at, body=_json(upstream))


def _note(batch: Batch, wanted: Validated) -> PrivateEndpoint | Exception:
    known = _found(batch, wanted.id)
    if isinstance(known, Exception):
        return known
    if known.status != "draft" or known.updated_at != wanted.of:
        return _conflict("validation_stale", "it was changed while it was validated: validate it again")
    found = wanted.validation
    at = wanted.at if found.passed else None
    return _set(batch, wanted.id, known.updated_at, checks=_json(found), validated_at=at)


def _activate(batch: Batch, wanted: Activation) -> PrivateEndpoint | Exception:
    known = _found(batch, wanted.id)
    if isinstance(known, Exception):
        return known
    if batch.again and known.status == "active":
        return known
    refused = refusal(known, wanted)
    if refused is not None:
        return refused
    assert known.validation is not None
    used, of = known.validation.credential_id, known.validation.workspace_id
    brought = used is not None and ":" not in used  # the environment's are in no table
    if brought and batch.connection.execute(select(credentials.c.id).where(credentials.c.id == used)).first() is None:
        return _conflict("validation_stale", "the credential that it was validated with is gone: validate it again")
    if batch.connection.execute(select(workspaces.c.id).where(workspaces.c.id == of)).first() is None:
        return InvalidRequestError("workspace_id: no such workspace", metadata={"field": "workspace_id"})
    return _set(batch, wanted.id, wanted.at, status="active", workspace_id=of)


def _switch(batch: Batch, wanted: Switch) -> PrivateEndpoint | Exception:
    known = _found(batch, wanted.id)
    if isinstance(known, Exception):
        return known
    if known.status == "draft":
        return ConflictError("it is a draft, which nothing is routed to: validate and activate it first")
    return known if known.status == wanted.status else _set(batch, wanted.id, wanted.at, status=wanted.status)


def _remove(batch: Batch, wanted: Removal) -> Exception | None:
    known = _found(batch, wanted.id)
    if isinstance(known, Exception):
        return None if batch.again else known  # the first try may have removed it
    if wanted.draft_only and known.status != "draft":
        return ConflictError(f"it is {known.status}, and draft_only was asked for")
    batch.connection.execute(delete(private_endpoints).where(private_endpoints.c.id == wanted.id))
    _changed(batch)
    return None


def _found(batch: Batch, id_: str) -> PrivateEndpoint | NotFoundError:
    try:
        return find(batch.connection, id_)
    except NotFoundError as error:
        return error


def _set(batch: Batch, id_: str, at: int, **values: Any) -> PrivateEndpoint:
    query = update(private_endpoints).where(private_endpoints.c.id == id_).values(**values, updated_at=at)
    _changed(batch)
    return _read(batch.connection.execute(query.returning(private_endpoints)).mappings().one())


def _changed(batch: Batch) -> None:
    marks.grow(batch, REVISION)


def _read(row: RowMapping) -> PrivateEndpoint:
    told = {name: row[name] for name in PrivateEndpoint.__struct_fields__ if name not in ("upstream", "validation")}
    found = None if row["checks"] is None else msgspec.json.decode(row["checks"], type=Validation)
    return PrivateEndpoint(**told, upstream=msgspec.json.decode(row["body"], type=Upstream), validation=found)


def _json(of: msgspec.Struct) -> str:
    return msgspec.json.encode(of).decode()


def _conflict(reason: str, message: str) -> ConflictError:
    return ConflictError(message, metadata={"reason": reason})
