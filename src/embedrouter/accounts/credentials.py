"""Providers' credentials: sealed in the database, added, changed and removed by the writer.

They are sealed inside the transaction that writes them, under the writers' lock: so none is written with a key that a
rotation, which reseals all rows in one transaction, is about to drop.
"""

import logging
from collections.abc import Mapping, Sequence
from typing import Any, Final, Literal, NamedTuple

import msgspec
from sqlalchemy import Connection, RowMapping, Select, delete, func, insert, select, update

from embedrouter.accounts import marks
from embedrouter.accounts.sealing import Sealer, Secret, Subject, key_id
from embedrouter.errors import EmbedRouterError, InvalidRequestError, NotFoundError
from embedrouter.store import Batch
from embedrouter.store.tables import api_keys, credentials, workspaces

log = logging.getLogger(__name__)

REVISION: Final = "credentials"  # in `marks`
_TOTAL: Final = select(func.count()).select_from(credentials)

Region = Literal["global", "europe", "us"]

_LISTS: Final = ("allowed_models", "allowed_api_key_hashes", "allowed_user_ids")


class StoredCredential(msgspec.Struct, frozen=True, kw_only=True):
    """A row of `credentials` without what is sealed. Times are microseconds; None in a list's place: all."""

    id: str
    provider: str  # slug
    name: str | None
    label: str
    disabled: bool
    is_fallback: bool
    is_required: bool
    is_byok_only: bool
    sort_order: int
    workspace_id: str | None  # None: all
    allowed_models: tuple[str, ...] | None
    allowed_api_key_hashes: tuple[str, ...] | None
    allowed_user_ids: tuple[str, ...] | None
    declared_region: Region | None
    declared_zdr: bool | None
    created_by: str
    created_at: int
    updated_at: int


class NewCredential(NamedTuple):
    """What to add. `id` is a new UUID, so that a repeated try finds what the first one wrote."""

    sealer: Sealer
    id: str
    provider: str
    secret: Secret
    at: int
    created_by: str
    workspace_id: str | None
    name: str | None = None
    disabled: bool = False
    is_fallback: bool = False
    is_required: bool = False
    is_byok_only: bool = False
    allowed_models: Sequence[str] | None = None
    allowed_api_key_hashes: Sequence[str] | None = None
    allowed_user_ids: Sequence[str] | None = None
    declared_region: Region | None = None
    declared_zdr: bool | None = None


class CredentialChange(NamedTuple):
    """New values of some columns, and maybe another secret."""

    sealer: Sealer
    id: str
    values: Mapping[str, Any]
    at: int
    secret: Secret | None = None


class Move(NamedTuple):
    """One place earlier or later among its provider's."""

    id: str
    earlier: bool
    at: int


class CredentialFilter(NamedTuple):
    """Which to list."""

    workspace_id: str | None = None  # of this workspace, and of all
    provider: str | None = None
    limit: int = 50
    offset: int = 0


class Sealed(NamedTuple):
    """A row with what is sealed."""

    stored: StoredCredential
    sealed: str

    @property
    def subject(self) -> Subject:
        """The row that the seal belongs to."""
        return Subject(self.stored.id, self.stored.provider)


class Snapshot(NamedTuple):
    """What a process keeps in memory, with what tells whether it is still so."""

    revision: int
    rows: list[Sealed]


def masked(secret: str) -> str:
    """The first 3 and the last 4 characters of a long secret; nothing of a short one."""
    return f"{secret[:3]}...{secret[-4:]}" if len(secret) >= 16 and secret.isprintable() else "..."


def add(batch: Batch, wanted: Sequence[NewCredential]) -> Sequence[StoredCredential | Exception]:
    """The writer's handler: seals and adds."""
    return [_add(batch, one) for one in wanted]


def change(batch: Batch, changes: Sequence[CredentialChange]) -> Sequence[StoredCredential | Exception]:
    """The writer's handler."""
    return [_change(batch, one) for one in changes]


def move(batch: Batch, moves: Sequence[Move]) -> Sequence[Exception | None]:
    """The writer's handler: changes the order in which a provider's are tried."""
    return [_move(batch, one) for one in moves]


