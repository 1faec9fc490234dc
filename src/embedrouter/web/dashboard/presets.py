"""/dashboard/routing/presets: settings of requests under a name, in versions."""

from typing import Any, Final

import msgspec
from litestar import Request, Response, get, post

from embedrouter.accounts import presets, workspaces
from embedrouter.accounts.presets import Of
from embedrouter.accounts.sessions import SignedIn
from embedrouter.accounts.workspaces import Workspace
from embedrouter.context import Context
from embedrouter.entrance import ADMIN, SESSION
from embedrouter.errors import EmbedRouterError
from embedrouter.managing import presets as managing
from embedrouter.managing.presets import CreatePreset
from embedrouter.web.dashboard.chosen import wanted
from embedrouter.web.dashboard.fields import Filled, Question, body, document, refilled, text
from embedrouter.web.dashboard.frame import dashboard_page
from embedrouter.web.dashboard.routing import back, shown
from embedrouter.web.forms import address, read_form, see_other

AnyRequest = Request[Any, Any, Any]

_HERE: Final = "/dashboard/routing/presets"
_SHOWN: Final = 50  # versions, the newest


@post("/dashboard/routing/presets", opt=ADMIN)
async def make(request: AnyRequest, context: Context, signed_in: SignedIn) -> Response[Any]:
    """A preset, or its next version."""
    form = await read_form(request)
    ref = form.get("workspace", "")
    try:
        of = await _workspace(context, ref)
        values = {
            "config": document(form, "config"),
            "name": text(form, "name"),
            "description": text(form, "description"),
        }
        slug = form.get("slug", "").strip()
        await managing.make(context, Of(of.id, slug), body(values, CreatePreset), signed_in.user.id)
    except EmbedRouterError as error:
        return await shown(request, context, signed_in, ref, preset=refilled(form, error), error=error)
    return see_other(_href(slug, of))


@get("/dashboard/routing/presets/{slug:str}", opt=SESSION)
async def preset_page(request: AnyRequest, context: Context, signed_in: SignedIn, slug: str) -> Response[str]:
    """One preset with its versions."""
    of = await _workspace(context, wanted(request))

    def query(connection: Any) -> list[presets.Preset]:
        there = presets.require(connection, Of(of.id, slug))
        return presets.versions(connection, Of(of.id, slug), _SHOWN, max(0, there - _SHOWN))

    versions = list(reversed(await context.database.read(query)))
    texts = [msgspec.json.format(version.config, indent=2).decode() for version in versions]
    newest = versions[0]
    model = {
        "title": newest.name,
        "of": of,
        "versions": list(zip(versions, texts, strict=True)),
        "newest": newest,
        "filled": Filled({"name": newest.name, "description": newest.description or "", "config": texts[0]}),
        "back": back(of),
        "removal": address(f"{_HERE}/{newest.slug}/delete", workspace=of.slug),
    }
    return dashboard_page(request, signed_in, "dashboard/preset.html", model)


@get("/dashboard/routing/presets/{slug:str}/delete", opt=ADMIN)
async def ask(request: AnyRequest, context: Context, signed_in: SignedIn, slug: str) -> Response[str]:
    """Really?"""
    of = await _workspace(context, wanted(request))
    found = await context.database.read(lambda connection: presets.find(connection, Of(of.id, slug)))
    question = Question(
        f'Delete the preset "{found.preset.slug}"?',
        "With all its versions. Requests that name it are refused from then on.",
        f"{_HERE}/{found.preset.slug}/delete",
        "Delete the preset",
        _href(found.preset.slug, of),
        (("workspace", of.id),),
    )
    return dashboard_page(request, signed_in, "dashboard/confirm.html", {"title": "Delete", "question": question})


@post("/dashboard/routing/presets/{slug:str}/delete", opt=ADMIN)
async def remove(request: AnyRequest, context: Context, slug: str) -> Response[Any]:
    """Delete it."""
    of = await _workspace(context, (await read_form(request)).get("workspace", ""))
    await managing.remove(context, Of(of.id, slug))
    return see_other(back(of))


async def _workspace(context: Context, ref: str) -> Workspace:
    return await context.database.read(lambda connection: workspaces.find(connection, ref))


def _href(slug: str, of: Workspace) -> str:
    return address(f"{_HERE}/{slug}", workspace=of.slug)
