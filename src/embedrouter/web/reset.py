"""/reset: a new password, by a link that an administrator made."""

from typing import Any

from litestar import Request, Response, get, post

from embedrouter.accounts.passwords import SHORTEST
from embedrouter.accounts.users import User
from embedrouter.entrance import PUBLIC, Entrance
from embedrouter.errors import EmbedRouterError, NotFoundError
from embedrouter.web.forms import read_form, see_other
from embedrouter.web.layout import page

AnyRequest = Request[Any, Any, Any]


@get("/reset", opt=PUBLIC)
async def reset_page(request: AnyRequest, entrance: Entrance) -> Response[Any]:
    """The form, if the link is good."""
    token = request.query_params.get("token") or ""
    return _page(request, token, await entrance.reception.resetting(token))


@post("/reset", opt=PUBLIC)
async def reset(request: AnyRequest, entrance: Entrance) -> Response[Any]:
    """Choose the password; then sign in with it."""
    form = await read_form(request)
    token = form.get("token", "")
    user = await entrance.reception.resetting(token)
    try:
        await entrance.reception.reset(token, form.get("password", ""))
    except NotFoundError:
        raise
    except EmbedRouterError as error:
        return _page(request, token, user, error)
    return see_other("/login")


def _page(request: AnyRequest, token: str, user: User, error: EmbedRouterError | None = None) -> Response[str]:
    model = {"title": "New password", "token": token, "user": user, "shortest": SHORTEST}
    return page(request, "reset.html", model, error=error)
