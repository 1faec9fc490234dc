"""A running embedrouter as an encoder: any model it serves, over HTTP."""

import base64
import http.client
import json
import time
import urllib.error
import urllib.request
from collections.abc import Sequence
from typing import Any, Final

import numpy as np

from embedrouter.errors import (
    AuthenticationError,
    EmbedRouterError,
    InvalidRequestError,
    NotFoundError,
    OverloadedError,
    PayloadTooLargeError,
    PaymentRequiredError,
    PermissionDeniedError,
    ProviderUnavailableError,
    RateLimitExceededError,
)
from embedrouter.tasks.vectors import Vectors

_BATCH: Final = 256  # texts of a request
_TIMEOUT: Final = 300.0  # seconds
_TRIES: Final = 4
_LATER: Final = frozenset({429, 503})  # statuses that say: try again
_BY_STATUS: Final[dict[int, type[EmbedRouterError]]] = {
    kind.status: kind
    for kind in (
        InvalidRequestError,
        AuthenticationError,
        PaymentRequiredError,
        PermissionDeniedError,
        NotFoundError,
        PayloadTooLargeError,
        RateLimitExceededError,
        OverloadedError,
    )
}
_LONGEST_WAIT: Final = 30.0  # seconds


class ServerEncoder:
    """Embeds through `POST {base_url}/embeddings`; base_url ends in /api/v1 or /v1. Used from any thread."""

    def __init__(self, base_url: str, api_key: str = "", *, model: str, dimensions: int | None = None) -> None:
        """dimensions: of the vectors, where the model can shorten them."""
        if not base_url.startswith(("http://", "https://")):
            raise InvalidRequestError(f"base_url must start with http:// or https://, not {base_url!r}")
        self._url = f"{base_url.rstrip('/')}/embeddings"
        self._headers = {"Content-Type": "application/json"} | (
            {"Authorization": f"Bearer {api_key}"} if api_key else {}
        )
        self._asked: dict[str, object] = {"model": model, "encoding_format": "base64"}
        if dimensions is not None:
            self._asked["dimensions"] = dimensions
        self._dimensions = dimensions

    @property
    def dimensions(self) -> int:
        """Length of a vector; the server is asked where it is not known yet."""
        if self._dimensions is None:
            self._dimensions = self.encode(["dimensions"]).shape[1]
        return self._dimensions

    def encode(self, inputs: Sequence[str], *, truncate: bool | None = None) -> Vectors:
        """Vectors (len(inputs), dimensions), in order. Raises EmbedRouterError with what the server said."""
        asked = self._asked if truncate is None else {**self._asked, "truncate": truncate}
        batches = [list(inputs[at : at + _BATCH]) for at in range(0, len(inputs), _BATCH)]
        if not batches:
            return np.empty((0, self.dimensions), np.float32)
        return np.concatenate([self._embedded({**asked, "input": batch}, len(batch)) for batch in batches])

    def _embedded(self, body: dict[str, object], count: int) -> Vectors:
        request = urllib.request.Request(self._url, json.dumps(body).encode(), self._headers)  # noqa: S310
        answer = json.loads(_sent(request))
        rows: list[Any] = sorted(answer["data"], key=lambda one: int(one["index"]))
        if len(rows) != count:
            raise ProviderUnavailableError(f"the server sent {len(rows)} vectors for {count} texts")
        vectors = np.stack([np.frombuffer(base64.b64decode(row["embedding"]), "<f4") for row in rows])
        return vectors.astype(np.float32)


def _sent(request: urllib.request.Request) -> bytes:
    """The answer's body. A server that is full, or a limit that passes, is asked again."""
    for left in range(_TRIES - 1, -1, -1):
        try:
            with urllib.request.urlopen(request, timeout=_TIMEOUT) as response:  # noqa: S310
                body: bytes = response.read()
                return body
        except urllib.error.HTTPError as error:
            wait = _wait(error.headers.get("Retry-After", ""))
            if error.code not in _LATER or not left or wait > _LONGEST_WAIT:
                kind = _BY_STATUS.get(error.code, ProviderUnavailableError)
                raise kind(f"the server answered {error.code}: {_message(error.read())}") from error
            time.sleep(wait)
        except (urllib.error.URLError, http.client.HTTPException, OSError) as error:
            reason = getattr(error, "reason", error)
            raise ProviderUnavailableError(f"no answer from {request.full_url}: {reason}") from error
    raise AssertionError("the last try returns or raises")


def _wait(retry_after: str) -> float:
    return float(retry_after) if retry_after.isdecimal() else 1.0


def _message(body: bytes) -> str:
    try:
        return str(json.loads(body)["error"]["message"])
    except (ValueError, KeyError, TypeError):
        return body[:200].decode(errors="replace")
