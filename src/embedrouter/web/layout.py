"""What all pages share: templates, headers, forms, redirects, and how errors look."""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final
from urllib.parse import parse_qsl, quote

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from litestar import Request, Response
from litestar.datastructures import Cookie

from embedrouter.entrance import read_body
from embedrouter.errors import AuthenticationError, EmbedRouterError, InvalidRequestError
from embedrouter.periods import SECOND

AnyRequest = Request[Any, Any, Any]

HOME: Final = "/account"

_FOLDER: Final = Path(__file__).parent
_CSP: Final = (
    "default-src 'none'; style-src 'self'; img-src 'self' data:; form-action 'self'; "
    "frame-ancestors 'none'; base-uri 'none'"
)
_HEADERS: Final = {
    "Content-Security-Policy": _CSP,
    "X-Content-Type-Options": "nosniff",
    # Not no-referrer: browsers would then send `Origin: null` with our own forms, and over plain http nothing else
    # tells these from another site's.
    "Referrer-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cache-Control": "no-store",
}


def _when(at: int) -> str:
    """A time in microseconds, for people."""
    return datetime.fromtimestamp(at / SECOND, UTC).strftime("%Y-%m-%d %H:%M UTC")


_TEMPLATES: Final = Environment(
    loader=FileSystemLoader(_FOLDER / "templates"), autoescape=True, undefined=StrictUndefined, trim_blocks=True,
    lstrip_blocks=True,
)  # fmt: skip
_TEMPLATES.filters["when"] = _when


def page(
    template: str,
    model: Mapping[str, Any],
    *,
    error: EmbedRouterError | None = None,
    cookies: Sequence[Cookie] = (),
) -> Response[str]:
    """A page. With an error, its status and message."""
    headers = dict(_HEADERS)
    if error is not None and error.retry_after is not None:
        headers["Retry-After"] = str(error.retry_after)
    return Response(
        _TEMPLATES.get_template(template).render(model, error=None if error is None else told(error)),
        status_code=200 if error is None else error.status,
        media_type="text/html",
        headers=headers,
        cookies=list(cookies),
    )


def see_other(path: str, cookies: Sequence[Cookie] = ()) -> Response[bytes]:
    """On to another page of ours, after a form."""
    return Response(
        b"", status_code=303, media_type="text/plain", headers={**_HEADERS, "Location": path}, cookies=list(cookies)
    )


def told(error: EmbedRouterError) -> str:
    """An error's message as a sentence."""
    message = error.message if error.status != 500 else "something went wrong here; the log has more"
    return message[:1].upper() + message[1:] + "."


def on_error(request: AnyRequest, error: EmbedRouterError) -> Response[Any]:
    """Litestar's handler: a page, or on to the login."""
    if isinstance(error, AuthenticationError):
        target = request.url.path if request.method == "GET" else HOME
        return see_other(f"/login?next={quote(target, safe='/')}")
    return page("problem.html", {"title": "This did not work", "signed_in": None}, error=error)


async def read_form(request: AnyRequest) -> dict[str, str]:
    """The fields of a form; of several with one name the last. Raises InvalidRequestError."""
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind != "application/x-www-form-urlencoded":
        raise InvalidRequestError("content-type: expected application/x-www-form-urlencoded")
    try:
        body = (await read_body(request)).decode("ascii")
        fields = parse_qsl(body, keep_blank_values=True, errors="strict", max_num_fields=20)
    except ValueError as error:
        raise InvalidRequestError("the form cannot be read; send it again") from error
    return dict(fields)


def own_path(text: str | None) -> str:
    """Where to go next: a path of this site, else the home page. Never another site, however it is spelled."""
    if not text or len(text) > 512 or text[0] != "/" or text[1:2] in ("/", "\\"):
        return HOME
    if not text.isascii() or not text.isprintable() or "\\" in text or " " in text:
        return HOME  # browsers drop tabs and newlines, and take a backslash for a slash
    return text


def style() -> bytes:
    """The pages' style sheet."""
    return (_FOLDER / "assets" / "style.css").read_bytes()
