"""/dashboard/routing: what a workspace's requests are given and allowed: default sort, presets, guardrails, budgets."""

from typing import Any, Final, NamedTuple

from litestar import Request, Response, get, post

from embedrouter.accounts import guardrails, presets, workspaces
from embedrouter.accounts.guardrails import Guardrail, default_id
from embedrouter.accounts.presets import Named
from embedrouter.accounts.sessions import SignedIn
from embedrouter.accounts.workspaces import Budget, Workspace
from embedrouter.context import Context
from embedrouter.entrance import ADMIN, SESSION
from embedrouter.errors import EmbedRouterError
from embedrouter.ledger.book import now
from embedrouter.managing import budgets as managing_budgets
from embedrouter.managing import workspaces as managing
from embedrouter.managing.budgets import SetBudget
from embedrouter.managing.workspaces import UpdateWorkspace
from embedrouter.periods import INTERVAL_OF, INTERVALS, Interval
from embedrouter.web.dashboard.chosen import Chosen, chosen, wanted
from embedrouter.web.dashboard.fields import Filled, body, number, one_of, refilled, text
from embedrouter.web.dashboard.frame import dashboard_page
from embedrouter.web.forms import address, read_form, see_other

AnyRequest = Request[Any, Any, Any]

HOME: Final = "/dashboard/routing"
_MOST: Final = 200  # of each that are listed
_INTERVALS: Final[dict[str, Interval]] = {interval: interval for interval in INTERVALS}


class Found(NamedTuple):
    """What holds in a workspace."""

    of: Chosen
    presets: list[Named]
    guardrails: list[Guardrail]
    budgets: list[Budget]


@get(HOME, opt=SESSION)
async def routing_page(request: AnyRequest, context: Context, signed_in: SignedIn) -> Response[str]:
    """The page."""
    return await shown(request, context, signed_in, wanted(request))


@post(HOME, opt=ADMIN)
async def change(request: AnyRequest, context: Context, signed_in: SignedIn) -> Response[Any]:
    """Change the default sort."""
    form = await read_form(request)
    ref = form.get("workspace", "")
    try:
        values = {"default_provider_sort": text(form, "default_provider_sort")}
        changed = await managing.change(context, ref, body(values, UpdateWorkspace))
    except EmbedRouterError as error:
        return await shown(request, context, signed_in, ref, defaults=refilled(form, error), error=error)
    return see_other(back(changed))


@post("/dashboard/routing/budgets", opt=ADMIN)
async def set_budget(request: AnyRequest, context: Context, signed_in: SignedIn) -> Response[Any]:
    """Set a budget; an empty limit takes it away."""
    form = await read_form(request)
    ref = form.get("workspace", "")
    try:
        interval = _INTERVALS[one_of(form, "interval", *_INTERVALS)]
        limit = number(form, "limit_usd")
        if limit is None:
            await managing_budgets.remove(context, ref, interval)
        else:
            values = {"limit_usd": limit, "include_byok_in_budgets": form.get("include_byok_in_budgets") == "true"}
            await managing_budgets.put(context, ref, interval, body(values, SetBudget))
        of = await context.database.read(lambda connection: workspaces.find(connection, ref))
    except EmbedRouterError as error:
        return await shown(request, context, signed_in, ref, budget=refilled(form, error), error=error)
    return see_other(back(of))


def back(of: Workspace) -> str:
    """To the page of a workspace."""
    return address(HOME, workspace=of.slug)


async def shown(
    request: AnyRequest,
    context: Context,
    me: SignedIn,
    ref: str,
    *,
    defaults: Filled | None = None,
    budget: Filled | None = None,
    preset: Filled | None = None,
    guardrail: Filled | None = None,
    error: EmbedRouterError | None = None,
) -> Response[str]:
    """The page, with the form that was wrong."""
    found = await context.database.read(lambda connection: _found(connection, ref))
    workspace = found.of.workspace
    kept = workspace.preferences
    default = default_id(workspace.id)
    model = {
        "title": "Routing",
        "found": found,
        "of": workspace,
        "tabs": found.of.tabs(HOME),
        "intervals": [(interval, interval) for interval in INTERVALS],
        "interval_of": INTERVAL_OF,
        "default": next((one for one in found.guardrails if one.id == default), None),
        "default_id": default,
        "guardrails": [one for one in found.guardrails if one.id != default],
        "byok_counts": workspace.include_byok_in_budgets,
        "defaults": defaults or Filled({"default_provider_sort": kept.default_provider_sort or ""}),
        "budget": budget or Filled({"include_byok_in_budgets": "true" if workspace.include_byok_in_budgets else ""}),
        "preset": preset or Filled({"config": '{\n  "provider": {\n    "sort": "price"\n  }\n}'}),
        "guardrail": guardrail or Filled(),
    }
    return dashboard_page(request, me, "dashboard/routing.html", model, error=error)


def _found(connection: Any, ref: str) -> Found:
    of = chosen(connection, ref)
    return Found(
        of,
        presets.list_presets(connection, of.workspace.id, _MOST, 0),
        guardrails.list_guardrails(connection, of.workspace.id, _MOST, 0),
        workspaces.list_budgets(connection, now(), of.workspace.id),
    )
