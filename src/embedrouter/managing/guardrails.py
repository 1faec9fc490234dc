"""Guardrails: what one may say, made, changed, assigned and removed.

Their rules about models, providers, data and money are enforced for embeddings. Filters of contents are not: nothing
reads the texts, so a guardrail with one is refused rather than kept for show.
"""

import uuid
from collections.abc import Callable, Iterable, Sequence
from typing import Annotated, Any, Final, Literal

import msgspec
from msgspec import UNSET, Meta, UnsetType

from embedrouter.accounts import guardrails, workspaces
from embedrouter.accounts.first import WORKSPACE
from embedrouter.accounts.guardrails import Assigning, Guardrail, GuardrailChange, NewGuardrail, Rules, with_zdr
from embedrouter.catalog.entries import ModelEntry
from embedrouter.catalog.load import Loaded
from embedrouter.context import Context
from embedrouter.errors import NotFoundError, nearest
from embedrouter.fields import bad_field, plain, plain_lines, sent
from embedrouter.ledger.book import now
from embedrouter.money import MOST, PICO, pico_usd
from embedrouter.periods import RESETS, Reset

Name = Annotated[str, Meta(min_length=1, max_length=200)]
Description = Annotated[str, Meta(max_length=1000)]
Names = Annotated[list[Annotated[str, Meta(min_length=1, max_length=200)]], Meta(min_length=1, max_length=500)]
Price = Annotated[float, Meta(gt=0, le=MOST // PICO, description="USD")]
WorkspaceId = Annotated[str, Meta(max_length=100)]

_FILTERS: Final = ("content_filters", "content_filter_builtins")
_MODELS: Final = ("allowed_models", "ignored_models")
_PROVIDERS: Final = ("allowed_providers", "ignored_providers")


class Given(msgspec.Struct, frozen=True, kw_only=True):
    """What a guardrail may say: what is left out stays; null removes."""

    description: Description | UnsetType | None = UNSET
    limit_usd: Price | UnsetType | None = UNSET
    reset_interval: Reset | UnsetType | None = UNSET
    include_byok_in_budgets: bool | UnsetType = UNSET
    allowed_models: Names | UnsetType | None = UNSET
    ignored_models: Names | UnsetType | None = UNSET
    allowed_providers: Names | UnsetType | None = UNSET
    ignored_providers: Names | UnsetType | None = UNSET
    enforce_zdr: bool | UnsetType | None = UNSET
    enforce_zdr_anthropic: bool | UnsetType | None = UNSET
    enforce_zdr_google: bool | UnsetType | None = UNSET
    enforce_zdr_openai: bool | UnsetType | None = UNSET
    enforce_zdr_other: bool | UnsetType | None = UNSET
    enforce_zdr_xai: bool | UnsetType | None = UNSET
    enable_free_model_publication: bool | UnsetType | None = UNSET
    enable_free_model_training: bool | UnsetType | None = UNSET
    enable_paid_model_training: bool | UnsetType | None = UNSET
    # Only empty: nothing here reads contents, or knows where an endpoint computes.
    content_filters: list[Any] | UnsetType | None = UNSET
    content_filter_builtins: list[Any] | UnsetType | None = UNSET
    allowed_data_regions: list[str] | UnsetType | None = UNSET


class CreateGuardrail(Given, frozen=True, kw_only=True):
    """The body of POST /guardrails."""

    name: Name
    workspace_id: WorkspaceId | None = None


class UpdateGuardrail(Given, frozen=True, kw_only=True):
    """The body of PATCH /guardrails/{id}."""

    name: Name | UnsetType = UNSET


async def create(context: Context, wanted: CreateGuardrail) -> Guardrail:
    """It enforces nothing before it is assigned to keys."""
    columns, rules = _changes(wanted, context.catalog.loaded)
    try:
        of = await context.database.read(lambda found: workspaces.find(found, wanted.workspace_id or WORKSPACE))
    except NotFoundError as error:
        raise bad_field("workspace_id", error.message) from error
    return await context.writer.write(
        guardrails.create,
        NewGuardrail(
            id=str(uuid.uuid4()),
            workspace_id=of.id,
            name=columns["name"],
            limit_pico=columns.get("limit_pico"),
            limit_reset=columns.get("limit_reset"),
            rules=Rules(**rules),
            at=now(),
            include_byok_in_budgets=columns.get("include_byok_in_budgets", False),
        ),
    )


async def find(context: Context, id_: str) -> Guardrail:
    """Raises NotFoundError."""
    return await context.database.read(lambda connection: guardrails.find(connection, id_))


async def change(context: Context, id_: str, wanted: UpdateGuardrail) -> Guardrail:
    """Or configure a workspace's default one. Lists are replaced whole. Other processes follow within 2 s."""
    columns, rules = _changes(wanted, context.catalog.loaded)
    changed = await context.writer.write(guardrails.change, GuardrailChange(id_, now(), columns, rules))
    await context.refresh()
    return changed


async def remove(context: Context, id_: str) -> None:
    """Its keys have none then. Raises NotFoundError."""
    await find(context, id_)
    await context.writer.write(guardrails.remove, id_)
    await context.refresh()


async def assign(
    context: Context, id_: str, key_hashes: Sequence[str], by: str, *, to: Literal["have", "lose"] = "have"
) -> int:
    """Give keys a guardrail in place of the one they had, or take it away; how many. Raises NotFoundError."""
    await find(context, id_)
    wanted = Assigning(id_, tuple(dict.fromkeys(key_hashes)), by, now())
    done = await context.writer.write(guardrails.assign if to == "have" else guardrails.unassign, wanted)
    await context.refresh()
    return done


def _changes(wanted: Given, loaded: Loaded) -> tuple[dict[str, Any], dict[str, Any]]:
    """Columns, and fields of `Rules`, and their new values."""
    given = sent(wanted, "workspace_id")
    for name in _FILTERS:
        if given.pop(name, None):
            raise bad_field(name, "is not supported for embeddings: texts are not read; leave it out")
    if set(given.pop("allowed_data_regions", None) or ()) - {"global"}:
        told = "is not supported but for global: leave it out, and use allowed_providers"
        raise bad_field("allowed_data_regions", told)
    if given.get("description"):
        plain_lines("description", given["description"])
    columns: dict[str, Any] = {}
    if "name" in given:
        columns["name"] = plain("name", given.pop("name"))
    if "limit_usd" in given:
        limit = given.pop("limit_usd")
        columns["limit_pico"] = None if limit is None else pico_usd(limit)
    if "reset_interval" in given:
        reset: Reset | None = given.pop("reset_interval")
        columns["limit_reset"] = None if reset is None else RESETS[reset]
    if "include_byok_in_budgets" in given:
        columns["include_byok_in_budgets"] = given.pop("include_byok_in_budgets")
    models, providers = _models(loaded), _providers(loaded)
    _resolve(given, _MODELS, lambda name: models.get(name.lower()) or loaded.catalog.find(name).canonical_slug.lower())
    _resolve(given, _PROVIDERS, lambda name: _provider(name.lower(), providers))
    return columns, with_zdr(given)


def _resolve(given: dict[str, Any], fields: Iterable[str], known_as: Callable[[str], str]) -> None:
    """Put what the catalog calls them in place of the names in some fields."""
    for field in fields:
        if given.get(field) is not None:
            for index, name in enumerate(given[field]):
                try:
                    given[field][index] = known_as(name)
                except NotFoundError as error:
                    raise bad_field(f"{field}[{index}]", error.message) from error
            given[field] = tuple(dict.fromkeys(given[field]))


def _models(loaded: Loaded) -> dict[str, str]:
    """The canonical slugs of all models there are, served or not, by each of their slugs."""
    found: list[ModelEntry] = [one.entry for one in loaded.listed if isinstance(one.entry, ModelEntry)]
    pairs = [(one.slug.lower(), (one.canonical_slug or one.slug).lower()) for one in found]
    return dict(pairs) | {canonical: canonical for _, canonical in pairs}


def _providers(loaded: Loaded) -> set[str]:
    """The slugs of all providers there are, and the tags of all endpoints that are served."""
    served = [endpoint for model in loaded.catalog.models for endpoint in model.endpoints]
    slugs = {one.slug.lower() for one in loaded.providers} | {one.slug.lower() for one in loaded.catalog.providers}
    return slugs | {endpoint.tag.lower() for endpoint in served}


def _provider(slug: str, known: set[str]) -> str:
    if slug not in known:
        raise NotFoundError(f'no provider has the slug "{slug}"{nearest(slug, sorted(known))}')
    return slug
