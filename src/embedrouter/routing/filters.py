"""The hard filters: which of a model's endpoints may serve a request, and what excludes the others. Pure functions."""

from collections.abc import Callable, Iterable
from decimal import Decimal
from typing import Final, Literal, NamedTuple

from embedrouter.catalog.constraints import Constraints
from embedrouter.catalog.models import Endpoint, Model
from embedrouter.errors import InvalidRequestError
from embedrouter.routing.preferences import ProviderPreferences
from embedrouter.routing.variants import Variant

# The words of `availability.excluded_by`; the last two are of endpoints that pass the filters and are not asked now.
Reason = Literal[
    "allowed_providers", "quantization", "data_policy:zdr", "data_policy:training", "max_price", "require_parameters",
    "context_length", "rate_limited", "failing",
]  # fmt: skip

_FAMILIES: Final = {"fp4": ("fp4", "mxfp4", "nvfp4"), "fp8": ("fp8", "mxfp8")}
_ZERO: Final = Decimal(0)


class Exclusion(NamedTuple):
    """An endpoint that may not serve, and why."""

    tag: str
    provider_name: str
    reasons: tuple[Reason, ...]
    guardrail: tuple[Reason, ...] = ()  # those that the request itself does not give: rules above it do


class Filters(NamedTuple):
    """What a request excludes, ready to be held against endpoints. Slugs in lower case, prices in pico-USD a token."""

    allowed: tuple[frozenset[str], ...]  # an endpoint must be named in each
    ignored: frozenset[str]
    quantizations: frozenset[str]  # empty: any
    zdr: bool
    no_training: bool
    max_prompt: Decimal | None
    max_completion: Decimal | None
    required: frozenset[str]  # parameters
    tokens: int | None


def filters_of(
    preferences: ProviderPreferences, parameters: Iterable[str], tokens: int | None, variant: Variant | None
) -> Filters:
    """Raises InvalidRequestError for a price that is none."""
    limit = preferences.max_price
    max_prompt = _pico_per_token(limit.prompt, "prompt") if limit else None
    max_completion = _pico_per_token(limit.completion, "completion") if limit else None
    if variant == "free":
        max_prompt = max_completion = _ZERO
    allowed = [] if preferences.only is None else [lowered(preferences.only)]
    if preferences.order and preferences.allow_fallbacks is False:
        allowed.append(lowered(preferences.order))
    quantizations = preferences.quantizations or ()
    return Filters(
        allowed=tuple(allowed),
        ignored=lowered(preferences.ignore or ()),
        quantizations=frozenset(one for name in quantizations for one in _FAMILIES.get(name, (name,))),
        zdr=preferences.zdr is True,
        no_training=preferences.data_collection == "deny",
        max_prompt=max_prompt,
        max_completion=max_completion,
        required=frozenset(parameters) if preferences.require_parameters else frozenset(),
        tokens=tokens,
    )


def visible(model: Model, workspace_id: str | None) -> list[Endpoint]:
    """The endpoints that exist for a workspace. Of the others nothing is said, not even in an error."""
    return [e for e in model.endpoints if not e.disabled and (e.private_to is None or e.private_to == workspace_id)]


def exclusion(
    endpoint: Endpoint, filters: Filters, constraints: Constraints, retains: Callable[[Endpoint], bool]
) -> Exclusion | None:
    """Why an endpoint may not serve; None if it may. retains: whether prompts are kept, by whichever credential."""
    retained = (filters.zdr or constraints.zdr) and retains(endpoint)
    asked, above = _asked(endpoint, filters, retained=retained), _above(endpoint, constraints, retained=retained)
    if not asked and not above:
        return None
    guardrail = tuple(reason for reason in above if reason not in asked)
    return Exclusion(endpoint.tag, endpoint.provider.name, (*asked, *guardrail), guardrail)


def named(endpoint: Endpoint, slugs: frozenset[str]) -> bool:
    """Whether slugs in lower case name an endpoint: by its tag, or by the slug or name of its provider."""
    return not slugs.isdisjoint(names(endpoint))


def names(endpoint: Endpoint) -> tuple[str, str, str]:
    """Its exact slug, its base slug, and its provider's name, in lower case."""
    return endpoint.tag.lower(), endpoint.provider.slug.lower(), endpoint.provider.name.lower()


def lowered(slugs: Iterable[str]) -> frozenset[str]:
    """As `named` takes them."""
    return frozenset(slug.lower() for slug in slugs)


def _asked(endpoint: Endpoint, filters: Filters, *, retained: bool) -> list[Reason]:
    """What the request itself excludes."""
    reasons: list[Reason] = []
    if not all(named(endpoint, slugs) for slugs in filters.allowed) or named(endpoint, filters.ignored):
        reasons.append("allowed_providers")
    if filters.quantizations and endpoint.quantization not in filters.quantizations:
        reasons.append("quantization")
    if filters.zdr and retained:
        reasons.append("data_policy:zdr")
    if filters.no_training and endpoint.data_policy.trains_on_prompts:
        reasons.append("data_policy:training")
    if _above_price(endpoint.price.prompt, filters.max_prompt) or _above_price(
        endpoint.price.completion, filters.max_completion
    ):
        reasons.append("max_price")
    if not filters.required.issubset(endpoint.supported_parameters):
        reasons.append("require_parameters")
    if filters.tokens is not None and filters.tokens > endpoint.context_length:
        reasons.append("context_length")
    return reasons


def _above(endpoint: Endpoint, constraints: Constraints, *, retained: bool) -> list[Reason]:
    """What a guardrail or the workspace excludes, whatever the request says."""
    reasons: list[Reason] = []
    allowed = constraints.allowed_providers
    if (allowed is not None and not named(endpoint, allowed)) or named(endpoint, constraints.ignored_providers):
        reasons.append("allowed_providers")
    if constraints.zdr and retained:
        reasons.append("data_policy:zdr")
    if constraints.no_training and endpoint.data_policy.trains_on_prompts:
        reasons.append("data_policy:training")
    return reasons


def _above_price(price: int, limit: Decimal | None) -> bool:
    return limit is not None and price > limit


def _pico_per_token(usd_per_million: float | str | None, field: str) -> Decimal | None:
    """USD per million tokens is pico-USD per token times 10^6."""
    if usd_per_million is None:
        return None
    try:
        value = Decimal(str(usd_per_million)) * 1_000_000
        is_price = value.is_finite() and value >= 0
    except ArithmeticError:
        is_price = False
    if not is_price:
        raise InvalidRequestError(
            f"provider.max_price.{field} must be a price in USD per million tokens, such as 0.02",
            metadata={"field": f"provider.max_price.{field}"},
        )
    return value
