"""/keys: make, list, change and delete API keys. With a management key."""

import re
from typing import Annotated, Any, Final, Literal

import msgspec
from litestar import Request, Response, delete, get, patch, post
from litestar.params import Parameter
from msgspec import UNSET, Meta, UnsetType

from embedrouter.accounts import keys
from embedrouter.accounts.first import WORKSPACE
from embedrouter.accounts.key_terms import Concurrent, Name, PerMinute, Time, TokensPerMinute, Usd, expiry
from embedrouter.accounts.keys import ApiKey, KeyChange, KeyFilter, NewKey, digest_of, masked, new_secret
from embedrouter.api.auth import MANAGEMENT
from embedrouter.api.body import read_small
from embedrouter.api.deleted import Deleted
from embedrouter.context import Context
from embedrouter.errors import NotFoundError
from embedrouter.fields import bad_field, plain, sent
from embedrouter.ledger.book import now
from embedrouter.ledger.spent import NOTHING, Spent, spent_by_keys
from embedrouter.money import pico_usd, usd
from embedrouter.periods import RESET_OF, RESETS, Reset, iso

Id = Annotated[str, Meta(min_length=1, max_length=40)]
User = Annotated[str, Meta(min_length=1, max_length=256)]

_HASH: Final = re.compile(r"[0-9a-f]{64}")


class External(msgspec.Struct, frozen=True, kw_only=True):
    """Whom a partner makes a key for."""

    user: User
    api_key: str | None = None


class CreateKey(msgspec.Struct, frozen=True, kw_only=True):
    """The body of POST /keys."""

    name: Name
    limit: Usd | None = None
    limit_reset: Reset | None = None
    expires_at: Time | None = None
    include_byok_in_limit: bool | None = None
    workspace_id: Id | None = None
    creator_user_id: Id | None = None
    external_user: User | None = None
    external: External | None = None
    # Beyond OpenRouter.
    requests_per_minute: PerMinute | None = None
    tokens_per_minute: TokensPerMinute | None = None
    max_concurrent: Concurrent | None = None
    private: bool | None = None
    management: bool | None = None


class UpdateKey(msgspec.Struct, frozen=True, kw_only=True):
    """The body of PATCH /keys/{hash}: what is left out stays; null removes a limit."""

    name: Name | UnsetType = UNSET
    disabled: bool | UnsetType = UNSET
    limit: Usd | UnsetType | None = UNSET
    limit_reset: Reset | UnsetType | None = UNSET
    include_byok_in_limit: bool | UnsetType = UNSET
    workspace_id: Id | UnsetType = UNSET
    # Beyond OpenRouter.
    expires_at: Time | UnsetType | None = UNSET
    external_user: User | UnsetType | None = UNSET
    requests_per_minute: PerMinute | UnsetType | None = UNSET
    tokens_per_minute: TokensPerMinute | UnsetType | None = UNSET
    max_concurrent: Concurrent | UnsetType | None = UNSET
    private: bool | UnsetType = UNSET


class Usage(msgspec.Struct, frozen=True, kw_only=True):
    """What a key has spent, in USD. `byok`: what own credentials at providers paid for, by list price."""

    usage: float
    usage_daily: float
    usage_weekly: float
    usage_monthly: float
    byok_usage: float
    byok_usage_daily: float
    byok_usage_weekly: float
    byok_usage_monthly: float


class KeyItem(Usage, frozen=True, kw_only=True):
    """A key, as managers see it. Never its secret."""

    hash: str
    name: str
    label: str
    disabled: bool
    limit: float | None
    limit_remaining: float | None
    limit_reset: Reset | None
    include_byok_in_limit: bool
    created_at: str
    updated_at: str | None
    creator_user_id: str | None
    expires_at: str | None
    workspace_id: str
    external_user: str | None
    last_used_at: str | None
    # Beyond OpenRouter.
    requests_per_minute: int | None
    tokens_per_minute: int | None
    max_concurrent: int | None
    private: bool
    management: bool


class KeyAnswer(msgspec.Struct, frozen=True):
    """One key."""

    data: KeyItem


