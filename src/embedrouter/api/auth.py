"""Bearer keys, and the one rule of each route: who may use it.

A route says so itself, `opt=MANAGEMENT`. The guard enforces it before anything of the request is read, and refuses
everybody where nothing is said; `check_rules` does not even let such an application start.
"""

from collections.abc import Iterator
from typing import Any, Final, Literal, NamedTuple, Self

from litestar import Litestar, Request
from litestar.connection import ASGIConnection
from litestar.handlers import BaseRouteHandler
from litestar.routes import HTTPRoute

from embedrouter import entrance
from embedrouter.accounts.caller import Caller, Gatekeeper
from embedrouter.errors import AuthenticationError, PermissionDeniedError
from embedrouter.ledger.book import now

# public: anybody. key: any usable key. inference: a key that embeds. management: a key that manages.
# session: who is signed in. admin: who is signed in as an administrator. These two are the entrance's to enforce.
Access = Literal["public", "key", "inference", "management", "session", "admin"]

PUBLIC: Final[dict[str, Any]] = {"access": "public"}
ANY_KEY: Final[dict[str, Any]] = {"access": "key"}
INFERENCE: Final[dict[str, Any]] = {"access": "inference"}
MANAGEMENT: Final[dict[str, Any]] = {"access": "management"}
# For the embeddings, where the guard would cost too much: they are no handler of Litestar's, and check their caller.
INFERENCE_CHECKED_ITSELF: Final[dict[str, Any]] = {"access": "inference", "checks_itself": True}

_SCHEME: Final = "bearer "


class Rule(NamedTuple):
    """Who may use a method of a path."""

    path: str  # as the router knows it: /keys/{hash:str}
    method: str
    access: Access | None  # None: not declared
    enforced: bool  # by the guard, or by itself
    operation: str | None  # its operation id, where /openapi.json describes it


class Guard:
    """Litestar's guard of all HTTP routes."""

    def __init__(self, gatekeeper: Gatekeeper) -> None:
        self._gatekeeper = gatekeeper

    def __deepcopy__(self, _: object) -> Self:
        return self  # Litestar copies its routers

    async def __call__(self, connection: ASGIConnection[Any, Any, Any, Any], handler: BaseRouteHandler) -> None:
        """Let the caller pass and remember it. Raises AuthenticationError, PermissionDeniedError."""
        access = handler.opt.get("access")
        if access == "public" or connection.scope.get("method") == "OPTIONS":  # which tells the methods, nothing else
            return
        headers = connection.headers.getall("authorization", [])
        if len(headers) > 1:
            raise AuthenticationError("Send one Authorization header, not several")
        caller = authenticate(headers[0] if headers else None, self._gatekeeper)
        match access:
            case "key":
                pass
            case "inference":
                caller.require_inference()
            case "management":
                caller.require_management()
            case _:
                raise PermissionDeniedError("nobody may use this path: it declares no rule")
        connection.scope["auth"] = caller


def authenticate(authorization: str | None, gatekeeper: Gatekeeper) -> Caller:
    """The caller whose key `Bearer <key>` names. Raises AuthenticationError."""
    if authorization is None:
        raise AuthenticationError("Missing Authentication header; send Authorization: Bearer <your key>")
    scheme, key = authorization[: len(_SCHEME)], authorization[len(_SCHEME) :]
    if scheme.lower() != _SCHEME:
        raise AuthenticationError("The API key is not valid")
    return gatekeeper.admit(key.strip(), now())


def caller_of(request: Request[Any, Any, Any]) -> Caller:
    """Whom the guard let pass; only of routes that are not public."""
    caller: Caller = request.auth
    return caller


def rules(app: Litestar) -> Iterator[Rule]:
    """Of every route there is, but for the OPTIONS that Litestar adds to each path."""
    for route in app.routes:
        if isinstance(route, HTTPRoute):
            for handler in route.route_handlers:
                described = isinstance(handler.operation_id, str) and handler.resolve_include_in_schema()
                for method in sorted(handler.http_methods - {"OPTIONS"}):
                    yield _rule(route.path, str(method), handler, handler.operation_id if described else None)
        else:
            yield _rule(route.path, "POST", route.route_handler, None)


def check_rules(app: Litestar) -> None:
    """Raise RuntimeError for a route without a rule, or with one that nothing enforces."""
    for rule in rules(app):
        if rule.access is None or not rule.enforced:
            raise RuntimeError(f"{rule.method} {rule.path} needs opt=PUBLIC, ANY_KEY or another rule, and its guard")


def _rule(path: str, method: str, handler: BaseRouteHandler, operation: Any) -> Rule:
    guards = [guard for layer in handler.ownership_layers for guard in layer.guards or []]
    access = handler.opt.get("access")
    by_key = any(isinstance(guard, Guard) for guard in guards)
    by_session = entrance.guard in guards
    enforced = {"public": by_key or by_session, "session": by_session, "admin": by_session}.get(access or "", by_key)
    enforced = enforced or handler.opt.get("checks_itself", False)
    return Rule(path, method, access, enforced, operation)
