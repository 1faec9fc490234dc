"""What the macros of templates/macros/ui.html are given."""

from typing import NamedTuple


class Tab(NamedTuple):
    """One of several views of a thing; `ui.tabs(tabs, current)` marks the one whose key is current."""

    key: str
    title: str
    href: str


class Crumb(NamedTuple):
    """A step of the way here; the last one needs no href."""

    title: str
    href: str | None = None


class Pages(NamedTuple):
    """Where in a long list this page is; `ui.pagination(pages)`. None: there is none."""

    first: int  # number of the first item shown, from 1
    last: int
    total: int
    previous: str | None
    following: str | None
