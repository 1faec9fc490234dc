"""What a wire format is: a pure pair of functions between our call and a provider's HTTP.

A format builds a request and parses its answer; `embedrouter.providers.transport` sends it. Neither knows of routing,
money or the other providers.
"""

from collections.abc import Mapping, Sequence
from typing import Literal, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

# What a failure means for the one who routes.
#   invalid_request  the caller's fault, by whichever provider: told to the caller, never repeated, never counted
#   too_long         an input is longer than the model reads: as above
#   unauthorized     this credential is refused: another credential may do
#   payment          this credential's balance is used up: another credential may do
#   rate_limited     this credential, now: wait `retry_after`, or another credential, or another provider
#   not_found        the provider does not have this model
#   overloaded       the provider is at capacity (503, 529)
#   server           the provider failed (5xx, broken connection)
#   timeout          it took too long
#   invalid_answer   it answered with something that is no answer: wrong number, order, size, value, too large, no JSON
#   refused          we did not send it: its address is private, its URL is wrong
Failure = Literal[
    "invalid_request", "too_long", "unauthorized", "payment", "rate_limited", "not_found", "overloaded", "server",
    "timeout", "invalid_answer", "refused",
]  # fmt: skip

InputType = Literal["query", "document", "classification", "clustering", "similarity"]


class UpstreamError(Exception):
    """A provider did not give vectors. `message` may be shown to callers; it never holds a credential."""

    def __init__(
        self, failure: Failure, message: str, *, status: int | None = None, retry_after: float | None = None
    ) -> None:
        """status: the provider's HTTP status, if it answered. retry_after: seconds."""
        super().__init__(message)
        self.failure: Failure = failure
        self.message = message
        self.status = status
        self.retry_after = retry_after


class Target(NamedTuple):
    """Where a call goes: an endpoint as its format needs to know it."""

    base_url: str  # without a slash at its end; options filled in
    model: str  # what the provider calls it
    credential: str | None = None
    options: Mapping[str, str] = {}
    dimensions: int = 0  # of the endpoint's full vectors


class WireCall(NamedTuple):
    """One call: one shard of a request."""

    texts: Sequence[str]
    input_type: InputType | str | None = None
    dimensions: int | None = None  # asked of the provider, where its format can
    truncate: bool | None = None  # True: cut what is too long; False: refuse it; None: the provider's default
    user: str | None = None


class WireRequest(NamedTuple):
    """One HTTP request."""

    method: str
    url: str
    headers: Mapping[str, str]
    body: bytes


class WireAnswer(NamedTuple):
    """What a provider answered, in the order of the call's texts; not yet checked against the model."""

    vectors: NDArray[np.float32]  # (n, dimensions)
    prompt_tokens: int | None  # None: the provider does not count
    model: str | None = None  # what it says it used


class Format(Protocol):
    """A wire format. Both functions are pure."""

    def build_request(self, target: Target, call: WireCall) -> WireRequest:
        """Raises UpstreamError (invalid_request) for what the format cannot say."""
        ...

    def parse_response(
        self, status: int, headers: Mapping[str, str], body: bytes, target: Target, call: WireCall
    ) -> WireAnswer:
        """Raises UpstreamError for everything but exactly one finite vector for each text, in order.

        headers: lower-case names.
        """
        ...
