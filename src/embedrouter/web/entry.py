"""/login, /logout, /setup: coming in and going out."""

from typing import Any

from litestar import Request, Response, get, post

from embedrouter.accounts.invites import Invite
from embedrouter.accounts.passwords import SHORTEST
from embedrouter.entrance import PUBLIC, Entrance
from embedrouter.errors import EmbedRouterError, NotFoundError
from embedrouter.web.forms import own_path, read_form, see_other
from embedrouter.web.frame import HOME
from embedrouter.web.layout import page

AnyRequest = Request[Any, Any, Any]


@get("/login", opt=PUBLIC)
async def login_page(request: AnyRequest, entrance: Entrance) -> Response[Any]:
    """The form; who is signed in goes on."""
    target = own_path(request.query_params.get("next"))
    if await entrance.signed_in(request) is not None:
        return see_other(target)
    return _login_page(request, "", target)


@post("/login", opt=PUBLIC)
async def log_in(request: AnyRequest, entrance: Entrance) -> Response[Any]:
    """Sign in and go on. A session that the browser had before ends."""
    form = await read_form(request)
    email, target = form.get("email", ""), own_path(form.get("next"))
    try:
        opened = await entrance.reception.sign_in(email, form.get("password", ""), entrance.origin(request))
    except EmbedRouterError as error:
        return _login_page(request, email[:320], target, error)
    if (before := await entrance.signed_in(request)) is not None:
        await entrance.reception.end_session(before.user, before.session.id)
    return see_other(target, [entrance.cookie(request, opened.token)])


@post("/logout", opt=PUBLIC)
async def log_out(request: AnyRequest, entrance: Entrance) -> Response[Any]:
    """Sign out, also who is not signed in any more."""
    found = await entrance.signed_in(request)
    if found is not None:
        await entrance.reception.end_session(found.user, found.session.id)
    return see_other("/login", [entrance.cookie(request, "")])


@get("/setup", opt=PUBLIC)
async def setup_page(request: AnyRequest, entrance: Entrance) -> Response[Any]:
    """The form for a new user, if the link is good."""
    token = request.query_params.get("token") or ""
    return _setup_page(request, token, await entrance.reception.invitation(token), {})


@post("/setup", opt=PUBLIC)
async def set_up(request: AnyRequest, entrance: Entrance) -> Response[Any]:
    """Become a user and sign in."""
    form = await read_form(request)
    token = form.get("token", "")
    invite = await entrance.reception.invitation(token)
    try:
        opened = await entrance.reception.redeem(
            token, form.get("email", ""), form.get("name", ""), form.get("password", ""), entrance.origin(request)
        )
    except NotFoundError:
        raise
    except EmbedRouterError as error:
        return _setup_page(request, token, invite, form, error)
    return see_other(HOME, [entrance.cookie(request, opened.token)])


def _login_page(request: AnyRequest, email: str, target: str, error: EmbedRouterError | None = None) -> Response[str]:
    model = {"title": "Sign in", "email": email, "next": target}
    return page(request, "login.html", model, error=error)


def _setup_page(
    request: AnyRequest, token: str, invite: Invite, form: dict[str, str], error: EmbedRouterError | None = None
) -> Response[str]:
    model = {
        "title": "Set up" if invite.purpose == "setup" else "Welcome",
        "token": token,
        "invite": invite,
        "email": form.get("email", "")[:320],
        "name": form.get("name", "")[:200],
        "shortest": SHORTEST,
    }
    return page(request, "setup.html", model, error=error)
