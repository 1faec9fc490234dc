"""/dashboard/routing/guardrails: what keys may use and spend."""

from typing import Any, Final, NamedTuple

import msgspec
from litestar import Request, Response, get, post

from embedrouter.accounts import guardrails, workspaces
from embedrouter.accounts.guardrails import Assignment, Guardrail, Rules, default_id
from embedrouter.accounts.keys import ApiKey, KeyFilter, list_keys
from embedrouter.accounts.sessions import SignedIn
from embedrouter.accounts.workspaces import Workspace
from embedrouter.context import Context
from embedrouter.entrance import ADMIN, SESSION
from embedrouter.errors import EmbedRouterError, NotFoundError, nearest
from embedrouter.fields import bad_field
from embedrouter.managing import guardrails as managing
from embedrouter.managing.guardrails import CreateGuardrail, UpdateGuardrail
from embedrouter.money import usd_text
from embedrouter.periods import RESET_OF
from embedrouter.web.dashboard.fields import Filled, Form, Question, body, document, lines, number, refilled, text
from embedrouter.web.dashboard.frame import dashboard_page
from embedrouter.web.dashboard.routing import back, shown
from embedrouter.web.forms import read_fields, read_form, see_other

AnyRequest = Request[Any, Any, Any]

_HERE: Final = "/dashboard/routing/guardrails"
_MOST: Final = 500  # keys
_LISTS: Final = ("allowed_models", "ignored_models", "allowed_providers", "ignored_providers")
_ZDR: Final = "enforce_zdr"  # stands for each of those that begin so and are not said themselves
_REST: Final = tuple(name for name in Rules.__struct_fields__ if name not in (*_LISTS, "description"))


class Found(NamedTuple):
    """A guardrail, and which keys there are."""

    guardrail: Guardrail | None  # None: a default one that nobody configured yet
    id: str
    workspace: Workspace
    assigned: list[Assignment]
    keys: list[ApiKey]

    @property
    def is_default(self) -> bool:
        """Whether it holds for all keys of its workspace."""
        return self.id == default_id(self.workspace.id)


@post("/dashboard/routing/guardrails", opt=ADMIN)
async def make(request: AnyRequest, context: Context, signed_in: SignedIn) -> Response[Any]:
    """Make one; keys are assigned on its page."""
    form = await read_form(request)
    ref = form.get("workspace", "")
    try:
        values = {**_said(form), "name": form.get("name", "").strip(), "workspace_id": ref}
        given = {name: value for name, value in values.items() if value is not None}
        made = await managing.create(context, body(given, CreateGuardrail))
    except EmbedRouterError as error:
        return await shown(request, context, signed_in, ref, guardrail=refilled(form, error), error=error)
    return see_other(f"{_HERE}/{made.id}")


@get("/dashboard/routing/guardrails/{id_:str}", opt=SESSION)
async def guardrail_page(request: AnyRequest, context: Context, signed_in: SignedIn, id_: str) -> Response[str]:
    """One: its rules, its budget, its keys."""
    return await _shown(request, context, signed_in, id_)


@post("/dashboard/routing/guardrails/{id_:str}", opt=ADMIN)
async def change(request: AnyRequest, context: Context, signed_in: SignedIn, id_: str) -> Response[Any]:
    """Change it, or configure a workspace's default one."""
    form = await read_form(request)
    try:
        said = _said(form)
        gone = [name for name in _REST if not (_ZDR in said and name.startswith(_ZDR))]
        values = {**dict.fromkeys(gone), **said, **({"name": form["name"].strip()} if "name" in form else {})}
        values["include_byok_in_budgets"] = form.get("include_byok_in_budgets") == "true"
        await managing.change(context, id_, body(values, UpdateGuardrail))
    except EmbedRouterError as error:
        return await _shown(request, context, signed_in, id_, filled=refilled(form, error), error=error)
    return see_other(f"{_HERE}/{id_}")


@post("/dashboard/routing/guardrails/{id_:str}/keys", opt=ADMIN)
async def assign(request: AnyRequest, context: Context, signed_in: SignedIn, id_: str) -> Response[Any]:
    """Assign keys, or take them away."""
    fields = await read_fields(request)
    hashes = [value for name, value in fields if name == "key_hashes"]
    try:
        if not hashes:
            raise bad_field("key_hashes", "choose a key")
        losing = dict(fields).get("action") == "remove"
        await managing.assign(context, id_, hashes, signed_in.user.id, to="lose" if losing else "have")
    except EmbedRouterError as error:
        return await _shown(request, context, signed_in, id_, error=error)
    return see_other(f"{_HERE}/{id_}")


