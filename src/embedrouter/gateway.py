"""The one road of a request: find the model, choose an endpoint, hold its cost, embed, check, settle."""

import asyncio
import math
import secrets
import time
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Final, NamedTuple, TypeVar

import numpy as np
from numpy.typing import NDArray

from embedrouter.accounts.caller import Caller
from embedrouter.catalog.catalog import Catalog
from embedrouter.catalog.models import Endpoint, Model
from embedrouter.errors import (
    EmbedRouterError,
    InvalidRequestError,
    ProviderTimeoutError,
    ProviderUnavailableError,
)
from embedrouter.ledger.book import REFUSALS, Ledger, now
from embedrouter.ledger.generations import Attempt, Generation, Settlement, attempts_json
from embedrouter.ledger.holds import Hold, Payer
from embedrouter.minilm.windows import LongInput, shorten
from embedrouter.providers.base import EmbedAnswer, EmbedCall, Provider
from embedrouter.routing.preferences import ProviderPreferences, permitted

T = TypeVar("T")

_SUSPICION: Final = 2.0  # seconds after a refusal or a departure: a key's requests are held before they are computed
_SUSPECTS: Final = 10_000  # keys remembered


class EmbedRequest(NamedTuple):
    """What a client asks, free of any wire format."""

    model: str
    inputs: Sequence[str] | Sequence[Sequence[int]]
    rule: LongInput
    dimensions: int | None
    preferences: ProviderPreferences
    parameters: frozenset[str]  # names of the model parameters the request carries
    prompt: str | None = None  # the inputs as JSON, where prompts are kept


class Origin(NamedTuple):
    """Where a request comes from: what its generation remembers of it."""

    generation_id: str
    caller: Caller
    started: float  # time.perf_counter() at the request's head
    app_id: int = 0
    origin: str = ""
    http_referer: str | None = None
    user_agent: str | None = None
    external_user: str | None = None
    session_id: str | None = None
    request_id: str | None = None


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


class Source(NamedTuple):
    """A request that was answered, for who gives its answer again."""

    generation_id: str
    model: Model
    endpoint: Endpoint
    inputs: int


def new_generation_id() -> str:
    """`gen-<unix seconds>-<20 hex digits>`, as OpenRouter's look."""
    return f"gen-{int(time.time())}-{secrets.token_hex(10)}"