class KeyList(msgspec.Struct, frozen=True):
    """A page of keys, the newest first."""

    data: list[KeyItem]


class MadeKey(msgspec.Struct, frozen=True):
    """A key that was just made, with its secret, which is told this once."""

    data: KeyItem
    key: str


_CREATE: Final = msgspec.json.Decoder(CreateKey)
_UPDATE: Final = msgspec.json.Decoder(UpdateKey)


@get("/keys", summary="List the API keys", tags=["API keys"], operation_id="listKeys", opt=MANAGEMENT)
async def list_keys(
    context: Context,
    offset: Annotated[int, Parameter(ge=0, le=1_000_000, description="Keys to pass over.")] = 0,
    limit: Annotated[int, Parameter(ge=1, le=100, description="Keys to return at most.")] = 100,
    include_disabled: Literal["true", "false"] | None = None,
    include_expired: Literal["true", "false"] | None = None,
    workspace_id: Annotated[str | None, Parameter(max_length=40, description="If left out: the default one.")] = None,
) -> KeyList:
    """The keys of a workspace, the newest first; disabled and expired ones only where that is asked for."""
    at = now()
    wanted = KeyFilter(
        workspace_id=WORKSPACE if workspace_id is None else plain("workspace_id", workspace_id),
        include_disabled=include_disabled == "true",
        not_expired_at=None if include_expired == "true" else at,
        limit=limit,
        offset=offset,
    )

    def query(connection: Any) -> list[KeyItem]:
        found = keys.list_keys(connection, wanted)
        spent = spent_by_keys(connection, [key.id for key in found], at)
        return [_item(key, spent.get(key.id, NOTHING)) for key in found]

    return KeyList(await context.database.read(query))


@post("/keys", summary="Make an API key", tags=["API keys"], operation_id="createKeys", opt=MANAGEMENT)
async def create_key(request: Request[Any, Any, Any], context: Context) -> Response[MadeKey]:
    """The key itself is in this answer and nowhere else, ever: only its SHA-256 is kept."""
    wanted = await read_small(request, _CREATE, context.settings.body_timeout_s)
    secret, at = new_secret(), now()
    external_user = wanted.external_user
    if wanted.external is not None:
        if wanted.external.api_key is not None:
            raise bad_field("external.api_key", "this server makes all keys itself; leave it out")
        external_user = wanted.external.user
    key = await context.writer.write(
        keys.create,
        NewKey(
            digest=digest_of(secret),
            label=masked(secret),
            name=plain("name", wanted.name),
            source="api",
            at=at,
            workspace_id=plain("workspace_id", wanted.workspace_id or WORKSPACE),
            management=wanted.management or False,
            owner_id=wanted.creator_user_id and plain("creator_user_id", wanted.creator_user_id),
            private=wanted.private or False,
            limit_pico=None if wanted.limit is None else pico_usd(wanted.limit),
            limit_reset=None if wanted.limit_reset is None else RESETS[wanted.limit_reset],
            include_byok_in_limit=wanted.include_byok_in_limit or False,
            requests_per_minute=wanted.requests_per_minute,
            tokens_per_minute=wanted.tokens_per_minute,
            max_concurrent=wanted.max_concurrent,
            external_user=external_user and plain("external_user", external_user),
            expires_at=None if wanted.expires_at is None else expiry(wanted.expires_at, at),
        ),
    )
    context.ring.learn(key)
    return Response(MadeKey(_item(key, NOTHING), secret), headers={"Cache-Control": "no-store"})


@get("/keys/{hash:str}", summary="Get an API key", tags=["API keys"], operation_id="getKey", opt=MANAGEMENT)
async def get_key(context: Context, hash: str) -> KeyAnswer:  # noqa: A002 (the path's own name)
    """One key by its hash."""
    _check(hash)
    return await _answer(context, hash)


