"""/dashboard/credentials/endpoints: private endpoints, from the draft to the active one."""

from typing import Any, Final

from litestar import Request, Response, get, post

from embedrouter.accounts import workspaces
from embedrouter.accounts.private_endpoints import PrivateEndpoint
from embedrouter.accounts.sessions import SignedIn
from embedrouter.context import Context
from embedrouter.entrance import ADMIN
from embedrouter.errors import EmbedRouterError
from embedrouter.fields import plain
from embedrouter.managing import private_endpoints as managing
from embedrouter.managing.private_bodies import CreatePrivateEndpoint, UpdatePricing, UpdatePrivateEndpoint
from embedrouter.managing.validating import validated
from embedrouter.web.dashboard.credentials import HOME, listed
from embedrouter.web.dashboard.fields import Filled, Form, Question, body, flag, one_of, refilled, text
from embedrouter.web.dashboard.frame import dashboard_page
from embedrouter.web.forms import read_form, see_other

AnyRequest = Request[Any, Any, Any]

_HERE: Final = f"{HOME}/endpoints"
_PRICES: Final = ("prompt", "completion", "cache_read", "cache_write")


@post("/dashboard/credentials/endpoints", opt=ADMIN)
async def draft(request: AnyRequest, context: Context, signed_in: SignedIn) -> Response[Any]:
    """Draft one."""
    form = await read_form(request)
    try:
        values: dict[str, Any] = {
            "model_permaslug": form.get("model_permaslug", ""),
            "provider_slug": form.get("provider_slug", ""),
            **_upstream(form),
        }
        if (prompt := text(form, "pricing.prompt")) is not None:
            values["pricing"] = {"prompt": prompt, "completion": "0"}
        made = await managing.draft(context, body(values, CreatePrivateEndpoint), signed_in.user.email[:200])
    except EmbedRouterError as error:
        return await listed(request, context, signed_in, drafting=refilled(form, error), error=error)
    return see_other(f"{_HERE}/{made.id}")


@get("/dashboard/credentials/endpoints/{id_:str}", opt=ADMIN)
async def endpoint_page(request: AnyRequest, context: Context, signed_in: SignedIn, id_: str) -> Response[str]:
    """One, with what its last validation found."""
    return await _shown(request, context, signed_in, await managing.find(context, id_))


@post("/dashboard/credentials/endpoints/{id_:str}", opt=ADMIN)
async def act(request: AnyRequest, context: Context, signed_in: SignedIn, id_: str) -> Response[Any]:
    """Edit, price, validate, activate, disable or enable it."""
    form = await read_form(request)
    known = await managing.find(context, id_)
    try:
        action = one_of(form, "action", "edit", "price", "validate", "activate", "disable", "enable")
        if action == "edit":
            await managing.edit(context, id_, body(_upstream(form), UpdatePrivateEndpoint))
        elif action == "price":
            prices = {name: text(form, f"pricing.{name}") for name in _PRICES}
            given = {name: value for name, value in prices.items() if value is not None}
            await managing.reprice(context, id_, body({"pricing": {"completion": "0", **given}}, UpdatePricing).pricing)
        elif action == "validate":
            await validated(context, known, plain("workspace_id", form.get("workspace_id", "")))
        elif action == "activate":
            await managing.activate(context, id_)
        else:
            await managing.switch(context, id_, "disabled" if action == "disable" else "active")
    except EmbedRouterError as error:
        return await _shown(request, context, signed_in, known, filled=refilled(form, error), error=error)
    return see_other(f"{_HERE}/{id_}")


@get("/dashboard/credentials/endpoints/{id_:str}/delete", opt=ADMIN)
async def ask(request: AnyRequest, context: Context, signed_in: SignedIn, id_: str) -> Response[str]:
    """Really?"""
    one = await managing.find(context, id_)
    question = Question(
        "Delete this private endpoint?",
        f"Nothing is routed to {one.upstream.upstream_model_id} at {one.provider_slug} any more. To stop it for a "
        f"while, disable it.",
        f"{_HERE}/{one.id}/delete",
        "Delete the endpoint",
        f"{_HERE}/{one.id}",
    )
    return dashboard_page(request, signed_in, "dashboard/confirm.html", {"title": "Delete", "question": question})


@post("/dashboard/credentials/endpoints/{id_:str}/delete", opt=ADMIN)
async def remove(context: Context, id_: str) -> Response[Any]:
    """Delete it."""
    await managing.remove(context, id_)
    return see_other(HOME)


async def _shown(
    request: AnyRequest,
    context: Context,
    me: SignedIn,
    one: PrivateEndpoint,
    *,
    filled: Filled | None = None,
    error: EmbedRouterError | None = None,
) -> Response[str]:
    model = {
        "title": "Private endpoint",
        "one": one,
        "workspaces": await context.database.read(lambda found: workspaces.list_workspaces(found, 1_000, 0)),
        "filled": filled or _as_form(one),
    }
    return dashboard_page(request, me, "dashboard/endpoint.html", model, error=error)


def _upstream(form: Form) -> dict[str, Any]:
    found: dict[str, Any] = {
        "upstream_model_id": form.get("upstream_model_id", "").strip(),
        "declared_region": text(form, "declared_region"),
        "declared_zdr": flag(form, "declared_zdr"),
    }
    return found if (url := text(form, "base_url")) is None else {**found, "base_url": url}


def _as_form(one: PrivateEndpoint) -> Filled:
    said = one.upstream
    prices = {f"pricing.{name}": getattr(said.pricing, name) or "" for name in _PRICES}
    return Filled(
        {
            "upstream_model_id": said.upstream_model_id,
            "base_url": said.base_url or "",
            "declared_region": said.declared_region or "",
            "declared_zdr": {None: "", True: "true", False: "false"}[said.declared_zdr],
            **prices,
        }
    )
