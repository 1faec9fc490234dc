"""The one road of a request: find the model, plan, hold its cost, embed, check, settle."""

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from typing import Final, NamedTuple, TypeVar

import numpy as np

from embedrouter.accounts.caller import Caller
from embedrouter.admission import Admission
from embedrouter.catalog.catalog import Catalog
from embedrouter.catalog.models import Endpoint, Model, endpoint_id
from embedrouter.errors import (
    EmbedRouterError,
    InvalidRequestError,
    OverloadedError,
    ProviderTimeoutError,
    ProviderUnavailableError,
)
from embedrouter.ledger.beside import Beside
from embedrouter.ledger.book import Ledger, now
from embedrouter.ledger.claims import NOTHING, Amount
from embedrouter.ledger.generations import Settlement
from embedrouter.minilm.windows import LongInput, shorten
from embedrouter.providers import hops
from embedrouter.providers.base import EmbedAnswer, EmbedCall, Provider
from embedrouter.providers.counting import Counting, bounds
from embedrouter.providers.wire import UpstreamError, WireAnswer, WireCall
from embedrouter.routing.candidates import Access, Candidate, candidates, retains
from embedrouter.routing.execute import Asked, Executor, Run
from embedrouter.routing.facts import Facts
from embedrouter.routing.health import Outcome
from embedrouter.routing.plan import Plan, plan
from embedrouter.routing.refusals import nobody_reachable
from embedrouter.routing.variants import Variant, split_variant
from embedrouter.work import Answered, EmbedRequest, EmbedResult, Origin, Source, Trail, Work, generation

T = TypeVar("T")

_TRUNCATE: Final = {LongInput.WINDOWS: None, LongInput.TRUNCATE: True, LongInput.REFUSE: False}
_FAILURE_OF: Final = {503: "overloaded", 504: "timeout"}  # the built-in provider's, by HTTP status

