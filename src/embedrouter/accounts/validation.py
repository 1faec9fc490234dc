"""What a private endpoint becomes in the catalog, and what its validation says. Pure."""

import re
from typing import Final
from urllib.parse import urlsplit

import msgspec

from embedrouter.accounts.private_endpoints import Check, PrivateEndpoint, Upstream
from embedrouter.catalog.models import DataPolicy, Endpoint, Model, Price, Provider
from embedrouter.money import pico_usd
from embedrouter.providers.wire import UpstreamError, WireAnswer

_LONGEST: Final = 300  # characters of a provider's message that are kept
_NAMES: Final = re.compile(r"[^a-z0-9]+")
_OWN_NAMES: Final = frozenset({"azure"})  # wires whose model ids are names that their owner chose


def provider_at(provider: Provider, base_url: str | None) -> Provider:
    """The provider at another address. That his host may be private does not let others be."""
    if base_url is None:
        return provider
    same = _host(base_url) == _host(provider.base_url or "")
    return msgspec.structs.replace(
        provider, base_url=base_url.rstrip("/"), allow_private=provider.allow_private and same
    )


def endpoint_of(private: PrivateEndpoint, provider: Provider, model: Model) -> Endpoint:
    """As routing knows it; disabled unless it is active. provider: of the catalog, at his own address."""
    said = private.upstream
    public = next((e for e in model.endpoints if e.provider.slug == provider.slug and e.private_to is None), None)
    found = private.validation
    endpoint = Endpoint(
        tag=f"{provider.slug}/{private.id}",
        provider=provider_at(provider, said.base_url),
        price=Price(prompt=pico_usd(said.pricing.prompt), completion=pico_usd(said.pricing.completion)),
        context_length=public.context_length if public else model.context_length,
        dimensions=model.dimensions,
        quantization=public.quantization if public else "unknown",
        data_policy=_policy(said, public),
        supported_parameters=public.supported_parameters if public else (),
        upstream_model=said.upstream_model_id,
        region=None if said.declared_region == "global" else said.declared_region,
        disabled=private.status != "active",
        private_to=private.workspace_id or (found.workspace_id if found else None),
        credential_id=found.credential_id if found else None,
    )
    return msgspec.structs.replace(endpoint, limits=public.limits) if public else endpoint


def judged(
    private: PrivateEndpoint, provider: Provider, model: Model, answer: WireAnswer | UpstreamError
) -> list[Check]:
    """What an endpoint's answer proves."""
    if isinstance(answer, UpstreamError):
        answered = answer.failure == "invalid_answer"
        failed = Check(
            name="response" if answered else "upstream",
            passed=False,
            reason="invalid_response" if answered else "upstream_error",
            upstream_status=answer.status,
            upstream_message=answer.message[:_LONGEST],
        )
        return [Check(name="upstream", passed=True), failed] if answered else [failed]
    passed = [Check(name="upstream", passed=True), Check(name="response", passed=True)]
    actual = answer.model
    known = (private.upstream.upstream_model_id, model.slug, model.canonical_slug, model.hugging_face_id or "")
    if actual is None or provider.wire in _OWN_NAMES or any(_alike(actual, name) for name in known):
        return [*passed, Check(name="model", passed=True)]
    mismatch = Check(name="model", passed=False, reason="model_mismatch", actual_model=actual[:_LONGEST])
    return [*passed, mismatch]


def _policy(said: Upstream, public: Endpoint | None) -> DataPolicy:
    """What is declared counts; where nothing is, what is known of the provider; else the worst but training."""
    trains = public.data_policy.trains_on_prompts if public else False
    if said.declared_zdr is not None:
        return DataPolicy(retains_prompts=not said.declared_zdr, trains_on_prompts=trains and not said.declared_zdr)
    return public.data_policy if public else DataPolicy(retains_prompts=True, trains_on_prompts=False)


def _alike(one: str, other: str) -> bool:
    """Whether two names are one model's: their last parts are the same, or one is the other with a version."""
    left, right = (_NAMES.sub("-", name.lower().rstrip("/").rpartition("/")[2]).strip("-") for name in (one, other))
    return bool(left and right) and (left == right or left.startswith(f"{right}-") or right.startswith(f"{left}-"))


def _host(url: str) -> str:
    try:
        return (urlsplit(url).hostname or "").lower().removesuffix(".")
    except ValueError:
        return ""
