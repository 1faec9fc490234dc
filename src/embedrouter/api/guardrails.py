"""/guardrails: what keys may use and spend. With a management key.

Their rules about models, providers, data and money are enforced for embeddings. Filters of contents are not: nothing
reads the texts, so a guardrail with one is refused rather than kept for show.
"""

import re
import uuid
from collections.abc import Callable, Iterable
from typing import Annotated, Any, Final

import msgspec
from litestar import Request, delete, get, patch, post
from msgspec import UNSET, Meta, UnsetType

from embedrouter.accounts import guardrails, workspaces
from embedrouter.accounts.first import WORKSPACE
from embedrouter.accounts.guardrails import Guardrail, GuardrailChange, NewGuardrail, Rules, with_zdr
from embedrouter.api.auth import MANAGEMENT
from embedrouter.api.body import plain, read_small
from embedrouter.api.context import Context
from embedrouter.api.keys import Deleted
from embedrouter.api.paging import Limit, Offset
from embedrouter.catalog.entries import ModelEntry
from embedrouter.catalog.load import Loaded
from embedrouter.errors import InvalidRequestError, NotFoundError, nearest
from embedrouter.ledger.book import now
from embedrouter.money import MOST, PICO, pico_usd, usd
from embedrouter.periods import RESET_OF, RESETS, Reset, iso

AnyRequest = Request[Any, Any, Any]

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


class GuardrailItem(Rules, frozen=True, kw_only=True, omit_defaults=False):
    """A guardrail."""

    id: str
    workspace_id: str
    name: str
    limit_usd: float | None
    reset_interval: Reset | None
    content_filters: list[str] | None = None
    content_filter_builtins: list[str] | None = None
    allowed_data_regions: list[str] | None = None
    created_at: str
    updated_at: str | None


class GuardrailAnswer(msgspec.Struct, frozen=True):
    """One guardrail."""

    data: GuardrailItem


class GuardrailList(msgspec.Struct, frozen=True):
    """A page of guardrails, the newest first."""

    data: list[GuardrailItem]
    total_count: int


_CREATE: Final = msgspec.json.Decoder(CreateGuardrail)
_UPDATE: Final = msgspec.json.Decoder(UpdateGuardrail)


@get("/guardrails", summary="List the guardrails", tags=["Guardrails"], operation_id="listGuardrails", opt=MANAGEMENT)
async def list_guardrails(
    context: Context, offset: Offset = 0, limit: Limit = 50, workspace_id: str | None = None
) -> GuardrailList:
    """Those of a workspace, or of the default one; the newest first."""

    def query(connection: Any) -> GuardrailList:
        of = workspaces.find(connection, workspace_id or WORKSPACE).id
        found = guardrails.list_guardrails(connection, of, limit, offset or 0)
        return GuardrailList([_item(one) for one in found], guardrails.count(connection, of))

    return await context.database.read(query)


@post("/guardrails", summary="Make a guardrail", tags=["Guardrails"], operation_id="createGuardrail", opt=MANAGEMENT)
async def create_guardrail(request: AnyRequest, context: Context) -> GuardrailAnswer:
    """It enforces nothing before it is assigned to keys. A workspace's default guardrail holds for all its keys."""
    wanted = await read_small(request, _CREATE, context.settings.body_timeout_s)
    columns, rules = _changes(wanted, context.catalog.loaded)
    try:
        of = await context.database.read(lambda found: workspaces.find(found, wanted.workspace_id or WORKSPACE))
    except NotFoundError as error:
        raise _bad("workspace_id", error.message) from error
    made = await context.writer.write(
        guardrails.create,
        NewGuardrail(
            id=str(uuid.uuid4()),
            workspace_id=of.id,
            name=columns["name"],
            limit_pico=columns.get("limit_pico"),
            limit_reset=columns.get("limit_reset"),
            rules=Rules(**rules),
            at=now(),
        ),
    )
    return GuardrailAnswer(_item(made))


@get(
    "/guardrails/{id:str}", summary="Get a guardrail", tags=["Guardrails"], operation_id="getGuardrail", opt=MANAGEMENT
)
async def get_guardrail(context: Context, id: str) -> GuardrailAnswer:  # noqa: A002 (the path's own name)
    """One guardrail; a workspace's default one once it was configured."""
    return GuardrailAnswer(_item(await context.database.read(lambda connection: guardrails.find(connection, id))))


@patch(
    "/guardrails/{id:str}",
    summary="Change a guardrail",
    tags=["Guardrails"],
    operation_id="updateGuardrail",
    opt=MANAGEMENT,
)
async def update_guardrail(request: AnyRequest, context: Context, id: str) -> GuardrailAnswer:  # noqa: A002
    """Or configure a workspace's default one. Lists are replaced whole. Other processes follow within 2 s."""
    wanted = await read_small(request, _UPDATE, context.settings.body_timeout_s)
    columns, rules = _changes(wanted, context.catalog.loaded)
    changed = await context.writer.write(guardrails.change, GuardrailChange(id, now(), columns, rules))
    await context.refresh()
    return GuardrailAnswer(_item(changed))


@delete(
    "/guardrails/{id:str}",
    summary="Delete a guardrail",
    tags=["Guardrails"],
    operation_id="deleteGuardrail",
    status_code=200,
    opt=MANAGEMENT,
)
async def delete_guardrail(context: Context, id: str) -> Deleted:  # noqa: A002
    """Its keys have none then."""
    await context.database.read(lambda connection: guardrails.find(connection, id))
    await context.writer.write(guardrails.remove, id)
    await context.refresh()
    return Deleted(deleted=True)


def _item(of: Guardrail) -> GuardrailItem:
    return GuardrailItem(
        **{name: getattr(of.rules, name) for name in Rules.__struct_fields__},
        id=of.id,
        workspace_id=of.workspace_id,
        name=of.name,
        limit_usd=None if of.limit_pico is None else usd(of.limit_pico),
        reset_interval=None if of.limit_reset is None else RESET_OF[of.limit_reset],
        created_at=iso(of.created_at),
        updated_at=None if of.updated_at == of.created_at else iso(of.updated_at),
    )


def _changes(wanted: Given, loaded: Loaded) -> tuple[dict[str, Any], dict[str, Any]]:
    """Columns, and fields of `Rules`, and their new values."""
    given = {name: getattr(wanted, name) for name in wanted.__struct_fields__ if name != "workspace_id"}
    given = {name: value for name, value in given.items() if value is not UNSET}
    for name in _FILTERS:
        if given.pop(name, None):
            raise _bad(name, "is not supported for embeddings: texts are not read; leave it out")
    if set(given.pop("allowed_data_regions", None) or ()) - {"global"}:
        raise _bad("allowed_data_regions", "is not supported but for global: leave it out, and use allowed_providers")
    if given.get("description"):
        plain("description", re.sub(r"[\r\n\t]", " ", given["description"]))
    columns: dict[str, Any] = {}
    if "name" in given:
        columns["name"] = plain("name", given.pop("name"))
    if "limit_usd" in given:
        limit = given.pop("limit_usd")
        columns["limit_pico"] = None if limit is None else pico_usd(limit)
    if "reset_interval" in given:
        reset: Reset | None = given.pop("reset_interval")
        columns["limit_reset"] = None if reset is None else RESETS[reset]
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
                    raise _bad(f"{field}[{index}]", error.message) from error
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


def _bad(field: str, what: str) -> InvalidRequestError:
    return InvalidRequestError(f"{field}: {what}", metadata={"field": field})
