"""How errors look to people. Programs get JSON."""

from collections.abc import Callable
from typing import Any, Final, TypeVar
from urllib.parse import quote

from litestar import Request, Response
from litestar.exceptions import HTTPException

from embedrouter.errors import AuthenticationError, EmbedRouterError
from embedrouter.web.forms import see_other
from embedrouter.web.frame import HOME
from embedrouter.web.layout import page

AnyRequest = Request[Any, Any, Any]
E = TypeVar("E", bound=Exception)

_PROGRAMS: Final = ("/api/", "/v1/")
_TITLES: Final = {
    401: "Sign in first",
    403: "Not allowed",
    404: "Not found",
    405: "Not possible here",
    429: "Too many requests",
    503: "Not available at the moment",
}
_TOLD: Final = {
    404: "There is no page at this address.",
    405: "This address does not take what was sent.",
}


def on_error(request: AnyRequest, error: EmbedRouterError) -> Response[Any]:
    """Litestar's handler of our own errors on pages: a page, or on to the login."""
    if isinstance(error, AuthenticationError):
        path = request.url.path
        query = f"?{request.url.query}" if request.url.query else ""
        target = path + query if request.method == "GET" else HOME
        return see_other(f"/login?next={quote(target, safe='/')}")
    return page(request, "problem.html", _model(error.status), error=error)


def or_page(answer: Callable[[AnyRequest, E], Response[Any]]) -> Callable[[AnyRequest, E], Response[Any]]:
    """A handler that answers browsers with a page, and everybody else as the given one does."""

    def handler(request: AnyRequest, error: E) -> Response[Any]:
        if not is_browser(request):
            return answer(request, error)
        if isinstance(error, EmbedRouterError):
            return page(request, "problem.html", _model(error.status), error=error)
        if isinstance(error, HTTPException) and error.status_code < 500:
            return page(request, "problem.html", _model(error.status_code), status=error.status_code)
        answered = answer(request, error)  # which logs it
        try:
            return page(request, "problem.html", _model(500), status=500)
        except Exception:  # a broken template breaks this page, too
            return answered

    return handler


def is_browser(request: AnyRequest) -> bool:
    """Whether a page is wanted, not JSON."""
    path: str = request.scope["path"]
    return "text/html" in request.headers.get("accept", "") and not f"{path}/".startswith(_PROGRAMS)


def _model(status: int) -> dict[str, Any]:
    return {
        "title": _TITLES.get(status, "This did not work"),
        "told": _TOLD.get(status, "Something went wrong here; the log has more." if status >= 500 else None),
    }
