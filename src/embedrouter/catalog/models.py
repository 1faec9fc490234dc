"""Models, providers and endpoints, as typed structs.

A model is what a client names. An endpoint is one model at one provider, with its own price, context and policy. Money
is integer pico-USD inside: $0.005 per million tokens is 5,000 pico-USD a token, exactly.
"""

import msgspec


class Price(msgspec.Struct, frozen=True, kw_only=True):
    """Prices in pico-USD (10^-12 USD) per token."""

    prompt: int
    completion: int = 0


class DataPolicy(msgspec.Struct, frozen=True, kw_only=True):
    """What a provider does with prompts."""

    retains_prompts: bool
    trains_on_prompts: bool


class Provider(msgspec.Struct, frozen=True, kw_only=True):
    """Somebody who serves models."""

    slug: str
    name: str
    privacy_policy_url: str | None = None
    terms_of_service_url: str | None = None
    status_page_url: str | None = None
    headquarters: str | None = None  # ISO 3166-1 alpha-2
    datacenters: tuple[str, ...] | None = None


class Endpoint(msgspec.Struct, frozen=True, kw_only=True):
    """One model at one provider. `tag` is its exact slug, `provider.slug` the base slug that also matches it."""

    tag: str
    provider: Provider
    price: Price
    context_length: int  # tokens
    dimensions: int
    quantization: str  # of the weights as they are computed: fp32, bf16, ...
    data_policy: DataPolicy
    supported_parameters: tuple[str, ...] = ()


class Model(msgspec.Struct, frozen=True, kw_only=True):
    """One embedding model."""

    slug: str
    canonical_slug: str
    name: str
    created: int  # Unix seconds of its release
    description: str
    hugging_face_id: str | None
    context_length: int  # tokens
    dimensions: int
    endpoints: tuple[Endpoint, ...]

    @property
    def author(self) -> str:
        """The first half of the slug."""
        return self.slug.partition("/")[0]

    @property
    def supported_parameters(self) -> tuple[str, ...]:
        """What any of its endpoints takes, in the order of their first mention."""
        return tuple(dict.fromkeys(name for endpoint in self.endpoints for name in endpoint.supported_parameters))
