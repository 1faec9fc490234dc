"""Bearer keys."""

from typing import Any, Final

from litestar.connection import ASGIConnection

from embedrouter.accounts.keys import KeyRing
from embedrouter.errors import AuthenticationError

_SCHEME: Final = "bearer "


def authenticate(connection: ASGIConnection[Any, Any, Any, Any], keys: KeyRing) -> None:
    """Raise AuthenticationError unless the request carries the key as `Authorization: Bearer <key>`."""
    header = connection.headers.get("authorization")
    if header is None:
        raise AuthenticationError("Missing Authentication header; send Authorization: Bearer <your key>")
    if header[: len(_SCHEME)].lower() != _SCHEME or not keys.admits(header[len(_SCHEME) :].strip()):
        raise AuthenticationError("The API key is not valid")
