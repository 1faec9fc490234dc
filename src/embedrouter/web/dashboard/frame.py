"""What is around the dashboard's pages: the navigation beside them."""

from collections.abc import Mapping, Sequence
from itertools import groupby
from typing import Any, Final, Literal, NamedTuple

from litestar import Request, Response

from embedrouter.accounts.sessions import SignedIn
from embedrouter.accounts.users import User
from embedrouter.errors import EmbedRouterError
from embedrouter.web.layout import page

AnyRequest = Request[Any, Any, Any]
Group = Literal["Usage", "Workspace", "Server", "You"]


class Entry(NamedTuple):
    """A page of the dashboard."""

    group: Group
    title: str
    href: str
    admin: bool = False  # only administrators are shown the way


class Section(NamedTuple):
    """Entries under one heading."""

    title: str
    entries: tuple[Entry, ...]


ENTRIES: Final = (
    Entry("Usage", "Overview", "/dashboard"),
    Entry("Usage", "Keys", "/dashboard/keys"),
    Entry("Usage", "Credits", "/dashboard/credits"),
    Entry("Usage", "Activity", "/dashboard/activity"),
    Entry("Usage", "Logs", "/dashboard/logs"),
    Entry("Usage", "Batches", "/dashboard/batches"),
    Entry("Workspace", "Providers & credentials", "/dashboard/credentials"),
    Entry("Workspace", "Routing", "/dashboard/routing"),
    Entry("Workspace", "Members", "/dashboard/members"),
    Entry("Workspace", "Settings", "/dashboard/settings"),
    Entry("Server", "Users", "/dashboard/users", admin=True),
    Entry("Server", "System", "/dashboard/system", admin=True),
    Entry("Server", "Catalog", "/dashboard/catalog", admin=True),
    Entry("Server", "Incidents", "/dashboard/incidents", admin=True),
    Entry("You", "Account", "/account"),
)


def sections(of: User, entries: Sequence[Entry] = ENTRIES) -> tuple[Section, ...]:
    """What a user is shown the way to."""
    shown = [entry for entry in entries if of.is_admin or not entry.admin]
    return tuple(Section(title, tuple(some)) for title, some in groupby(shown, lambda entry: entry.group))


def here(path: str, entries: Sequence[Entry] = ENTRIES) -> Entry | None:
    """The entry whose page this is, or whose pages it is among."""
    found = [entry for entry in entries if path == entry.href or path.startswith(f"{entry.href}/")]
    return max(found, key=lambda entry: len(entry.href), default=None)


def dashboard_page(
    request: AnyRequest,
    me: SignedIn,
    template: str,
    model: Mapping[str, Any],
    *,
    error: EmbedRouterError | None = None,
    status: int | None = None,
    headers: Mapping[str, str] | None = None,
) -> Response[str]:
    """As `layout.page`, for templates that extend dashboard/base.html; `me` (User) and the navigation are added."""
    around = {"me": me.user, "sections": sections(me.user), "here": here(request.scope["path"])}
    return page(request, template, {**around, **model}, error=error, status=status, headers=headers)
