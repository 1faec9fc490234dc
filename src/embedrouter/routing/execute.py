"""Asking: shard by shard, candidate by candidate, until each has its vectors or nobody is left."""

import asyncio
import math
import random
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from embedrouter.catalog.models import Model, endpoint_id
from embedrouter.ledger.attempts import Attempt
from embedrouter.providers.remote import Remote
from embedrouter.providers.wire import UpstreamError, WireAnswer, WireCall
from embedrouter.routing.candidates import Candidate
from embedrouter.routing.failures import CALLERS, REPEATABLE, Failed, status_of, told
from embedrouter.routing.health import Health, Outcome
from embedrouter.routing.plan import WORTH_WAITING
from embedrouter.routing.shards import shards

_ATTEMPTS_KEPT: Final = 64  # of one request, in its generation
_AT_ONCE: Final = 8  # shards of one request
_PAUSES: Final = ((0.05, 0.25), (0.2, 1.0))  # seconds before a repeat, at least and at most
_ROUNDS: Final = len(_PAUSES)
_LAST: Final = 10.0  # seconds for one that failed just before, or is thought to fail


class Asked(NamedTuple):
    """What is to be embedded, of whichever provider."""

    model: Model
    call: WireCall
    bounds: Sequence[int]  # tokens of each text, at most
    headers: Mapping[str, str]  # to send along


class Part(NamedTuple):
    """What one call gave."""

    places: range
    vectors: NDArray[np.float32]
    tokens: int
    candidate: Candidate


class Served(NamedTuple):
    """A whole request's vectors, and who made them."""

    vectors: NDArray[np.float32]  # (n, dimensions) in input order
    parts: tuple[Part, ...]

    @property
    def first(self) -> Candidate:
        """Who made the first vector."""
        return self.parts[0].candidate

    @property
    def tokens(self) -> int:
        """Billed."""
        return sum(part.tokens for part in self.parts)

    @property
    def byok(self) -> bool:
        """Whether somebody's own credential paid for any of it."""
        return any(part.candidate.byok for part in self.parts)

    @property
    def cost_pico(self) -> int:
        """Of what the installation paid for."""
        return sum(part.tokens * part.candidate.endpoint.price.prompt for part in self.parts if not part.candidate.byok)

    @property
    def upstream_pico(self) -> int:
        """By list price, of what own credentials paid for."""
        return sum(part.tokens * part.candidate.endpoint.price.prompt for part in self.parts if part.candidate.byok)


Builtin = Callable[[WireCall], Awaitable[WireAnswer]]


