"""Endpoints as pages list them: one model at one provider, with its price and how it is now."""

from collections.abc import Iterator, Sequence

import msgspec

from embedrouter.catalog.models import DataPolicy, Endpoint, Model, Provider, endpoint_id
from embedrouter.routing.facts import Percentiles
from embedrouter.routing.health import Health

_30M, _1D = 1_800.0, 86_400.0  # seconds


class Offer(msgspec.Struct, frozen=True, kw_only=True):
    """One model at one provider."""

    model: Model
    endpoint: Endpoint

    @property
    def id(self) -> str:
        """That of health."""
        return endpoint_id(self.model, self.endpoint)


class Condition(msgspec.Struct, frozen=True, kw_only=True):
    """How an endpoint is, by what this process knows. None: not known."""

    offer: Offer
    uptime: float | None  # percent of the busy minutes of a day
    latency: float | None  # ms, the median of half an hour
    throughput: float | None  # tokens a second, likewise
    attempts: int  # of a day, whoever asked


def offers(models: Sequence[Model], provider: str | None = None) -> Iterator[Offer]:
    """All, or those of one provider by his slug; only public ones are in the public catalog."""
    for model in models:
        for endpoint in model.endpoints:
            if provider is None or endpoint.provider.slug == provider:
                yield Offer(model=model, endpoint=endpoint)


def condition(health: Health, offer: Offer) -> Condition:
    """Now."""
    latency = health.percentiles(offer.id, "latency", _30M)
    return Condition(
        offer=offer,
        uptime=health.uptime(offer.id, _1D),
        latency=None if latency is None else 1_000.0 * latency.p50,
        throughput=_median(health.percentiles(offer.id, "throughput", _30M)),
        attempts=health.request_count(offer.id, _1D),
    )


def policies(provider_offers: Sequence[Offer]) -> tuple[str, ...]:
    """What is done with prompts, in words; several where endpoints differ."""
    return tuple(dict.fromkeys(text for one in provider_offers for text in told(one.endpoint.data_policy)))


def told(policy: DataPolicy) -> tuple[str, ...]:
    """A data policy in words."""
    kept = "keeps prompts" if policy.retains_prompts else "keeps no prompts"
    return (kept, "trains on prompts") if policy.trains_on_prompts else (kept,)


def credential(provider: Provider, *, served: bool) -> str:
    """Whether there is one; never whose, nor where from."""
    if not provider.needs_credential:
        return "none needed"
    return "there is one" if served else "missing"


def _median(found: Percentiles | None) -> float | None:
    return None if found is None else found.p50