@get("/dashboard/routing/guardrails/{id_:str}/delete", opt=ADMIN)
async def ask(request: AnyRequest, context: Context, signed_in: SignedIn, id_: str) -> Response[str]:
    """Really?"""
    one = await managing.find(context, id_)
    question = Question(
        f'Delete the guardrail "{one.name}"?',
        "Its keys have none then, and may use what it forbade.",
        f"{_HERE}/{one.id}/delete",
        "Delete the guardrail",
        f"{_HERE}/{one.id}",
    )
    return dashboard_page(request, signed_in, "dashboard/confirm.html", {"title": "Delete", "question": question})


@post("/dashboard/routing/guardrails/{id_:str}/delete", opt=ADMIN)
async def remove(context: Context, id_: str) -> Response[Any]:
    """Delete it."""
    one = await managing.find(context, id_)
    of = await context.database.read(lambda connection: workspaces.find(connection, one.workspace_id))
    await managing.remove(context, id_)
    return see_other(back(of))


async def _shown(
    request: AnyRequest,
    context: Context,
    me: SignedIn,
    id_: str,
    *,
    filled: Filled | None = None,
    error: EmbedRouterError | None = None,
) -> Response[str]:
    found = await context.database.read(lambda connection: _found(connection, id_))
    has = {one.key_hash for one in found.assigned}
    one = found.guardrail
    model = {
        "title": f"Default guardrail of {found.workspace.name}" if one is None or found.is_default else one.name,
        "found": found,
        "filled": filled or _as_form(one),
        "rules": _rest(one.rules if one else Rules()),
        "others": [key for key in found.keys if key.hash not in has],
        "back": back(found.workspace),
    }
    return dashboard_page(request, me, "dashboard/guardrail.html", model, error=error)


def _found(connection: Any, id_: str) -> Found:
    one: Guardrail | None
    try:
        one = guardrails.find(connection, id_)
        of = workspaces.find(connection, one.workspace_id)
    except NotFoundError:
        there = workspaces.list_workspaces(connection, 1_000, 0)
        default = next((each for each in there if default_id(each.id) == id_), None)
        if default is None:
            raise
        one, of = None, default
    return Found(
        one,
        id_,
        of,
        guardrails.assignments(connection, id_, _MOST, 0),
        list_keys(connection, KeyFilter(include_disabled=True, limit=_MOST)),
    )


def _said(form: Form) -> dict[str, Any]:
    """What both forms have: lists, the budget, and the rest as JSON."""
    rest = document(form, "rules") if text(form, "rules") else {}
    if not isinstance(rest, dict):
        raise bad_field("rules", 'must be an object: {"enforce_zdr": true}')
    for name, value in rest.items():
        if name not in _REST:
            raise bad_field("rules", f'there is no rule "{name[:40]}"{nearest(name[:40], _REST)}')
        if value not in (True, False, None):
            raise bad_field("rules", f"{name} must be true, false or null")
    return {
        **rest,
        "description": text(form, "description"),
        "limit_usd": number(form, "limit_usd"),
        "reset_interval": text(form, "reset_interval"),
        **{name: lines(form, name) for name in _LISTS},
    }


def _rest(rules: Rules) -> str:
    """The rules that have no field of their own."""
    said = {name: value for name in _REST if (value := getattr(rules, name)) is not None}
    if all(said.get(name) == said.get(_ZDR) for name in _REST if name.startswith(_ZDR)):
        said = {name: value for name, value in said.items() if name == _ZDR or not name.startswith(_ZDR)}
    return msgspec.json.format(msgspec.json.encode(said), indent=2).decode()


def _as_form(one: Guardrail | None) -> Filled:
    if one is None:
        return Filled({"rules": "{}"})
    return Filled(
        {
            "name": one.name,
            "description": one.rules.description or "",
            "limit_usd": "" if one.limit_pico is None else usd_text(one.limit_pico),
            "reset_interval": "" if one.limit_reset is None else RESET_OF[one.limit_reset],
            "include_byok_in_budgets": "true" if one.include_byok_in_budgets else "",
            "rules": _rest(one.rules),
            **{name: "\n".join(getattr(one.rules, name) or ()) for name in _LISTS},
        }
    )