class Executor:
    """One a process; belongs to the event loop."""

    def __init__(
        self,
        remote: Remote,
        health: Health,
        count: Callable[[str, Sequence[str]], Awaitable[int]],
        *,
        attempt_timeout: float,
        draw: Callable[[], float] = random.random,
    ) -> None:
        """count: tokens of texts for a model, where a provider does not say. attempt_timeout: seconds."""
        self.health = health
        self._remote = remote
        self._count = count
        self._attempt_timeout = attempt_timeout
        self._draw = draw
        self._turns: dict[str, asyncio.Semaphore] = {}

    async def run(self, asked: Asked, candidates: Sequence[Candidate], run: "Run") -> Served:
        """Every text's vector. Raises EmbedRouterError when nobody is left. There is at least one candidate."""
        places = range(len(asked.call.texts))
        parts = await self._served(asked, candidates, places, 0, [], run)
        parts.sort(key=lambda part: part.places.start)
        vectors = parts[0].vectors if len(parts) == 1 else np.concatenate([part.vectors for part in parts])
        return Served(vectors, tuple(parts))

    async def close(self) -> None:
        """Close the connections to providers."""
        await self._remote.close()

    async def _served(
        self,
        asked: Asked,
        candidates: Sequence[Candidate],
        places: range,
        begin: int,
        failed: list[Failed],
        run: "Run",
    ) -> list[Part]:
        """Some texts' vectors, from the candidate at `begin` or one after it."""
        for number in range(begin, len(candidates)):
            candidate = candidates[number]
            pieces = shards(asked.bounds[places.start : places.stop], candidate.endpoint.limits)
            if len(pieces) > 1:
                moved = [range(piece.start + places.start, piece.stop + places.start) for piece in pieces]
                tried = [self._served(asked, candidates, piece, number, [*failed], run) for piece in moved]
                return [part for found in await _together(tried) for part in found]
            error = await self._try(asked, candidate, places, run)
            if isinstance(error, Part):
                return [error]
            failed.append(Failed(candidate, error))
            if error.failure in CALLERS and not _another_reads_more(candidates[number:], error):
                break
        return [await self._once_more(asked, places, failed, run)]

    async def _once_more(self, asked: Asked, places: range, failed: list[Failed], run: "Run") -> Part:
        """Nobody is left: who was passed over, or may be back soon, is asked again; the soonest first.

        Once, where there is only one; else twice, since it may be another one's turn to be well meanwhile.
        """
        rounds = 1 if len({candidate.name for candidate, _ in failed}) == 1 else _ROUNDS
        for number in range(rounds):
            begun, before = time.monotonic(), failed[:]
            for wait, candidate in self._soon(asked, places, before, _PAUSES[number]):
                delay = max(0.0, begun + wait - time.monotonic())
                if delay >= run.left():
                    break
                await asyncio.sleep(delay)
                found = await self._try(asked, candidate, places, run, anyway=True)
                if isinstance(found, Part):
                    return found
                failed.append(Failed(candidate, found))
                if found.failure in CALLERS:
                    raise told(failed, asked.model.slug)
        raise told(failed, asked.model.slug)

    def _soon(
        self, asked: Asked, places: range, failed: Sequence[Failed], pause: tuple[float, float]
    ) -> list[tuple[float, Candidate]]:
        """Seconds to wait, and whom to ask then. pause: the least and the most, where nobody said how long."""
        found: dict[tuple[str, str | None], tuple[float, Candidate]] = {}
        least, most = pause
        for candidate, error in failed:  # the last failure of each counts
            wait = error.retry_after if error.retry_after is not None else least + (most - least) * self._draw()
            found.pop(candidate.name, None)
            worth = error.failure in REPEATABLE or error.failure == "rate_limited"
            if worth and wait <= WORTH_WAITING and not _too_large(asked, candidate, places):
                found[candidate.name] = (wait, candidate)
        return sorted(found.values(), key=lambda one: one[0])

    async def _try(
        self, asked: Asked, candidate: Candidate, places: range, run: "Run", *, anyway: bool = False
    ) -> Part | UpstreamError:
        """One attempt; health and the request's list of attempts hear of it. anyway: also if its breaker is open."""
        name = endpoint_id(asked.model, candidate.endpoint)
        access = candidate.access
        if access is not None and not anyway and not self.health.credential_ready(access.id):
            wait = self.health.credential_pause(access.id)
            return UpstreamError("rate_limited", "its credential is not used for a moment", retry_after=wait)
        left = min(self._attempt_timeout, run.left(), _LAST if anyway else math.inf)
        if left <= 0:
            return UpstreamError("timeout", "there was no time left to ask it")
        await run.before(candidate)
        if not anyway and not self.health.may_try(name, left):
            return self._passed_over(name)
        call = asked.call._replace(texts=asked.call.texts[places.start : places.stop])
        started = time.perf_counter()
        try:
            answer = await self._ask(asked, candidate, call, left, run)
            tokens = await self._tokens(asked, answer, call, places)
        except UpstreamError as error:
            self._note(asked, candidate, name, error, time.perf_counter() - started, 0, run)
            return error
        self._note(asked, candidate, name, None, time.perf_counter() - started, tokens, run)
        return Part(places, answer.vectors, tokens, candidate)

    def _passed_over(self, name: str) -> UpstreamError:
        facts = self.health.facts(name)
        if facts.reason == "rate_limited":
            return UpstreamError("rate_limited", "is not asked before the time it said", retry_after=facts.retry_after)
        return UpstreamError("overloaded", "is not asked for a moment, after it failed", retry_after=0.0)

    async def _ask(self, asked: Asked, candidate: Candidate, call: WireCall, seconds: float, run: "Run") -> WireAnswer:
        endpoint = candidate.endpoint
        if endpoint.provider.wire == "builtin":
            try:
                return await asyncio.wait_for(run.builtin(call), seconds)
            except TimeoutError:
                raise UpstreamError("timeout", f"took longer than {seconds:.0f} s") from None
        secret = None if candidate.access is None else candidate.access.secret
        turn = self._turn(asked.model, candidate)
        if turn is None:
            return await self._remote.embed(endpoint, secret, call, timeout=seconds, headers=asked.headers)
        async with turn:
            return await self._remote.embed(endpoint, secret, call, timeout=seconds, headers=asked.headers)

    def _turn(self, model: Model, candidate: Candidate) -> asyncio.Semaphore | None:
        most = candidate.endpoint.limits.concurrent
        if most is None:
            return None
        return self._turns.setdefault(f"{endpoint_id(model, candidate.endpoint)} {most}", asyncio.Semaphore(most))

    async def _tokens(self, asked: Asked, answer: WireAnswer, call: WireCall, places: range) -> int:
        """Never more than was held for."""
        counted = answer.prompt_tokens
        if counted is None:
            counted = await self._count(asked.model.slug, call.texts)
        return min(counted, sum(asked.bounds[places.start : places.stop]))

    def _note(
        self,
        asked: Asked,
        candidate: Candidate,
        name: str,
        error: UpstreamError | None,
        seconds: float,
        tokens: int,
        run: "Run",
    ) -> None:
        failure = None if error is None else error.failure
        outcome = Outcome(failure, seconds, tokens, None if error is None else error.retry_after)
        if not (candidate.byok and failure in {"unauthorized", "payment"}):  # of somebody's own: his matter
            self.health.record(name, outcome, pause=candidate.access is None)
        if candidate.access is not None:
            self.health.record_credential(candidate.access.id, outcome)
        if len(run.attempts) < _ATTEMPTS_KEPT:
            endpoint = candidate.endpoint
            status = 200 if error is None else status_of(error)
            run.attempts.append(
                Attempt(
                    endpoint.provider.name,
                    endpoint.tag,
                    asked.model.canonical_slug,
                    status,
                    int(seconds * 1_000_000),
                    candidate.byok,
                )
            )


