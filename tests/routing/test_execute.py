"""Attempts, shards and fallback, against real HTTP servers that misbehave."""

import asyncio
import time
from collections.abc import Sequence
from contextlib import ExitStack
from typing import Any

import msgspec
import numpy as np
import pytest

from embedrouter.catalog.models import DataPolicy, Endpoint, Limits, Model, Price, Provider
from embedrouter.errors import (
    ContextLengthExceededError,
    EmbedRouterError,
    InvalidRequestError,
    ProviderTimeoutError,
    ProviderUnavailableError,
    RateLimitExceededError,
)
from embedrouter.providers.counting import Counting, bounds
from embedrouter.providers.formats import FORMATS
from embedrouter.providers.remote import Remote
from embedrouter.providers.transport import Transport
from embedrouter.providers.wire import WireAnswer, WireCall
from embedrouter.routing.candidates import Access, Candidate
from embedrouter.routing.execute import Asked, Executor, Run, Served
from embedrouter.routing.health import Health
from upstream import Policy, Upstream, tokens_of, vector_of

DIMENSIONS = 8
_ALL = Limits()
TEXTS = ["one", "two words", "three words here", "four", "five"]


class Way:
    """Upstreams with these policies, as the endpoints of one model, asked in this order."""

    def __init__(
        self,
        *policies: Policy,
        limits: Limits = _ALL,
        accesses: Sequence[Access | None] = (None,),
        contexts: Sequence[int] = (8192,) * 2,
    ) -> None:
        self.policies, self.limits, self.accesses, self.contexts = policies, limits, accesses, contexts
        self.health = Health()
        self.upstreams: list[Upstream] = []
        self.run: Run | None = None

    def ask(self, texts: Sequence[str] = TEXTS, *, seconds: float = 20.0, attempt: float = 5.0) -> Served:
        with ExitStack() as stack:
            self.upstreams = [stack.enter_context(Upstream(policy, dimensions=DIMENSIONS)) for policy in self.policies]
            return asyncio.run(self._ask(texts, seconds, attempt))

    async def _ask(self, texts: Sequence[str], seconds: float, attempt: float) -> Served:
        executor = Executor(
            Remote(Transport(), FORMATS), self.health, Counting(None).count, attempt_timeout=attempt, draw=lambda: 0.0
        )
        self.run = Run(time.monotonic() + seconds, self._before, self._builtin)
        endpoints = [self._endpoint(place, one) for place, one in enumerate(self.upstreams)]
        model = Model(
            slug="test/model", canonical_slug="test/model-1", name="Test", created=0, description="",
            hugging_face_id=None, context_length=8192, dimensions=DIMENSIONS, endpoints=tuple(endpoints),
        )  # fmt: skip
        candidates = [Candidate(endpoint, access) for endpoint in endpoints for access in self.accesses]
        try:
            return await executor.run(Asked(model, WireCall(texts), bounds(texts), {}), candidates, self.run)
        finally:
            await executor.close()

    async def _before(self, candidate: Candidate) -> None:
        pass

    async def _builtin(self, call: WireCall) -> WireAnswer:
        raise AssertionError("there is no built-in provider here")

    def _endpoint(self, place: int, upstream: Upstream) -> Endpoint:
        name = f"p{place}"
        return Endpoint(
            tag=name,
            provider=Provider(slug=name, name=name.upper(), base_url=upstream.url, allow_private=True),
            price=Price(prompt=100 + place),
            context_length=self.contexts[place],
            dimensions=DIMENSIONS,
            quantization="unknown",
            data_policy=DataPolicy(retains_prompts=False, trains_on_prompts=False),
            upstream_model="m",
            limits=self.limits,
        )

    @property
    def statuses(self) -> list[tuple[str, int | None]]:
        assert self.run is not None
        return [(one.endpoint, one.status) for one in self.run.attempts]


def right(served: Served, texts: Sequence[str] = TEXTS) -> None:
    np.testing.assert_array_equal(served.vectors, np.array([vector_of(text, DIMENSIONS) for text in texts]))


def refused(way: Way, error: type[EmbedRouterError], **more: Any) -> EmbedRouterError:
    with pytest.raises(error) as caught:
        way.ask(**more)
    return caught.value


def test_the_first_one_answers_and_nobody_else_is_asked() -> None:
    way = Way("ok", "ok")
    served = way.ask()
    right(served)
    assert way.statuses == [("p0", 200)]
    assert way.upstreams[1].requests == 0
    assert served.tokens == sum(map(tokens_of, TEXTS))
    assert served.cost_pico == served.tokens * 100


@pytest.mark.parametrize(
    "policy",
    ["500", "503", "429", "401", "404", "reset", "close", "half", "garbage", "few", "many", "twice", "short", "nan",
     "null", "bad_gzip", "error200", "redirect", "html", "empty", "no_json", "huge_header"],
)  # fmt: skip
def test_whatever_a_provider_does_wrong_the_next_one_answers(policy: str) -> None:
    way = Way(policy, "ok")
    right(way.ask())
    assert way.statuses[-1] == ("p1", 200)
    assert len(way.statuses) == 2


