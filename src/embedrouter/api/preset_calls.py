"""Presets in requests: which one a request names, and what it gives the request."""

from functools import lru_cache
from typing import Final, NamedTuple

import msgspec

from embedrouter.accounts.presets import Of, Preset, PresetShelf, unknown
from embedrouter.api.cache_ticket import Wish
from embedrouter.errors import InvalidRequestError
from embedrouter.managing.presets import PresetConfig
from embedrouter.requests.schemas import R

_MARK: Final = "@preset/"


class Named(NamedTuple):
    """What a request names."""

    model: str | None  # None: the preset's
    preset: str | None  # slug


def named(model: str, preset: str | None) -> Named:
    """Read `x`, `@preset/slug` and `x@preset/slug`. Raises InvalidRequestError for two presets in one request."""
    own, mark, slug = model.partition(_MARK)
    if mark and preset is not None and preset != slug:
        raise InvalidRequestError("preset: the model names another preset; give one", metadata={"field": "preset"})
    return Named(own or None, slug if mark else preset)


def resolve(request: R, shelf: PresetShelf, workspace_id: str) -> tuple[R, Wish]:
    """The request with its preset's settings, and what the preset wishes of the response cache.

    Raises NotFoundError for a preset that the workspace has not, InvalidRequestError.
    """
    if request.preset is None and _MARK not in request.model:  # as mostly
        return request, Wish()
    wanted = named(request.model, request.preset)
    slug = wanted.preset or ""
    preset = shelf.find(Of(workspace_id, slug))
    if preset is None:
        raise unknown(slug)
    config = config_of(preset.config)
    return apply(config, request, wanted.model, slug), _wish(preset, config)


def apply(config: PresetConfig, request: R, model: str | None, slug: str) -> R:
    """The request's own fields go before the preset's, each as a whole. Raises InvalidRequestError without a model."""
    model = model or config.model
    if model is None:
        raise InvalidRequestError(
            f'model: the preset "{slug}" names no model; send "<model>@preset/{slug}"', metadata={"field": "model"}
        )
    return msgspec.structs.replace(request, model=model, provider=request.provider or config.provider)


@lru_cache(maxsize=1024)
def config_of(json: bytes) -> PresetConfig:
    """A preset's configuration, decoded once."""
    return msgspec.json.decode(json, type=PresetConfig)


def _wish(preset: Preset, config: PresetConfig) -> Wish:
    return Wish(config.cache_enabled, config.cache_ttl_seconds, preset.version_id)
