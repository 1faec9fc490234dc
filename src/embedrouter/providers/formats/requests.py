"""What the formats build requests from: JSON bodies, credentials in headers, names in paths."""

from collections.abc import Mapping
from typing import Any
from urllib.parse import quote

import orjson

from embedrouter.providers.wire import Target, UpstreamError, WireRequest


def post(url: str, fields: Mapping[str, Any], headers: Mapping[str, str]) -> WireRequest:
    """A POST of the fields that are not None. Raises UpstreamError (invalid_request) for text that is no UTF-8."""
    try:
        body = orjson.dumps({name: value for name, value in fields.items() if value is not None})
    except TypeError as error:  # a lone surrogate
        raise UpstreamError(
            "invalid_request", "input: a text has half a surrogate pair, which is no character; send valid Unicode"
        ) from error
    return WireRequest("POST", url, {"Content-Type": "application/json", "Accept": "application/json", **headers}, body)


def bearer(target: Target) -> dict[str, str]:
    """The header of most providers; none without a credential."""
    return {} if not target.credential else {"Authorization": f"Bearer {_sendable(target.credential)}"}


def key_header(name: str, target: Target) -> dict[str, str]:
    """The credential as it is, in a header of its own."""
    return {} if not target.credential else {name: _sendable(target.credential)}


def segment(name: str, keep: str = "") -> str:
    """One segment of a path, which it can not leave. keep: characters that stay as they are.

    Raises UpstreamError (refused).
    """
    if name in ("", ".", "..") or not name.isprintable():
        raise UpstreamError("refused", "upstream_model: this name cannot be a part of a URL; set it right")
    return quote(name, safe=keep)


def _sendable(credential: str) -> str:
    if not (credential.isascii() and credential.isprintable()):
        raise UpstreamError("refused", "the credential has characters that no HTTP header carries; set it anew")
    return credential
