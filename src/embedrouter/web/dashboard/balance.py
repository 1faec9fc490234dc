"""/dashboard/credits: the balance, budgets and the ledger. A member sees what his own keys have spent."""

import re
import secrets
from collections.abc import Mapping
from typing import Any, Final, Literal, NamedTuple

from litestar import Request, Response, get, post

from embedrouter.accounts.sessions import SignedIn
from embedrouter.accounts.users import User
from embedrouter.accounts.workspaces import Budget, list_budgets
from embedrouter.context import Context
from embedrouter.entrance import ADMIN, SESSION
from embedrouter.errors import EmbedRouterError
from embedrouter.fields import bad_field, plain
from embedrouter.ledger.book import now
from embedrouter.ledger.credits import Balance, Credit, add, balance
from embedrouter.ledger.logs import Cursor, reader
from embedrouter.ledger.movements import Movements, movements, used_pico
from embedrouter.money import MOST, PICO, pico_usd, typed_usd
from embedrouter.web.dashboard.choices import choice
from embedrouter.web.dashboard.cursors import cursor, told
from embedrouter.web.dashboard.frame import dashboard_page
from embedrouter.web.dashboard.refusals import Refused, refused
from embedrouter.web.forms import address, read_form, see_other

AnyRequest = Request[Any, Any, Any]

_HERE: Final = "/dashboard/credits"
_KINDS: Final[tuple[Literal["top_up", "adjustment"], ...]] = ("top_up", "adjustment")
_ONCE: Final = re.compile(r"[0-9a-f]{32}")
_LONGEST: Final = 500  # characters of a reason
_PAGE: Final = 50


class Standing(NamedTuple):
    """What there is. balance: None to who may not see it."""

    balance: Balance | None
    used_pico: int
    budgets: tuple[Budget, ...]
    ledger: Movements


@get(_HERE, opt=SESSION)
async def credits_page(request: AnyRequest, context: Context, signed_in: SignedIn) -> Response[str]:
    """The page."""
    return await _page(request, context, signed_in, {})


@post(_HERE, status_code=200, opt=ADMIN)
async def add_credit(request: AnyRequest, context: Context, signed_in: SignedIn) -> Response[Any]:
    """Book a top-up or an adjustment, once a form."""
    fields = await read_form(request)
    try:
        await context.writer.write(add, _credit(fields, signed_in.user, now()))
    except EmbedRouterError as error:
        return await _page(request, context, signed_in, fields, refused(error))
    return see_other(f"{_HERE}?done=added")


def _credit(fields: Mapping[str, str], me: User, at: int) -> Credit:
    try:
        amount = pico_usd(typed_usd(fields.get("amount", "")))
    except ValueError as error:
        raise bad_field("amount", f"expected an amount in USD like 12.50, at most {MOST // PICO:,}") from error
    reason = fields.get("reason", "").strip()
    if not reason or len(reason) > _LONGEST:
        raise bad_field("reason", f"say why, in at most {_LONGEST} characters")
    once = fields.get("once", "")
    if not _ONCE.fullmatch(once):
        raise bad_field("once", "open the form again and send it from there")
    return Credit(
        kind=choice(fields, "kind", _KINDS, "top_up"),
        amount_pico=amount,
        actor=f"user:{me.id}",
        reason=plain("reason", reason),
        at=at,
        idempotency_key=f"page:{once}",
    )


async def _page(
    request: AnyRequest, context: Context, me: SignedIn, fields: Mapping[str, str], wrong: Refused | None = None
) -> Response[str]:
    after = cursor(request.query_params.get("after"))
    found = await context.database.read(lambda connection: _standing(connection, me.user, after, now()))
    model = {
        "title": "Credits",
        "found": found,
        "newest": after is None,
        "older": address(_HERE, after=told(found.ledger.following)) if found.ledger.following else None,
        "fields": fields,
        "refused": wrong,
        "once": fields.get("once") or secrets.token_hex(16),
        "done": request.query_params.get("done") == "added",
        "billing": context.settings.billing,
    }
    status = None if wrong is None else wrong.error.status
    return dashboard_page(request, me, "dashboard/credits.html", model, status=status)


def _standing(connection: Any, me: User, after: Cursor | None, at: int) -> Standing:
    who = reader(connection, me.sees_only)
    return Standing(
        balance(connection) if me.is_admin else None,
        used_pico(connection, who),
        tuple(list_budgets(connection, at)) if me.is_admin else (),
        movements(connection, who, after, _PAGE),
    )
