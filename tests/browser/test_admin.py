"""The dashboard's pages of providers, routing, people and the server, as they are seen over demo data."""

from typing import Final

import pytest
from playwright.sync_api import Page, expect

from browser.chromium import View, check_page

_PAGES: Final = {
    "credentials": "Providers & credentials",
    "routing": "Routing",
    "members": "Members",
    "settings": "Settings",
    "users": "Users",
    "system": "System",
    "catalog": "Catalog",
    "incidents": "Incidents",
}


def test_each_page_is_as_pages_must_be(demo_admin_page: Page) -> None:
    for name, title in _PAGES.items():
        demo_admin_page.goto(f"/dashboard/{name}")
        expect(demo_admin_page.locator("h1")).to_have_text(title)
        check_page(demo_admin_page)


@pytest.mark.parametrize("view", [View("light", 1440), View("dark", 390)], ids=["light-1440", "dark-390"])
@pytest.mark.parametrize(
    ("start", "link"),
    [
        ("credentials", "/dashboard/credentials/"),
        ("credentials", "/dashboard/credentials/endpoints/"),
        ("routing", "/dashboard/routing/guardrails/"),
        ("users", "/dashboard/users/"),
        ("catalog", "/dashboard/catalog/edit?kind=provider&key="),
    ],
)
def test_the_pages_of_single_things_are_as_pages_must_be(demo_admin_page: Page, start: str, link: str) -> None:
    demo_admin_page.goto(f"/dashboard/{start}")
    demo_admin_page.locator(
        f"main td a[href^='{link}'], main th a[href^='{link}'], main p a[href^='{link}']"
    ).first.click()
    expect(demo_admin_page.locator("h1")).to_have_count(1)
    check_page(demo_admin_page)


@pytest.mark.parametrize("view", [View("light", 390)], ids=["light-390"])
def test_a_wrong_edit_of_the_catalog_is_told_and_a_right_one_shown_before_it_holds(demo_admin_page: Page) -> None:
    demo_admin_page.goto("/dashboard/catalog/edit?kind=provider&key=vllm")
    field = demo_admin_page.get_by_label("Entry")
    field.fill('[[providers]]\nslug = "vllm"\nwire = "opanai"\n')
    demo_admin_page.get_by_role("button", name="Check it").click()
    expect(demo_admin_page.get_by_role("alert")).to_contain_text("wire")
    check_page(demo_admin_page)
    field.fill('[[providers]]\nslug = "vllm"\nwire = "openai"\nbase_url = "https://vllm.example/v1"\n')
    demo_admin_page.get_by_role("button", name="Check it").click()
    expect(demo_admin_page.get_by_role("table", name="What would change")).to_contain_text("https://vllm.example/v1")
    check_page(demo_admin_page)
