"""The list of models and a model's page in a browser, over a month of demo data."""

import re

import pytest
from playwright.sync_api import Browser, Locator, Page, expect

from browser.chromium import View, check_page, opened
from browser.demo import DemoSite
from embedrouter.web.models.sections import SECTIONS
from server import MODEL

_DESK = View("light", 1440)


@pytest.mark.parametrize(
    "path",
    [
        "/models",
        "/models?fmt=cards&providers=builtin&sort=newest",
        "/models?q=zzz&zdr=true",
        f"/{MODEL}",
        "/baai/bge-m4",
    ],
)
def test_a_page_of_models_is_as_pages_must_be(demo_page: Page, path: str) -> None:
    demo_page.goto(path)
    expect(demo_page.locator("h1")).to_have_count(1)
    check_page(demo_page)


# What they show is on the overview, too, which is looked at in all ways.
@pytest.mark.parametrize("tab", [section.key for section in SECTIONS])
def test_a_tab_of_a_model_is_as_pages_must_be(chromium: Browser, demo_site: DemoSite, tab: str) -> None:
    with opened(chromium, demo_site.root, View("dark", 390)) as page:
        page.goto(f"/{MODEL}/{tab}")
        expect(page.locator(".model-part")).to_have_count(1)
        check_page(page)


def test_the_overview_shows_what_happened_in_every_part(chromium: Browser, demo_site: DemoSite) -> None:
    with opened(chromium, demo_site.root, _DESK) as page:
        page.goto(f"/{MODEL}")
        expect(page.locator(".model-part")).to_have_count(len(SECTIONS))
        expect(page.locator("main .empty")).to_have_count(0)
        expect(page.locator("#performance canvas, #activity canvas, #uptime canvas").first).to_be_visible()
        expect(page.locator("#uptime rect.good").first).to_be_visible()
        page.get_by_role("link", name="Pricing").nth(1).click()
        expect(page).to_have_url(f"{demo_site.root}/{MODEL}/pricing")


def test_the_list_is_filtered_by_keyboard_as_one_types(chromium: Browser, demo_site: DemoSite) -> None:
    with opened(chromium, demo_site.root, _DESK) as page:
        page.goto("/models")
        rows = page.locator("#found tbody tr")
        before = rows.count()
        assert before > 5
        _field(page).focus()
        page.keyboard.type("bge", delay=20)
        expect(page).to_have_url(f"{demo_site.root}/models?q=bge")
        expect(page.get_by_label("Filters that hold")).to_be_visible()
        assert 0 < rows.count() < before
        page.get_by_label("Zero data retention").focus()
        page.keyboard.press("Space")
        expect(page).to_have_url(f"{demo_site.root}/models?q=bge&zdr=true")
        expect(page.get_by_text("No models found.")).to_be_visible()
        check_page(page)
        page.go_back()
        expect(page).to_have_url(f"{demo_site.root}/models?q=bge")
        expect(page.locator("h1")).to_have_text("Models")
        expect(_field(page)).to_have_value("bge")
        expect(rows.first).to_be_visible()
        page.get_by_role("link", name="Remove the filter Search: bge").focus()
        page.keyboard.press("Enter")
        expect(page).to_have_url(f"{demo_site.root}/models")
        expect(rows).to_have_count(before)


def test_the_list_is_filtered_without_scripts(chromium: Browser, demo_site: DemoSite) -> None:
    with opened(chromium, demo_site.root, _DESK, java_script_enabled=False) as page:
        page.goto("/models?fmt=cards")
        _field(page).fill("minilm")
        page.get_by_text("More filters").click()
        page.get_by_label("Builtin").check()
        page.get_by_role("button", name="Show").click()
        expect(page).to_have_url(re.compile("q=minilm.*providers=builtin.*fmt=cards"))
        expect(page.locator(".model-cards > li")).to_have_count(1)


def test_a_slug_and_a_tag_are_copied(chromium: Browser, demo_site: DemoSite) -> None:
    permissions = ["clipboard-read", "clipboard-write"]
    with opened(chromium, demo_site.root, _DESK, permissions=permissions) as page:
        for path, button, copied in (
            ("/models?q=minilm", "Copy the slug of Sentence Transformers: all-MiniLM-L6-v2", MODEL),
            (f"/{MODEL}", "Copy the slug", MODEL),
            (f"/{MODEL}/providers", "Copy the tag deepinfra", "deepinfra"),
        ):
            page.goto(path)
            page.get_by_role("button", name=button, exact=True).click()
            expect(page.get_by_role("button", name="Copied", exact=True)).to_be_visible()
            assert page.evaluate("navigator.clipboard.readText()") == copied


def _field(page: Page) -> Locator:
    """Where one searches; without scripts the header has a field, too."""
    return page.get_by_role("search", name="Models").get_by_role("searchbox")
