"""The dashboard in a browser: every page over demo data, and a key from its making to its request in the logs."""

import re
from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser, Page, expect

from browser.chromium import View, check_page, opened
from browser.demo import DemoSite
from security.people import PASSWORD, office
from server import EMBEDDINGS, MODEL, Server

_PAGES = (
    "/dashboard",
    "/dashboard/keys",
    "/dashboard/keys/new",
    "/dashboard/credits",
    "/dashboard/activity",
    "/dashboard/logs",
    "/dashboard/batches",
)


def test_every_page_is_as_pages_must_be(demo_admin_page: Page) -> None:
    page = demo_admin_page
    for path in _PAGES:
        page.goto(path)
        expect(page.locator("h1")).to_have_count(1)
        check_page(page)
    for path in ("/dashboard/keys", "/dashboard/logs", "/dashboard/batches"):
        page.goto(path)
        page.locator("tbody th a").first.click()
        page.wait_for_url(re.compile(f"{path}/."))
        check_page(page)


def test_charts_are_drawn(demo_admin_page: Page) -> None:
    demo_admin_page.goto("/dashboard/activity")
    for name in ("Spend", "Tokens", "Requests"):
        expect(demo_admin_page.get_by_role("img", name=f"Chart: {name} by model")).to_be_visible()


def test_the_way_to_every_page_is_beside_it(demo_admin_page: Page, view: View) -> None:
    demo_admin_page.goto("/dashboard/keys")
    wide = view.width > 1000
    if not wide:
        demo_admin_page.locator(".side-menu > summary").click()
    ways = demo_admin_page.get_by_role("navigation", name="Dashboard", exact=True) if wide else (
        demo_admin_page.get_by_role("navigation", name="Dashboard pages")
    )  # fmt: skip
    expect(ways.get_by_role("link", name="Keys")).to_have_attribute("aria-current", "page")
    ways.get_by_role("link", name="Logs").click()
    expect(demo_admin_page.locator("h1")).to_have_text("Logs")


def test_the_tab_that_is_open_is_in_sight(demo_admin_page: Page) -> None:
    for path in ("/dashboard/activity?range=year", f"/{MODEL}/api"):
        demo_admin_page.goto(path)
        expect(demo_admin_page.locator(".tabs [aria-current=page]").first).to_be_in_viewport(ratio=0.95)
        check_page(demo_admin_page)


@pytest.fixture(params=[True, False], ids=["scripts", "no scripts"])
def member_page(request: pytest.FixtureRequest, chromium: Browser, site: Server) -> Iterator[Page]:
    """A new member's, who has signed in by the form."""
    person = office().invites()
    with opened(chromium, site.root, View("light", 1440), java_script_enabled=request.param) as page:
        page.goto("/dashboard/keys/new")
        page.get_by_label("Email").fill(person.email)
        page.get_by_label("Password").fill(PASSWORD)
        page.get_by_role("button", name="Sign in").click()
        yield page


def test_a_key_is_made_used_found_in_the_logs_and_deleted(member_page: Page, site: Server) -> None:
    page = member_page
    expect(page.locator("h1")).to_have_text("New key")
    page.get_by_label("Name").fill("From a browser")
    page.get_by_label("Limit (USD)").fill("five")
    page.get_by_role("button", name="Make the key").click()
    expect(page.locator("#wrong-limit")).to_contain_text("an amount in USD")
    page.get_by_label("Limit (USD)").fill("5")
    page.get_by_role("button", name="Make the key").click()
    secret = page.locator("#secret").inner_text()
    expect(page.locator("figure.code code")).to_contain_text(f"Bearer {secret}")
    answer = site.request("POST", EMBEDDINGS, {"model": MODEL, "input": "from a browser"}, key=secret)
    assert answer.status == 200

    page.get_by_role("link", name="I have copied it").click()
    expect(page.locator("h1")).to_have_text("From a browser")
    assert secret not in page.content()
    page.get_by_role("link", name="Logs").last.click()
    row = page.locator("tbody tr")
    expect(row).to_have_count(1)
    row.get_by_role("link").first.click()
    expect(page.locator("main")).to_contain_text(answer.headers["x-generation-id"])
    page.get_by_role("link", name="From a browser").click()

    page.get_by_role("button", name="Disable").click()
    expect(page.get_by_role("status").first).to_contain_text("opens nothing")
    page.get_by_text("Delete for good").click()
    page.get_by_role("button", name="Delete this key").click()
    expect(page.locator("main")).to_contain_text("The key is deleted.")
    expect(page.locator("main")).to_contain_text("No keys yet.")
    assert site.request("POST", EMBEDDINGS, {"model": MODEL, "input": "x"}, key=secret).status == 401


def test_the_secret_is_copied_and_does_not_come_back(chromium: Browser, demo_site: DemoSite) -> None:
    with opened(chromium, demo_site.root, permissions=["clipboard-read", "clipboard-write"]) as page:
        demo_site.sign_in(page)
        page.goto("/dashboard/keys/new")
        page.get_by_label("Name").fill("Shown once")
        page.get_by_role("button", name="Make the key").click()
        secret = page.locator("#secret").inner_text()
        check_page(page)
        page.get_by_role("button", name="Copy the key").click()
        expect(page.locator("#announcer")).to_have_text("Copied")
        assert page.evaluate("navigator.clipboard.readText()") == secret
        page.reload()  # which sends the form again
        expect(page.locator("#wrong-name")).to_contain_text("already")
        assert secret not in page.content()
        page.goto("/dashboard/keys")
        page.go_back()
        assert secret not in page.content()


def test_a_batch_shows_by_itself_what_becomes_of_it(chromium: Browser, demo_site: DemoSite) -> None:
    path = demo_site.batch(*["word " * 8000] * 200)
    id_ = path.rpartition("/")[2]
    with opened(chromium, demo_site.root) as page:
        demo_site.sign_in(page)
        page.goto(f"/dashboard/batches/{id_}")
        expect(page.get_by_role("button", name="Cancel the batch")).to_be_visible()
        page.evaluate("window.same = true")
        cancelled = demo_site.server.request("POST", f"{path}/cancel", key=demo_site.key)
        assert cancelled.status == 200
        expect(page.get_by_role("link", name="Download the results")).to_be_visible()
        assert page.evaluate("window.same"), "the page was loaded again"
        check_page(page)
        with page.expect_download() as download:
            page.get_by_role("link", name="Download the results").click()
        assert download.value.suggested_filename == f"{id_}.jsonl"
        assert len(download.value.path().read_text().splitlines()) == 200
