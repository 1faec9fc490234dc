"""/dashboard/keys: make, look at, change and delete keys. A member has his own, an administrator all."""

import re
from collections.abc import Mapping
from typing import Any, Final

from litestar import Request, Response, get, post

from embedrouter.accounts import keys
from embedrouter.accounts.first import WORKSPACE
from embedrouter.accounts.keys import ApiKey, KeyChange, KeyFilter, NewKey, digest_of, masked, new_secret
from embedrouter.accounts.sessions import SignedIn
from embedrouter.accounts.users import User
from embedrouter.accounts.workspaces import Workspace, list_workspaces
from embedrouter.context import Context
from embedrouter.entrance import SESSION, Entrance
from embedrouter.errors import ConflictError, EmbedRouterError, NotFoundError, PermissionDeniedError
from embedrouter.fields import bad_field
from embedrouter.ledger.book import now
from embedrouter.web.dashboard import key_form
from embedrouter.web.dashboard.belongs import belongs
from embedrouter.web.dashboard.frame import dashboard_page
from embedrouter.web.dashboard.key_list import listed
from embedrouter.web.dashboard.key_rows import KeyRow, rows_of
from embedrouter.web.dashboard.refusals import Refused
from embedrouter.web.dashboard.refusals import refused as of_form
from embedrouter.web.forms import read_form, see_other
from embedrouter.web.view import Crumb

AnyRequest = Request[Any, Any, Any]

_HASH: Final = re.compile(r"[0-9a-f]{64}")
_HERE: Final = "/dashboard/keys"
_DONE: Final = {
    "saved": "Saved. It holds from the next request on.",
    "disabled": "The key is disabled: it opens nothing until it is enabled again.",
    "enabled": "The key is enabled.",
}


@get(_HERE, opt=SESSION)
async def list_keys(request: AnyRequest, context: Context, signed_in: SignedIn) -> Response[str]:
    """The list."""
    model = await listed(context.database, request.query_params, signed_in.user, now())
    deleted = request.query_params.get("done") == "deleted"
    return dashboard_page(request, signed_in, "dashboard/keys.html", {"title": "Keys", "deleted": deleted, **model})


@get(f"{_HERE}/new", opt=SESSION)
async def new_key(request: AnyRequest, context: Context, signed_in: SignedIn) -> Response[str]:
    """The empty form."""
    return await _new_page(request, context, signed_in, {})


@post(_HERE, status_code=200, opt=SESSION)
async def make_key(request: AnyRequest, context: Context, entrance: Entrance, signed_in: SignedIn) -> Response[Any]:
    """The secret is in this answer, and nowhere else, ever: only its SHA-256 is kept."""
    fields = await read_form(request)
    secret, at = new_secret(), now()
    try:
        new = _new(fields, signed_in.user, secret, at)
        await _refuse_twice(context, new, fields.get("opened", ""))
        key = await context.writer.write(keys.create, new)
    except EmbedRouterError as error:
        return await _new_page(request, context, signed_in, fields, of_form(error))
    context.ring.learn(key)
    catalog = context.catalog.loaded.catalog
    model = {
        "title": "The key is made",
        "key": key,
        "secret": secret,
        "address": entrance.address,
        "slug": catalog.models[0].slug if catalog.models else "author/model",
    }
    return dashboard_page(request, signed_in, "dashboard/key_made.html", model)


@get(f"{_HERE}/{{hash_:str}}", opt=SESSION)
async def show_key(request: AnyRequest, context: Context, signed_in: SignedIn, hash_: str) -> Response[str]:
    """One key, and its form."""
    row = await _row(context, signed_in.user, hash_)
    done = _DONE.get(request.query_params.get("done", ""))
    return await _key_page(request, context, signed_in, row, key_form.shown(row.key), done=done)


@post(f"{_HERE}/{{hash_:str}}", status_code=200, opt=SESSION)
async def change_key(request: AnyRequest, context: Context, signed_in: SignedIn, hash_: str) -> Response[Any]:
    """What the form says. What it does not name, as the workspace, stays."""
    row = await _row(context, signed_in.user, hash_)
    _require_may_change(signed_in.user, row.key)
    fields = await read_form(request)
    at = now()
    try:
        values = key_form.columns(key_form.read(fields), at, key_form.Kept(row.key.expires_at))
        await _change(context, signed_in.user, hash_, values, at)
    except NotFoundError:
        raise
    except EmbedRouterError as error:
        return await _key_page(request, context, signed_in, row, fields, refused=of_form(error))
    return see_other(f"{_HERE}/{hash_}?done=saved")


