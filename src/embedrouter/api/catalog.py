"""/catalog: providers, models and endpoints as administrators state them. With a management key."""

from collections.abc import Mapping
from typing import Annotated, Any, Final

import msgspec
from litestar import Request, delete, get, post, put
from litestar.params import Parameter

from embedrouter.api.auth import MANAGEMENT, caller_of
from embedrouter.api.body import read_small
from embedrouter.catalog.entries import EndpointEntry, Kind, ModelEntry, ProviderEntry, Source, document
from embedrouter.catalog.load import Listed
from embedrouter.context import Context
from embedrouter.fields import bad_field
from embedrouter.managing import catalog as managing
from embedrouter.periods import iso
from embedrouter.store.entries import Row

ModelSlug = Annotated[str, Parameter(max_length=200, description="The model's slug.")]
Tag = Annotated[str, Parameter(max_length=200, description="The endpoint's tag.")]
AnyRequest = Request[Any, Any, Any]

_BODY: Final = msgspec.json.Decoder(dict[str, Any])


class CatalogItem(msgspec.Struct, frozen=True, kw_only=True):
    """An entry of the merged catalog."""

    kind: Kind
    key: str  # slug; of an endpoint: model slug, space, tag
    source: Source  # whose word holds
    replaces: list[Source]  # whose does not
    served: bool
    unserved_reason: str | None
    entry: dict[str, Any]  # as PUT takes it
    updated_at: str | None  # where the database states it
    updated_by: str | None


class CatalogItemAnswer(msgspec.Struct, frozen=True):
    """One entry."""

    data: CatalogItem


class CatalogAnswer(msgspec.Struct, frozen=True):
    """The merged catalog; `revision` grows with every change of the database's entries."""

    data: list[CatalogItem]
    revision: int


class CatalogDocument(msgspec.Struct, frozen=True, kw_only=True):
    """Entries as a TOML file has them."""

    providers: list[ProviderEntry] = []
    models: list[ModelEntry] = []
    endpoints: list[EndpointEntry] = []


class EntryProblem(msgspec.Struct, frozen=True, kw_only=True):
    """What is wrong with one entry, and what would be right."""

    entry: str
    field: str
    message: str


class Verdict(msgspec.Struct, frozen=True, kw_only=True):
    """Whether a change would be taken, and the models that would be served after it."""

    valid: bool
    problems: list[EntryProblem]
    models: list[str]


class VerdictAnswer(msgspec.Struct, frozen=True):
    """What POST /catalog/validate answers."""

    data: Verdict


class RemovedEntry(msgspec.Struct, frozen=True, kw_only=True):
    """What DELETE answers. `now`: what holds instead, if another source states it."""

    deleted: bool
    now: CatalogItem | None


@get("/catalog", summary="Get the whole catalog", tags=["Catalog"], operation_id="getCatalog", opt=MANAGEMENT)
async def get_catalog(context: Context) -> CatalogAnswer:
    """Every entry but the built-in model's, with its source and why it is not served."""
    rows = managing.rows(context)
    return CatalogAnswer([_item(one, rows) for one in context.catalog.loaded.listed], context.catalog.snapshot.revision)


@post(
    "/catalog/validate",
    summary="Try a change of the catalog",
    tags=["Catalog"],
    operation_id="validateCatalog",
    status_code=200,
    opt=MANAGEMENT,
)
async def validate_catalog(request: AnyRequest, context: Context) -> VerdictAnswer:
    """Says what would become of these entries in the database. Nothing changes."""
    body = await read_small(request, _BODY, context.settings.body_timeout_s)
    found = await managing.attempt(context, body)
    told = [EntryProblem(**problem._asdict()) for problem in found.problems]
    return VerdictAnswer(Verdict(valid=not told, problems=told, models=list(found.models)))


@get(
    "/catalog/providers/{slug:str}",
    summary="Get a provider's entry",
    tags=["Catalog"],
    operation_id="getCatalogProvider",
    opt=MANAGEMENT,
)
async def get_provider(context: Context, slug: str) -> CatalogItemAnswer:
    """Also of one that is not served."""
    return CatalogItemAnswer(_found(context, "provider", slug))


@put(
    "/catalog/providers/{slug:str}",
    summary="State a provider",
    tags=["Catalog"],
    operation_id="putCatalogProvider",
    opt=MANAGEMENT,
)
async def put_provider(request: AnyRequest, context: Context, slug: str) -> CatalogItemAnswer:
    """The whole entry, or {"removed": true} to hide a shipped one. Holds at once, elsewhere within 2 s."""
    return await _put(request, context, "provider", {"slug": slug})


