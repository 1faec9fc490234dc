"""The docs in a browser: pages as they must be, search, and the reference's form making a real request."""

import re

import pytest
from playwright.sync_api import Browser, Page, Route, expect

from browser.chromium import View, check_page, opened
from embedrouter.catalog.builtin import builtin_model
from embedrouter.web.layout import TEMPLATES
from embedrouter.web.model_api import model_api
from server import KEY, Server


@pytest.mark.parametrize(
    "path", ["/docs", "/docs/api", "/docs?q=retry", "/docs/reference", "/docs/reference/createKeys"]
)
def test_each_kind_of_page_is_as_pages_must_be(page: Page, path: str) -> None:
    page.goto(path)
    expect(page.locator("h1")).to_have_count(1)
    check_page(page)


def test_the_reader_finds_his_way_through_the_pages(desk: Page, site: Server) -> None:
    desk.goto("/docs")
    desk.get_by_role("navigation", name="Docs", exact=True).get_by_role("link", name="Limits", exact=True).click()
    expect(desk.get_by_role("heading", level=1)).to_have_text("Limits")
    desk.get_by_role("navigation", name="On this page").get_by_role("link", name="Rates").click()
    expect(desk).to_have_url(f"{site.root}/docs/limits#rates")
    expect(desk.locator("#rates")).to_be_in_viewport()
    desk.get_by_role("navigation", name="Pages beside this one").get_by_role("link", name="Previous").click()
    expect(desk).to_have_url(f"{site.root}/docs/errors")


def test_search_works_without_scripts(chromium: Browser, site: Server) -> None:
    with opened(chromium, site.root, View("light", 390), java_script_enabled=False) as page:
        page.goto("/docs/quickstart")
        page.get_by_role("searchbox", name="Search the docs").fill("retry-after")
        page.get_by_role("searchbox", name="Search the docs").press("Enter")
        expect(page.locator("mark").first).to_be_visible()
        page.locator(".docs-hits a").first.click()
        expect(page).to_have_url(re.compile("/docs/"))
        page.goto("/docs/reference/createEmbeddings")
        expect(page.get_by_role("heading", name="Try it")).to_be_hidden()
        expect(page.get_by_text("curl -X POST")).to_be_visible()


def test_trying_an_operation_makes_a_real_request_and_keeps_no_key(desk: Page, site: Server) -> None:
    desk.goto("/docs/reference/createEmbeddings")
    form = desk.locator("form[data-mounted]")
    form.get_by_label("Key").fill(KEY)
    form.get_by_role("button", name="Send").click()
    expect(form.locator("[data-status]")).to_have_text(re.compile("^200"))
    expect(form.locator("[data-text]")).to_contain_text('"object": "list"')
    expect(form.locator("[data-time]")).to_have_text(re.compile(r"^\d+ ms$"))
    expect(form.locator("[data-headers]")).to_contain_text("x-generation-id")
    check_page(desk)
    kept = desk.evaluate("JSON.stringify([{...localStorage}, {...sessionStorage}, document.cookie, location.href])")
    assert KEY not in kept
    desk.reload()
    expect(desk.locator("form[data-mounted]").get_by_label("Key")).to_have_value("")


def test_trying_an_operation_fills_in_path_and_query_and_shows_errors(desk: Page) -> None:
    desk.goto("/docs/reference/getModel")
    form = desk.locator("form[data-mounted]")
    form.get_by_label("author").fill("sentence-transformers")
    form.get_by_label("slug").fill("no such/thing")
    with desk.expect_response(re.compile("/api/v1/model/")) as response:
        form.get_by_role("button", name="Send").click()
    assert response.value.url.endswith("/api/v1/model/sentence-transformers/no%20such%2Fthing")
    expect(form.locator("[data-status]")).to_have_text(re.compile("^404"))
    expect(form.locator("[data-text]")).to_contain_text("not_found")
    desk.goto("/docs/reference/listModels")
    form = desk.locator("form[data-mounted]")
    form.get_by_label("limit", exact=True).fill("1")
    with desk.expect_response(re.compile(r"/api/v1/models\?limit=1$")):
        form.get_by_role("button", name="Send").click()
    expect(form.locator("[data-status]")).to_have_text(re.compile("^200"))


def test_the_api_tab_is_as_pages_must_be_and_switches_by_keyboard(page: Page, site: Server) -> None:
    _show_part(page, site)
    panels = page.locator(".switched")
    expect(panels.nth(0)).to_be_visible()
    page.get_by_role("radio", name="curl").focus()
    page.keyboard.press("ArrowRight")
    expect(panels.nth(0)).to_be_hidden()
    expect(panels.nth(1)).to_be_visible()
    check_page(page)


def test_the_api_tab_switches_without_scripts(chromium: Browser, site: Server) -> None:
    with opened(chromium, site.root, View("light", 390), java_script_enabled=False) as page:
        _show_part(page, site)
        page.get_by_text("TypeScript fetch", exact=True).click()
        expect(page.get_by_text("await fetch")).to_be_visible()


def _show_part(page: Page, site: Server) -> None:
    """The home page, as the server sends it, with the tab for its content."""
    drawn = TEMPLATES.get_template("model/_api.html").render(view=model_api(builtin_model("fp32"), site.root))

    def serve(route: Route) -> None:
        answer = route.fetch()
        head, _, rest = answer.text().partition('<section class="home">')
        section = f"<h1>Model</h1><section class='section'><h2>API</h2>{drawn}</section>"
        route.fulfill(response=answer, body=f"{head}{section}</main>{rest.partition('</main>')[2]}")

    page.route(re.compile("/$"), serve)
    page.goto("/")
