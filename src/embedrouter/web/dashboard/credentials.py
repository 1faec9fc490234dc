"""/dashboard/credentials: providers and whether one can ask them; credentials, which are written and never shown."""

from typing import Any, Final, NamedTuple

from litestar import Request, Response, get, post

from embedrouter.accounts import credentials, private_endpoints, workspaces
from embedrouter.accounts.credentials import CredentialFilter, StoredCredential
from embedrouter.accounts.private_endpoints import PrivateEndpoint
from embedrouter.accounts.sessions import SignedIn
from embedrouter.accounts.workspaces import Workspace
from embedrouter.context import Context
from embedrouter.entrance import ADMIN, SESSION
from embedrouter.errors import EmbedRouterError
from embedrouter.managing import credentials as managing
from embedrouter.managing.credentials import CreateByok, UpdateByok
from embedrouter.web.dashboard.fields import Filled, Form, Question, body, flag, lines, one_of, refilled, text
from embedrouter.web.dashboard.frame import dashboard_page
from embedrouter.web.forms import read_form, see_other

AnyRequest = Request[Any, Any, Any]

HOME: Final = "/dashboard/credentials"
_MOST: Final = 1_000  # of each that are listed
_FLAGS: Final = ("is_fallback", "is_required", "is_byok_only")
_LISTS: Final = ("allowed_models", "allowed_api_key_hashes", "allowed_user_ids")


class ProviderRow(NamedTuple):
    """A provider, and what he is asked with."""

    slug: str
    name: str
    variable: str | None  # that may hold a credential
    needs: bool
    label: str | None  # of the environment's
    stored: int
    closed: bool  # some stored one does not open
    unserved: str | None

    @property
    def ready(self) -> bool:
        """Whether there is what he needs."""
        return not self.needs or self.label is not None or self.stored > 0


class Kept(NamedTuple):
    """What the database has."""

    credentials: list[StoredCredential]
    endpoints: list[PrivateEndpoint]
    workspaces: list[Workspace]


@get(HOME, opt=SESSION)
async def list_page(request: AnyRequest, context: Context, signed_in: SignedIn) -> Response[str]:
    """The page."""
    return await listed(request, context, signed_in)


@post(HOME, opt=ADMIN)
async def add(request: AnyRequest, context: Context, signed_in: SignedIn) -> Response[Any]:
    """Add a credential."""
    form = await read_form(request)
    try:
        values = {
            **_said(form),
            "provider": form.get("provider", ""),
            "key": form.get("key", ""),
            "workspace_id": text(form, "workspace_id"),
            "disabled": form.get("disabled") == "true",
        }
        await managing.add(context, body(values, CreateByok), signed_in.user.email[:200])
    except EmbedRouterError as error:
        return await listed(request, context, signed_in, adding=refilled(form, error, "key"), error=error)
    return see_other(HOME)


@get("/dashboard/credentials/{id_:str}", opt=ADMIN)
async def edit_page(request: AnyRequest, context: Context, signed_in: SignedIn, id_: str) -> Response[str]:
    """One credential: what can be changed."""
    return await _edit(request, context, signed_in, id_)


@post("/dashboard/credentials/{id_:str}", opt=ADMIN)
async def change(request: AnyRequest, context: Context, signed_in: SignedIn, id_: str) -> Response[Any]:
    """Change it; a key that is left empty stays."""
    form = await read_form(request)
    try:
        values = {**_said(form), **({"key": form["key"]} if form.get("key") else {})}
        await managing.change(context, id_, body(values, UpdateByok))
    except EmbedRouterError as error:
        return await _edit(request, context, signed_in, id_, filled=refilled(form, error, "key"), error=error)
    return see_other(HOME)


@post("/dashboard/credentials/{id_:str}/do", opt=ADMIN)
async def do(request: AnyRequest, context: Context, id_: str) -> Response[Any]:
    """Disable, enable, or move one in the order in which they are tried."""
    action = one_of(await read_form(request), "action", "disable", "enable", "earlier", "later")
    if action in ("disable", "enable"):
        await managing.change(context, id_, UpdateByok(disabled=action == "disable"))
    else:
        await managing.move(context, id_, earlier=action == "earlier")
    return see_other(HOME)