class Run:
    """What one request's attempts share."""

    def __init__(self, deadline: float, before: Callable[[Candidate], Awaitable[None]], builtin: Builtin) -> None:
        """deadline: time.monotonic(). before: called before each attempt; raises what ends the request. builtin: asks
        the built-in provider; raises UpstreamError."""
        self.before = before
        self.builtin = builtin
        self.attempts: list[Attempt] = []
        self._deadline = deadline

    def left(self) -> float:
        """Seconds."""
        return self._deadline - time.monotonic()


def _another_reads_more(left: Sequence[Candidate], error: UpstreamError) -> bool:
    """What is too long for the first one may not be for one of the others."""
    first = left[0].endpoint.context_length
    return error.failure == "too_long" and any(one.endpoint.context_length > first for one in left)


def _too_large(asked: Asked, candidate: Candidate, places: range) -> bool:
    return len(shards(asked.bounds[places.start : places.stop], candidate.endpoint.limits)) > 1


async def _together(tried: "Sequence[Awaitable[list[Part]]]") -> list[list[Part]]:
    """A few at a time; the first failure ends the others."""
    turns = asyncio.Semaphore(_AT_ONCE)

    async def one(awaitable: Awaitable[list[Part]]) -> list[Part]:
        async with turns:
            return await awaitable

    tasks = [asyncio.ensure_future(one(awaitable)) for awaitable in tried]
    try:
        return await asyncio.gather(*tasks)
    except BaseException:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        raise
