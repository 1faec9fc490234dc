"""Bearer keys."""

from typing import Final

from embedrouter.accounts.keys import KeyRing
from embedrouter.errors import AuthenticationError

_SCHEME: Final = "bearer "


def authenticate(authorization: str | None, keys: KeyRing) -> None:
    """Raise AuthenticationError unless the header is `Bearer <key>` with the right key."""
    if authorization is None:
        raise AuthenticationError("Missing Authentication header; send Authorization: Bearer <your key>")
    scheme, key = authorization[: len(_SCHEME)], authorization[len(_SCHEME) :]
    if scheme.lower() != _SCHEME or not keys.admits(key.strip()):
        raise AuthenticationError("The API key is not valid")
