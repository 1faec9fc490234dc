"""How a page is made: `page(request, template, model)` is what all of them call."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import msgspec
from jinja2 import Environment, FileSystemLoader, StrictUndefined
from litestar import Request, Response
from litestar.datastructures import Cookie

from embedrouter.errors import EmbedRouterError
from embedrouter.web import formats
from embedrouter.web.frame import frame

AnyRequest = Request[Any, Any, Any]

_CSP: Final = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; "
    "worker-src 'self'; form-action 'self'; frame-ancestors 'none'; base-uri 'none'"
)
HEADERS: Final = {
    "Content-Security-Policy": _CSP,
    "X-Content-Type-Options": "nosniff",
    # Not no-referrer: browsers would then send `Origin: null` with our own forms, and over plain http nothing else
    # tells these from another site's.
    "Referrer-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cache-Control": "no-store",
}


def _environment() -> Environment:
    made = Environment(
        loader=FileSystemLoader(Path(__file__).parent / "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        extensions=["jinja2.ext.do"],
    )
    made.filters.update(formats.FILTERS)
    made.policies["json.dumps_function"] = _json  # `tojson` escapes what it gives for a script element
    made.policies["json.dumps_kwargs"] = {}
    return made


def _json(value: Any) -> str:
    return msgspec.json.encode(value).decode()


TEMPLATES: Final = _environment()


def page(
    request: AnyRequest,
    template: str,
    model: Mapping[str, Any],
    *,
    error: EmbedRouterError | None = None,
    status: int | None = None,
    cookies: Sequence[Cookie] = (),
    headers: Mapping[str, str] | None = None,
) -> Response[str]:
    """A page, or a part of one for htmx. model: the template's variables, `title` among them; `frame` is added.

    With an error, its status and message, unless a status is given.
    """
    sent = {**HEADERS, **(headers or {})}
    if error is not None and error.retry_after is not None:
        sent["Retry-After"] = str(error.retry_after)
    body = TEMPLATES.get_template(template).render(
        model, frame=frame(request), error=None if error is None else told(error)
    )
    return Response(
        body,
        status_code=status or (200 if error is None else error.status),
        media_type="text/html",
        headers=sent,
        cookies=list(cookies),
    )


def wants_part(request: AnyRequest) -> bool:
    """Whether htmx asks, which needs only the part that it replaces. When it goes back in history it wants a page."""
    return request.headers.get("hx-request") == "true" and request.headers.get("hx-request-type") == "partial"


def told(error: EmbedRouterError) -> str:
    """An error's message as a sentence."""
    message = error.message if error.status != 500 else "something went wrong here; the log has more"
    return message[:1].upper() + message[1:] + ("" if message.endswith(("?", ".")) else ".")