@patch("/keys/{hash:str}", summary="Change an API key", tags=["API keys"], operation_id="updateKeys", opt=MANAGEMENT)
async def update_key(request: Request[Any, Any, Any], context: Context, hash: str) -> KeyAnswer:  # noqa: A002
    """Holds from the next request on; in other processes on the same database within 2 s."""
    _check(hash)
    wanted = await read_small(request, _UPDATE, context.settings.body_timeout_s)
    at = now()
    values = _changes(wanted, at)
    if values:
        context.ring.learn(await context.writer.write(keys.change, KeyChange(hash, values, at)))
    return await _answer(context, hash)


@delete(
    "/keys/{hash:str}",
    summary="Delete an API key",
    tags=["API keys"],
    operation_id="deleteKeys",
    status_code=200,
    opt=MANAGEMENT,
)
async def delete_key(context: Context, hash: str) -> Deleted:  # noqa: A002
    """It opens nothing from now on. What it has spent stays in the ledger."""
    _check(hash)
    at = now()
    context.ring.learn(await context.writer.write(keys.change, KeyChange(hash, {"deleted_at": at}, at)))
    return Deleted(deleted=True)


def usage_of(spent: Spent) -> dict[str, Any]:
    """The fields of `Usage`."""
    return {
        "usage": usd(spent.total.spent_pico),
        "usage_daily": usd(spent.day.spent_pico),
        "usage_weekly": usd(spent.week.spent_pico),
        "usage_monthly": usd(spent.month.spent_pico),
        "byok_usage": usd(spent.total.byok_pico),
        "byok_usage_daily": usd(spent.day.byok_pico),
        "byok_usage_weekly": usd(spent.week.byok_pico),
        "byok_usage_monthly": usd(spent.month.byok_pico),
    }


def limit_of(key: ApiKey, spent: Spent) -> dict[str, Any]:
    """The fields that tell a key's limit and what is left of it."""
    limit, left = key.limit_pico, None
    if limit is not None:
        left = spent.left(limit, key.limit_reset or "total", byok=key.include_byok_in_limit)
    return {
        "limit": None if limit is None else usd(limit),
        "limit_remaining": None if left is None else usd(left),
        "limit_reset": RESET_OF.get(key.limit_reset) if key.limit_reset else None,
        "include_byok_in_limit": key.include_byok_in_limit,
    }


def iso_or_none(at: int | None) -> str | None:
    """A time that may not be."""
    return None if at is None else iso(at)


async def _answer(context: Context, hash_: str) -> KeyAnswer:
    def query(connection: Any) -> KeyItem:
        key = keys.find(connection, hash_)
        return _item(key, spent_by_keys(connection, [key.id], now()).get(key.id, NOTHING))

    return KeyAnswer(await context.database.read(query))


def _item(key: ApiKey, spent: Spent) -> KeyItem:
    return KeyItem(
        **usage_of(spent),
        **limit_of(key, spent),
        hash=key.hash,
        name=key.name,
        label=key.label,
        disabled=key.disabled,
        created_at=iso(key.created_at),
        updated_at=iso_or_none(key.updated_at),
        creator_user_id=key.owner_id,
        expires_at=iso_or_none(key.expires_at),
        workspace_id=key.workspace_id,
        external_user=key.external_user,
        last_used_at=iso_or_none(spent.last_at),
        requests_per_minute=key.requests_per_minute,
        tokens_per_minute=key.tokens_per_minute,
        max_concurrent=key.max_concurrent,
        private=key.private,
        management=key.management,
    )


def _changes(wanted: UpdateKey, at: int) -> dict[str, Any]:
    """Columns and their new values. Only what is named here can be changed."""
    values = sent(wanted)
    for name in ("name", "workspace_id", "external_user"):
        if values.get(name) is not None:
            plain(name, values[name])
    if "limit" in values:
        limit = values.pop("limit")
        values["limit_pico"] = None if limit is None else pico_usd(limit)
    if values.get("limit_reset") is not None:
        values["limit_reset"] = RESETS[values["limit_reset"]]
    if values.get("expires_at") is not None:
        values["expires_at"] = expiry(values["expires_at"], at)
    return values


def _check(hash_: str) -> None:
    if not _HASH.fullmatch(hash_):
        raise NotFoundError("no API key has this hash", metadata={"field": "hash"})