@post(f"{_HERE}/{{hash_:str}}/state", status_code=200, opt=SESSION)
async def change_state(request: AnyRequest, context: Context, signed_in: SignedIn, hash_: str) -> Response[Any]:
    """Disable, enable or delete it."""
    row = await _row(context, signed_in.user, hash_)
    _require_may_change(signed_in.user, row.key)
    action, at = (await read_form(request)).get("action", ""), now()
    match action:
        case "disable" | "enable":
            await _change(context, signed_in.user, hash_, {"disabled": action == "disable"}, at)
            return see_other(f"{_HERE}/{hash_}?done={action}d")
        case "delete":
            await _change(context, signed_in.user, hash_, {"deleted_at": at}, at)
            return see_other(f"{_HERE}?done=deleted")
    raise bad_field("action", "expected disable, enable or delete")


def _new(fields: Mapping[str, str], me: User, secret: str, at: int) -> NewKey:
    form = key_form.read(fields)
    if not me.is_admin:
        if form.management:
            raise PermissionDeniedError(
                "management: only administrators make management keys", metadata={"field": "management"}
            )
        form = key_form.in_default_workspace(form)
    return NewKey(
        digest=digest_of(secret),
        label=masked(secret),
        source="page",
        at=at,
        workspace_id=form.workspace_id,
        management=form.management,
        owner_id=me.id,
        **key_form.columns(form, at),
    )


async def _refuse_twice(context: Context, new: NewKey, opened: str) -> None:
    """Raise ConflictError for a form that was sent already, as by reloading the page that told the secret."""
    since = int(opened) if opened.isascii() and opened.isdecimal() and len(opened) < 18 else new.at
    mine = KeyFilter(new.owner_id, include_disabled=True)
    newest = await context.database.read(lambda connection: keys.list_keys(connection, mine))
    if any(key.name == new.name and key.created_at >= since for key in newest):
        raise ConflictError(
            "name: a key with this name was made from this form already, and its secret was shown then; give another "
            "name to make one more",
            metadata={"field": "name"},
        )


async def _change(context: Context, me: User, hash_: str, values: Mapping[str, Any], at: int) -> None:
    context.ring.learn(await context.writer.write(keys.change, KeyChange(hash_, values, at, me.sees_only)))


async def _row(context: Context, me: User, hash_: str) -> KeyRow:
    """A key that this user may see. Raises NotFoundError: what he may not see is not there."""
    if not _HASH.fullmatch(hash_):
        raise NotFoundError("no API key has this hash")
    at = now()
    return await context.database.read(
        lambda connection: rows_of(connection, [keys.find(connection, hash_, me.sees_only)], at)[0]
    )


def _require_may_change(me: User, key: ApiKey) -> None:
    if key.management and not me.is_admin:
        raise PermissionDeniedError("Only administrators change management keys")


async def _new_page(
    request: AnyRequest,
    context: Context,
    me: SignedIn,
    fields: Mapping[str, str],
    refused: Refused | None = None,
) -> Response[str]:
    spaces: list[Workspace] = []
    if me.user.is_admin:
        spaces = await context.database.read(lambda connection: list_workspaces(connection, 1000, 0))
    model = {
        "title": "New key",
        "crumbs": (Crumb("Keys", _HERE), Crumb("New key")),
        "fields": fields,
        "refused": refused,
        "workspaces": spaces,
        "default_workspace": WORKSPACE,
        "opened": fields.get("opened") or now(),
    }
    status = None if refused is None else refused.error.status
    return dashboard_page(request, me, "dashboard/key_new.html", model, status=status)


async def _key_page(
    request: AnyRequest,
    context: Context,
    me: SignedIn,
    row: KeyRow,
    fields: Mapping[str, str],
    *,
    done: str | None = None,
    refused: Refused | None = None,
) -> Response[str]:
    model = {
        "title": row.key.name,
        "crumbs": (Crumb("Keys", _HERE), Crumb(row.key.name)),
        "row": row,
        "fields": fields,
        "refused": refused,
        "done": done,
        "belongs": await context.database.read(lambda connection: belongs(connection, row.key)),
        "may_change": me.user.is_admin or not row.key.management,
    }
    status = None if refused is None else refused.error.status
    return dashboard_page(request, me, "dashboard/key.html", model, status=status)
