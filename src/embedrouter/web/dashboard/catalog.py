"""/dashboard/catalog: every entry, whose word it is, and what an edit of it would change."""

from typing import Any, Final, NamedTuple

from litestar import Request, Response, get, post

from embedrouter.accounts.sessions import SignedIn
from embedrouter.catalog.entries import Kind
from embedrouter.catalog.load import Listed
from embedrouter.context import Context
from embedrouter.entrance import ADMIN
from embedrouter.errors import CatalogError, CatalogProblem, EmbedRouterError, InvalidRequestError
from embedrouter.managing import catalog as managing
from embedrouter.store.entries import Row
from embedrouter.web.dashboard.entry_text import (
    Difference,
    Served,
    differences,
    new_text,
    read_text,
    served,
    text_of,
)
from embedrouter.web.dashboard.fields import Filled, Question, one_of, refilled
from embedrouter.web.dashboard.frame import dashboard_page
from embedrouter.web.forms import address, read_form, see_other
from embedrouter.web.view import Tab

AnyRequest = Request[Any, Any, Any]

HOME: Final = "/dashboard/catalog"
_LARGEST: Final = 262_144  # bytes of a form: what is encoded takes up to three times its size
_KINDS: Final[tuple[Kind, ...]] = ("provider", "model", "endpoint")
_TITLES: Final[dict[Kind, str]] = {"provider": "Providers", "model": "Models", "endpoint": "Endpoints"}


class Line(NamedTuple):
    """An entry in the list."""

    listed: Listed
    row: Row | None  # where the database states it
    href: str


class Tried(NamedTuple):
    """What an edit would do."""

    problems: tuple[CatalogProblem, ...]
    differences: tuple[Difference, ...] = ()
    served: Served = Served((), ())


@get(HOME, opt=ADMIN)
async def list_page(request: AnyRequest, context: Context, signed_in: SignedIn) -> Response[str]:
    """All of a kind."""
    query = request.query_params
    kind, wanted = _kind(query.get("kind")), query.get("q", "")[:200].strip()
    source = query.get("source", "")
    rows = managing.rows(context)
    found = [
        Line(one, rows.get((one.kind, one.key)), _entry(one.kind, one.key))
        for one in context.catalog.loaded.listed
        if one.kind == kind and source in ("", one.source) and wanted.casefold() in one.key.casefold()
    ]
    model = {
        "title": "Catalog",
        "kind": kind,
        "tabs": [Tab(each, _TITLES[each], address(HOME, kind=each)) for each in _KINDS],
        "lines": found,
        "q": wanted,
        "source": source,
        "served": len(context.catalog.loaded.catalog.models),
        "revision": context.catalog.snapshot.revision,
        "new": address(f"{HOME}/edit", kind=kind),
    }
    return dashboard_page(request, signed_in, "dashboard/catalog.html", model)


@get("/dashboard/catalog/edit", opt=ADMIN)
async def edit_page(request: AnyRequest, context: Context, signed_in: SignedIn) -> Response[str]:
    """One entry with what holds of it; without a key a new one."""
    kind, key = _kind(request.query_params.get("kind")), request.query_params.get("key")
    one = None if key is None else managing.find(context, kind, key)
    filled = Filled({"text": new_text(kind) if one is None else text_of(one), "kind": kind, "key": key or ""})
    return _edit(request, context, signed_in, filled)


@post("/dashboard/catalog/edit", opt=ADMIN)
async def edit(request: AnyRequest, context: Context, signed_in: SignedIn) -> Response[Any]:
    """Try what was typed, or state it in the database."""
    form = await read_form(request, _LARGEST)
    try:
        action = one_of(form, "action", "try", "save")
        document = read_text(form.get("text", ""))
        verdict = await managing.attempt(context, document)
        if action == "save" and not verdict.problems:
            stated = await managing.put_all(context, document, signed_in.user.email[:200])
            return see_other(_entry(stated[0].kind, stated[0].key) if len(stated) == 1 else HOME)
    except CatalogError as error:
        return _edit(request, context, signed_in, Filled(form), Tried(error.problems), status=400)
    except EmbedRouterError as error:
        return _edit(request, context, signed_in, refilled(form, error), error=error)
    loaded = context.catalog.loaded
    tried = Tried(
        verdict.problems,
        tuple(differences(loaded.listed, verdict.stated)),
        served([model.slug for model in loaded.catalog.models], verdict.models)
        if not verdict.problems
        else Served((), ()),
    )
    return _edit(request, context, signed_in, Filled(form), tried, status=400 if verdict.problems else 200)


@get("/dashboard/catalog/remove", opt=ADMIN)
async def ask(request: AnyRequest, context: Context, signed_in: SignedIn) -> Response[str]:
    """Really?"""
    kind, key = _kind(request.query_params.get("kind")), request.query_params.get("key") or ""
    one = managing.find(context, kind, key)
    told = "The database states nothing of it any more. "
    told += "What the file or the program states holds again." if one.replaces else "Nobody else does, so it is gone."
    question = Question(
        f'Delete what is stated of the {kind} "{key}"?',
        told,
        f"{HOME}/remove",
        "Delete the override",
        _entry(kind, key),
        (("kind", kind), ("key", key)),
    )
    return dashboard_page(request, signed_in, "dashboard/confirm.html", {"title": "Delete", "question": question})


@post("/dashboard/catalog/remove", opt=ADMIN)
async def remove(request: AnyRequest, context: Context, signed_in: SignedIn) -> Response[Any]:
    """Take back what the database states."""
    form = await read_form(request)
    kind = _kind(form.get("kind"))
    left = await managing.take_back(context, kind, form.get("key", ""), signed_in.user.email[:200])
    return see_other(address(HOME, kind=kind) if left is None else _entry(left.kind, left.key))


def _edit(
    request: AnyRequest,
    context: Context,
    me: SignedIn,
    filled: Filled,
    tried: Tried | None = None,
    *,
    error: EmbedRouterError | None = None,
    status: int | None = None,
) -> Response[str]:
    kind, key = _kind(filled.of("kind")), filled.of("key")
    one = next((one for one in context.catalog.loaded.listed if (one.kind, one.key) == (kind, key)), None)
    model = {
        "title": key or f"New {kind}",
        "kind": kind,
        "one": one,
        "row": managing.rows(context).get((kind, key)),
        "filled": filled,
        "tried": tried,
        "back": address(HOME, kind=kind),
        "removal": address(f"{HOME}/remove", kind=kind, key=key),
    }
    return dashboard_page(request, me, "dashboard/entry.html", model, error=error, status=status)


def _entry(kind: str, key: str) -> str:
    return address(f"{HOME}/edit", kind=kind, key=key)


def _kind(given: str | None) -> Kind:
    for kind in _KINDS:
        if given == kind:
            return kind
    if given:
        raise InvalidRequestError("kind: must be provider, model or endpoint", metadata={"field": "kind"})
    return "provider"
