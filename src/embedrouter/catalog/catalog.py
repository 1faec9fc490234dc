"""All models that are served, found by slug, canonical slug or alias in any case."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Final

import msgspec

from embedrouter.catalog.models import Endpoint, Model, Provider
from embedrouter.catalog.waiting import Waiting
from embedrouter.errors import NotFoundError, SettingsError, nearest

_MAX_SHOWN = 200  # characters of a caller's model name that an error repeats
_NOBODY: Final[Mapping[str, Waiting]] = {}


class Catalog:
    """Immutable once made. Raises SettingsError for an alias of an unknown model or one that hides a model."""

    def __init__(
        self, models: Iterable[Model], aliases: Mapping[str, str], waiting: Mapping[str, Waiting] = _NOBODY
    ) -> None:
        """waiting: by names in lower case, models that lack but a credential."""
        self.models = tuple(models)
        self._waiting = waiting
        self._aliases = dict(aliases)
        self._by_name: dict[str, Model] = {}
        for model in self.models:
            for name in (model.slug, model.canonical_slug):
                self._by_name[name.lower()] = model
        for alias, target in aliases.items():
            known = self._by_name.get(target.lower())
            if known is None:
                raise SettingsError(f'the alias "{alias}" names an unknown model "{target}"{self._hint(target)}')
            if self._by_name.get(alias.lower(), known) is not known:
                raise SettingsError(f'the alias "{alias}" is already the name of another model')
            self._by_name[alias.lower()] = known

    @property
    def providers(self) -> tuple[Provider, ...]:
        """Every provider of any endpoint, once, by slug."""
        found = {e.provider.slug: e.provider for model in self.models for e in model.endpoints}
        return tuple(found[slug] for slug in sorted(found))

    @property
    def waiting_providers(self) -> tuple[Provider, ...]:
        """Shipped ones who serve nothing, but would, had they a credential; by slug."""
        lacking = [one for model in self.models for one in model.waiting]
        lacking += [one for waiting in self._waiting.values() for one in waiting.providers]
        found = {one.slug: one for one in lacking}
        return tuple(found[slug] for slug in sorted(found.keys() - {one.slug for one in self.providers}))

    def with_endpoints(self, added: Mapping[str, Sequence[Endpoint]]) -> "Catalog":
        """The same with more endpoints, by their models' slugs."""
        models = [
            msgspec.structs.replace(model, endpoints=(*model.endpoints, *added.get(model.slug, ())))
            for model in self.models
        ]
        return Catalog(models, self._aliases, self._waiting)

    def get(self, name: str) -> Model | None:
        """The model of a name, if there is one."""
        return self._by_name.get(name.lower())

    def find(self, name: str) -> Model:
        """The model of a name. Raises NotFoundError with the availability that OpenRouter's clients read."""
        model = self.get(name)
        if model is None:
            if (waiting := self._waiting.get(name.lower())) is not None:
                raise waiting.error()
            shown = name[:_MAX_SHOWN]
            raise NotFoundError(
                f'"{shown}" is not a valid model ID{self._hint(shown)}; GET /api/v1/models lists what is served',
                availability={"code": "model_not_found", "retryable": False, "requested_models": [shown]},
            )
        return model

    def _hint(self, name: str) -> str:
        return nearest(name.lower(), list(self._by_name))
