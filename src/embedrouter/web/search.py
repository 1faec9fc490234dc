"""GET /search.json: what the palette finds. Models, providers, docs and pages; the dashboard's for who is signed in."""

from collections.abc import Iterable, Iterator, Sequence
from typing import Any, Final, Literal

import msgspec
from litestar import Request, Response, get

from embedrouter.accounts.sessions import SignedIn
from embedrouter.catalog.catalog import Catalog
from embedrouter.context import Context
from embedrouter.entrance import PUBLIC, Entrance
from embedrouter.web.dashboard.frame import sections
from embedrouter.web.docs.library import Library
from embedrouter.web.docs.operations import Operation
from embedrouter.web.docs.pages import shelf_of, told_operations
from embedrouter.web.formats import compact
from embedrouter.web.frame import NAVIGATION, visitor
from embedrouter.web.layout import HEADERS

AnyRequest = Request[Any, Any, Any]

_MOST: Final = 12  # results
_LONGEST: Final = 200  # characters of a query that count


class Place(msgspec.Struct, frozen=True):
    """Something that can be gone to."""

    kind: Literal["model", "provider", "page", "docs"]
    title: str
    detail: str
    url: str


_PAGES: Final = (
    *(Place("page", link.title, link.href, link.href) for link in NAVIGATION),
    Place("page", "Home", "/", "/"),
    Place("page", "Dashboard", "/dashboard", "/dashboard"),
    Place("page", "Account", "/account", "/account"),
    Place("page", "API reference", "/docs/reference", "/docs/reference"),
)


@get("/search.json", opt=PUBLIC)
async def search(request: AnyRequest, context: Context, entrance: Entrance, q: str = "") -> Response[bytes]:
    """The best first."""
    places = [*places_of(context.catalog.loaded.catalog), *_PAGES, *places_of_dashboard(visitor(request))]
    places += places_of_docs(await shelf_of(entrance), await told_operations(request))
    body: dict[str, Any] = {"query": q[:_LONGEST], "results": find(q[:_LONGEST], places)}
    return Response(msgspec.json.encode(body), media_type="application/json", headers=HEADERS)


def places_of(catalog: Catalog) -> Iterator[Place]:
    """Models and providers."""
    for model in catalog.models:
        yield Place("model", model.name, f"{model.slug} · {compact(model.context_length)} tokens", f"/{model.slug}")
    for provider in catalog.providers:
        yield Place("provider", provider.name, provider.slug, f"/providers/{provider.slug}")


def places_of_dashboard(me: SignedIn | None) -> Iterator[Place]:
    """Its pages, but for those that everybody is shown the way to."""
    known = {place.url for place in _PAGES}
    for section in () if me is None else sections(me.user):
        for entry in section.entries:
            if entry.href not in known:
                yield Place("page", entry.title, entry.href, entry.href)


def places_of_docs(library: Library, operations: Iterable[Operation]) -> Iterator[Place]:
    """Pages of the docs, their headings, and the API's operations."""
    for page in library.pages:
        yield Place("docs", page.title, page.group, page.href)
    for page in library.pages:
        for one in page.rendered.headings:
            yield Place("docs", one.title, page.title, f"{page.href}#{one.anchor}")
    for operation in operations:
        yield Place("docs", f"{operation.method} {operation.path}", operation.summary, operation.href)


def find(query: str, places: Sequence[Place]) -> list[Place]:
    """Those that have all words of the query, the ones whose titles begin with it first; some of all for no query."""
    words = query.lower().split()
    if not words:
        return list(places[:_MOST])
    whole = " ".join(words)
    scored = [
        (_score(whole, place), number)
        for number, place in enumerate(places)
        if all(word in _text(place) for word in words)
    ]
    return [places[number] for _, number in sorted(scored)[:_MOST]]


def _text(place: Place) -> str:
    return f"{place.title} {place.detail} {place.kind}".lower()


def _score(query: str, place: Place) -> int:
    """0 is best."""
    title = place.title.lower()
    if title == query:
        return 0
    if title.startswith(query):
        return 1
    return 2 if query in title else 3
