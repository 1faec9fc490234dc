"""Fixtures of tests in a browser: `page` is a page in each theme and width, `desk` one wide light one."""

from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser, Page, expect, sync_playwright

from browser.chromium import VIEWS, View, launch, opened
from browser.demo import DemoSite, demo
from security.people import office
from server import Server

# A page on a busy machine may take longer than Playwright's 5 s.
expect.set_options(timeout=20_000)


@pytest.fixture(scope="package")
def chromium() -> Iterator[Browser]:
    """One for as long as these tests run: Playwright's event loop leaves no room for another in its thread."""
    with sync_playwright() as playwright:
        started = launch(playwright)
        yield started
        started.close()


@pytest.fixture(scope="session")
def site() -> Server:
    """A running server that has an administrator: `security.people.office()`."""
    return office().server


@pytest.fixture(scope="session")
def demo_site() -> DemoSite:
    """A running server over a month of made-up traffic."""
    return demo()


@pytest.fixture
def demo_page(chromium: Browser, demo_site: DemoSite, view: View) -> Iterator[Page]:
    """Nobody's page there, in each theme and width."""
    with opened(chromium, demo_site.root, view) as made:
        yield made


@pytest.fixture
def demo_admin_page(chromium: Browser, demo_site: DemoSite, view: View) -> Iterator[Page]:
    """Its administrator's page, in each theme and width."""
    with opened(chromium, demo_site.root, view) as made:
        demo_site.sign_in(made)
        yield made


@pytest.fixture(params=VIEWS, ids=lambda view: f"{view.theme}-{view.width}")
def view(request: pytest.FixtureRequest) -> View:
    """Each theme and width."""
    found: View = request.param
    return found


@pytest.fixture
def page(chromium: Browser, site: Server, view: View) -> Iterator[Page]:
    """Nobody's page, in each theme and width; paths are relative to the site."""
    with opened(chromium, site.root, view) as made:
        yield made


@pytest.fixture
def desk(chromium: Browser, site: Server) -> Iterator[Page]:
    """Nobody's page on a wide light screen."""
    with opened(chromium, site.root, View("light", 1440)) as made:
        yield made


@pytest.fixture
def admin_page(chromium: Browser, site: Server, view: View) -> Iterator[Page]:
    """The administrator's page, in each theme and width."""
    with opened(chromium, site.root, view) as made:
        sign_in(made, site)
        yield made


def sign_in(page: Page, site: Server) -> None:
    """As the administrator: by the cookie that he has."""
    cookies = [{"name": name, "value": value, "url": site.root} for name, value in office().cookies.items()]
    page.context.add_cookies(cookies)  # type: ignore[arg-type]
