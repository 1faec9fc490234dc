"""Bearer keys."""

from typing import Final

from embedrouter.accounts.caller import Caller, Gatekeeper
from embedrouter.errors import AuthenticationError
from embedrouter.ledger.book import now

_SCHEME: Final = "bearer "


def authenticate(authorization: str | None, gatekeeper: Gatekeeper) -> Caller:
    """The caller whose key `Bearer <key>` names. Raises AuthenticationError."""
    if authorization is None:
        raise AuthenticationError("Missing Authentication header; send Authorization: Bearer <your key>")
    scheme, key = authorization[: len(_SCHEME)], authorization[len(_SCHEME) :]
    if scheme.lower() != _SCHEME:
        raise AuthenticationError("The API key is not valid")
    return gatekeeper.admit(key.strip(), now())
