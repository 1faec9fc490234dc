"""All pages. One module a family; a new page is its module and one line here."""

from typing import Final

from litestar import Router
from litestar.di import Provide

from embedrouter.entrance import guard, signed_in
from embedrouter.errors import EmbedRouterError
from embedrouter.web import account, assets, entry, home, reset, search, theme
from embedrouter.web.dashboard import routes as dashboard
from embedrouter.web.docs import pages as docs
from embedrouter.web.docs import reference
from embedrouter.web.frame import recognise
from embedrouter.web.market import apps, pricing, providers, rankings
from embedrouter.web.models import listing, model
from embedrouter.web.playground import pages as playground
from embedrouter.web.problems import on_error
from embedrouter.web.status import page as status
from embedrouter.web.status.board import Board

HANDLERS: Final = (
    home.home,
    entry.login_page,
    entry.log_in,
    entry.log_out,
    entry.setup_page,
    entry.set_up,
    reset.reset_page,
    reset.reset,
    account.account,
    account.change_password,
    account.end_other_sessions,
    account.end_session,
    account.invite,
    account.change_user,
    theme.choose_theme,
    rankings.rankings,
    apps.app_pages,
    providers.provider_list,
    providers.provider_page,
    pricing.pricing,
    status.status_page,
    status.status_document,
    search.search,
    listing.models,
    model.model_page,
    model.model_elsewhere,
    playground.playground,
    playground.embed_form,
    assets.asset,
    *dashboard.HANDLERS,
    docs.overview,
    docs.doc,
    docs.llms,
    docs.llms_full,
    reference.reference,
    reference.operation,
)


def web_routes() -> Router:
    """All pages, closed to who is not signed in unless a route says otherwise."""
    board = Board()
    return Router(
        "/",
        route_handlers=HANDLERS,
        guards=[guard],
        before_request=recognise,
        dependencies={
            "signed_in": Provide(signed_in, sync_to_thread=False),
            "board": Provide(lambda: board, sync_to_thread=False),
        },
        exception_handlers={EmbedRouterError: on_error},
        include_in_schema=False,
    )