@delete(
    "/catalog/providers/{slug:str}",
    summary="Take back a provider's entry",
    tags=["Catalog"],
    operation_id="deleteCatalogProvider",
    status_code=200,
    opt=MANAGEMENT,
)
async def delete_provider(request: AnyRequest, context: Context, slug: str) -> RemovedEntry:
    """What the database states of it is gone; what a file or the program states holds again."""
    return await _delete(request, context, "provider", slug)


@get(
    "/catalog/models/{author:str}/{slug:str}",
    summary="Get a model's entry",
    tags=["Catalog"],
    operation_id="getCatalogModel",
    opt=MANAGEMENT,
)
async def get_model(context: Context, author: str, slug: str) -> CatalogItemAnswer:
    """Also of one that is not served."""
    return CatalogItemAnswer(_found(context, "model", f"{author}/{slug}"))


@put(
    "/catalog/models/{author:str}/{slug:str}",
    summary="State a model",
    tags=["Catalog"],
    operation_id="putCatalogModel",
    opt=MANAGEMENT,
)
async def put_model(request: AnyRequest, context: Context, author: str, slug: str) -> CatalogItemAnswer:
    """The whole entry, or {"removed": true} to hide a shipped one. Holds at once, elsewhere within 2 s."""
    return await _put(request, context, "model", {"slug": f"{author}/{slug}"})


@delete(
    "/catalog/models/{author:str}/{slug:str}",
    summary="Take back a model's entry",
    tags=["Catalog"],
    operation_id="deleteCatalogModel",
    status_code=200,
    opt=MANAGEMENT,
)
async def delete_model(request: AnyRequest, context: Context, author: str, slug: str) -> RemovedEntry:
    """What the database states of it is gone; what a file or the program states holds again."""
    return await _delete(request, context, "model", f"{author}/{slug}")


@get(
    "/catalog/endpoints",
    summary="Get an endpoint's entry",
    tags=["Catalog"],
    operation_id="getCatalogEndpoint",
    opt=MANAGEMENT,
)
async def get_endpoint(context: Context, model: ModelSlug, tag: Tag) -> CatalogItemAnswer:
    """Also of one that is not served."""
    return CatalogItemAnswer(_found(context, "endpoint", f"{model} {tag}"))


@put(
    "/catalog/endpoints",
    summary="State an endpoint",
    tags=["Catalog"],
    operation_id="putCatalogEndpoint",
    opt=MANAGEMENT,
)
async def put_endpoint(request: AnyRequest, context: Context) -> CatalogItemAnswer:
    """The whole entry, or {"model", "tag", "removed": true} to hide one. Holds at once, elsewhere within 2 s."""
    return await _put(request, context, "endpoint", {})


@delete(
    "/catalog/endpoints",
    summary="Take back an endpoint's entry",
    tags=["Catalog"],
    operation_id="deleteCatalogEndpoint",
    status_code=200,
    opt=MANAGEMENT,
)
async def delete_endpoint(request: AnyRequest, context: Context, model: ModelSlug, tag: Tag) -> RemovedEntry:
    """What the database states of it is gone; what a file or the program states holds again."""
    return await _delete(request, context, "endpoint", f"{model} {tag}")


async def _put(request: AnyRequest, context: Context, kind: Kind, named: Mapping[str, str]) -> CatalogItemAnswer:
    """named: what the path says of the entry; the body may leave it out."""
    body = await read_small(request, _BODY, context.settings.body_timeout_s)
    for field, value in named.items():
        if body.setdefault(field, value) != value:
            raise bad_field(field, "must be the one of the path, or left out")
    key = await managing.put(context, kind, body, _by(request))
    return CatalogItemAnswer(_found(context, kind, key))


async def _delete(request: AnyRequest, context: Context, kind: Kind, key: str) -> RemovedEntry:
    left = await managing.take_back(context, kind, key, _by(request))
    return RemovedEntry(deleted=True, now=None if left is None else _item(left, managing.rows(context)))


def _by(request: AnyRequest) -> str:
    return f"key:{caller_of(request).key.label}"


def _found(context: Context, kind: Kind, key: str) -> CatalogItem:
    return _item(managing.find(context, kind, key), managing.rows(context))


def _item(listed: Listed, rows: Mapping[tuple[str, str], Row]) -> CatalogItem:
    row = rows.get((listed.kind, listed.key))
    return CatalogItem(
        kind=listed.kind,
        key=listed.key,
        source=listed.source,
        replaces=list(listed.replaces),
        served=listed.unserved is None,
        unserved_reason=listed.unserved,
        entry=document(listed.entry),
        updated_at=None if row is None else iso(row.updated_at),
        updated_by=None if row is None else row.updated_by,
    )
