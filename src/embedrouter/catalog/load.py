"""From what files and the database state to the catalog that is served: merged, checked as a whole, made.

Later sources replace what earlier ones say, entry by entry: shipped, the operator's file, the database. The built-in
model comes from the program; nobody restates it, but others may serve it, too.
"""

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from datetime import UTC, datetime, time
from typing import Final, NamedTuple

import msgspec

from embedrouter.catalog.catalog import Catalog
from embedrouter.catalog.check import empty_options, faults, pico_per_token
from embedrouter.catalog.entries import EndpointEntry, Entry, Kind, ModelEntry, ProviderEntry, Sheet, Source, Stated
from embedrouter.catalog.models import DataPolicy, Endpoint, Limits, Model, Price, Provider, Space
from embedrouter.catalog.names import Names, names
from embedrouter.catalog.waiting import Waiting
from embedrouter.errors import CatalogError, CatalogProblem, nearest

Ready = Callable[[ProviderEntry], bool]
"""Whether there is a credential for a provider."""

_RANK: Final[Mapping[Source, int]] = {"shipped": 0, "file": 1, "database": 2}
_SPACE: Final = (
    "vectors of different spaces never stand in for each other, so this endpoint needs a model slug of its own"
)


class Listed(NamedTuple):
    """One entry of the merged catalog, served or not."""

    kind: Kind
    key: str
    source: Source  # whose word holds
    replaces: tuple[Source, ...]  # whose does not
    entry: Entry | None  # None: hidden
    unserved: str | None  # why it is not served


class Loaded(NamedTuple):
    """A catalog that holds together."""

    catalog: Catalog  # what is served
    listed: tuple[Listed, ...]  # all there is, but for the built-in model
    providers: tuple[ProviderEntry, ...]


def load(
    sheets: Sequence[Sheet],
    *,
    builtin: Model,
    wires: Collection[str],
    ready: Ready,
    aliases: Mapping[str, str],
) -> Loaded:
    """sheets: in the order of their sources. wires: names of the wire formats. aliases: the operator's and the built-in
    model's. Raises CatalogError with everything that is wrong."""
    merged = _Merged(sheets, builtin)
    problems = [problem for sheet in sheets for problem in sheet.problems]
    for stated in merged.holding.values():
        if stated.entry is not None:
            problems += [CatalogProblem(stated.title, *fault) for fault in faults(stated.entry, wires)]
    problems += merged.contradictions()
    problems += merged.provider_names()
    known = names(
        builtin, {slug: stated for slug, stated in merged.models.items() if stated.entry is not None}, aliases
    )
    problems += known.problems
    if problems:
        raise CatalogError(list(dict.fromkeys(problems)))
    return _made(merged, ready, known)


