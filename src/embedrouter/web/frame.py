"""What is around every page: navigation, theme, who looks at it."""

import asyncio
from typing import Any, Final, Literal, NamedTuple

from litestar import Request

from embedrouter import __version__
from embedrouter.accounts.sessions import SignedIn
from embedrouter.entrance import PLAIN_COOKIE, SECURE_COOKIE, Entrance
from embedrouter.errors import StoreUnavailableError
from embedrouter.web.assets import Built, built

AnyRequest = Request[Any, Any, Any]
Theme = Literal["system", "light", "dark"]

THEMES: Final[tuple[Theme, ...]] = ("system", "light", "dark")
_PATIENCE: Final = 1.0  # seconds that a public page waits to greet somebody
THEME_COOKIE: Final = "embedrouter_theme"
HOME: Final = "/dashboard"  # of who is signed in


class Link(NamedTuple):
    """Of the navigation."""

    title: str
    href: str


NAVIGATION: Final = (
    Link("Playground", "/playground"),
    Link("Rankings", "/rankings"),
    Link("Apps", "/apps"),
    Link("Models", "/models"),
    Link("Providers", "/providers"),
    Link("Pricing", "/pricing"),
    Link("Docs", "/docs"),
    Link("Status", "/status"),
)
FOOTER: Final = (
    Link("Docs", "/docs"),
    Link("API reference", "/docs/reference"),
    Link("OpenAPI", "/openapi.json"),
    Link("Status", "/status"),
    Link("llms.txt", "/llms.txt"),
)


class Frame(NamedTuple):
    """What base.html needs; templates call it `frame`."""

    path: str
    theme: Theme
    signed_in: SignedIn | None
    assets: Built
    home: Link  # Sign in, or Dashboard
    is_demo: bool  # what is shown was made up
    navigation: tuple[Link, ...] = NAVIGATION
    footer: tuple[Link, ...] = FOOTER
    themes: tuple[Theme, ...] = THEMES
    version: str = __version__

    def is_here(self, link: Link) -> bool:
        """Whether this page is the link's, or below it."""
        return self.path == link.href or self.path.startswith(f"{link.href}/")


def frame(request: AnyRequest) -> Frame:
    """That of a request; who asks must be known by then, see `recognise`."""
    home = Link("Dashboard", HOME) if _is_known(request) else Link("Sign in", "/login")
    return Frame(request.scope["path"], theme_of(request), visitor(request), built(), home, request.app.state.is_demo)


def visitor(request: AnyRequest) -> SignedIn | None:
    """Who looks at the page, if he is signed in."""
    found = request.state.get("signed_in")
    return found if isinstance(found, SignedIn) else None


def _is_known(request: AnyRequest) -> bool:
    """Where no route has looked, as at a path that is none, a cookie is enough to show the way to the dashboard."""
    if "signed_in" in request.state:
        return visitor(request) is not None
    return SECURE_COOKIE in request.cookies or PLAIN_COOKIE in request.cookies


def theme_of(request: AnyRequest) -> Theme:
    """The one that was chosen."""
    chosen = request.cookies.get(THEME_COOKIE, "")
    return next((theme for theme in THEMES if theme == chosen), "system")


async def recognise(request: AnyRequest) -> None:
    """Litestar's hook before each page: public ones greet who is signed in, too. Without the database nobody is."""
    if visitor(request) is None and not request.scope["path"].startswith("/assets/"):
        entrance: Entrance = request.app.state.entrance
        try:
            async with asyncio.timeout(_PATIENCE):
                request.state["signed_in"] = await entrance.signed_in(request)
        except (StoreUnavailableError, TimeoutError):
            request.state["signed_in"] = None
