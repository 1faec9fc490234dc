"""/docs: overview, search, the pages, each also as Markdown, and /llms.txt."""

import asyncio
from typing import Any, Final

from litestar import Request, Response, get

from embedrouter.entrance import PUBLIC, Entrance
from embedrouter.web.docs import finding
from embedrouter.web.docs.library import Library, library
from embedrouter.web.docs.operations import Operation, operations
from embedrouter.web.layout import HEADERS, page
from embedrouter.web.view import Crumb

AnyRequest = Request[Any, Any, Any]

_ABOUT: Final = (
    "A self-hosted server of text embeddings over the OpenRouter and OpenAI API, with all-MiniLM-L6-v2 built in and "
    "routing to other providers."
)


async def shelf_of(entrance: Entrance) -> Library:
    """All pages. In a thread, since the first time they are rendered."""
    return await asyncio.to_thread(library, entrance.address)


async def told_operations(request: AnyRequest) -> tuple[Operation, ...]:
    """Those of this server's own OpenAPI document. In a thread, since the first time it is made."""
    return await asyncio.to_thread(lambda: operations(request.app.state.openapi()))


@get("/docs", opt=PUBLIC)
async def overview(request: AnyRequest, entrance: Entrance, q: str = "") -> Response[str]:
    """All pages; with a query, what is found in them."""
    shelf = await shelf_of(entrance)
    query = " ".join(q[: finding.LONGEST].split())
    hits = finding.find(query, finding.passages(shelf, await told_operations(request))) if query else None
    model = {
        "title": f"{query} · Docs" if query else "Docs",
        "shelf": shelf,
        "query": query,
        "hits": hits,
        "most": finding.MOST,
    }
    return page(request, "docs/overview.html", model)


@get("/docs/{name:str}", opt=PUBLIC)
async def doc(request: AnyRequest, entrance: Entrance, name: str) -> Response[str]:
    """A page, or with .md at its end its Markdown."""
    shelf = await shelf_of(entrance)
    found = shelf.find(name.removesuffix(".md"))
    if name.endswith(".md"):
        return _plain(found.source, "text/markdown")
    before, after = shelf.beside(found)
    model = {
        "title": f"{found.title} · Docs",
        "shelf": shelf,
        "doc": found,
        "crumbs": (Crumb("Docs", "/docs"), Crumb(found.group), Crumb(found.title)),
        "contents": [one for one in found.rendered.headings if one.level <= 3],
        "before": before,
        "after": after,
    }
    return page(request, "docs/page.html", model)


@get("/llms.txt", opt=PUBLIC)
async def llms(entrance: Entrance) -> Response[str]:
    """What there is to read, for programs that read: the convention of llmstxt.org."""
    return _plain(index_text(await shelf_of(entrance), entrance.address))


@get("/llms-full.txt", opt=PUBLIC)
async def llms_full(entrance: Entrance) -> Response[str]:
    """All of it in one text."""
    shelf = await shelf_of(entrance)
    return _plain(f"{_head()}\n" + "\n\n".join(one.source.rstrip() for one in shelf.pages) + "\n")


def index_text(shelf: Library, address: str) -> str:
    """Title, summary, and a link to each page's Markdown with what it is about."""
    lines = [_head(), f"The API is at {address}/api/v1; its OpenAPI document is at {address}/openapi.json.", ""]
    for title, pages in shelf.groups():
        lines += [f"## {title}", ""]
        lines += [f"- [{one.title}]({address}{one.href}.md): {_short(one.rendered.lead)}" for one in pages]
        lines.append("")
    return "\n".join((*lines, "## Optional", "", f"- [All pages in one text]({address}/llms-full.txt)", ""))


def _head() -> str:
    return f"# embedrouter\n\n> {_ABOUT}\n"


def _short(text: str) -> str:
    """The first sentence."""
    return text.partition(". ")[0].rstrip(".:;") + "."


def _plain(text: str, kind: str = "text/plain") -> Response[str]:
    return Response(text, media_type=f"{kind}; charset=utf-8", headers=HEADERS)