class _Merged:
    """What holds of everything stated, and what it replaced."""

    def __init__(self, sheets: Sequence[Sheet], builtin: Model) -> None:
        self.builtin = builtin
        self.holding: dict[tuple[Kind, str], Stated] = {}
        self.replaced: dict[tuple[Kind, str], tuple[Stated, ...]] = {}
        for stated in (one for sheet in sheets for one in sheet.stated):
            name = (stated.kind, stated.key)
            before = self.holding.get(name)
            if before is not None:
                self.replaced[name] = (*self.replaced.get(name, ()), before)
            self.holding[name] = stated
        self.providers = {k: s for (kind, k), s in self.holding.items() if kind == "provider"}
        self.models = {k: s for (kind, k), s in self.holding.items() if kind == "model"}
        self.endpoints = {k: s for (kind, k), s in self.holding.items() if kind == "endpoint"}

    def provider(self, slug: str) -> ProviderEntry | None:
        """What holds of a provider, unless it is hidden."""
        stated = self.providers.get(slug)
        return stated.entry if stated is not None and isinstance(stated.entry, ProviderEntry) else None

    def model(self, slug: str) -> ModelEntry | None:
        stated = self.models.get(slug)
        return stated.entry if stated is not None and isinstance(stated.entry, ModelEntry) else None

    def is_shipped(self, endpoint: EndpointEntry) -> bool:
        """Whether its model and its provider are everybody's to know of."""
        model, provider = self.models.get(endpoint.model), self.providers.get(endpoint.provider)
        shipped = endpoint.model == self.builtin.slug or (model is not None and model.source == "shipped")
        return shipped and provider is not None and provider.source == "shipped"

    def hidden_with(self, stated: Stated) -> str | None:
        """Why an endpoint goes when a later source hides its provider or its model."""
        entry = stated.entry
        if not isinstance(entry, EndpointEntry):
            return None
        for kind, above in (("provider", self.providers.get(entry.provider)), ("model", self.models.get(entry.model))):
            if above is not None and above.entry is None and _RANK[above.source] > _RANK[stated.source]:
                return f'its {kind} "{above.key}" is hidden {above.where}'
        return None

    def contradictions(self) -> Iterator[CatalogProblem]:
        """Of entries with each other."""
        for stated in self.holding.values():
            if stated.entry is None:
                if (stated.kind, stated.key) not in self.replaced:
                    yield CatalogProblem(stated.title, "removed", "hides nothing: no other source states it")
            elif stated.kind == "provider":
                yield from self._of_provider(stated)
            elif stated.kind == "model" and stated.key == self.builtin.slug:
                yield CatalogProblem(stated.title, "slug", "is the built-in model's; the program states it itself")
            elif isinstance(stated.entry, EndpointEntry) and self.hidden_with(stated) is None:
                yield from self._of_endpoint(stated, stated.entry)

    def _of_provider(self, stated: Stated) -> Iterator[CatalogProblem]:
        entry = stated.entry
        assert isinstance(entry, ProviderEntry)
        if entry.slug in {e.provider.slug for e in self.builtin.endpoints} or entry.wire == "builtin":
            yield CatalogProblem(stated.title, "slug", "the built-in provider is the program's own; take another one")
        # Else who may change the catalog, but not see the server's environment, could have it sent where he likes.
        if stated.source == "database" and entry.credential_env is not None:
            allowed = [b.entry for b in self.replaced.get(("provider", entry.slug), ()) if b.entry is not None]
            if not any(isinstance(b, ProviderEntry) and destination(b) == destination(entry) for b in allowed):
                told = "may be stated in the database only with the shipped or the file's wire, base_url and options"
                yield CatalogProblem(
                    stated.title, "credential_env", f"{told}; leave it out and store a credential, or use the file"
                )

    def _of_endpoint(self, stated: Stated, entry: EndpointEntry) -> Iterator[CatalogProblem]:
        provider = self.provider(entry.provider)
        if entry.provider in {e.provider.slug for e in self.builtin.endpoints}:
            yield CatalogProblem(stated.title, "provider", "the built-in provider's endpoint is the program's own")
        elif provider is None:
            hint = nearest(entry.provider, [slug for slug in self.providers if self.provider(slug)])
            yield CatalogProblem(stated.title, "provider", f'there is no provider "{entry.provider[:40]}"{hint}')
        elif provider.base_url is None and stated.source != "shipped":
            yield CatalogProblem(
                self.providers[entry.provider].title, "base_url", f"is missing, and {stated.title} needs it"
            )
        space = self._space(entry.model)
        if space is None:
            names = [self.builtin.slug, *(slug for slug in self.models if self.model(slug))]
            told = f'there is no model "{entry.model[:100]}"{nearest(entry.model, names)}'
            yield CatalogProblem(stated.title, "model", told)
        elif entry.space is not None:
            for field in ("revision", "dimensions", "pooling"):
                said, there = getattr(entry.space, field), getattr(space, field)
                if said is not None and said != there:
                    told = f"is {said!r}, but its model's is {there!r}: {_SPACE}"
                    yield CatalogProblem(stated.title, f"space.{field}", told)

    def _space(self, slug: str) -> Space | None:
        if slug == self.builtin.slug:
            return self.builtin.space or Space(dimensions=self.builtin.dimensions)
        entry = self.model(slug)
        return None if entry is None else _space(entry)

    def provider_names(self) -> Iterator[CatalogProblem]:
        """Preferences name a provider by slug or name, so each must mean one."""
        owners = {e.provider.name.lower(): e.provider.slug for e in self.builtin.endpoints}
        for slug, stated in self.providers.items():
            if isinstance(stated.entry, ProviderEntry):
                for name in dict.fromkeys((slug, (stated.entry.name or slug).lower())):
                    if (owner := owners.setdefault(name, slug)) != slug:
                        yield CatalogProblem(stated.title, "name", f'"{name[:100]}" is what provider {owner} is called')


def _made(merged: _Merged, ready: Ready, known: Names) -> Loaded:
    """The catalog of entries that were found right."""
    unready = {slug: _unready(stated.entry, ready) for slug, stated in merged.providers.items()}
    providers = {slug: provider_of(said) for slug in merged.providers if (said := merged.provider(slug)) is not None}
    why: dict[tuple[Kind, str], str | None] = {("provider", slug): reason for slug, reason in unready.items()}
    endpoints: dict[str, list[Endpoint]] = {merged.builtin.slug: list(merged.builtin.endpoints)}
    lacking = {slug for slug, reason in unready.items() if reason and _unusable(merged.providers[slug].entry) is None}
    waiting: dict[str, list[Provider]] = {}
    for key, stated in merged.endpoints.items():
        if not isinstance(stated.entry, EndpointEntry):
            continue
        entry = stated.entry
        reason = merged.hidden_with(stated) or ("it is disabled" if entry.disabled else None)
        if reason is None and (told := unready[entry.provider]) is not None:
            reason = f"its provider is not ready: {told}"
            if entry.provider in lacking and merged.is_shipped(entry) and entry.model not in known.taken:
                waiting.setdefault(entry.model, []).append(providers[entry.provider])
        if reason is None and entry.model in known.taken:
            reason = f'the name of its model is an alias of "{known.taken[entry.model]}"'
        why["endpoint", key] = reason
        if reason is None:
            model = merged.model(entry.model) or merged.builtin
            endpoints.setdefault(entry.model, []).append(_endpoint(entry, model, providers[entry.provider]))
    builtin = msgspec.structs.replace(
        merged.builtin,
        endpoints=tuple(endpoints[merged.builtin.slug]),
        waiting=tuple(waiting.get(merged.builtin.slug, ())),
    )
    models = [builtin] if builtin.endpoints else []
    for slug in merged.models:
        model_entry = merged.model(slug)
        if model_entry is not None and slug in endpoints:
            models.append(_model(model_entry, tuple(endpoints[slug]), tuple(waiting.get(slug, ()))))
        elif slug in known.taken:
            why["model", slug] = f'its name is an alias of "{known.taken[slug]}"'
        elif model_entry is not None:
            why["model", slug] = "none of its endpoints is served"
    served = {model.slug for model in models}
    aliases = {alias: slug for alias, slug in known.aliases.items() if slug in served}
    unserved = {slug: Waiting(slug, tuple(some)) for slug, some in waiting.items() if slug not in served}
    listed = tuple(
        Listed(
            stated.kind,
            stated.key,
            stated.source,
            tuple(before.source for before in merged.replaced.get(name, ())),
            stated.entry,
            f"it is hidden {stated.where}" if stated.entry is None else why.get(name),
        )
        for name, stated in merged.holding.items()
    )
    entries = tuple(stated.entry for stated in merged.providers.values() if isinstance(stated.entry, ProviderEntry))
    return Loaded(Catalog(models, aliases, _by_name(unserved, merged, known)), listed, entries)


