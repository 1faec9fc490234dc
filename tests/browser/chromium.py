"""Chromium for tests: one a session, and what every page must be."""

import os
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import urlsplit

import pytest
from playwright.sync_api import Browser, BrowserContext, Error, Page, Playwright

AXE = Path(__file__).parents[2] / "frontend" / "node_modules" / "axe-core" / "axe.min.js"

_NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome")
_QUIET = (
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)
_OPEN_DETAILS = "document.querySelectorAll('main details').forEach(one => { one.open = true; })"
_SETTLED = """() => !document.querySelector("[data-island]:not([data-mounted]), .htmx-request")
  && !document.getAnimations().length && [...document.images].every(one => one.complete || one.loading === "lazy")"""
# Axe takes longer than all the rest: each theme at one width, each width in one theme.
_WORTH_AXE = """matchMedia("(prefers-color-scheme: dark)").matches === (innerWidth < 800)"""
_RUN_AXE = """async () => {
  const found = await axe.run(document, {resultTypes: ["violations"]});
  return found.violations.flatMap(one => one.nodes.map(node =>
    `${one.id}: ${node.target} ${node.failureSummary.replaceAll("\\n", " ")}`));
}"""


class View(NamedTuple):
    """How a page is looked at."""

    theme: str  # light, dark
    width: int  # px


# Each theme and each width; all four with TEST_VIEWS=all, which takes a minute and a half more.
_ALL = tuple(View(theme, width) for theme in ("light", "dark") for width in (390, 1440))
VIEWS = _ALL if os.environ.get("TEST_VIEWS") == "all" else (View("dark", 390), View("light", 1440))


class Watched(NamedTuple):
    """What went wrong on a page since it was opened."""

    wrong: list[str]


_watched: dict[Page, Watched] = {}


def launch(playwright: Playwright) -> Browser:
    """The system's, else playwright's own; skips the test where there is neither."""
    executable = next(filter(None, map(shutil.which, _NAMES)), None)
    arguments = [*_QUIET, *(["--no-sandbox"] if os.geteuid() == 0 else [])]
    try:
        return playwright.chromium.launch(executable_path=executable, args=arguments)
    except Error as error:
        told = error.message.splitlines()[0]
        pytest.skip(reason=f"no Chromium: install one, or run playwright install chromium ({told})")


@contextmanager
def opened(browser: Browser, root: str, view: View = VIEWS[-1], **options: Any) -> Iterator[Page]:
    """A page of a context of its own, watched for what goes wrong. root: the server's address, for relative paths."""
    context: BrowserContext = browser.new_context(
        base_url=root,
        viewport={"width": view.width, "height": 900},
        color_scheme="dark" if view.theme == "dark" else "light",
        reduced_motion="reduce",
        **options,
    )
    context.set_default_timeout(20_000)
    page = context.new_page()
    watch(page)
    try:
        yield page
    finally:
        _watched.pop(page, None)
        context.close()


def watch(page: Page) -> None:
    """Remember what goes wrong on a page."""
    wrong: list[str] = []
    _watched[page] = Watched(wrong)

    def on_request(request: Any) -> None:
        host = urlsplit(request.url)
        if host.scheme in ("http", "https") and host.hostname not in ("127.0.0.1", "localhost"):
            wrong.append(f"a request to somebody else: {request.url}")

    def on_response(response: Any) -> None:
        if response.status >= 400 and not response.request.is_navigation_request():
            wrong.append(f"{response.status} {response.url}")

    def on_console(message: Any) -> None:
        # Chromium says so of every page whose status is an error, also of those that are meant.
        own = message.location.get("url") == page.url and "the server responded with a status of" in message.text
        if message.type == "error" and not own:
            wrong.append(f"console: {message.text}")

    def on_failed(request: Any) -> None:
        if "ERR_ABORTED" not in (request.failure or ""):  # which a page does to its own: the palette's, and leaving
            wrong.append(f"failed: {request.url} {request.failure}")

    page.on("request", on_request)
    page.on("response", on_response)
    page.on("console", on_console)
    page.on("pageerror", lambda error: wrong.append(f"script: {error}"))
    page.on("requestfailed", on_failed)


def check_page(page: Page, *, rules: Mapping[str, bool] | None = None) -> None:
    """Fail for what no page of ours may have: an error, somebody else's request, overflow, what axe objects to.

    rules: axe's, by name, to switch off; say why where you do.
    """
    page.wait_for_load_state("load")
    page.wait_for_function(_SETTLED)
    page.evaluate(_OPEN_DETAILS)  # what is closed must be right, too
    widths = page.evaluate("[document.documentElement.scrollWidth, document.documentElement.clientWidth]")
    assert widths[0] <= widths[1], f"{page.url} is {widths[0]} px wide in a window of {widths[1]}: {_widest(page)}"
    if page.evaluate(_WORTH_AXE):
        assert AXE.is_file(), "axe-core is missing; run make assets"
        page.evaluate(AXE.read_text())
        found: list[str] = page.evaluate(_RUN_AXE)
        allowed = {name for name, on in (rules or {}).items() if not on}
        assert not [one for one in found if one.partition(":")[0] not in allowed], f"{page.url}: {found}"
    assert not _watched[page].wrong, f"{page.url}: {_watched[page].wrong}"


def _widest(page: Page) -> Any:
    return page.evaluate("""() => [...document.querySelectorAll("body *")]
      .filter(one => one.getBoundingClientRect().right > document.documentElement.clientWidth + 1)
      .slice(0, 5).map(one => `${one.tagName.toLowerCase()}.${one.className}`)""")