class Gateway:
    """Holds the catalog, the providers and the ledger; one instance a process."""

    def __init__(self, catalog: Catalog, providers: Mapping[str, Provider], ledger: Ledger, *, timeout: float) -> None:
        """providers: by slug. timeout: seconds one request may take."""
        self.catalog = catalog
        self.ledger = ledger
        self._providers = providers
        self._timeout = timeout
        self._suspects: dict[int, float] = {}  # key id: time.monotonic() of its last refusal or departure

    async def embed(
        self, request: EmbedRequest, origin: Origin, present: Callable[[EmbedResult], Awaitable[T]]
    ) -> tuple[EmbedResult, T]:
        """Serve one request. When this returns, its generation and its charge are in the ledger.

        present: puts the result into the client's format, while the ledger commits.
        Raises EmbedRouterError; cancelling it gives the work up, and what was held for it.
        """
        model = self.catalog.find(request.model)
        if request.dimensions is not None and request.dimensions > model.dimensions:
            raise InvalidRequestError(
                f"dimensions must be 1 to {model.dimensions} for {model.slug}, not {request.dimensions}",
                metadata={"field": "dimensions"},
            )
        endpoint = permitted(model, request.preferences, request.parameters)[0]
        self.ledger.require_up()
        with self.ledger.place(origin.caller.payer) as payer:
            return await self._settled(_Work(request, origin, payer, model, endpoint, now()), present)

    async def repeat(
        self, source: Source, origin: Origin, present: Callable[[], Awaitable[T]], prompt: str | None = None
    ) -> T:
        """Account for an answer that is given again: free, but within its key's limits. When this returns, its
        generation is in the ledger. present, prompt: as above. Raises EmbedRouterError."""
        self.ledger.require_up()
        created_at = now()
        hold = asked = None
        with self.ledger.place(origin.caller.payer) as payer, self._remembering_refusals(payer):
            if payer.limited and self._may_admit_late(payer):
                asked = self.ledger.wanted(payer._replace(max_concurrent=None), origin.generation_id, 0, 0, created_at)
            elif payer.limited:
                hold = await self.ledger.hold(payer, origin.generation_id, 0, 0, created_at)
            generation = _generation(
                origin,
                source.model,
                source.endpoint,
                created_at,
                inputs=source.inputs,
                cache_source_id=source.generation_id,
            )
            return await self.ledger.settle(Settlement(generation, payer, hold, prompt, asked), present)

    async def _settled(self, work: "_Work", present: Callable[[EmbedResult], Awaitable[T]]) -> tuple[EmbedResult, T]:
        answer = await self._answered(work)
        generation, payer = work.generation(200, answer.prompt_tokens), work.payer
        result = EmbedResult(
            vectors=shorten(answer.vectors, work.request.dimensions or work.endpoint.dimensions),
            model=work.model,
            endpoint=work.endpoint,
            prompt_tokens=answer.prompt_tokens,
            cost_pico_usd=generation.cost_pico,
            fingerprint=answer.fingerprint,
            truncated=answer.truncated,
            windows=answer.windows,
            tokenize_seconds=answer.tokenize_seconds,
        )
        asked = None
        if work.admitted_late:
            asked = self.ledger.wanted(
                payer._replace(max_concurrent=None),
                generation.id,
                generation.cost_pico,
                answer.prompt_tokens,
                generation.created_at,
            )
        settlement = Settlement(generation, payer, work.hold, work.request.prompt, asked)
        with self._remembering_refusals(payer):
            return result, await self.ledger.settle(settlement, lambda: present(result))

    async def _answered(self, work: "_Work") -> EmbedAnswer:
        """The provider's checked answer. What fails is not charged, and what was held for it is given back."""
        try:
            answer = await self._ask(work)
            _check(answer.vectors, len(work.request.inputs), work.endpoint)
        except asyncio.CancelledError:
            self._give_up(work, 499, "client_closed", cancelled=True)
            raise
        except EmbedRouterError as error:
            self._give_up(work, error.status, error.error_type, cancelled=False)
            raise
        except BaseException:
            self._give_up(work, 500, "server", cancelled=False)
            raise
        return answer

    def _give_up(self, work: "_Work", status: int, error_type: str, *, cancelled: bool) -> None:
        """A request that reached its provider leaves a generation behind, free of charge."""
        if work.admitted_late:  # it used the model and no rate: the next ones are held before they do
            self._suspect(work.payer)
        if work.reached_provider and status not in (400, 503):
            generation = work.generation(status, 0, error_type=error_type, cancelled=cancelled)
            self.ledger.note(Settlement(generation, work.payer, work.hold))
        elif work.hold is not None:
            self.ledger.give_back(work.hold)

    async def _ask(self, work: "_Work") -> EmbedAnswer:
        call = EmbedCall(work.request.inputs, work.request.rule)
        provider = self._providers[work.endpoint.provider.slug]
        payer = work.payer
        try:
            async with asyncio.timeout(self._timeout):
                # What costs nobody money in vain need not be held first; it is charged only if it fits the limits.
                work.admitted_late = payer.limited and provider.computes_for_free and self._may_admit_late(payer)
                if work.admitted_late and payer.max_concurrent is not None:
                    return await self._ask_while_taking_a_place(work, provider, call)
                if not payer.limited or work.admitted_late:
                    work.reach_provider()
                    return await provider.embed(call)
                counted = await provider.count(call)
                cost = counted.tokens * work.endpoint.price.prompt
                with self._remembering_refusals(payer):
                    work.hold = await self.ledger.hold(
                        payer, work.origin.generation_id, cost, counted.tokens, work.created_at
                    )
                work.reach_provider()
                return await provider.embed_counted(counted, call.rule)
        except TimeoutError as error:
            raise ProviderTimeoutError(
                f"{work.endpoint.provider.name} took longer than {self._timeout:g} s; send fewer or shorter inputs"
            ) from error

    async def _ask_while_taking_a_place(self, work: "_Work", provider: Provider, call: EmbedCall) -> EmbedAnswer:
        """A key that may have only so many requests under way: the ledger counts while the provider computes."""
        started = time.perf_counter()
        computing = asyncio.ensure_future(provider.embed(call))
        payer = work.payer
        try:
            with self._remembering_refusals(payer):
                work.hold = await self.ledger.hold(payer.place, work.origin.generation_id, 0, 0, work.created_at)
        except BaseException:
            computing.add_done_callback(lambda done: done.cancelled() or done.exception())  # nobody asks for it
            computing.cancel()
            raise
        work.reach_provider(started)
        return await computing

    def _may_admit_late(self, payer: Payer) -> bool:
        """A key at its limits must not have the model compute in vain again and again."""
        lately = time.monotonic() - self._suspects.get(payer.key_id, -math.inf) < _SUSPICION
        return not lately and self.ledger.may_admit_late

    @contextmanager
    def _remembering_refusals(self, payer: Payer) -> Iterator[None]:
        try:
            yield
        except REFUSALS:
            self._suspect(payer)
            raise

    def _suspect(self, payer: Payer) -> None:
        if len(self._suspects) >= _SUSPECTS:
            self._suspects.clear()
        self._suspects[payer.key_id] = time.monotonic()