def remove(batch: Batch, ids: Sequence[str]) -> Sequence[Exception | None]:
    """The writer's handler: the row goes, with what is sealed in it."""
    return [_remove(batch, one) for one in ids]


def reseal(batch: Batch, sealers: Sequence[Sealer]) -> Sequence[int | Exception]:
    """The writer's handler: seals every row with the first key; how many. If one does not open, none is touched."""
    return [_reseal(batch, one) for one in sealers]


def find(connection: Connection, id_: str) -> StoredCredential:
    """Raises NotFoundError."""
    row = connection.execute(select(credentials).where(credentials.c.id == id_)).mappings().one_or_none()
    if row is None:
        raise no_such()
    return _stored(row)


def list_credentials(connection: Connection, wanted: CredentialFilter) -> list[StoredCredential]:
    """By provider, in the order they are tried in."""
    query = _filtered(select(credentials), wanted).order_by(
        credentials.c.provider, credentials.c.sort_order, credentials.c.id
    )
    return [_stored(row) for row in connection.execute(query.limit(wanted.limit).offset(wanted.offset)).mappings()]


def count(connection: Connection, wanted: CredentialFilter) -> int:
    """How many there are, whatever limit and offset."""
    query = _filtered(select(func.count()).select_from(credentials), wanted)
    return int(connection.execute(query).scalar_one())


def snapshot(connection: Connection) -> Snapshot:
    """All of them."""
    rows = connection.execute(select(credentials).order_by(credentials.c.id)).mappings()
    return Snapshot(revision(connection), [Sealed(_stored(row), row["sealed"]) for row in rows])


def revision(connection: Connection) -> int:
    """Grows with every change."""
    return marks.value(connection, REVISION)


def total(connection: Connection) -> int:
    """How many rows: a workspace that is deleted takes its own with it, and tells no revision."""
    return int(connection.execute(_TOTAL).scalar_one())


def no_such() -> NotFoundError:
    """For an id that is none, too."""
    return NotFoundError("no credential has this id", metadata={"field": "id"})


def _add(batch: Batch, wanted: NewCredential) -> StoredCredential | Exception:
    connection = batch.connection
    there = connection.execute(select(credentials).where(credentials.c.id == wanted.id)).mappings().one_or_none()
    if there is not None:
        return _stored(there)
    if wanted.workspace_id is not None:
        known = select(workspaces.c.id).where(workspaces.c.id == wanted.workspace_id)
        if connection.execute(known).first() is None:
            return InvalidRequestError("workspace_id: no such workspace", metadata={"field": "workspace_id"})
    values = wanted._asdict()
    del values["sealer"], values["secret"], values["at"]
    wrong = _wrong_together(values) or _wrong_hash(connection, wanted.allowed_api_key_hashes)
    if wrong is not None:
        return wrong
    try:
        sealed = wanted.sealer.seal(wanted.secret, Subject(wanted.id, wanted.provider))
    except EmbedRouterError as error:
        return _told(error)
    last = select(func.coalesce(func.max(credentials.c.sort_order), -1)).where(
        credentials.c.provider == wanted.provider
    )
    row = connection.execute(
        insert(credentials)
        .values(
            **_columns(values),
            label=masked(wanted.secret.reveal()),
            sealed=sealed,
            sort_order=connection.execute(last).scalar_one() + 1,
            created_at=wanted.at,
            updated_at=wanted.at,
        )
        .returning(credentials)
    ).mappings()
    _changed(batch)
    return _stored(row.one())


def _change(batch: Batch, wanted: CredentialChange) -> StoredCredential | Exception:
    connection = batch.connection
    row = connection.execute(select(credentials).where(credentials.c.id == wanted.id)).mappings().one_or_none()
    if row is None:
        return no_such()
    wrong = _wrong_together({**row, **wanted.values})
    wrong = wrong or _wrong_hash(connection, wanted.values.get("allowed_api_key_hashes"))
    if wrong is not None:
        return wrong
    values = _columns(wanted.values)
    if wanted.secret is not None:
        try:
            values["sealed"] = wanted.sealer.seal(wanted.secret, Subject(wanted.id, row["provider"]))
        except EmbedRouterError as error:
            return _told(error)
        values["label"] = masked(wanted.secret.reveal())
    query = update(credentials).where(credentials.c.id == wanted.id).values(**values, updated_at=wanted.at)
    changed = connection.execute(query.returning(credentials)).mappings().one()
    _changed(batch)
    return _stored(changed)


