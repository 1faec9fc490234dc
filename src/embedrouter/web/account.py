"""/account: who I am, where I am signed in, my password; for administrators everybody, and invitations."""

from collections.abc import Mapping
from typing import Any, Final

from litestar import Request, Response, Router, get, post
from litestar.di import Provide

from embedrouter.accounts.passwords import SHORTEST
from embedrouter.accounts.sessions import SignedIn
from embedrouter.accounts.users import Role, UserChange
from embedrouter.entrance import ADMIN, PUBLIC, SESSION, Entrance, guard, signed_in
from embedrouter.errors import EmbedRouterError, InvalidRequestError
from embedrouter.ledger.book import now
from embedrouter.web import entry
from embedrouter.web.layout import HOME, on_error, page, read_form, see_other, style

AnyRequest = Request[Any, Any, Any]

_ROLES: Final[dict[str, Role]] = {"admin": "admin", "member": "member"}


@get("/account", opt=SESSION)
async def account(entrance: Entrance, signed_in: SignedIn) -> Response[str]:
    """The page."""
    return await _page(entrance, signed_in)


@post("/account/password", opt=SESSION)
async def change_password(request: AnyRequest, entrance: Entrance, signed_in: SignedIn) -> Response[Any]:
    """Change my password; my other sessions end."""
    form = await read_form(request)
    current, new = form.get("current_password", ""), form.get("new_password", "")
    try:
        await entrance.reception.change_password(signed_in, current, new, entrance.origin(request))
    except EmbedRouterError as error:
        return await _page(entrance, signed_in, error=error)
    return await _page(entrance, signed_in, done="Your password is changed, and you are signed out everywhere else.")


@post("/account/sessions", opt=SESSION)
async def end_other_sessions(entrance: Entrance, signed_in: SignedIn) -> Response[Any]:
    """End all my sessions but this one."""
    await entrance.reception.end_others(signed_in)
    return see_other(HOME)


@post("/account/sessions/{id_:str}", opt=SESSION)
async def end_session(entrance: Entrance, signed_in: SignedIn, id_: str) -> Response[Any]:
    """End one of my sessions."""
    await entrance.reception.end_session(signed_in.user, id_)
    return see_other(HOME)


@post("/account/invites", opt=ADMIN)
async def invite(request: AnyRequest, entrance: Entrance, signed_in: SignedIn) -> Response[Any]:
    """A link to hand out, shown this once."""
    role = _ROLES.get((await read_form(request)).get("role", ""))
    if role is None:
        raise InvalidRequestError("role: expected admin or member")
    link = await entrance.reception.invite(role, signed_in.user)
    return await _page(entrance, signed_in, link=f"{entrance.address}/setup?token={link.token}")


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
        return await _page(entrance, signed_in, error=error)
    return see_other(HOME)


@get("/assets/style.css", opt=PUBLIC)
async def style_sheet() -> Response[bytes]:
    """How it all looks."""
    headers = {"Cache-Control": "max-age=300", "X-Content-Type-Options": "nosniff"}
    return Response(style(), media_type="text/css", headers=headers)


def web_routes() -> Router:
    """All pages, closed to who is not signed in unless a route says otherwise."""
    return Router(
        "/",
        route_handlers=[
            entry.login_page,
            entry.log_in,
            entry.log_out,
            entry.setup_page,
            entry.set_up,
            account,
            change_password,
            end_other_sessions,
            end_session,
            invite,
            change_user,
            style_sheet,
        ],
        guards=[guard],
        dependencies={"signed_in": Provide(signed_in, sync_to_thread=False)},
        exception_handlers={EmbedRouterError: on_error},
        include_in_schema=False,
    )


async def _page(
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
    return page("account.html", model, error=error)
