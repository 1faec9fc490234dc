"""How browsers come in, to pages and to the pages' own JSON: cookies, forms of this site only, who asks and from where.

A key opens nothing here, and a session nothing under /api/v1: neither is even looked at there.
"""

import asyncio
from typing import Any, Final
from urllib.parse import urlsplit

from litestar import Request
from litestar.connection import ASGIConnection
from litestar.datastructures import Cookie
from litestar.handlers import BaseRouteHandler

from embedrouter.accounts.reception import Origin, Reception
from embedrouter.accounts.sessions import LONGEST, SignedIn
from embedrouter.errors import (
    AuthenticationError,
    InvalidRequestError,
    PayloadTooLargeError,
    PermissionDeniedError,
    RequestTimeoutError,
)
from embedrouter.periods import SECOND
from embedrouter.settings import Settings

SECURE_COOKIE: Final = "__Host-embedrouter"
PLAIN_COOKIE: Final = "embedrouter_session"

# What a route says of itself: anybody; who is signed in; who is signed in as an administrator.
PUBLIC: Final[dict[str, Any]] = {"access": "public"}
SESSION: Final[dict[str, Any]] = {"access": "session"}
ADMIN: Final[dict[str, Any]] = {"access": "admin"}

LARGEST: Final = 16_384  # bytes of a body
_SLOWEST: Final = 10.0  # seconds for it to arrive
_SAFE: Final = frozenset({"GET", "HEAD"})

AnyConnection = ASGIConnection[Any, Any, Any, Any]
AnyRequest = Request[Any, Any, Any]


class Entrance:
    """One a process: `app.state.entrance`, and the dependency `entrance` of routes that people use."""

    def __init__(self, settings: Settings, reception: Reception) -> None:
        self.reception = reception
        self.address = settings.address
        self._trust_proxy = settings.trust_proxy
        self._https = settings.address.startswith("https://")

    async def signed_in(self, connection: AnyConnection) -> SignedIn | None:
        """Who asks, by the cookie. Raises StoreUnavailableError."""
        token = connection.cookies.get(self._cookie_name(connection))
        return await self.reception.who(token) if token else None

    def cookie(self, connection: AnyConnection, token: str) -> Cookie:
        """Signs a browser in; with an empty token, out."""
        secure = self._is_https(connection)
        return Cookie(
            key=SECURE_COOKIE if secure else PLAIN_COOKIE,
            value=token,
            max_age=LONGEST // SECOND if token else 0,
            path="/",
            secure=secure,
            httponly=True,
            samesite="lax",
        )

    def origin(self, connection: AnyConnection) -> Origin:
        """Where a request comes from. A proxy is believed only if the settings say so."""
        address = connection.client.host if connection.client else ""
        if self._trust_proxy:
            forwarded = ",".join(connection.headers.getall("x-forwarded-for", []))
            address = forwarded.rpartition(",")[2].strip() or address
        return Origin(address, connection.headers.get("user-agent"))

    def _cookie_name(self, connection: AnyConnection) -> str:
        return SECURE_COOKIE if self._is_https(connection) else PLAIN_COOKIE

    def _is_https(self, connection: AnyConnection) -> bool:
        if self._https or connection.scope["scheme"] == "https":
            return True
        return self._trust_proxy and connection.headers.get("x-forwarded-proto", "").strip().lower() == "https"


async def guard(connection: AnyConnection, handler: BaseRouteHandler) -> None:
    """Litestar's guard. A route says `opt=PUBLIC`, SESSION or ADMIN; without that it is closed.

    Raises PermissionDeniedError, AuthenticationError, StoreUnavailableError.
    """
    if connection.scope.get("method") == "OPTIONS":  # which tells the methods, nothing else
        return
    access = handler.opt.get("access")
    if access not in ("public", "session", "admin"):
        raise PermissionDeniedError("this path is open to nobody")
    if connection.scope.get("method") not in _SAFE:
        require_own_site(connection)
    if access == "public":
        return
    entrance: Entrance = connection.app.state.entrance
    found = await entrance.signed_in(connection)
    if found is None:
        raise AuthenticationError("You are not signed in")
    if access == "admin" and not found.user.is_admin:
        raise PermissionDeniedError("Only administrators can do this")
    connection.state.signed_in = found


def signed_in(request: AnyRequest) -> SignedIn:
    """Who asks, on a route whose access is "session" or "admin"; Litestar's dependency of this name."""
    found = request.state.signed_in
    assert isinstance(found, SignedIn)
    return found


def require_own_site(connection: AnyConnection) -> None:
    """Raise PermissionDeniedError for what another site's page made a browser send.

    Browsers say it in Sec-Fetch-Site where the connection is safe, in Origin elsewhere; what says neither is none.
    """
    site = connection.headers.get("sec-fetch-site")
    if site is not None:
        own = site in ("same-origin", "none")
    else:
        origin, host = connection.headers.get("origin", ""), connection.headers.get("host", "")
        own = bool(host) and _host_of(origin) == host.lower()
    if not own:
        raise PermissionDeniedError(
            "this was sent by another site's page, or by no browser; send Origin with this server's own address"
        )


def _host_of(origin: str) -> str:
    try:
        return urlsplit(origin).netloc.lower()
    except ValueError:
        return ""


async def read_body(request: AnyRequest, largest: int = LARGEST) -> bytes:
    """A small body, of `largest` bytes at most. Raises PayloadTooLargeError, RequestTimeoutError."""
    parts: list[bytes] = []
    size = 0
    try:
        async with asyncio.timeout(_SLOWEST):
            while True:
                message: Any = await request.receive()
                if message["type"] != "http.request":
                    raise InvalidRequestError("the request's body did not arrive")
                parts.append(message.get("body", b""))
                size += len(parts[-1])
                if size > largest:
                    raise PayloadTooLargeError(f"the request's body is larger than {largest:,} bytes")
                if not message.get("more_body", False):
                    return b"".join(parts)
    except TimeoutError as error:
        raise RequestTimeoutError("the request's body arrived too slowly; send it again") from error
