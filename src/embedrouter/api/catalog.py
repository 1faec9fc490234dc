"""/catalog: providers, models and endpoints as administrators state them. With a management key."""

import asyncio
from collections.abc import Mapping
from typing import Annotated, Any, Final

import msgspec
from litestar import Request, delete, get, post, put
from litestar.params import Parameter

from embedrouter.api.auth import MANAGEMENT, caller_of
from embedrouter.api.body import read_small
from embedrouter.api.context import Context
from embedrouter.catalog.entries import (
    SECTIONS,
    EndpointEntry,
    Kind,
    ModelEntry,
    ProviderEntry,
    Source,
    Stated,
    body_of,
    document,
    sheet,
    state,
)
from embedrouter.catalog.load import Listed, destination
from embedrouter.errors import CatalogError, CatalogProblem, ConflictError, InvalidRequestError, NotFoundError
from embedrouter.ledger.book import now
from embedrouter.periods import iso
from embedrouter.store.entries import Change, Edit, Row, edit

ModelSlug = Annotated[str, Parameter(max_length=200, description="The model's slug.")]
Tag = Annotated[str, Parameter(max_length=200, description="The endpoint's tag.")]
AnyRequest = Request[Any, Any, Any]

_BODY: Final = msgspec.json.Decoder(dict[str, Any])
_HERE: Final = "in this request"


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
    rows = _rows(context)
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
    return VerdictAnswer(await asyncio.to_thread(_verdict, context, body))


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
            told = "must be the one of the path, or left out"
            raise InvalidRequestError(f"{field}: {told}", metadata={"field": field})
    read = state(kind, body, "database", _HERE)
    if isinstance(read, CatalogProblem):
        raise CatalogError([read])
    if isinstance(read.entry, ProviderEntry):
        _keep_credentials_home(context, read.key, read.entry)
    await _edited(request, context, Change(kind, read.key, body_of(read)))
    return CatalogItemAnswer(_found(context, kind, read.key))


async def _delete(request: AnyRequest, context: Context, kind: Kind, key: str) -> RemovedEntry:
    if (kind, key) not in _rows(context):
        held = next((one for one in context.catalog.loaded.listed if (one.kind, one.key) == (kind, key)), None)
        if held is not None:
            raise NotFoundError(
                f'the database states nothing of the {kind} "{key[:200]}"; to hide it, PUT {{"removed": true}}'
            )
    if kind == "provider":
        _keep_credentials_home(context, key, None)
    await _edited(request, context, Change(kind, key, None))
    rows = _rows(context)
    left = (_item(one, rows) for one in context.catalog.loaded.listed if (one.kind, one.key) == (kind, key))
    return RemovedEntry(deleted=True, now=next(left, None))


def _keep_credentials_home(context: Context, slug: str, entry: ProviderEntry | None) -> None:
    """Raise ConflictError for an address that stored credentials were not given for: they would be sent there.

    entry: what is to hold; None: what was stated before it, which may be another address.
    """
    if not context.credentials.stored(slug):
        return
    now_there = next((one for one in context.catalog.loaded.providers if one.slug == slug), None)
    if now_there is None or entry is None or destination(entry) != destination(now_there):
        raise ConflictError(
            f'"{slug}" has stored credentials, which would go to another address; remove them first (GET /byok lists '
            f"them), or give the new address a provider of its own",
            metadata={"field": "base_url"},
        )


async def _edited(request: AnyRequest, context: Context, change: Change) -> None:
    """In the writer's thread, since the catalog is made anew to judge it."""
    by = f"key:{caller_of(request).key.label}"
    wanted = Edit((change,), now(), by, context.catalog.judge)
    await asyncio.wrap_future(context.writer.submit(edit, wanted))
    await asyncio.to_thread(context.catalog.reload)


def _verdict(context: Context, body: dict[str, Any]) -> Verdict:
    before = context.catalog.snapshot.rows
    read = sheet(body, "database", _HERE)
    rows = {(row.kind, row.slug): row for row in before}
    for one in read.stated:
        rows[one.kind, one.key] = _row(one)
    problems = list(read.problems)
    models: list[str] = []
    try:
        context.catalog.judge(before, tuple(rows.values()))
        models = [model.slug for model in context.catalog.attempt(rows.values()).catalog.models]
    except CatalogError as error:
        problems += error.problems
    told = [EntryProblem(**problem._asdict()) for problem in dict.fromkeys(problems)]
    return Verdict(valid=not told, problems=told, models=[] if told else models)


def _row(stated: Stated) -> Row:
    return Row(stated.kind, stated.key, body_of(stated), 0, "")


def _rows(context: Context) -> dict[tuple[str, str], Row]:
    return {(row.kind, row.slug): row for row in context.catalog.snapshot.rows}


def _found(context: Context, kind: Kind, key: str) -> CatalogItem:
    for one in context.catalog.loaded.listed:
        if (one.kind, one.key) == (kind, key):
            return _item(one, _rows(context))
    section = next(name for name, of in SECTIONS.items() if of == kind)
    raise NotFoundError(f'the catalog has no {kind} "{key[:200]}"; GET /catalog lists its {section}')


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
