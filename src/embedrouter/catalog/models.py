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
    """Somebody who serves models, and how he is asked."""

    slug: str
    name: str
    wire: str = "openai"  # the wire format: a key of `embedrouter.providers.formats.FORMATS`, or builtin
    base_url: str | None = None  # with {names} of `options`; None for the built-in one
    options: dict[str, str] = {}  # what its URL needs to know: account id, API version, region
    needs_credential: bool = False  # disabled until there is one
    credential_env: str | None = None  # the variable that may hold one
    allow_private: bool = False  # an administrator allowed its host to be in a private network
    privacy_policy_url: str | None = None
    terms_of_service_url: str | None = None
    status_page_url: str | None = None
    headquarters: str | None = None  # ISO 3166-1 alpha-2
    datacenters: tuple[str, ...] | None = None


class Limits(msgspec.Struct, frozen=True, kw_only=True):
    """What one call to an endpoint may carry; more is split."""

    items: int = 2_048
    tokens: int | None = None  # of all items together
    concurrent: int | None = None  # calls under way at once, of this process


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
    upstream_model: str = ""  # what the provider calls the model
    region: str | None = None
    limits: Limits = Limits()
    disabled: bool = False
    private_to: str | None = None  # a private endpoint's workspace
    credential_id: str | None = None  # of a private endpoint: only this credential will do


class Space(msgspec.Struct, frozen=True, kw_only=True):
    """What makes vectors comparable. A model is one space, so each of its endpoints may stand in for another."""

    revision: str = ""  # of the weights
    dimensions: int
    pooling: str = ""  # mean, cls, last


class Model(msgspec.Struct, frozen=True, kw_only=True):
    """One embedding model: one vector space."""

    slug: str
    canonical_slug: str
    name: str
    created: int  # Unix seconds of its release
    description: str
    hugging_face_id: str | None
    context_length: int  # tokens
    dimensions: int
    endpoints: tuple[Endpoint, ...]
    space: Space | None = None  # None: not known
    fixed_dimensions: bool = False  # its vectors may not be cut: it was not trained for that
    waiting: tuple[Provider, ...] = ()  # shipped ones that would serve it, too, had they a credential

    @property
    def author(self) -> str:
        """The first half of the slug."""
        return self.slug.partition("/")[0]

    @property
    def supported_parameters(self) -> tuple[str, ...]:
        """What any of its endpoints takes, in the order of their first mention."""
        return tuple(dict.fromkeys(name for endpoint in self.endpoints for name in endpoint.supported_parameters))


def endpoint_id(model: Model, endpoint: Endpoint) -> str:
    """What names one endpoint among all: the tag names it only among its model's."""
    return f"{model.slug} {endpoint.tag}"
