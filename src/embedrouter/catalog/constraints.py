"""What somebody above a request allows it: a guardrail's or a workspace's rules, as routing reads them."""

import msgspec

from embedrouter.catalog.models import Endpoint, Model


class Constraints(msgspec.Struct, frozen=True, kw_only=True):
    """None allows everybody. Models by canonical slug, providers by slug, all lower case."""

    allowed_models: frozenset[str] | None = None
    ignored_models: frozenset[str] = frozenset()
    allowed_providers: frozenset[str] | None = None
    ignored_providers: frozenset[str] = frozenset()
    zdr: bool = False  # only endpoints that retain no prompts
    no_training: bool = False  # only endpoints that do not train on prompts
    workspace_id: str | None = None  # whose private endpoints may serve
    default_sort: str | None = None  # price, throughput or latency, where the request has no `sort` and no `order`

    def permit(self, model: Model, endpoint: Endpoint, *, retains: bool) -> bool:
        """Whether this endpoint of the model may serve at all, of those that are switched on. retains: prompts."""
        called = {model.slug.lower(), model.canonical_slug.lower()}
        served_by = {endpoint.tag.lower(), endpoint.provider.slug.lower(), endpoint.provider.name.lower()}
        return (
            not endpoint.disabled
            and endpoint.private_to in (None, self.workspace_id)
            and (self.allowed_models is None or not self.allowed_models.isdisjoint(called))
            and self.ignored_models.isdisjoint(called)
            and (self.allowed_providers is None or not self.allowed_providers.isdisjoint(served_by))
            and self.ignored_providers.isdisjoint(served_by)
            and not (self.zdr and retains)
            and not (self.no_training and endpoint.data_policy.trains_on_prompts)
        )

    def both(self, other: "Constraints") -> "Constraints":
        """What both allow."""
        return Constraints(
            allowed_models=_both(self.allowed_models, other.allowed_models),
            ignored_models=self.ignored_models | other.ignored_models,
            allowed_providers=_both(self.allowed_providers, other.allowed_providers),
            ignored_providers=self.ignored_providers | other.ignored_providers,
            zdr=self.zdr or other.zdr,
            no_training=self.no_training or other.no_training,
            workspace_id=self.workspace_id or other.workspace_id,
            default_sort=self.default_sort or other.default_sort,
        )


FREE = Constraints()


def _both(one: frozenset[str] | None, other: frozenset[str] | None) -> frozenset[str] | None:
    if one is None or other is None:
        return other if one is None else one
    return one & other
