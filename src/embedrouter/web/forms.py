"""Forms and where they lead."""

from collections.abc import Sequence
from typing import Any, Final
from urllib.parse import parse_qsl, urlencode

from litestar import Request, Response
from litestar.datastructures import Cookie

from embedrouter.entrance import LARGEST, read_body
from embedrouter.errors import InvalidRequestError
from embedrouter.web.frame import HOME
from embedrouter.web.layout import HEADERS

AnyRequest = Request[Any, Any, Any]

_MOST_FIELDS: Final = 100


def see_other(path: str, cookies: Sequence[Cookie] = ()) -> Response[bytes]:
    """On to another page of ours, after a form."""
    return Response(
        b"", status_code=303, media_type="text/plain", headers={**HEADERS, "Location": path}, cookies=list(cookies)
    )


async def read_form(request: AnyRequest, largest: int = LARGEST) -> dict[str, str]:
    """The fields of a form; of several with one name the last. largest: bytes. Raises InvalidRequestError."""
    return dict(await read_fields(request, largest))


async def read_fields(request: AnyRequest, largest: int = LARGEST) -> list[tuple[str, str]]:
    """The same with all of one name. Raises InvalidRequestError."""
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind != "application/x-www-form-urlencoded":
        raise InvalidRequestError("content-type: expected application/x-www-form-urlencoded")
    try:
        body = (await read_body(request, largest)).decode("ascii")
        return parse_qsl(body, keep_blank_values=True, errors="strict", max_num_fields=_MOST_FIELDS)
    except ValueError as error:
        raise InvalidRequestError("the form cannot be read; send it again") from error


def own_path(text: str | None, otherwise: str = HOME) -> str:
    """Where to go next: a path of this site, else another. Never another site, however it is spelled."""
    if not text or len(text) > 512 or text[0] != "/" or text[1:2] in ("/", "\\"):
        return otherwise
    if not text.isascii() or not text.isprintable() or "\\" in text or " " in text:
        return otherwise  # browsers drop tabs and newlines, and take a backslash for a slash
    return text


def address(path: str, **query: object) -> str:
    """A path with a query: `address("/models", q="mini", page=2)`. None and "" are left out; lists are repeated."""
    fields = [
        (name, str(one))
        for name, value in query.items()
        for one in (value if isinstance(value, list | tuple) else (value,))
        if one is not None and one != ""
    ]
    return f"{path}?{urlencode(fields)}" if fields else path
