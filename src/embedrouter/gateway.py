"""The one road of a request: find the model, plan, hold its cost, embed, check, settle."""

import asyncio
import math
import time
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Final, NamedTuple, TypeVar

import numpy as np

from embedrouter.catalog.catalog import Catalog
from embedrouter.catalog.models import Endpoint, Model, endpoint_id
from embedrouter.errors import (
    EmbedRouterError,
    InvalidRequestError,
    NotFoundError,
    OverloadedError,
    ProviderTimeoutError,
    ProviderUnavailableError,
)
from embedrouter.ledger.book import REFUSALS, Ledger, now
from embedrouter.ledger.generations import Settlement
from embedrouter.ledger.holds import Payer
from embedrouter.minilm.windows import LongInput, shorten
from embedrouter.providers import hops
from embedrouter.providers.base import EmbedAnswer, EmbedCall, Provider
from embedrouter.providers.counting import Counting, bounds
from embedrouter.providers.wire import UpstreamError, WireAnswer, WireCall
from embedrouter.routing.candidates import Access, Candidate, candidates
from embedrouter.routing.execute import Asked, Executor, Run
from embedrouter.routing.facts import Facts
from embedrouter.routing.health import Outcome
from embedrouter.routing.plan import Plan, plan
from embedrouter.routing.variants import split_variant
from embedrouter.work import Answered, EmbedRequest, EmbedResult, Origin, Source, Work, generation

T = TypeVar("T")

_SUSPICION: Final = 2.0  # seconds after a refusal or a departure: a key's requests are held before they are computed
_SUSPECTS: Final = 10_000  # keys remembered
_TRUNCATE: Final = {LongInput.WINDOWS: None, LongInput.TRUNCATE: True, LongInput.REFUSE: False}
_FAILURE_OF: Final = {503: "overloaded", 504: "timeout"}  # the built-in provider's, by HTTP status

Accesses = Callable[[Origin, Model, Endpoint], Sequence[Access]]
"""The credentials that a request may use at an endpoint, in order."""


class Ways(NamedTuple):
    """How providers are asked."""

    builtin: Provider | None
    executor: Executor
    accesses: Accesses
    counting: Counting
    instance: str  # this installation's id, for those it asks


