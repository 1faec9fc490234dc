"""/account: who I am, where I am signed in, my password; for administrators everybody, and invitations."""

from collections.abc import Mapping
from typing import Any, Final

from litestar import Request, Response, get, post

from embedrouter.accounts.passwords import SHORTEST
from embedrouter.accounts.sessions import SignedIn
from embedrouter.accounts.users import Role, UserChange
from embedrouter.entrance import ADMIN, SESSION, Entrance
from embedrouter.errors import EmbedRouterError, InvalidRequestError
from embedrouter.ledger.book import now
from embedrouter.web.forms import read_form, see_other
from embedrouter.web.layout import page

AnyRequest = Request[Any, Any, Any]

_HERE: Final = "/account"
_ROLES: Final[dict[str, Role]] = {"admin": "admin", "member": "member"}


@get("/account", opt=SESSION)
async def account(request: AnyRequest, entrance: Entrance, signed_in: SignedIn) -> Response[str]:
    """The page."""
    return await _page(request, entrance, signed_in)


@post("/account/password", opt=SESSION)
async def change_password(request: AnyRequest, entrance: Entrance, signed_in: SignedIn) -> Response[Any]:
    """Change my password; my other sessions end."""
    form = await read_form(request)
    current, new = form.get("current_password", ""), form.get("new_password", "")
    try:
        await entrance.reception.change_password(signed_in, current, new, entrance.origin(request))
    except EmbedRouterError as error:
        return await _page(request, entrance, signed_in, error=error)
    return await _page(
        request, entrance, signed_in, done="Your password is changed, and you are signed out everywhere else."
    )


@post("/account/sessions", opt=SESSION)
async def end_other_sessions(entrance: Entrance, signed_in: SignedIn) -> Response[Any]:
    """End all my sessions but this one."""
    await entrance.reception.end_others(signed_in)
    return see_other(_HERE)


@post("/account/sessions/{id_:str}", opt=SESSION)
async def end_session(entrance: Entrance, signed_in: SignedIn, id_: str) -> Response[Any]:
    """End one of my sessions."""
    await entrance.reception.end_session(signed_in.user, id_)
    return see_other(_HERE)


@post("/account/invites", opt=ADMIN)
async def invite(request: AnyRequest, entrance: Entrance, signed_in: SignedIn) -> Response[Any]:
    """A link to hand out, shown this once."""
    role = _ROLES.get((await read_form(request)).get("role", ""))
    if role is None:
        raise InvalidRequestError("role: expected admin or member")
    link = await entrance.reception.invite(role, signed_in.user)
    return await _page(request, entrance, signed_in, link=f"{entrance.address}/setup?token={link.token}")


@post("/account/users/{id_:str}", opt=ADMIN)
async def change_user(request: AnyRequest, entrance: Entrance, signed_in: SignedIn, id_: str) -> Response[Any]:
    """Disable, enable, promote, demote or delete a user."""
    action = (await read_form(request)).get("action", "")
    changes = {
        "disable": UserChange(id_, now(), disabled=True),
        "enable": UserChange(id_, now(), disabled=False),
        "promote": UserChange(id_, now(), role="admin"),
        "demote": UserChange(id_, now(), role="member"),
    }
    try:
        if action == "delete":
            await entrance.reception.remove_user(id_)
        elif action in changes:
            await entrance.reception.change_user(changes[action])
        else:
            raise InvalidRequestError("action: expected disable, enable, promote, demote or delete")
    except EmbedRouterError as error:
        return await _page(request, entrance, signed_in, error=error)
    return see_other(_HERE)


async def _page(
    request: AnyRequest,
    entrance: Entrance,
    me: SignedIn,
    *,
    error: EmbedRouterError | None = None,
    done: str | None = None,
    link: str | None = None,
) -> Response[str]:
    model: Mapping[str, Any] = {
        "title": "Account",
        "signed_in": me,
        "sessions": await entrance.reception.sessions_of(me.user),
        "users": await entrance.reception.users() if me.user.is_admin else [],
        "done": done,
        "link": link,
        "shortest": SHORTEST,
    }
    return page(request, "account.html", model, error=error)
