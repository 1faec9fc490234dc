"""/dashboard/settings: the workspace's, which can be changed; the process's, which its start decides."""

from typing import Any, Final, NamedTuple

from litestar import Request, Response, get, post

from embedrouter.accounts.sessions import SignedIn
from embedrouter.context import Context
from embedrouter.entrance import ADMIN, SESSION
from embedrouter.errors import EmbedRouterError
from embedrouter.managing import workspaces as managing
from embedrouter.managing.workspaces import UpdateWorkspace
from embedrouter.settings import ENV_PREFIX, Settings
from embedrouter.web.dashboard.chosen import Chosen, chosen, wanted
from embedrouter.web.dashboard.fields import Filled, body, refilled, text
from embedrouter.web.dashboard.frame import dashboard_page
from embedrouter.web.forms import address, read_form, see_other

AnyRequest = Request[Any, Any, Any]

HOME: Final = "/dashboard/settings"
_TOLD: Final = {
    "response_cache_mib": "Whole answers, kept for requests that ask for it. 0: off",
    "vector_cache_mib": "The vector of each text. 0: off",
    "store_prompts": "Whether texts and vectors of requests are kept, for their own key to read",
    "keep_prompts_days": "How long those are kept. 0: for ever",
    "keep_generations_days": "How long each request's record is kept. 0: for ever",
    "keep_usage_days": "How long the sums by hour and day are kept. 0: for ever",
    "billing": "track: spending is counted; enforce: what is used up is refused",
    "durability": "When a request counts as written",
}


class Line(NamedTuple):
    """A setting of the process."""

    name: str
    variable: str
    value: str
    told: str


@get(HOME, opt=SESSION)
async def settings_page(request: AnyRequest, context: Context, signed_in: SignedIn) -> Response[str]:
    """The page."""
    return await _shown(request, context, signed_in, wanted(request))


@post(HOME, opt=ADMIN)
async def change(request: AnyRequest, context: Context, signed_in: SignedIn) -> Response[Any]:
    """Change the workspace."""
    form = await read_form(request)
    ref = form.get("workspace", "")
    try:
        values = {
            "name": form.get("name", "").strip(),
            "slug": form.get("slug", "").strip(),
            "description": text(form, "description"),
            "in_rankings": form.get("in_rankings") == "true",
        }
        changed = await managing.change(context, ref, body(values, UpdateWorkspace))
    except EmbedRouterError as error:
        return await _shown(request, context, signed_in, ref, filled=refilled(form, error), error=error)
    return see_other(address(HOME, workspace=changed.slug))


def lines_of(settings: Settings) -> list[Line]:
    """All but what they keep secret, which is shown as ***."""
    return [
        Line(name, ENV_PREFIX + name.upper(), _shown_as(value), _TOLD.get(name, ""))
        for name, value in settings.__rich_repr__()
    ]


async def _shown(
    request: AnyRequest,
    context: Context,
    me: SignedIn,
    ref: str,
    *,
    filled: Filled | None = None,
    error: EmbedRouterError | None = None,
) -> Response[str]:
    of = await context.database.read(lambda connection: chosen(connection, ref))
    every = lines_of(context.settings)
    model = {
        "title": "Settings",
        "of": of,
        "tabs": of.tabs(HOME),
        "filled": filled or _as_form(of),
        "lines": [line for line in every if line.told],
        "rest": [line for line in every if not line.told] if me.user.is_admin else [],
    }
    return dashboard_page(request, me, "dashboard/settings.html", model, error=error)


def _as_form(of: Chosen) -> Filled:
    kept = of.workspace
    return Filled(
        {
            "name": kept.name,
            "slug": kept.slug,
            "description": kept.preferences.description or "",
            "in_rankings": "true" if kept.in_rankings else "",
        }
    )


def _shown_as(value: object) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    return "not set" if value is None or value == {} else str(value)
