"""Rankings, apps, providers, prices and status in a browser: as they are seen, with data and without."""

import pytest
from playwright.sync_api import Browser, Page, expect

from browser.chromium import View, check_page, opened
from browser.demo import DemoSite
from server import EMBEDDINGS, MODEL, shared

_APP = "/apps?url=https%3A%2F%2Fpapertrail.example"
_PATHS = (
    "/rankings?period=month", "/rankings?period=day&by=author", "/apps?period=month", _APP, "/providers",
    "/providers/openai", "/providers/jina", "/pricing?texts=2000&length=200", "/status",
)  # fmt: skip
_EMPTY = ("/rankings", "/apps", "/providers", "/providers/builtin", "/pricing?free=1", "/status")


@pytest.mark.parametrize("path", _PATHS)
def test_pages_with_data_are_as_pages_must_be(demo_page: Page, path: str) -> None:
    demo_page.goto(path)
    expect(demo_page.locator("h1")).to_have_count(1)
    check_page(demo_page)


def test_every_page_of_a_demo_says_that_it_is_one(demo_site: DemoSite) -> None:
    says = b"were made up by <code>embedrouter demo</code>"
    for path in ("/", "/models", "/rankings", "/status", "/docs/quickstart", "/login", "/nothing/is/here"):
        headers = {"Accept": "text/html"}
        assert says in demo_site.server.request("GET", path, headers=headers).body, path
        assert says not in shared().request("GET", path, headers=headers).body, path


def test_a_long_title_covers_nobody_s_numbers(demo_page: Page, demo_site: DemoSite) -> None:
    headers = {"HTTP-Referer": "https://long.example", "X-Title": "W" * 120}
    answer = demo_site.server.request("POST", EMBEDDINGS, {"model": MODEL, "input": "a"}, headers, key=demo_site.key)
    assert answer.status == 200
    for path in ("/apps?period=month", "/rankings?period=day"):
        demo_page.goto(path)
        name = demo_page.get_by_role("row").filter(has_text="W" * 120).get_by_role("rowheader")
        assert name.evaluate("cell => cell.scrollWidth <= cell.clientWidth")


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_pages_of_a_new_server_are_too(chromium: Browser, theme: str) -> None:
    with opened(chromium, shared(keep_prompts_days=92).root, View(theme, 390)) as page:
        for path in _EMPTY:
            page.goto(path)
            expect(page.locator("h1")).to_have_count(1)
            check_page(page)


def test_from_a_ranking_to_an_app_and_back_without_scripts(chromium: Browser, demo_site: DemoSite) -> None:
    with opened(chromium, demo_site.root, java_script_enabled=False) as page:
        page.goto("/rankings")
        page.get_by_role("link", name="Month").click()
        page.get_by_role("link", name="All apps").click()
        expect(page.get_by_role("link", name="Month")).to_have_attribute("aria-current", "page")
        page.locator("main").get_by_role("searchbox").fill("papertrail")
        page.locator("main").get_by_role("button", name="Search").click()
        page.get_by_role("table").get_by_role("link").click()
        expect(page.get_by_role("heading", level=1)).to_have_text("Papertrail Archive")
        page.get_by_role("navigation", name="Breadcrumbs").get_by_role("link").click()
        expect(page.get_by_role("heading", level=1)).to_have_text("Apps")


def test_a_cost_is_reckoned_by_the_form(chromium: Browser, demo_site: DemoSite) -> None:
    with opened(chromium, demo_site.root, java_script_enabled=False) as page:
        page.goto("/pricing")
        page.get_by_label("Tokens", exact=True).fill("1,000,000,000")
        page.locator("select[name=provider]").select_option("openai")
        page.get_by_role("button", name="Show").click()
        row = page.get_by_role("row", name="Text Embedding 3 Small")
        expect(row.get_by_role("cell").nth(1)).to_have_text("$20.00")
        expect(page.get_by_role("row")).to_have_count(4)


def test_times_are_the_readers_own(chromium: Browser, demo_site: DemoSite) -> None:
    with opened(chromium, demo_site.root, timezone_id="Asia/Tokyo", locale="en-GB") as page:
        page.goto("/status")
        time = page.locator("main time").first
        expect(time).not_to_contain_text("UTC")
        assert "UTC" in (time.get_attribute("title") or "")
