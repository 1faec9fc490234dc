"""API keys: rows in the database, all of them in memory, found by their SHA-256.

A key has 256 random bits, so its SHA-256 needs no salt and no slow hash. The key itself is shown once, when it is made;
afterwards only its digest and a masked label exist. Every change gives its row a new revision, by which other
processes find it.
"""

import hashlib
import secrets
from collections.abc import Collection, Mapping, Sequence
from typing import Any, Final, Literal, NamedTuple

import msgspec
from sqlalchemy import Connection, bindparam, insert, select, update

from embedrouter.accounts import marks
from embedrouter.errors import ConflictError, InvalidRequestError, NotFoundError
from embedrouter.periods import Period
from embedrouter.store import Batch
from embedrouter.store.tables import api_keys, users, workspaces

PREFIX: Final = "sk-er-v1-"
SHORTEST: Final = 16  # characters of a key that an operator chooses
REVISION: Final = "keys_revision"  # in `marks`

# Built once, as those of marks.py.
_CHANGED_SINCE: Final = select(api_keys).where(api_keys.c.revision > bindparam("since")).order_by(api_keys.c.revision)

Source = Literal["api", "cli", "page", "environment", "first", "playground"]


class ApiKey(msgspec.Struct, frozen=True, kw_only=True):
    """A row of `api_keys`. Times are microseconds, money pico-USD."""

    id: int
    hash: str
    label: str
    name: str
    source: Source
    management: bool
    owner_id: str | None
    workspace_id: str
    disabled: bool
    private: bool
    limit_pico: int | None
    limit_reset: Period | None
    include_byok_in_limit: bool
    requests_per_minute: int | None
    tokens_per_minute: int | None
    max_concurrent: int | None
    external_user: str | None
    created_at: int
    updated_at: int | None
    expires_at: int | None
    deleted_at: int | None
    revision: int

    def usable(self, at: int) -> bool:
        """Whether it opens anything at the time `at` (microseconds)."""
        return not self.disabled and self.deleted_at is None and (self.expires_at is None or at < self.expires_at)


class NewKey(NamedTuple):
    """What to make. The secret's digest, never the secret, goes to the database."""

    digest: bytes
    label: str
    name: str
    source: Source
    at: int
    workspace_id: str
    management: bool = False
    owner_id: str | None = None
    private: bool = False
    limit_pico: int | None = None
    limit_reset: Period | None = None
    include_byok_in_limit: bool = False
    requests_per_minute: int | None = None
    tokens_per_minute: int | None = None
    max_concurrent: int | None = None
    external_user: str | None = None
    expires_at: int | None = None


class KeyChange(NamedTuple):
    """New values of some columns of one key. `owner_id`: change it only if it is this user's."""

    hash: str
    values: Mapping[str, Any]
    at: int
    owner_id: str | None = None


class KeyFilter(NamedTuple):
    """Which keys to list."""

    owner_id: str | None = None  # None: everybody's
    workspace_id: str | None = None
    include_disabled: bool = False
    not_expired_at: int | None = None  # leave out those that have expired by this time, in microseconds
    limit: int = 100
    offset: int = 0


def new_secret() -> str:
    """A key: `sk-er-v1-` and 64 hex digits."""
    return PREFIX + secrets.token_hex(32)


def digest_of(secret: str) -> bytes:
    """The raw SHA-256 of a key."""
    return hashlib.sha256(secret.encode("utf-8", "surrogateescape")).digest()


def masked(secret: str) -> str:
    """A label that names a key without giving it away."""
    start = len(PREFIX) if secret.startswith(PREFIX) else 0
    return f"{secret[: start + 3]}...{secret[-3:]}"


def create(batch: Batch, wanted: Sequence[NewKey]) -> Sequence[ApiKey | Exception]:
    """The writer's handler: makes keys."""
    return [_create(batch, one) for one in wanted]


def change(batch: Batch, changes: Sequence[KeyChange]) -> Sequence[ApiKey | Exception]:
    """The writer's handler: changes keys that are not deleted."""
    return [_change(batch, one) for one in changes]


def find(connection: Connection, hash_: str, owner_id: str | None = None) -> ApiKey:
    """One key by its hash, if it is this user's or any. Raises NotFoundError; a deleted key is not found."""
    query = select(api_keys).where(api_keys.c.hash == hash_, api_keys.c.deleted_at.is_(None))
    if owner_id is not None:
        query = query.where(api_keys.c.owner_id == owner_id)
    row = connection.execute(query).mappings().one_or_none()
    if row is None:
        raise NotFoundError("no API key has this hash", metadata={"field": "hash"})
    return ApiKey(**row)