@get("/dashboard/credentials/{id_:str}/delete", opt=ADMIN)
async def ask(request: AnyRequest, context: Context, signed_in: SignedIn, id_: str) -> Response[str]:
    """Really?"""
    one = await managing.find(context, id_)
    question = Question(
        "Delete this credential?",
        f"{one.name or one.provider} ({one.label}) is removed with what is sealed in it. Requests that only it could "
        f"serve fail from then on. This cannot be undone.",
        f"{HOME}/{one.id}/delete",
        "Delete the credential",
        HOME,
    )
    return dashboard_page(request, signed_in, "dashboard/confirm.html", {"title": "Delete", "question": question})


@post("/dashboard/credentials/{id_:str}/delete", opt=ADMIN)
async def remove(context: Context, id_: str) -> Response[Any]:
    """Delete it."""
    await managing.remove(context, id_)
    return see_other(HOME)


async def listed(
    request: AnyRequest,
    context: Context,
    me: SignedIn,
    *,
    adding: Filled | None = None,
    drafting: Filled | None = None,
    error: EmbedRouterError | None = None,
) -> Response[str]:
    """The page; members see which providers can be asked, and no more of the credentials."""
    kept = await context.database.read(_kept)
    model = {
        "title": "Providers & credentials",
        "providers": _providers(context, kept.credentials),
        "kept": kept,
        "names": {one.id: one.name for one in kept.workspaces},
        "models": context.catalog.loaded.catalog.models,
        "adding": adding or Filled(),
        "drafting": drafting or Filled(),
    }
    return dashboard_page(request, me, "dashboard/credentials.html", model, error=error)


async def _edit(
    request: AnyRequest,
    context: Context,
    me: SignedIn,
    id_: str,
    *,
    filled: Filled | None = None,
    error: EmbedRouterError | None = None,
) -> Response[str]:
    one = await managing.find(context, id_)
    model = {"title": f"Credential of {one.provider}", "one": one, "filled": filled or _as_form(one)}
    return dashboard_page(request, me, "dashboard/credential.html", model, error=error)


def _kept(connection: Any) -> Kept:
    return Kept(
        credentials.list_credentials(connection, CredentialFilter(limit=_MOST)),
        private_endpoints.list_private_endpoints(connection),
        workspaces.list_workspaces(connection, _MOST, 0),
    )


def _providers(context: Context, stored: list[StoredCredential]) -> list[ProviderRow]:
    unserved = {one.key: one.unserved for one in context.catalog.loaded.listed if one.kind == "provider"}
    rows = []
    for one in context.catalog.loaded.providers:
        shared = context.credentials.shared(one.slug)
        rows.append(
            ProviderRow(
                one.slug,
                one.name or one.slug,
                one.credential_env,
                one.needs_credential,
                shared.label if shared else None,
                sum(1 for kept in stored if kept.provider == one.slug and not kept.disabled),
                context.credentials.closed(one.slug),
                unserved.get(one.slug),
            )
        )
    return sorted(rows, key=lambda row: (not row.ready, row.unserved is not None, row.name.casefold()))


def _said(form: Form) -> dict[str, Any]:
    """What both forms have."""
    return {
        "name": text(form, "name"),
        "declared_region": text(form, "declared_region"),
        "declared_zdr": flag(form, "declared_zdr"),
        **{name: form.get(name) == "true" for name in _FLAGS},
        **{name: lines(form, name) for name in _LISTS},
    }


def _as_form(one: StoredCredential) -> Filled:
    said = {None: "", True: "true", False: "false"}
    return Filled(
        {
            "name": one.name or "",
            "declared_region": one.declared_region or "",
            "declared_zdr": said[one.declared_zdr],
            **{name: said[getattr(one, name)] for name in _FLAGS},
            **{name: "\n".join(getattr(one, name) or ()) for name in _LISTS},
        }
    )