class Gateway:
    """Holds the catalog, the ways to providers and the ledger; one instance a process."""

    def __init__(self, catalog: Catalog, ways: Ways, ledger: Ledger, *, timeout: float) -> None:
        """timeout: seconds one request may take."""
        self.catalog = catalog  # replaced as a whole when it changes
        self.ledger = ledger
        self.health = ways.executor.health
        self._ways = ways
        self._timeout = timeout
        self._suspects: dict[int, float] = {}  # key id: time.monotonic() of its last refusal or departure

    def serve_from(self, catalog: Catalog) -> None:
        """Take another catalog for what begins from now on."""
        self.catalog = catalog

    async def embed(
        self, request: EmbedRequest, origin: Origin, present: Callable[[EmbedResult], Awaitable[T]]
    ) -> tuple[EmbedResult, T]:
        """Serve one request. When this returns, its generation and its charge are in the ledger.

        present: puts the result into the client's format, while the ledger commits.
        Raises EmbedRouterError; cancelling it gives the work up, and what was held for it.
        """
        loop = hops.loop(origin.hops, self._ways.instance)
        if loop is not None:
            raise ProviderUnavailableError(loop)
        model, found = await self.plan(request, origin)
        _require_dimensions(model, request.dimensions)
        self.ledger.require_up()
        with self.ledger.place(origin.caller.payer) as payer:
            work = Work(request, origin, payer, model, found, now())
            work.candidates = self._candidates(work)
            return await self._settled(work, present)

    async def plan(self, request: EmbedRequest, origin: Origin) -> tuple[Model, Plan]:
        """Who would serve it. Raises NotFoundError, PermissionDeniedError, RateLimitExceededError,
        ContextLengthExceededError."""
        catalog = self.catalog
        model, variant = catalog.get(request.model), None
        if model is None:
            name, variant = split_variant(request.model)
            model = catalog.find(name)
        return model, plan(
            model,
            request.preferences,
            constraints=origin.caller.constraints,
            parameters=request.parameters,
            tokens=await self._longest(request, model),
            facts=lambda endpoint: self._facts(model, endpoint),
            variant=variant,
        )

    async def _longest(self, request: EmbedRequest, model: Model) -> int | None:
        """Tokens of the longest input, where that may decide who can read it; about as many as any tokenizer makes."""
        texts = request.texts
        if texts is None or len(model.endpoints) == 1 or request.rule is LongInput.TRUNCATE:
            return None
        longest = max(texts, key=len)
        if bounds([longest])[0] <= min(endpoint.context_length for endpoint in model.endpoints):
            return None
        return await self._ways.counting.estimate(longest)

    def _facts(self, model: Model, endpoint: Endpoint) -> Facts:
        facts = self.health.facts(endpoint_id(model, endpoint))
        if facts.closed and endpoint.provider.wire == "builtin":
            return facts._replace(closed=False)  # to ask it costs nobody time or money
        return facts

    async def close(self) -> None:
        """Close the connections to providers."""
        await self._ways.executor.close()

    def _candidates(self, work: Work) -> list[Candidate]:
        origin, model = work.origin, work.model
        endpoints: Sequence[Endpoint] = work.plan.tried
        if work.request.texts is None:
            endpoints = [endpoint for endpoint in endpoints if endpoint.provider.wire == "builtin"]
        found = candidates(endpoints, lambda endpoint: self._ways.accesses(origin, model, endpoint))
        if not found:
            why = (
                "none of its endpoints takes this model's own token ids"
                if not endpoints
                else "no credential for its providers may be used by this key"
            )
            raise NotFoundError(
                f"No endpoints found for {model.slug}: {why}",
                availability={
                    "code": "constraint_filtered",
                    "retryable": False,
                    "requested_models": [model.slug],
                    "affected_providers": sorted({one.provider.name for one in work.plan.tried}),
                    "excluded_by": ["token_ids" if not endpoints else "credentials"],
                },
            )
        return found

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
            row = generation(
                origin,
                source.model,
                source.endpoint,
                created_at,
                inputs=source.inputs,
                cache_source_id=source.generation_id,
            )
            return await self.ledger.settle(Settlement(row, payer, hold, prompt, asked), present)

    @property
    def _builtin(self) -> Provider:
        assert self._ways.builtin is not None  # else no endpoint names it
        return self._ways.builtin

    async def _settled(self, work: Work, present: Callable[[EmbedResult], Awaitable[T]]) -> tuple[EmbedResult, T]:
        answered = await self._answered(work)
        row, payer = work.generation(200, answered), work.payer
        result = EmbedResult(
            vectors=shorten(answered.vectors, work.request.dimensions or work.model.dimensions),
            model=work.model,
            endpoint=answered.endpoint,
            prompt_tokens=answered.tokens,
            cost_pico_usd=row.cost_pico,
            fingerprint=answered.fingerprint,
            truncated=answered.truncated,
            windows=answered.windows,
            tokenize_seconds=answered.tokenize_seconds,
            byok=answered.byok,
            upstream_pico_usd=answered.upstream_pico,
            asked_at=work.asked_at,
            provider_seconds=row.generation_us / 1_000_000,
            plan=work.plan,
            attempts=work.attempts or (),
        )
        asked = None
        if work.admitted_late:  # a hold is but its place, then
            asked = self.ledger.wanted(
                payer._replace(max_concurrent=None), row.id, row.cost_pico, answered.tokens, row.created_at
            )
        settlement = Settlement(row, payer, work.hold, work.request.prompt, asked)
        with self._remembering_refusals(payer):
            return result, await self.ledger.settle(settlement, lambda: present(result))

    async def _answered(self, work: Work) -> Answered:
        """The providers' checked answer. What fails is not charged, and what was held for it is given back."""
        only = work.candidates[0].endpoint if len(work.candidates) == 1 else None
        try:
            async with asyncio.timeout(self._timeout):
                if only is not None and only.provider.wire == "builtin":
                    return await self._by_builtin(work, only)
                return await self._by_candidates(work)
        except TimeoutError:
            self._give_up(work, 504, "timeout", cancelled=False)
            name = work.candidates[0].endpoint.provider.name
            raise ProviderTimeoutError(
                f"{name} took longer than {self._timeout:g} s; send fewer or shorter inputs"
            ) from None
        except asyncio.CancelledError:
            self._give_up(work, 499, "client_closed", cancelled=True)
            raise
        except EmbedRouterError as error:
            self._give_up(work, error.status, error.error_type, cancelled=False)
            raise
        except BaseException:
            self._give_up(work, 500, "server", cancelled=False)
            raise

    def _give_up(self, work: Work, status: int, error_type: str, *, cancelled: bool) -> None:
        """A request that reached a provider leaves a generation behind, free of charge."""
        if work.admitted_late:  # it used the model and no rate: the next ones are held before they do
            self._suspect(work.payer)
        if work.reached_provider and status not in (400, 503):
            row = work.generation(status, error_type=error_type, cancelled=cancelled)
            self.ledger.note(Settlement(row, work.payer, work.hold))
        elif work.hold is not None:
            self.ledger.give_back(work.hold)

    # --- by the built-in provider alone: as quick as can be

    async def _by_builtin(self, work: Work, endpoint: Endpoint) -> Answered:
        name, started = endpoint_id(work.model, endpoint), time.perf_counter()
        try:
            answer = await self._ask_builtin(work, endpoint)
            _check(answer, len(work.request.inputs), endpoint)
        except (ProviderUnavailableError, TimeoutError):
            self.health.record(name, Outcome("server", time.perf_counter() - started, 0, None))
            raise
        self.health.record(name, Outcome(None, work.seconds, answer.prompt_tokens, None))
        return Answered(
            answer.vectors,
            endpoint,
            answer.prompt_tokens,
            answer.prompt_tokens * endpoint.price.prompt,
            answer.fingerprint,
            truncated=answer.truncated,
            windows=answer.windows,
            tokenize_seconds=answer.tokenize_seconds,
        )

    async def _ask_builtin(self, work: Work, endpoint: Endpoint) -> EmbedAnswer:
        call = EmbedCall(work.request.inputs, work.request.rule)
        provider, payer = self._builtin, work.payer
        # What costs nobody money in vain need not be held first; it is charged only if it fits the limits.
        work.admitted_late = payer.limited and self._may_admit_late(payer)
        if work.admitted_late and payer.max_concurrent is not None:
            return await self._ask_while_taking_a_place(work, provider, call)
        if not payer.limited or work.admitted_late:
            work.reach_provider()
            return await provider.embed(call)
        counted = await provider.count(call)
        await self._hold(work, counted.tokens * endpoint.price.prompt, counted.tokens)
        work.reach_provider()
        return await provider.embed_counted(counted, call.rule)

    async def _ask_while_taking_a_place(self, work: Work, provider: Provider, call: EmbedCall) -> EmbedAnswer:
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

    # --- by whichever candidate

    async def _by_candidates(self, work: Work) -> Answered:
        texts = work.request.texts
        builtin_answers: list[EmbedAnswer] = []
        most = bounds(texts) if texts is not None else [len(ids) + 2 for ids in work.request.inputs]
        inputs = texts if texts is not None else work.request.inputs
        holding = asyncio.Lock()

        async def before(candidate: Candidate) -> None:
            async with holding:
                if work.payer.limited and work.hold is None:
                    await self._hold_for_candidates(work, sum(most))
            work.reach_provider()

        async def builtin(call: WireCall) -> WireAnswer:
            try:
                answer = await self._builtin.embed(EmbedCall(call.texts, work.request.rule))
            except (OverloadedError, ProviderUnavailableError, ProviderTimeoutError) as error:
                failure = _FAILURE_OF.get(error.status, "server")
                raise UpstreamError(failure, error.message, retry_after=error.retry_after) from error  # type: ignore[arg-type]
            builtin_answers.append(answer)
            return WireAnswer(answer.vectors, answer.prompt_tokens)

        run = Run(time.monotonic() + self._timeout, before, builtin)
        work.attempts = run.attempts
        call = WireCall(
            inputs,  # type: ignore[arg-type]  # ids go to the built-in provider only
            work.request.input_type,
            None,
            _TRUNCATE[work.request.rule],
            work.origin.external_user,
        )
        passed_on = {hops.HEADER: hops.passed_on(work.origin.hops, self._ways.instance)}
        asked = Asked(work.model, call, most, passed_on)
        served = await self._ways.executor.run(asked, work.candidates, run)
        endpoint = served.first.endpoint
        if builtin_answers and endpoint.provider.wire == "builtin":
            fingerprint = builtin_answers[0].fingerprint
        else:
            fingerprint = f"{work.model.canonical_slug}; {endpoint.tag}"
        return Answered(
            served.vectors,
            endpoint,
            served.tokens,
            served.cost_pico,
            fingerprint,
            served.byok,
            served.upstream_pico,
            sum(answer.truncated for answer in builtin_answers),
            sum(answer.windows for answer in builtin_answers),
            sum(answer.tokenize_seconds for answer in builtin_answers),
        )

    async def _hold_for_candidates(self, work: Work, most: int) -> None:
        """Tokens are counted as exactly as can be for the rate; money is held for the most that any may charge."""
        price = max((one.endpoint.price.prompt for one in work.candidates if not one.byok), default=0)
        texts, tokens = work.request.texts, most
        if texts is not None and work.payer.tokens_per_minute is not None:
            tokens = await self._ways.counting.count(work.model.slug, texts)
        await self._hold(work, most * price, tokens)

    async def _hold(self, work: Work, amount_pico: int, tokens: int) -> None:
        with self._remembering_refusals(work.payer):
            work.hold = await self.ledger.hold(
                work.payer, work.origin.generation_id, amount_pico, tokens, work.created_at
            )

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


def _require_dimensions(model: Model, wanted: int | None) -> None:
    least = model.dimensions if model.fixed_dimensions else 1
    if wanted is not None and not least <= wanted <= model.dimensions:
        allowed = f"{least} to {model.dimensions}" if least < model.dimensions else f"{least}, or left out,"
        raise InvalidRequestError(
            f"dimensions must be {allowed} for {model.slug}, not {wanted}", metadata={"field": "dimensions"}
        )


def _check(answer: EmbedAnswer, count: int, endpoint: Endpoint) -> None:
    """A wrong answer is a failure, never a result: count, dimension, finite."""
    if answer.vectors.shape != (count, endpoint.dimensions) or not np.isfinite(answer.vectors).all():
        raise ProviderUnavailableError(
            f"{endpoint.provider.name} returned vectors of the wrong number, size or value; try again",
            metadata={"previous_errors": [{"provider": endpoint.provider.name, "code": "invalid_response"}]},
        )
