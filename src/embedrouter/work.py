"""A request as the gateway knows it, from what a client asks to what it gets and what remains of it."""

import secrets
import time
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from embedrouter.accounts.caller import Caller
from embedrouter.catalog.models import Endpoint, Model
from embedrouter.ledger.attempts import Attempt, attempts_json
from embedrouter.ledger.claims import Amount
from embedrouter.ledger.generations import Generation
from embedrouter.ledger.headroom import Expected
from embedrouter.ledger.holds import Hold
from embedrouter.ledger.payer import Payer
from embedrouter.minilm.windows import LongInput
from embedrouter.providers.base import Piece
from embedrouter.providers.counting import bounds
from embedrouter.routing.candidates import Candidate
from embedrouter.routing.plan import Plan
from embedrouter.routing.preferences import ProviderPreferences


class EmbedRequest(NamedTuple):
    """What a client asks, free of any wire format."""

    model: str
    inputs: Sequence[str] | Sequence[Sequence[int]]
    rule: LongInput
    dimensions: int | None
    preferences: ProviderPreferences
    parameters: frozenset[str]  # names of the model parameters the request carries
    prompt: str | None = None  # the inputs as JSON, where prompts are kept
    input_type: str | None = None
    api_type: str = "embeddings"  # what it is for: the name of the route that it came by
    piece: Piece | None = None  # what may be computed together, of a request that nobody waits for
    discount_percent: int = 0  # off what is charged; what is left is rounded down to whole pico-USD

    @property
    def texts(self) -> Sequence[str] | None:
        """The inputs, unless they are ids of the model's own vocabulary."""
        return self.inputs if isinstance(self.inputs[0], str) else None  # type: ignore[return-value]

    @property
    def most_tokens(self) -> list[int]:
        """As many as each input can have, by any tokenizer."""
        texts = self.texts
        return bounds(texts) if texts is not None else [len(ids) + 2 for ids in self.inputs]


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
    hops: str | None = None  # the gateways it came through, as they say


class Answered(NamedTuple):
    """What providers made of a request, checked."""

    vectors: NDArray[np.float32]  # (n, the endpoint's dimensions), in input order
    endpoint: Endpoint  # that made the first one
    tokens: int
    cost_pico: int
    fingerprint: str
    byok: bool = False
    upstream_pico: int = 0  # by list price, what somebody's own credential paid for
    truncated: int = 0  # inputs that were cut
    windows: int = 0  # sequences beyond the first of each input
    tokenize_seconds: float = 0.0


class EmbedResult(NamedTuple):
    """What a client gets, free of any wire format."""

    vectors: NDArray[np.float32]  # (n, dimensions), in input order
    model: Model
    endpoint: Endpoint
    prompt_tokens: int
    cost_pico_usd: int
    fingerprint: str
    truncated: int
    windows: int
    tokenize_seconds: float
    byok: bool
    upstream_pico_usd: int
    asked_at: float  # time.perf_counter() when the first provider was asked
    provider_seconds: float  # until the last one's answer
    plan: Plan
    attempts: Sequence[Attempt]


class Source(NamedTuple):
    """A request that was answered, for who gives its answer again."""

    generation_id: str
    model: Model
    endpoint: Endpoint
    inputs: int
    api_type: str = "embeddings"


class Work:
    """A request under way."""

    def __init__(
        self, request: EmbedRequest, origin: Origin, payer: Payer, model: Model, plan: Plan, created_at: int
    ) -> None:
        self.request = request
        self.origin = origin
        self.payer = payer  # what the database has to look at
        self.model = model
        self.plan = plan
        self.candidates: Sequence[Candidate] = ()
        self.created_at = created_at  # microseconds
        self.hold: Hold | None = None
        self.expected: Expected | None = None  # the most it may come to, where it is limited
        self.admitted_late = False  # its limits are looked at when it is settled
        self.holds_nothing = False  # although a provider is paid for it: its limits are far away
        self.attempts: list[Attempt] | None = None  # None: one, whose status is the request's
        self._asked = 0.0

    @property
    def reached_provider(self) -> bool:
        """Whether anybody was asked."""
        return self._asked > 0

    @property
    def asked_at(self) -> float:
        """time.perf_counter() when the first provider was asked."""
        return self._asked

    @property
    def seconds(self) -> float:
        """Since then."""
        return time.perf_counter() - self._asked

    def expect(self, amount: Amount, tokens: int) -> Expected:
        """Say what it may come to at most."""
        self.expected = Expected(self.payer, self.payer.claims(self.created_at), amount, tokens)
        return self.expected

    def reach_provider(self, at: float | None = None) -> None:
        """at: time.perf_counter(), if not now."""
        if not self._asked:
            self._asked = at or time.perf_counter()

    def generation(
        self,
        status: int,
        answered: Answered | None = None,
        *,
        error_type: str | None = None,
        cancelled: bool = False,
    ) -> Generation:
        """Its row. Only what was answered costs anything."""
        took = int(self.seconds * 1_000_000)
        endpoint = self._endpoint(answered)
        if self.attempts is None:
            self.attempts = [Attempt(endpoint.provider.name, endpoint.tag, self.model.canonical_slug, status, took)]
        return generation(
            self.origin,
            self.model,
            endpoint,
            self.created_at,
            status=status,
            error_type=error_type,
            cancelled=cancelled,
            inputs=len(self.request.inputs),
            tokens=0 if answered is None else answered.tokens,
            cost_pico=0 if answered is None else answered.cost_pico * (100 - self.request.discount_percent) // 100,
            upstream_pico=0 if answered is None else answered.upstream_pico,
            byok=answered is not None and answered.byok,
            took=took,
            attempts=self.attempts,
            api_type=self.request.api_type,
        )

    def _endpoint(self, answered: Answered | None) -> Endpoint:
        """Who answered, or was asked last."""
        if answered is not None:
            return answered.endpoint
        if self.attempts:
            tag = self.attempts[-1].endpoint
            return next((one for one in self.plan.tried if one.tag == tag), self.plan.tried[0])
        return self.plan.tried[0]


class Trail:
    """How far a request came, for who is to be told of it when it fails."""

    def __init__(self) -> None:
        self.requested: str | None = None  # the model as the client named it; None: he does not want to be told
        self.model: Model | None = None  # None: it was not found, or not looked for
        self.work: Work | None = None  # None: nobody could be asked


def generation(
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
    cost_pico: int = 0,
    upstream_pico: int = 0,
    byok: bool = False,
    took: int = 0,
    attempts: Sequence[Attempt] = (),
    cache_source_id: str | None = None,
    api_type: str = "embeddings",
) -> Generation:
    """The row of a request that ends now. created_at, took: microseconds; took: by its providers."""
    key = origin.caller.key
    return Generation(
        id=origin.generation_id,
        created_at=created_at,
        key_id=key.id,
        workspace_id=key.workspace_id,
        owner_id=key.owner_id,
        app_id=origin.app_id,
        public=origin.caller.public,
        api_type=api_type,
        model=model.slug,
        model_permaslug=model.canonical_slug,
        endpoint=endpoint.tag,
        provider_name=endpoint.provider.name,
        status=status,
        error_type=error_type,
        cancelled=cancelled,
        inputs=inputs,
        prompt_tokens=tokens,
        cost_pico=cost_pico,
        is_byok=byok,
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
        upstream_pico=upstream_pico,
    )


def new_generation_id() -> str:
    """`gen-<unix seconds>-<20 hex digits>`, as OpenRouter's look."""
    return f"gen-{int(time.time())}-{secrets.token_hex(10)}"