def list_keys(connection: Connection, wanted: KeyFilter) -> list[ApiKey]:
    """The newest first."""
    query = select(api_keys).where(api_keys.c.deleted_at.is_(None))
    if wanted.owner_id is not None:
        query = query.where(api_keys.c.owner_id == wanted.owner_id)
    if wanted.workspace_id is not None:
        query = query.where(api_keys.c.workspace_id == wanted.workspace_id)
    if not wanted.include_disabled:
        query = query.where(api_keys.c.disabled.is_(False))
    if wanted.not_expired_at is not None:
        query = query.where(api_keys.c.expires_at.is_(None) | (api_keys.c.expires_at > wanted.not_expired_at))
    query = query.order_by(api_keys.c.id.desc()).limit(wanted.limit).offset(wanted.offset)
    return [ApiKey(**row) for row in connection.execute(query).mappings()]


def hashes_of(connection: Connection, ids: Collection[int]) -> dict[int, str]:
    """By number, of keys that are not deleted. ids: few."""
    query = select(api_keys.c.id, api_keys.c.hash).where(api_keys.c.id.in_(ids), api_keys.c.deleted_at.is_(None))
    return {row.id: row.hash for row in connection.execute(query)}


def keys_of(connection: Connection, ids: Collection[int]) -> dict[int, ApiKey]:
    """By number, those that are not deleted. ids: few."""
    query = select(api_keys).where(api_keys.c.id.in_(ids), api_keys.c.deleted_at.is_(None))
    return {row["id"]: ApiKey(**row) for row in connection.execute(query).mappings()}


def find_by_prefix(connection: Connection, prefix: str) -> ApiKey:
    """One key by its hash or the first 8 hex digits of it or more. Raises NotFoundError, InvalidRequestError."""
    wanted = prefix.lower()
    if len(wanted) < 8 or not set(wanted) <= set("0123456789abcdef"):
        # It is not repeated: it may be the key itself.
        raise InvalidRequestError("this is no key's hash: give the hash, or at least its first 8 hex digits")
    query = select(api_keys).where(api_keys.c.hash.startswith(wanted), api_keys.c.deleted_at.is_(None)).limit(2)
    rows = list(connection.execute(query).mappings())
    if not rows:
        raise NotFoundError(f"no API key has a hash that begins with {wanted[:12]}", metadata={"field": "hash"})
    if len(rows) > 1:
        raise InvalidRequestError(f"several keys have hashes that begin with {wanted[:12]}: give more digits")
    return ApiKey(**rows[0])


def changed_since(connection: Connection, revision: int) -> list[ApiKey]:
    """What changed after a revision, deleted keys included."""
    return [ApiKey(**row) for row in connection.execute(_CHANGED_SINCE, {"since": revision}).mappings()]


def _create(batch: Batch, wanted: NewKey) -> ApiKey | Exception:
    connection = batch.connection
    hash_ = wanted.digest.hex()
    there = connection.execute(select(api_keys).where(api_keys.c.hash == hash_)).mappings().one_or_none()
    if there is not None:  # made by the first try, whose answer was lost with the connection, or by somebody else
        return ApiKey(**there) if batch.again else ConflictError("this key exists already")
    known = connection.execute(select(workspaces.c.id).where(workspaces.c.id == wanted.workspace_id)).first()
    if known is None:
        return InvalidRequestError("workspace_id: no such workspace", metadata={"field": "workspace_id"})
    if wanted.owner_id is not None:
        owner = connection.execute(select(users.c.id).where(users.c.id == wanted.owner_id)).first()
        if owner is None:
            return InvalidRequestError("creator_user_id: no such user", metadata={"field": "creator_user_id"})
    values = wanted._asdict()
    del values["digest"], values["at"]
    row = connection.execute(
        insert(api_keys)
        .values(**values, hash=hash_, disabled=False, created_at=wanted.at, revision=marks.grow(batch, REVISION))
        .returning(api_keys)
    ).mappings()
    return ApiKey(**row.one())


def _change(batch: Batch, wanted: KeyChange) -> ApiKey | Exception:
    if "workspace_id" in wanted.values:
        known = select(workspaces.c.id).where(workspaces.c.id == wanted.values["workspace_id"])
        if batch.connection.execute(known).first() is None:
            return InvalidRequestError("workspace_id: no such workspace", metadata={"field": "workspace_id"})
    query = update(api_keys).where(api_keys.c.hash == wanted.hash, api_keys.c.deleted_at.is_(None))
    if wanted.owner_id is not None:
        query = query.where(api_keys.c.owner_id == wanted.owner_id)
    row = batch.connection.execute(
        query.values(**wanted.values, updated_at=wanted.at, revision=marks.grow(batch, REVISION)).returning(api_keys)
    ).mappings().one_or_none()  # fmt: skip
    if row is None and batch.again and "deleted_at" in wanted.values:  # the first try deleted it
        done = select(api_keys).where(
            api_keys.c.hash == wanted.hash, api_keys.c.deleted_at == wanted.values["deleted_at"]
        )
        row = batch.connection.execute(done).mappings().one_or_none()
    if row is None:
        return NotFoundError("no API key has this hash", metadata={"field": "hash"})
    return ApiKey(**row)
