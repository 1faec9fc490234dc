"""The `openrouter_metadata` of an answer: who could have served a request, who was asked, and who did."""

from collections.abc import Sequence
from typing import Literal, Protocol

import msgspec

from embedrouter.catalog.models import Model
from embedrouter.routing.plan import Plan
from embedrouter.routing.variants import split_variant


class Attempt(Protocol):
    """One try at one endpoint, as the ledger keeps it."""

    @property
    def provider_name(self) -> str: ...
    @property
    def endpoint(self) -> str: ...  # tag
    @property
    def model_permaslug(self) -> str: ...
    @property
    def status(self) -> int | None: ...  # HTTP; None if it never answered
    @property
    def is_byok(self) -> bool: ...


class AvailableEndpoint(msgspec.Struct, frozen=True):
    """One that the plan has."""

    provider: str
    model: str
    selected: bool


class Endpoints(msgspec.Struct, frozen=True):
    """All that were looked at, and those of them that might serve."""

    total: int
    available: list[AvailableEndpoint]


class RouterAttempt(msgspec.Struct, frozen=True):
    """One try; status 0: it never answered."""

    provider: str
    model: str
    status: int


class RouterMetadata(msgspec.Struct, frozen=True, kw_only=True):
    """OpenRouter's object, field by field."""

    requested: str
    strategy: Literal["direct", "alias", "free"]
    region: str | None
    summary: str
    attempt: int  # the number of the last one, from 1; 0: it reached no provider
    is_byok: bool
    endpoints: Endpoints
    attempts: list[RouterAttempt]


def router_metadata(
    requested: str, model: Model, plan: Plan | None, attempts: Sequence[Attempt], *, total: int = 0
) -> RouterMetadata:
    """requested: the model as the client named it. plan: None where there was none to make; total: of endpoints, then.

    Where the parts of a request were served by several endpoints, all of those are selected.
    """
    answered = [attempt for attempt in attempts if attempt.status == 200]
    chosen = {attempt.endpoint for attempt in answered}
    planned = plan.tried if plan is not None else ()
    served = [endpoint for endpoint in planned if endpoint.tag in chosen]
    names = list(dict.fromkeys(attempt.provider_name for attempt in answered))
    regions = {endpoint.region for endpoint in served}
    return RouterMetadata(
        requested=requested,
        strategy=_strategy(requested, model),
        region=regions.pop() if len(regions) == 1 else None,
        summary=f"available={len(planned)}, selected={'+'.join(names) or 'none'}",
        attempt=len(attempts),
        is_byok=any(attempt.is_byok for attempt in answered),
        endpoints=Endpoints(
            plan.total if plan is not None else total,
            [AvailableEndpoint(e.provider.name, model.canonical_slug, e.tag in chosen) for e in planned],
        ),
        attempts=[RouterAttempt(one.provider_name, one.model_permaslug, one.status or 0) for one in attempts],
    )


def _strategy(requested: str, model: Model) -> Literal["direct", "alias", "free"]:
    name, variant = split_variant(requested)
    if variant == "free":
        return "free"
    return "direct" if name.lower() in (model.slug.lower(), model.canonical_slug.lower()) else "alias"