def _by_name(unserved: Mapping[str, Waiting], merged: _Merged, known: Names) -> dict[str, Waiting]:
    """Under each name that the model would have, in lower case."""
    entries = [(slug, merged.model(slug)) for slug in unserved]
    found = {alias: unserved[slug] for alias, slug in known.aliases.items() if slug in unserved}
    found |= {entry.canonical_slug.lower(): unserved[slug] for slug, entry in entries if entry and entry.canonical_slug}
    return found | {slug.lower(): one for slug, one in unserved.items()}


def _unready(entry: Entry | None, ready: Ready) -> str | None:
    """Why a provider cannot be asked."""
    if isinstance(entry, ProviderEntry) and entry.needs_credential and _unusable(entry) is None and not ready(entry):
        return "it has no credential" + (f": set {entry.credential_env} or store one" if entry.credential_env else "")
    return _unusable(entry)


def _unusable(entry: Entry | None) -> str | None:
    """Why not, whoever brings a credential."""
    if not isinstance(entry, ProviderEntry):
        return "it is hidden"
    if entry.disabled:
        return "it is disabled"
    if entry.base_url is None:
        return "it has no base_url"
    if missing := empty_options(entry):
        return f"options.{missing[0]} is empty"
    return None


def destination(entry: ProviderEntry) -> tuple[object, ...]:
    """Where a credential goes."""
    return entry.credential_env, entry.wire, entry.base_url, entry.options


def _space(entry: ModelEntry) -> Space:
    return Space(revision=entry.revision, dimensions=entry.dimensions, pooling=entry.pooling)


def provider_of(entry: ProviderEntry) -> Provider:
    """As endpoints know it."""
    return Provider(
        slug=entry.slug,
        name=entry.name or entry.slug,
        wire=entry.wire,
        base_url=entry.base_url and entry.base_url.rstrip("/"),
        options=entry.options,
        needs_credential=entry.needs_credential,
        credential_env=entry.credential_env,
        allow_private=entry.allow_private,
        privacy_policy_url=entry.privacy_policy_url,
        terms_of_service_url=entry.terms_of_service_url,
        status_page_url=entry.status_page_url,
        headquarters=entry.headquarters,
        datacenters=entry.datacenters,
    )


def _endpoint(entry: EndpointEntry, model: ModelEntry | Model, provider: Provider) -> Endpoint:
    return Endpoint(
        tag=entry.exact_tag,
        provider=provider,
        price=Price(prompt=pico_per_token(entry.price_per_million)),
        context_length=entry.context_length or model.context_length,
        dimensions=model.dimensions,
        quantization=entry.quantization,
        data_policy=DataPolicy(retains_prompts=entry.retains_prompts, trains_on_prompts=entry.trains_on_prompts),
        supported_parameters=entry.supported_parameters,
        upstream_model=entry.upstream_model,
        region=entry.region,
        limits=Limits(items=entry.limits.items, tokens=entry.limits.tokens, concurrent=entry.limits.concurrent),
    )


def _model(entry: ModelEntry, endpoints: tuple[Endpoint, ...], waiting: tuple[Provider, ...]) -> Model:
    released = datetime.combine(entry.created, time(), UTC).timestamp() if entry.created is not None else 0
    return Model(
        slug=entry.slug,
        canonical_slug=entry.canonical_slug or entry.slug,
        name=entry.name or entry.slug,
        created=int(released),
        description=entry.description,
        hugging_face_id=entry.hugging_face_id,
        context_length=entry.context_length,
        dimensions=entry.dimensions,
        endpoints=endpoints,
        space=_space(entry),
        fixed_dimensions=entry.fixed_dimensions,
        waiting=waiting,
    )
