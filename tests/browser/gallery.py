"""Makes docs/gallery: small pictures of every page over demo data.

By hand, from the folder `tests`, after the pages have changed: python -m browser.gallery
"""

from pathlib import Path

from playwright.sync_api import Page, sync_playwright

from browser.chromium import launch
from browser.demo import DemoSite, demo
from server import MODEL

_FOLDER = Path(__file__).parents[2] / "docs" / "gallery"
_PUBLIC = {
    "home": "/",
    "models": "/models",
    "model": f"/{MODEL}",
    "model-performance": f"/{MODEL}/performance",
    "model-activity": f"/{MODEL}/activity",
    "model-uptime": f"/{MODEL}/uptime",
    "model-api": f"/{MODEL}/api",
    "rankings": "/rankings",
    "apps": "/apps",
    "app": "/apps?url=https://tavern.example",
    "providers": "/providers",
    "provider": "/providers/openai",
    "pricing": "/pricing",
    "status": "/status",
    "docs": "/docs",
    "docs-page": "/docs/quickstart",
    "docs-reference": "/docs/reference",
    "login": "/login",
}
_SIGNED_IN = {
    "dashboard": "/dashboard",
    "dashboard-keys": "/dashboard/keys",
    "dashboard-credits": "/dashboard/credits",
    "dashboard-activity": "/dashboard/activity",
    "dashboard-logs": "/dashboard/logs",
    "dashboard-batches": "/dashboard/batches",
    "dashboard-credentials": "/dashboard/credentials",
    "dashboard-routing": "/dashboard/routing",
    "dashboard-members": "/dashboard/members",
    "dashboard-settings": "/dashboard/settings",
    "dashboard-users": "/dashboard/users",
    "dashboard-system": "/dashboard/system",
    "dashboard-catalog": "/dashboard/catalog",
    "dashboard-incidents": "/dashboard/incidents",
}
_PLAYGROUND = {"matrix": "Similarity", "rank": "Ranking", "clusters": "Clusters", "map": "Map", "tokens": "Tokens"}


def _take(page: Page, name: str, theme: str) -> None:
    page.wait_for_load_state("networkidle")
    page.wait_for_timeout(400)  # charts grow into place
    page.screenshot(path=_FOLDER / f"{name}-{theme}.jpg", type="jpeg", quality=70)


def _playground(page: Page, site: DemoSite, theme: str) -> list[str]:
    page.goto(f"{site.root}/playground")
    page.get_by_role("button", name="Embed", exact=True).click()
    names = []
    for view, title in _PLAYGROUND.items():
        page.get_by_role("link", name=title, exact=True).click()
        page.wait_for_timeout(1500)
        _take(page, f"playground-{view}", theme)
        names.append(f"playground-{view}")
    return names


def main() -> None:
    _FOLDER.mkdir(exist_ok=True)
    for old in _FOLDER.glob("*.jpg"):
        old.unlink()
    site, names = demo(), list[str]()
    with sync_playwright() as playwright:
        browser = launch(playwright)
        for theme in ("light", "dark"):
            context = browser.new_context(
                viewport={"width": 1440, "height": 1000},
                device_scale_factor=0.5,
                color_scheme=theme,
            )
            page = context.new_page()
            for name, path in _PUBLIC.items():
                page.goto(site.root + path)
                _take(page, name, theme)
            site.sign_in(page)
            for name, path in _SIGNED_IN.items():
                page.goto(site.root + path)
                _take(page, name, theme)
            names = [*_PUBLIC, *_SIGNED_IN, *_playground(page, site, theme)]
            context.close()
        browser.close()
    rows = [f"| {name} | ![{name}, light]({name}-light.jpg) | ![{name}, dark]({name}-dark.jpg) |" for name in names]
    head = ["# Gallery", "", "Every page over demo data, made by `python -m browser.gallery` in `tests/`.", ""]
    table = ["| page | light | dark |", "|---|---|---|", *rows, ""]
    (_FOLDER / "README.md").write_text("\n".join([*head, *table]), encoding="utf-8")


if __name__ == "__main__":
    main()