Accesses = Callable[[Caller, Model, Endpoint], Sequence[Access]]
"""The credentials that a caller may use at an endpoint, in order."""


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
        self._admission = Admission(ledger, ways.counting)

    def serve_from(self, catalog: Catalog) -> None:
        """Take another catalog for what begins from now on."""
        self.catalog = catalog

    async def embed(
        self,
        request: EmbedRequest,
        origin: Origin,
        present: Callable[[EmbedResult], Awaitable[T]],
        trail: Trail,
        beside: Callable[[EmbedResult], Beside] | None = None,
    ) -> tuple[EmbedResult, T]:
        """Serve one request. When this returns, its generation and its charge are in the ledger.

        present: puts the result into the client's format, while the ledger commits. trail: is filled on the way.
        beside: makes what is written with the generation, or else neither is.
        Raises EmbedRouterError; cancelling it gives the work up, and what was held for it.
        """
        loop = hops.loop(origin.hops, self._ways.instance)
        if loop is not None:
            raise ProviderUnavailableError(loop)
        model, variant = self.model(request.model)
        trail.model = model
        found = await self._plan(request, origin, model, variant)
        require_dimensions(model, request.dimensions)
        self.ledger.require_up()
        with self.ledger.place(origin.caller.payer) as payer:
            work = Work(request, origin, payer, model, found, now())
            work.candidates = self._candidates(work)
            trail.work = work
            try:
                return await self._settled(work, present, beside)
            finally:
                self._admission.ended(work)

    def model(self, name: str) -> tuple[Model, Variant | None]:
        """By a name of its own, or one with a variant. Raises NotFoundError."""
        catalog = self.catalog
        if (model := catalog.get(name)) is not None:
            return model, None
        name, variant = split_variant(name)
        return catalog.find(name), variant

    async def _plan(self, request: EmbedRequest, origin: Origin, model: Model, variant: Variant | None) -> Plan:
        """Who would serve it. Raises EmbedRouterError."""
        return plan(
            model,
            request.preferences,
            constraints=origin.caller.constraints,
            parameters=request.parameters,
            tokens=await self._longest(request, model),
            facts=lambda endpoint: self._facts(model, endpoint),
            retains=lambda endpoint: self.retains(origin.caller, model, endpoint),
            variant=variant,
        )

    def retains(self, caller: Caller, model: Model, endpoint: Endpoint) -> bool:
        """Whether an endpoint keeps prompts, whichever of the caller's credentials is used."""
        return retains(endpoint, self._ways.accesses(caller, model, endpoint))

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
        caller, model = work.origin.caller, work.model
        endpoints: Sequence[Endpoint] = work.plan.tried
        if work.request.texts is None:
            endpoints = [endpoint for endpoint in endpoints if endpoint.provider.wire == "builtin"]
        zdr = work.request.preferences.zdr is True or caller.constraints.zdr
        found = candidates(endpoints, lambda endpoint: self._ways.accesses(caller, model, endpoint), zdr=zdr)
        if not found:
            raise nobody_reachable(model, work.plan.tried, token_ids=not endpoints)
        return found

    async def repeat(
        self, source: Source, origin: Origin, present: Callable[[], Awaitable[T]], prompt: str | None = None
    ) -> T:
        """Account for an answer that is given again: free, but within its key's limits. When this returns, its
        generation is in the ledger. present, prompt: as above. Raises EmbedRouterError."""
        self.ledger.require_up()
        created_at = now()
        hold = asked = None
        with self.ledger.place(origin.caller.payer) as payer, self._admission.remembering_refusals(payer):
            if payer.limited and self._admission.may_be_late(payer):
                place_taken = payer._replace(max_concurrent=None)
                asked = self.ledger.wanted(place_taken, origin.generation_id, NOTHING, 0, created_at)
            elif payer.limited:
                hold = await self.ledger.hold(payer, origin.generation_id, NOTHING, 0, created_at)
            row = generation(
                origin,
                source.model,
                source.endpoint,
                created_at,
                inputs=source.inputs,
                cache_source_id=source.generation_id,
                api_type=source.api_type,
            )
            return await self.ledger.settle(Settlement(row, payer, hold, prompt, asked), present)

    @asynccontextmanager
    async def free(self, request: EmbedRequest, origin: Origin) -> AsyncIterator[None]:
        """Let something of a model be done that no provider is asked for: free, and without a generation.

        It is refused as the request itself would be: by routing, guardrails, and its key's limits and rates. Raises
        EmbedRouterError.
        """
        model, variant = self.model(request.model)
        await self._plan(request, origin, model, variant)
        self.ledger.require_up()
        with self.ledger.place(origin.caller.payer) as payer:
            hold = None
            if payer.limited:
                with self._admission.remembering_refusals(payer):
                    hold = await self.ledger.hold(payer, origin.generation_id, NOTHING, 0, now())
            try:
                yield
            finally:
                if hold is not None:
                    self.ledger.give_back(hold)

    @property
    def _builtin(self) -> Provider:
        assert self._ways.builtin is not None  # else no endpoint names it
        return self._ways.builtin

    async def _settled(
        self,
        work: Work,
        present: Callable[[EmbedResult], Awaitable[T]],
        beside: Callable[[EmbedResult], Beside] | None,
    ) -> tuple[EmbedResult, T]:
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
        asked, far = self._admission.asked(work, row), work.expected is not None
        row_beside = None if beside is None else beside(result)
        settlement = Settlement(row, payer, work.hold, work.request.prompt, asked, looks_round=far, beside=row_beside)
        with self._admission.remembering_refusals(payer):
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
        self._admission.gave_up(work)
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
        call = EmbedCall(work.request.inputs, work.request.rule, work.request.piece)
        provider, payer = self._builtin, work.payer
        late = self._admission.admit_late(work, endpoint.price.prompt)
        if late and payer.max_concurrent is not None:
            return await self._ask_while_taking_a_place(work, provider, call)
        if late or not payer.limited:
            work.reach_provider()
            return await provider.embed(call)
        counted = await provider.count(call)
        await self._admission.hold(work, Amount(counted.tokens * endpoint.price.prompt), counted.tokens)
        work.reach_provider()
        return await provider.embed_counted(counted, call.rule)

    async def _ask_while_taking_a_place(self, work: Work, provider: Provider, call: EmbedCall) -> EmbedAnswer:
        """A key that may have only so many requests under way: the ledger counts while the provider computes."""
        started = time.perf_counter()
        computing = asyncio.ensure_future(provider.embed(call))
        try:
            await self._admission.hold_place(work)
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
        most = work.request.most_tokens
        inputs = texts if texts is not None else work.request.inputs
        holding = asyncio.Lock()

        async def before(candidate: Candidate) -> None:
            async with holding:
                if work.payer.limited and work.hold is None and not work.admitted_late:
                    await self._admission.admit(work, sum(most))
            work.reach_provider()

        async def builtin(call: WireCall) -> WireAnswer:
            try:
                answer = await self._builtin.embed(EmbedCall(call.texts, work.request.rule, work.request.piece))
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


def require_dimensions(model: Model, wanted: int | None) -> None:
    """Raise InvalidRequestError for a number of dimensions that the model does not give."""
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
