"""What a caller is told where no endpoint can serve: what excluded whom, and what would help."""

import math
from collections.abc import Iterable, Sequence
from typing import Any, Final

from embedrouter.catalog.constraints import Constraints
from embedrouter.catalog.models import Endpoint, Model, Provider
from embedrouter.catalog.waiting import Waiting, lacking
from embedrouter.errors import (
    ContextLengthExceededError,
    EmbedRouterError,
    NotFoundError,
    PermissionDeniedError,
    RateLimitExceededError,
    nearest,
)
from embedrouter.routing.filters import Exclusion, names
from embedrouter.routing.order import Candidate
from embedrouter.routing.preferences import ProviderPreferences
from embedrouter.routing.variants import Variant, with_variant

_MAX_HINTS: Final = 3  # slugs that name nobody and are told
_SHORTEST_WAIT: Final = 1  # seconds; also where nobody gave a hint
_LONGEST_WAIT: Final = 86_400
_MAX_SHOWN: Final = 100  # characters of a caller's slug that an error repeats


def require_allowed(model: Model, constraints: Constraints) -> None:
    """Raises PermissionDeniedError for a model that a guardrail does not allow."""
    called = {model.slug.lower(), model.canonical_slug.lower()}
    allowed = constraints.allowed_models
    if (allowed is None or not allowed.isdisjoint(called)) and constraints.ignored_models.isdisjoint(called):
        return
    raise PermissionDeniedError(
        f"a guardrail of this key or its workspace does not allow the model {model.slug}; ask for another model, or "
        "ask who manages the key to allow this one",
        metadata={"model": model.slug},
    )


def nobody_serves(model: Model, variant: Variant | None) -> EmbedRouterError:
    """The model has no endpoint, for this workspace."""
    if model.waiting:
        return Waiting(with_variant(model.slug, variant), model.waiting).error()
    return NotFoundError(
        f"No endpoints found for {model.slug}: no provider that serves it is enabled",
        availability=_availability("no_endpoints", model, variant, retryable=False),
    )


def nobody_reachable(model: Model, endpoints: Sequence[Endpoint], *, token_ids: bool) -> EmbedRouterError:
    """Of those that were planned, none takes the inputs, which are token ids, or none has a credential."""
    why = (
        "none of its endpoints takes this model's own token ids"
        if token_ids
        else "no credential for its providers may be used by this key; store one with POST /api/v1/byok"
    )
    return NotFoundError(
        f"No endpoints found for {model.slug}: {why}",
        availability=_availability(
            "constraint_filtered",
            model,
            None,
            retryable=False,
            affected_providers=_names(endpoints),
            excluded_by=["token_ids" if token_ids else "credentials"],
        ),
    )


def nobody_permitted(
    model: Model,
    endpoints: Sequence[Endpoint],
    excluded: Sequence[Exclusion],
    preferences: ProviderPreferences,
    variant: Variant | None,
    tokens: int | None,
) -> EmbedRouterError:
    """The filters leave nobody. endpoints: those that exist, never empty; excluded: each of them."""
    longest = max(endpoint.context_length for endpoint in endpoints)
    reasons = sorted({reason for one in excluded for reason in one.reasons})
    availability = _availability(
        "constraint_filtered",
        model,
        variant,
        retryable=False,
        affected_providers=_names(endpoints),
        excluded_by=reasons,
    )
    if tokens is not None and tokens > longest:
        return ContextLengthExceededError(
            f"an input has {tokens:,} tokens, and the most that any provider of {model.slug} reads is {longest:,}: "
            'send it in parts, or "truncate": true',
            metadata={"tokens": tokens, "limit": longest},
            availability=availability,
        )
    if variant == "free" and all(endpoint.price.prompt or endpoint.price.completion for endpoint in endpoints):
        return NotFoundError(
            f"No endpoints found for {model.slug}:free: nobody serves it free of charge; leave out :free",
            availability=availability | {"code": "free_variant_ended"},
        )
    why = "; ".join(f"{one.tag}: {', '.join(_told(one))}" for one in excluded)
    return NotFoundError(
        f"No endpoints found for {with_variant(model.slug, variant)} that meet this request's provider preferences "
        f"({why}){_hints(preferences, endpoints, model.waiting)}",
        availability=availability,
    )


def at_capacity(
    model: Model, closed: Sequence[Candidate], excluded: Sequence[Exclusion], variant: Variant | None
) -> EmbedRouterError:
    """All that may serve said when to return. excluded: those that may not serve."""
    hints = [one.facts.retry_after for one in closed if one.facts.retry_after is not None]
    wait = math.ceil(min([hint for hint in hints if math.isfinite(hint)], default=_SHORTEST_WAIT))
    wait = min(max(wait, _SHORTEST_WAIT), _LONGEST_WAIT)
    availability = _availability(
        "capacity_exhausted",
        model,
        variant,
        retryable=True,
        retry_after=wait,
        affected_providers=_names(one.endpoint for one in closed),
    )
    others = ""
    if excluded:
        availability["excluded_by"] = sorted({reason for one in excluded for reason in one.reasons})
        others = f" Not asked, by this request's preferences: {', '.join(one.tag for one in excluded)}."
    return RateLimitExceededError(
        f"All providers for {model.slug} are at capacity. Retry after {wait} seconds.{others}",
        availability=availability,
        retry_after=wait,
    )


def _availability(code: str, model: Model, variant: Variant | None, **more: Any) -> dict[str, Any]:
    return {"code": code, "requested_models": [with_variant(model.slug, variant)], **more}


def _names(endpoints: Iterable[Endpoint]) -> list[str]:
    return sorted({endpoint.provider.name for endpoint in endpoints})


def _told(one: Exclusion) -> list[str]:
    return [f"{reason} (guardrail)" if reason in one.guardrail else reason for reason in one.reasons]


def _hints(preferences: ProviderPreferences, endpoints: Sequence[Endpoint], waiting: Sequence[Provider]) -> str:
    """A clause for each slug in `only` or a closed `order` that names nobody."""
    known = list(dict.fromkeys(name for endpoint in endpoints for name in names(endpoint)))
    fields = [("only", preferences.only or [])]
    if preferences.allow_fallbacks is False:
        fields.append(("order", preferences.order or []))
    unknown = [(field, slug[:_MAX_SHOWN]) for field, slugs in fields for slug in slugs if slug.lower() not in known]
    return "".join(f". provider.{field}: {_hint(slug, known, waiting)}" for field, slug in unknown[:_MAX_HINTS])


def _hint(slug: str, known: Sequence[str], waiting: Sequence[Provider]) -> str:
    base = slug.lower().partition("/")[0]
    meant = [provider for provider in waiting if base in (provider.slug.lower(), provider.name.lower())]
    return lacking(meant) if meant else f'"{slug}" does not serve it{nearest(slug.lower(), known)}'
