"""Presets: what one may say, made and removed."""

import re
import uuid
from typing import Annotated, Any, Final

import msgspec
from msgspec import Meta

from embedrouter.accounts import presets
from embedrouter.accounts.presets import LONGEST, SLUG, NewVersion, Of, Preset
from embedrouter.context import Context
from embedrouter.fields import bad_field, plain, plain_lines
from embedrouter.ledger.book import now
from embedrouter.response_cache import LONGEST_TTL
from embedrouter.routing.preferences import ProviderPreferences

Name = Annotated[str, Meta(min_length=1, max_length=200)]
Description = Annotated[str, Meta(max_length=1000)]

_SLUG: Final = re.compile(SLUG)


class PresetConfig(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What a preset gives the requests that name it; their own fields go before."""

    model: Annotated[str, Meta(min_length=1, max_length=200)] | None = None
    provider: ProviderPreferences | None = None
    cache_enabled: bool | None = None
    cache_ttl_seconds: Annotated[int, Meta(ge=1, le=LONGEST_TTL)] | None = None


class CreatePreset(msgspec.Struct, frozen=True, kw_only=True):
    """The body of POST /presets/{slug}: a preset, or its next version."""

    config: PresetConfig
    name: Name | None = None
    description: Description | None = None


async def make(context: Context, of: Of, wanted: CreatePreset, by: str) -> Preset:
    """A preset, or its next version. by: a user's id, or `key:` and a key's label."""
    if not _SLUG.fullmatch(of.slug) or len(of.slug) > LONGEST:
        told = f"must be words of a-z and 0-9 with single hyphens between, at most {LONGEST} characters"
        raise bad_field("slug", told)
    if wanted.config == PresetConfig():
        raise bad_field("config", "give model, provider, cache_enabled or cache_ttl_seconds")
    if wanted.config.model is not None and "@" in plain("config.model", wanted.config.model):
        raise bad_field("config.model", "must be a model's own name, not a preset")
    if wanted.description:
        plain_lines("description", wanted.description)
    made = await context.writer.write(
        presets.create,
        NewVersion(
            id=str(uuid.uuid4()),
            workspace_id=of.workspace_id,
            slug=of.slug,
            name=wanted.name and plain("name", wanted.name),
            description=wanted.description,
            config=msgspec.json.encode(_given(msgspec.to_builtins(wanted.config))),
            by=by,
            at=now(),
        ),
    )
    await context.refresh()
    return made


async def remove(context: Context, of: Of) -> None:
    """With all its versions. Requests that name it are refused from then on. Raises NotFoundError."""
    await context.writer.write(presets.remove, of)
    await context.refresh()


def _given(config: Any) -> Any:
    """Without what was left out."""
    if isinstance(config, dict):
        return {name: _given(value) for name, value in config.items() if value is not None}
    return config
