"""/dashboard/users: everybody, for administrators; /dashboard/members: who belongs to the workspaces."""

from typing import Any, Final

from litestar import Request, Response, get, post

from embedrouter.accounts import users
from embedrouter.accounts.keys import KeyFilter, list_keys
from embedrouter.accounts.sessions import SignedIn
from embedrouter.accounts.users import Role, UserChange, normal_name
from embedrouter.context import Context
from embedrouter.entrance import ADMIN, SESSION, Entrance
from embedrouter.errors import EmbedRouterError
from embedrouter.ledger.book import now
from embedrouter.web.dashboard.fields import Question, one_of
from embedrouter.web.dashboard.frame import dashboard_page
from embedrouter.web.forms import read_form, see_other

AnyRequest = Request[Any, Any, Any]

HOME: Final = "/dashboard/users"
_ROLES: Final[dict[str, Role]] = {"admin": "admin", "member": "member"}
_CHANGES: Final[dict[str, dict[str, Any]]] = {
    "disable": {"disabled": True},
    "enable": {"disabled": False},
    "promote": {"role": "admin"},
    "demote": {"role": "member"},
}


@get(HOME, opt=ADMIN)
async def list_page(request: AnyRequest, entrance: Entrance, signed_in: SignedIn) -> Response[str]:
    """Everybody, the oldest first."""
    return await _listed(request, entrance, signed_in)


@post(HOME, opt=ADMIN)
async def invite(request: AnyRequest, entrance: Entrance, signed_in: SignedIn) -> Response[Any]:
    """A link to hand out, shown this once."""
    try:
        role = _ROLES[one_of(await read_form(request), "role", *_ROLES)]
        link = await entrance.reception.invite(role, signed_in.user)
    except EmbedRouterError as error:
        return await _listed(request, entrance, signed_in, error=error)
    return await _listed(request, entrance, signed_in, link=f"{entrance.address}/setup?token={link.token}")


@get("/dashboard/users/{id_:str}", opt=ADMIN)
async def user_page(
    request: AnyRequest, context: Context, entrance: Entrance, signed_in: SignedIn, id_: str
) -> Response[str]:
    """One user: his role, his sessions, his keys."""
    return await _shown(request, context, entrance, signed_in, id_)


@post("/dashboard/users/{id_:str}", opt=ADMIN)
async def change(
    request: AnyRequest, context: Context, entrance: Entrance, signed_in: SignedIn, id_: str
) -> Response[Any]:
    """Disable, enable, promote, demote or rename him, end his sessions, or make a link for a new password."""
    form = await read_form(request)
    link = None
    try:
        action = one_of(form, "action", *_CHANGES, "rename", "end", "reset")
        if action == "reset":
            token = await entrance.reception.reset_link(await _find(context, id_))
            link = f"{entrance.address}/reset?token={token}"
        elif action == "end":
            await entrance.reception.end_session(await _find(context, id_), form.get("session", ""))
        elif action == "rename":
            named = UserChange(id_, now(), name=normal_name(form.get("name", "")))
            await entrance.reception.change_user(named)
        else:
            await entrance.reception.change_user(UserChange(id_, now(), **_CHANGES[action]))
    except EmbedRouterError as error:
        return await _shown(request, context, entrance, signed_in, id_, error=error)
    if link is not None:
        return await _shown(request, context, entrance, signed_in, id_, link=link)
    return see_other(f"{HOME}/{users.safe_id(id_)}")


@get("/dashboard/users/{id_:str}/delete", opt=ADMIN)
async def ask(request: AnyRequest, context: Context, signed_in: SignedIn, id_: str) -> Response[str]:
    """Really?"""
    user = await _find(context, id_)
    question = Question(
        f"Delete {user.email}?",
        "He is signed out and his invitations are void. His keys go on, without an owner. This cannot be undone.",
        f"{HOME}/{user.id}/delete",
        "Delete the user",
        f"{HOME}/{user.id}",
    )
    return dashboard_page(request, signed_in, "dashboard/confirm.html", {"title": "Delete", "question": question})


@post("/dashboard/users/{id_:str}/delete", opt=ADMIN)
async def remove(
    request: AnyRequest, context: Context, entrance: Entrance, signed_in: SignedIn, id_: str
) -> Response[Any]:
    """Delete him."""
    try:
        await entrance.reception.remove_user(id_)
    except EmbedRouterError as error:
        return await _shown(request, context, entrance, signed_in, id_, error=error)
    return see_other(HOME)


@get("/dashboard/members", opt=SESSION)
async def members(request: AnyRequest, entrance: Entrance, signed_in: SignedIn) -> Response[str]:
    """Who works here; members are not told each other's addresses."""
    model = {"title": "Members", "members": [one for one in await entrance.reception.users() if not one.disabled]}
    return dashboard_page(request, signed_in, "dashboard/members.html", model)


async def _find(context: Context, id_: str) -> users.User:
    return await context.database.read(lambda connection: users.find(connection, id_))


async def _listed(
    request: AnyRequest,
    entrance: Entrance,
    me: SignedIn,
    *,
    link: str | None = None,
    error: EmbedRouterError | None = None,
) -> Response[str]:
    model = {"title": "Users", "users": await entrance.reception.users(), "link": link}
    return dashboard_page(request, me, "dashboard/users.html", model, error=error)


async def _shown(
    request: AnyRequest,
    context: Context,
    entrance: Entrance,
    me: SignedIn,
    id_: str,
    *,
    link: str | None = None,
    error: EmbedRouterError | None = None,
) -> Response[str]:
    user = await _find(context, id_)
    keys = KeyFilter(user.id, include_disabled=True, limit=1_000)
    model = {
        "title": user.email,
        "user": user,
        "sessions": await entrance.reception.sessions_of(user),
        "keys": await context.database.read(lambda connection: list_keys(connection, keys)),
        "mine": me.session.id,
        "link": link,
    }
    return dashboard_page(request, me, "dashboard/user.html", model, error=error)
