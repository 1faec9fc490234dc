"""POST /theme: light, dark, or as the system has it."""

from typing import Any, Final

from litestar import Request, Response, post
from litestar.datastructures import Cookie

from embedrouter.entrance import PUBLIC
from embedrouter.errors import InvalidRequestError
from embedrouter.periods import DAY
from embedrouter.web.forms import own_path, read_form, see_other
from embedrouter.web.frame import THEME_COOKIE, THEMES

_KEPT: Final = 365 * DAY  # seconds


@post("/theme", opt=PUBLIC)
async def choose_theme(request: Request[Any, Any, Any]) -> Response[Any]:
    """Kept in a cookie, so that the next page has it from its first byte."""
    form = await read_form(request)
    chosen = form.get("theme", "")
    if chosen not in THEMES:
        raise InvalidRequestError("theme: expected system, light or dark")
    cookie = Cookie(
        key=THEME_COOKIE, value=chosen, max_age=0 if chosen == "system" else _KEPT, path="/", httponly=True,
        samesite="lax",
    )  # fmt: skip
    return see_other(own_path(form.get("next"), "/"), [cookie])