def _move(batch: Batch, wanted: Move) -> Exception | None:
    connection = batch.connection
    try:
        provider = find(connection, wanted.id).provider
    except NotFoundError as error:
        return error
    query = select(credentials.c.id).where(credentials.c.provider == provider)
    order = list(connection.execute(query.order_by(credentials.c.sort_order, credentials.c.id)).scalars())
    place = order.index(wanted.id)
    order.insert(max(0, place - 1) if wanted.earlier else place + 1, order.pop(place))
    for number, id_ in enumerate(order):
        same = (credentials.c.id == id_) & (credentials.c.sort_order != number)
        connection.execute(update(credentials).where(same).values(sort_order=number, updated_at=wanted.at))
    _changed(batch)
    return None


def _remove(batch: Batch, id_: str) -> Exception | None:
    gone = batch.connection.execute(delete(credentials).where(credentials.c.id == id_)).rowcount
    if not gone and not batch.again:  # the first try may have removed it
        return no_such()
    _changed(batch)
    return None


def _reseal(batch: Batch, sealer: Sealer) -> int | Exception:
    found = snapshot(batch.connection).rows
    try:
        first = sealer.current()[0].id if found else ""
        todo = [row for row in found if key_id(row.sealed) != first]
        sealed = [sealer.seal(sealer.open(row.sealed, row.subject), row.subject) for row in todo]
    except EmbedRouterError as error:
        return error
    for row, text in zip(todo, sealed, strict=True):
        batch.connection.execute(update(credentials).where(credentials.c.id == row.stored.id).values(sealed=text))
    if todo:
        _changed(batch)
    return len(todo)


def _filtered(query: Select[Any], wanted: CredentialFilter) -> Select[Any]:
    if wanted.workspace_id is not None:
        of = credentials.c.workspace_id
        query = query.where((of == wanted.workspace_id) | of.is_(None))
    if wanted.provider is not None:
        query = query.where(credentials.c.provider == wanted.provider)
    return query


def _stored(row: RowMapping) -> StoredCredential:
    values = {name: row[name] for name in StoredCredential.__struct_fields__}
    for name in _LISTS:
        values[name] = None if values[name] is None else msgspec.json.decode(values[name], type=tuple[str, ...])
    return StoredCredential(**values)


def _columns(values: Mapping[str, Any]) -> dict[str, Any]:
    """As the table keeps them: lists as JSON."""
    found = dict(values)
    for name in _LISTS:
        if found.get(name) is not None:
            found[name] = msgspec.json.encode(list(found[name])).decode()
    return found


def _wrong_together(values: Mapping[str, Any]) -> Exception | None:
    if values["is_fallback"] and values["is_byok_only"]:
        return InvalidRequestError(
            "is_byok_only: a fallback comes after shared capacity, so it cannot replace it; set is_fallback to false",
            metadata={"field": "is_byok_only"},
        )
    return None


def _wrong_hash(connection: Connection, hashes: Sequence[str] | None) -> Exception | None:
    query = select(api_keys.c.hash).where(api_keys.c.hash.in_(hashes or ()), api_keys.c.deleted_at.is_(None))
    known = set(connection.execute(query).scalars())
    for hash_ in hashes or ():
        if hash_ not in known:
            return InvalidRequestError(
                f"allowed_api_key_hashes: no API key has the hash {hash_}", metadata={"field": "allowed_api_key_hashes"}
            )
    return None


def _told(error: EmbedRouterError) -> EmbedRouterError:
    """Clients are not told what is wrong with our keys; the log is."""
    log.error("a credential could not be sealed: %s", error.message)
    return error


def _changed(batch: Batch) -> None:
    marks.grow(batch, REVISION)