class _Work:
    """A request under way."""

    def __init__(
        self, request: EmbedRequest, origin: Origin, payer: Payer, model: Model, endpoint: Endpoint, created_at: int
    ) -> None:
        self.request = request
        self.origin = origin
        self.payer = payer  # what the database has to look at
        self.model = model
        self.endpoint = endpoint
        self.created_at = created_at  # microseconds
        self.hold: Hold | None = None
        self.admitted_late = False  # its limits are looked at when it is settled
        self._asked = 0.0

    @property
    def reached_provider(self) -> bool:
        return self._asked > 0

    def reach_provider(self, at: float | None = None) -> None:
        """at: time.perf_counter(), if not now."""
        self._asked = at or time.perf_counter()

    def generation(
        self, status: int, tokens: int, *, error_type: str | None = None, cancelled: bool = False
    ) -> Generation:
        """Its row. Only what was answered costs anything."""
        took = int((time.perf_counter() - self._asked) * 1_000_000)
        endpoint = self.endpoint
        attempt = Attempt(endpoint.provider.name, endpoint.tag, self.model.canonical_slug, status, took)
        return _generation(
            self.origin,
            self.model,
            endpoint,
            self.created_at,
            status=status,
            error_type=error_type,
            cancelled=cancelled,
            inputs=len(self.request.inputs),
            tokens=tokens,
            took=took,
            attempts=[attempt],
        )


def _generation(
    origin: Origin,
    model: Model,
    endpoint: Endpoint,
    created_at: int,
    *,
    inputs: int,
    status: int = 200,
    error_type: str | None = None,
    cancelled: bool = False,
    tokens: int = 0,
    took: int = 0,
    attempts: Sequence[Attempt] = (),
    cache_source_id: str | None = None,
) -> Generation:
    """The row of a request that ends now. created_at, took: microseconds; took: by its provider."""
    key = origin.caller.key
    return Generation(
        id=origin.generation_id,
        created_at=created_at,
        key_id=key.id,
        workspace_id=key.workspace_id,
        owner_id=key.owner_id,
        app_id=origin.app_id,
        public=origin.caller.public,
        api_type="embeddings",
        model=model.slug,
        model_permaslug=model.canonical_slug,
        endpoint=endpoint.tag,
        provider_name=endpoint.provider.name,
        status=status,
        error_type=error_type,
        cancelled=cancelled,
        inputs=inputs,
        prompt_tokens=tokens,
        cost_pico=tokens * endpoint.price.prompt,
        is_byok=False,
        latency_us=int((time.perf_counter() - origin.started) * 1_000_000),
        generation_us=took,
        attempts=attempts_json(attempts),
        origin=origin.origin,
        http_referer=origin.http_referer,
        user_agent=origin.user_agent,
        external_user=origin.external_user,
        session_id=origin.session_id,
        request_id=origin.request_id,
        cache_source_id=cache_source_id,
    )


def _check(vectors: NDArray[np.float32], count: int, endpoint: Endpoint) -> None:
    """A wrong answer is a failure, never a result: count, dimension, finite."""
    if vectors.shape != (count, endpoint.dimensions) or not np.isfinite(vectors).all():
        raise ProviderUnavailableError(
            f"{endpoint.provider.name} returned vectors of the wrong number, size or value; try again",
            metadata={"previous_errors": [{"provider": endpoint.provider.name, "code": "invalid_response"}]},
        )
