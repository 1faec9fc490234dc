"""The errors a caller can cause or meet, in OpenRouter's vocabulary.

Each class carries the HTTP status and the `error_type` of the contract, so that the HTTP room maps them without a
table and the Python API raises the very same ones. Messages are for the person who reads them: they name the field
and say what would be right. They never carry anything internal.
"""

from collections.abc import Mapping, Sequence
from difflib import get_close_matches
from typing import Any, ClassVar, NamedTuple

_TOLD = 5  # problems of a catalog in one message
_LISTED = 100  # and in its metadata


class EmbedRouterError(Exception):
    """Base of all errors that embedrouter raises on purpose."""

    status: ClassVar[int] = 500
    error_type: ClassVar[str] = "server"

    def __init__(
        self,
        message: str,
        *,
        metadata: Mapping[str, Any] | None = None,
        availability: Mapping[str, Any] | None = None,
        retry_after: int | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(message)
        self.message = message
        self.metadata = dict(metadata or {})
        self.availability = dict(availability) if availability is not None else None
        self.retry_after = retry_after  # seconds
        self.headers = dict(headers or {})  # beyond Retry-After


class InvalidRequestError(EmbedRouterError, ValueError):
    """A field is missing, of the wrong type or out of range."""

    status = 400
    error_type = "invalid_request"


class ContextLengthExceededError(EmbedRouterError, ValueError):
    """An input has more tokens than the model, or the caller's own rule, takes."""

    status = 400
    error_type = "context_length_exceeded"


class AuthenticationError(EmbedRouterError):
    """No key, or not one of ours."""

    status = 401
    error_type = "authentication"


class PaymentRequiredError(EmbedRouterError):
    """The balance or the key's limit does not cover the request."""

    status = 402
    error_type = "payment_required"


class PermissionDeniedError(EmbedRouterError):
    """The key or the user may not do this, or a budget is used up."""

    status = 403
    error_type = "permission_denied"


class NotFoundError(EmbedRouterError):
    """No such model, endpoint or path."""

    status = 404
    error_type = "not_found"


class MethodNotAllowedError(EmbedRouterError):
    """The path exists and takes other methods."""

    status = 405
    error_type = "invalid_request"


class RequestTimeoutError(EmbedRouterError):
    """The client was too slow in sending its request."""

    status = 408
    error_type = "timeout"


class ConflictError(EmbedRouterError):
    """What is asked contradicts what is there."""

    status = 409
    error_type = "conflict"


class PayloadTooLargeError(EmbedRouterError):
    """The body is larger than the server takes."""

    status = 413
    error_type = "payload_too_large"


class UnprocessableError(EmbedRouterError):
    """Every field is right by itself, and the request still cannot be carried out."""

    status = 422
    error_type = "unprocessable"


class RateLimitExceededError(EmbedRouterError):
    """The key's own limit of requests, tokens or concurrency: try again after `retry_after` seconds."""

    status = 429
    error_type = "rate_limit_exceeded"


class ProviderUnavailableError(EmbedRouterError):
    """A provider failed or answered wrongly, and no other could serve."""

    status = 502
    error_type = "provider_unavailable"


class OverloadedError(EmbedRouterError):
    """Our own queue is full, or we are shutting down: try again after `retry_after` seconds."""

    status = 503
    error_type = "provider_overloaded"


class StoreUnavailableError(EmbedRouterError):
    """The database cannot be read or written now: nothing was charged; try again after `retry_after` seconds."""

    status = 503
    error_type = "provider_overloaded"


class StoreError(EmbedRouterError):
    """The database does not fit this program, or is damaged: a person has to act."""


class ProviderTimeoutError(EmbedRouterError):
    """A provider took too long, and no other could serve."""

    status = 504
    error_type = "timeout"


class WeightsError(EmbedRouterError):
    """The model's files are missing, damaged or not the ones this build was made for."""


class SettingsError(EmbedRouterError, ValueError):
    """A flag, variable or line of the configuration is unknown or wrong."""


class CatalogProblem(NamedTuple):
    """What is wrong with one entry of the catalog, and what would be right."""

    entry: str  # which one, and where it is stated
    field: str  # may be empty
    message: str

    def __str__(self) -> str:
        return ": ".join(part for part in self if part)


class CatalogError(InvalidRequestError):
    """The catalog does not hold together, so nothing of the change takes effect."""

    def __init__(self, problems: Sequence[CatalogProblem]) -> None:
        told = "; ".join(map(str, problems[:_TOLD]))
        more = f"; and {len(problems) - _TOLD} more" if len(problems) > _TOLD else ""
        super().__init__(told + more, metadata={"problems": [problem._asdict() for problem in problems[:_LISTED]]})
        self.problems = tuple(problems)


def nearest(name: str, known: Sequence[str]) -> str:
    """A ready clause naming the known word nearest to `name`: `; did you mean "port"?`, or nothing."""
    match = get_close_matches(name, known, n=1, cutoff=0.5)
    return f'; did you mean "{match[0]}"?' if match else ""
