"""All pages of the docs, rendered once."""

from functools import cache
from typing import NamedTuple

from embedrouter.errors import NotFoundError
from embedrouter.web.docs import texts
from embedrouter.web.docs.markdown import Rendered, render, title_of


class Page(NamedTuple):
    """One of docs/*.md."""

    name: str
    group: str  # title of its group
    source: str  # Markdown
    rendered: Rendered

    @property
    def href(self) -> str:
        return f"/docs/{self.name}"

    @property
    def title(self) -> str:
        return self.rendered.title


class Library(NamedTuple):
    """All of them, in the order to read them."""

    pages: tuple[Page, ...]

    def groups(self) -> list[tuple[str, list[Page]]]:
        """By the titles of their groups."""
        return [(group.title, [page for page in self.pages if page.group == group.title]) for group in texts.GROUPS]

    def find(self, name: str) -> Page:
        """Raises NotFoundError."""
        for page in self.pages:
            if page.name == name:
                return page
        raise NotFoundError("there is no such page of the docs; /docs lists them all")

    def beside(self, page: Page) -> tuple[Page | None, Page | None]:
        """The page before and the page after."""
        at = self.pages.index(page)
        return (self.pages[at - 1] if at else None), (self.pages[at + 1] if at + 1 < len(self.pages) else None)


@cache
def library(address: str) -> Library:
    """With examples that call an address: this server's own."""
    sources = {name: texts.read(name, address) for name in texts.NAMES}
    titles = {name: title_of(source) for name, source in sources.items()}
    return Library(
        tuple(
            Page(name, group.title, sources[name], render(sources[name], titles))
            for group in texts.GROUPS
            for name in group.names
        )
    )
