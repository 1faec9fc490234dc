"""What failures mean: who is asked next, and what a caller is told when nobody is left. Pure functions."""

import math
from collections.abc import Sequence
from typing import Final, NamedTuple

from embedrouter.errors import (
    ContextLengthExceededError,
    EmbedRouterError,
    InvalidRequestError,
    ProviderTimeoutError,
    ProviderUnavailableError,
    RateLimitExceededError,
)
from embedrouter.providers.wire import Failure, UpstreamError
from embedrouter.routing.candidates import Candidate

CALLERS: Final = frozenset[Failure]({"invalid_request", "too_long"})  # the caller's fault, by whichever provider
REPEATABLE: Final = frozenset[Failure]({"server", "overloaded", "invalid_answer"})  # soon over, maybe

_STATUS: Final[dict[Failure, int]] = {
    "invalid_request": 400,
    "too_long": 400,
    "unauthorized": 401,
    "payment": 402,
    "rate_limited": 429,
    "not_found": 404,
    "overloaded": 503,
    "server": 502,
    "timeout": 504,
    "invalid_answer": 502,
    "refused": 502,
}


class Failed(NamedTuple):
    """One attempt that gave no vectors."""

    candidate: Candidate
    error: UpstreamError

    @property
    def provider(self) -> str:
        """Its name."""
        return self.candidate.endpoint.provider.name


def status_of(error: UpstreamError) -> int:
    """The HTTP status that says what happened, where the provider gave none, or a misleading one."""
    return error.status if error.status is not None and error.status >= 400 else _STATUS[error.failure]


def told(failed: Sequence[Failed], model: str) -> EmbedRouterError:
    """What the caller of a model is told after all of these attempts; there is at least one."""
    last = failed[-1]
    errors = [{"provider": one.provider, "code": status_of(one.error), "reason": one.error.failure} for one in failed]
    providers = sorted({one.provider for one in failed})
    metadata = {"provider_name": last.provider, "previous_errors": errors}
    if last.error.failure == "too_long":
        return ContextLengthExceededError(_words(last), metadata=metadata)
    if last.error.failure == "invalid_request":
        return InvalidRequestError(_words(last), metadata=metadata)
    failures = {one.error.failure for one in failed}
    if failures == {"rate_limited"}:
        return RateLimitExceededError(
            f"every provider of {model} is at capacity: {', '.join(providers)}",
            metadata=metadata,
            availability={"code": "capacity_exhausted", "retryable": True, "requested_models": [model],
                          "affected_providers": providers},
            retry_after=max(1, math.ceil(min(one.error.retry_after or 1.0 for one in failed))),
        )  # fmt: skip
    if failures <= {"timeout", "rate_limited", "overloaded"} and "timeout" in failures:
        return ProviderTimeoutError(f"{_words(last)}; send fewer or shorter inputs, or try again", metadata=metadata)
    return ProviderUnavailableError(_words(last), metadata=metadata)


def _words(failed: Failed) -> str:
    return f"{failed.provider}: {failed.error.message}"