@pytest.mark.parametrize("policy", ["gzip_bomb", "endless", "endless_chunked"])
def test_an_answer_without_end_is_cut_and_the_next_one_answers(policy: str) -> None:
    way = Way(policy, "ok")
    right(way.ask())


@pytest.mark.parametrize("policy", ["shuffled", "gzip", "slow:0.05"])
def test_what_is_right_all_the_same_is_taken(policy: str) -> None:
    way = Way(policy, "500")
    right(way.ask())
    assert way.statuses == [("p0", 200)]


def test_one_that_is_silent_is_left_at_its_deadline() -> None:
    way = Way("silent", "ok")
    started = time.monotonic()
    right(way.ask(attempt=1.0))
    assert time.monotonic() - started < 5
    assert way.statuses == [("p0", 504), ("p1", 200)]


def test_a_request_is_split_by_what_an_endpoint_takes_and_put_together_in_order() -> None:
    way = Way("ok", limits=Limits(items=2))
    served = way.ask()
    right(served)
    assert sorted(len(body["input"]) for body in way.upstreams[0].bodies) == [1, 2, 2]
    assert served.tokens == sum(map(tokens_of, TEXTS))


def test_only_the_shard_that_failed_is_asked_again_elsewhere() -> None:
    way = Way(lambda number: "500" if number == 1 else "ok", "ok", limits=Limits(items=1))
    served = way.ask()
    right(served)
    assert way.upstreams[0].requests == 5
    assert way.upstreams[1].requests == 1
    assert served.cost_pico < served.tokens * 101


def test_the_callers_own_fault_is_told_and_never_tried_elsewhere() -> None:
    way = Way("400", "ok")
    refused(way, InvalidRequestError)
    assert way.upstreams[1].requests == 0


def test_what_is_too_long_for_one_is_asked_of_one_that_reads_more() -> None:
    way = Way("413", "ok", contexts=(256, 8192))
    right(way.ask())
    same = Way("413", "ok")
    refused(same, ContextLengthExceededError)
    assert same.upstreams[1].requests == 0


def test_who_is_alone_and_failed_is_asked_once_more() -> None:
    way = Way(lambda number: "500" if number == 0 else "ok")
    right(way.ask())
    assert way.statuses == [("p0", 500), ("p0", 200)]


def test_who_is_alone_and_goes_on_failing_is_asked_twice_and_no_more() -> None:
    way = Way("500")
    error = refused(way, ProviderUnavailableError)
    assert way.upstreams[0].requests == 2
    assert [one["code"] for one in error.metadata["previous_errors"]] == [500, 500]


def test_a_short_retry_after_of_the_only_one_is_waited_for() -> None:
    way = Way(lambda number: "429:1" if number == 0 else "ok")
    started = time.monotonic()
    right(way.ask())
    assert time.monotonic() - started >= 1


def test_a_long_retry_after_is_told() -> None:
    error = refused(Way("429:30"), RateLimitExceededError)
    assert error.retry_after is not None
    assert 25 <= error.retry_after <= 30
    assert error.availability is not None
    assert error.availability["code"] == "capacity_exhausted"


def test_a_timeout_is_not_repeated() -> None:
    way = Way("silent")
    refused(way, ProviderTimeoutError, attempt=1.0)  # time enough to connect on a loaded machine
    assert way.upstreams[0].requests == 1


def test_no_attempt_begins_after_the_requests_deadline() -> None:
    way = Way("silent", "ok")
    refused(way, ProviderTimeoutError, seconds=0.3, attempt=5.0)
    assert way.upstreams[1].requests == 0


def test_a_credential_that_is_refused_is_not_used_again_and_the_next_one_serves() -> None:
    bad, good = Access("bad", "sk-bad"), Access("good", "sk-good")

    def policy(_: int) -> str:
        return "401" if way.upstreams[0].keys[-1] == "sk-bad" else "ok"

    way = Way(policy, accesses=[bad, good])
    served = way.ask()
    right(served)
    assert served.byok
    assert served.cost_pico == 0
    assert served.upstream_pico > 0
    assert way.upstreams[0].keys == ["sk-bad", "sk-good"]
    assert not way.health.credential_ready("bad")
    assert way.health.credential_ready("good")
    assert not way.health.facts("test/model p0").closed


def test_one_whose_breaker_is_open_is_passed_over() -> None:
    way = Way("500", "ok")
    for _ in range(6):
        right(way.ask(["a text"]), ["a text"])
    assert way.upstreams[0].requests == 0
    assert way.health.facts("test/model p0").closed


def test_other_shards_end_when_one_is_hopeless() -> None:
    way = Way(lambda number: "400" if number == 0 else "slow:5", limits=Limits(items=1))
    started = time.monotonic()
    refused(way, InvalidRequestError)
    assert time.monotonic() - started < 4


def test_settings_of_an_endpoint_are_what_the_provider_is_asked() -> None:
    way = Way("ok")
    way.ask(["text"])
    assert way.upstreams[0].bodies[0]["model"] == "m"
    assert msgspec.to_builtins(way.upstreams[0].bodies[0]["input"]) == ["text"]
