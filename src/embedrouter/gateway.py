"""The one road of a request: find the model, choose an endpoint, embed, check, answer."""

import asyncio
import secrets
import time
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from embedrouter.catalog.catalog import Catalog
from embedrouter.catalog.models import Endpoint, Model
from embedrouter.errors import InvalidRequestError, ProviderTimeoutError, ProviderUnavailableError
from embedrouter.minilm.windows import LongInput, shorten
from embedrouter.providers.base import EmbedAnswer, EmbedCall, Provider
from embedrouter.routing.preferences import ProviderPreferences, permitted

PICO = 1_000_000_000_000


class EmbedRequest(NamedTuple):
    """What a client asks, free of any wire format."""

    model: str
    inputs: Sequence[str] | Sequence[Sequence[int]]
    rule: LongInput
    dimensions: int | None
    preferences: ProviderPreferences
    parameters: frozenset[str]  # names of the model parameters the request carries


class EmbedResult(NamedTuple):
    """What a client gets, free of any wire format."""

    vectors: NDArray[np.float32]  # (n, dimensions), unit length, in input order
    model: Model
    endpoint: Endpoint
    prompt_tokens: int
    cost_pico_usd: int
    fingerprint: str
    truncated: int  # inputs that were cut
    windows: int  # sequences beyond the first of each input
    tokenize_seconds: float


def new_generation_id() -> str:
    """`gen-<unix seconds>-<20 hex digits>`, as OpenRouter's look."""
    return f"gen-{int(time.time())}-{secrets.token_hex(10)}"


class Gateway:
    """Holds the catalog and the providers; one instance a process."""

    def __init__(self, catalog: Catalog, providers: Mapping[str, Provider], *, timeout: float) -> None:
        """providers: by slug. timeout: seconds one request may take."""
        self.catalog = catalog
        self._providers = providers
        self._timeout = timeout

    async def embed(self, request: EmbedRequest) -> EmbedResult:
        """Serve one request. Raises EmbedRouterError; cancelling it gives the work up."""
        model = self.catalog.find(request.model)
        if request.dimensions is not None and request.dimensions > model.dimensions:
            raise InvalidRequestError(
                f"dimensions must be 1 to {model.dimensions} for {model.slug}, not {request.dimensions}",
                metadata={"field": "dimensions"},
            )
        endpoint = permitted(model, request.preferences, request.parameters)[0]
        answer = await self._ask(endpoint, EmbedCall(request.inputs, request.rule))
        _check(answer.vectors, len(request.inputs), endpoint)
        return EmbedResult(
            vectors=shorten(answer.vectors, request.dimensions or endpoint.dimensions),
            model=model,
            endpoint=endpoint,
            prompt_tokens=answer.prompt_tokens,
            cost_pico_usd=answer.prompt_tokens * endpoint.price.prompt,
            fingerprint=answer.fingerprint,
            truncated=answer.truncated,
            windows=answer.windows,
            tokenize_seconds=answer.tokenize_seconds,
        )

    async def _ask(self, endpoint: Endpoint, call: EmbedCall) -> EmbedAnswer:
        try:
            async with asyncio.timeout(self._timeout):
                return await self._providers[endpoint.provider.slug].embed(call)
        except TimeoutError as error:
            raise ProviderTimeoutError(
                f"{endpoint.provider.name} took longer than {self._timeout:g} s; send fewer or shorter inputs"
            ) from error


def _check(vectors: NDArray[np.float32], count: int, endpoint: Endpoint) -> None:
    """A wrong answer is a failure, never a result: count, dimension, finite."""
    if vectors.shape != (count, endpoint.dimensions) or not np.isfinite(vectors).all():
        raise ProviderUnavailableError(
            f"{endpoint.provider.name} returned vectors of the wrong number, size or value; try again",
            metadata={"previous_errors": [{"provider": endpoint.provider.name, "code": "invalid_response"}]},
        )
