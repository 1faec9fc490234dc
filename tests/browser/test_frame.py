"""The frame in a browser: pages as they are seen, the palette, themes, navigation, with scripts and without."""

import re
from typing import Final, get_args

import pytest
from playwright.sync_api import Browser, Page, Route, expect

from browser.chromium import View, check_page, opened
from embedrouter.web.charts import Chart, Kind, Series
from embedrouter.web.frame import NAVIGATION
from embedrouter.web.layout import TEMPLATES
from security.people import PASSWORD, office
from security.people import Browser as Person
from server import MODEL, Server, eventually

_DARK: Final = "rgb(19, 21, 22)"
_LIGHT: Final = "rgb(250, 250, 248)"
_SHADES: Final = "one => new Set(one.getContext('2d').getImageData(0, 0, one.width, one.height).data).size"
_PICTURE: Final = "one => one.toDataURL()"


@pytest.mark.parametrize("path", ["/", "/login", "/nothing/is/here"])
def test_a_page_for_everybody_is_as_pages_must_be(page: Page, path: str) -> None:
    page.goto(path)
    expect(page.locator("h1")).to_have_count(1)
    check_page(page)


def test_the_setup_page_is_as_pages_must_be(page: Page, site: Server) -> None:
    link: str = office().post("/invites").json()["url"]
    page.goto(f"/setup?{link.partition('?')[2]}")
    expect(page.get_by_role("button", name="Create account")).to_be_visible()
    check_page(page)


def test_the_account_page_is_as_pages_must_be(admin_page: Page) -> None:
    admin_page.goto("/account")
    expect(admin_page.get_by_role("heading", name="Users")).to_be_visible()
    check_page(admin_page)
    admin_page.goto("/nothing/is/here")
    expect(admin_page.locator("main").get_by_role("link", name="Dashboard")).to_be_visible()


def test_the_home_page_tells_a_first_request_that_works_here(desk: Page, site: Server) -> None:
    desk.goto("/")
    told = desk.locator("figure.code code").inner_text()
    assert f"curl {re.match('http://[^/]+', told.partition(' ')[2])[0]}/api/v1/embeddings" in told  # type: ignore[index]
    assert MODEL in told
    assert desk.locator(f"a[href='/{MODEL}']").count() == 1
    today = desk.locator(".stat", has_text="Requests today").locator(".value")
    before = int(today.inner_text().replace(",", ""))
    assert site.embed("one more").status == 200
    desk.reload()
    assert int(today.inner_text().replace(",", "")) > before


def test_somebody_signs_in_and_out_in_the_browser(desk: Page, site: Server) -> None:
    person: Person = office().invites()
    desk.goto("/account")
    desk.get_by_label("Email").fill(person.email)
    desk.get_by_label("Password").fill(PASSWORD)
    desk.get_by_role("button", name="Sign in").click()
    expect(desk.locator("h1")).to_have_text(person.email)
    desk.goto("/")
    expect(desk.get_by_role("link", name="Dashboard").first).to_be_visible()
    desk.goto("/account")
    desk.get_by_role("button", name="Sign out").first.click()
    expect(desk).to_have_url(f"{site.root}/login")


def test_the_palette_is_used_by_keyboard(desk: Page, site: Server) -> None:
    desk.goto("/")
    desk.keyboard.press("Control+k")
    field = desk.get_by_role("combobox")
    expect(field).to_be_focused()
    field.fill("minilm")
    options = desk.get_by_role("option")
    expect(options.first).to_contain_text("all-MiniLM-L6-v2")
    expect(field).to_have_attribute("aria-activedescendant", "found-0")
    field.fill("pr")
    expect(options.nth(1)).to_be_visible()
    desk.keyboard.press("ArrowDown")
    expect(options.nth(1)).to_have_attribute("aria-selected", "true")
    check_page(desk)
    field.fill("no such thing at all")
    expect(desk.get_by_text("No models found")).to_be_visible()
    expect(field).to_have_attribute("aria-expanded", "false")
    field.fill("rankings")
    expect(options.first).to_have_text(re.compile("^page *Rankings"))
    desk.keyboard.press("Enter")
    expect(desk).to_have_url(f"{site.root}/rankings")
    desk.goto("/")
    desk.get_by_role("button", name="Search").click()
    expect(field).to_be_focused()
    desk.keyboard.press("Escape")
    expect(field).to_be_hidden()


def test_keys_in_the_palette_are_about_what_is_typed_not_what_was_found_before(desk: Page, site: Server) -> None:
    # A server that takes half a second: what was found before is still shown when the keys are pressed.
    desk.add_init_script("const now = fetch; fetch = async (...args) => (await new Promise(on => setTimeout(on, 500)),"
                         " now(...args))")  # fmt: skip
    desk.goto("/")
    desk.keyboard.press("Control+k")
    field = desk.get_by_role("combobox")
    field.fill("minilm")
    options = desk.get_by_role("option")
    expect(options.first).to_contain_text("all-MiniLM-L6-v2")
    field.fill("pr")
    desk.keyboard.press("ArrowDown")
    expect(options.first).not_to_contain_text("all-MiniLM-L6-v2")
    expect(options.nth(1)).to_have_attribute("aria-selected", "true")
    field.fill("rankings")
    desk.keyboard.press("Enter")
    expect(desk).to_have_url(f"{site.root}/rankings")


def test_the_palette_says_when_the_server_does_not_answer(desk: Page) -> None:
    desk.goto("/")
    desk.route("**/search.json*", lambda route: route.abort())
    desk.keyboard.press("Control+k")
    expect(desk.get_by_text("did not answer")).to_be_visible()


@pytest.mark.parametrize("scripts", [True, False], ids=["scripts", "no scripts"])
def test_the_theme_is_switched_and_kept(chromium: Browser, site: Server, scripts: bool) -> None:
    with opened(chromium, site.root, View("light", 1440), java_script_enabled=scripts) as page:
        page.goto("/login")
        assert _background(page) == _LIGHT
        with page.expect_response("**/theme"):
            page.get_by_role("button", name="Dark").click()
        expect(page.locator("html")).to_have_attribute("data-theme", "dark")
        assert _background(page) == _DARK
        page.goto("/")
        expect(page.get_by_role("button", name="Dark")).to_have_attribute("aria-pressed", "true")
        assert _background(page) == _DARK
        with page.expect_response("**/theme"):
            page.get_by_role("button", name="System").click()
        expect(page.locator("html[data-theme]")).to_have_count(0)
        assert _background(page) == _LIGHT


def _background(page: Page) -> str:
    found: str = page.evaluate("getComputedStyle(document.body).backgroundColor")
    return found


@pytest.mark.parametrize("scripts", [True, False], ids=["scripts", "no scripts"])
def test_a_phone_reaches_every_page(chromium: Browser, site: Server, scripts: bool) -> None:
    with opened(chromium, site.root, View("light", 390), java_script_enabled=scripts) as page:
        page.goto("/")
        menu = page.get_by_role("navigation", name="Menu")
        expect(menu).to_be_hidden()
        page.get_by_text("Menu", exact=True).click()
        expect(menu).to_be_visible()
        expect(menu.get_by_role("link")).to_have_text([*(link.title for link in NAVIGATION), "Sign in"])
        menu.get_by_role("link", name="Sign in").click()
        expect(page).to_have_url(f"{site.root}/login")


def test_without_scripts_search_is_a_form(chromium: Browser, site: Server) -> None:
    with opened(chromium, site.root, java_script_enabled=False) as page:
        page.goto("/")
        expect(page.locator("[data-opens=palette]")).to_be_hidden()
        field = page.get_by_role("searchbox", name="Search the models")
        field.fill("mini lm")
        field.press("Enter")
        expect(page).to_have_url(f"{site.root}/models?q=mini+lm")


def test_the_first_stop_of_the_keyboard_skips_to_the_content(desk: Page) -> None:
    desk.goto("/")
    desk.keyboard.press("Tab")
    expect(desk.get_by_role("link", name="Skip to the content")).to_be_focused()
    desk.keyboard.press("Enter")
    expect(desk.locator("main")).to_be_focused()


def test_code_is_copied(chromium: Browser, site: Server) -> None:
    with opened(chromium, site.root, permissions=["clipboard-read", "clipboard-write"]) as page:
        page.goto("/")
        page.get_by_role("button", name="Copy Shell").click()
        expect(page.locator("#announcer")).to_have_text("Copied")
        assert page.evaluate("navigator.clipboard.readText()") == page.locator("figure.code code").text_content()


def test_charts_are_drawn_in_both_themes_and_have_tables(page: Page, view: View) -> None:
    specs = [_chart(kind) for kind in get_args(Kind)]
    _show(page, specs)
    figures = page.locator("figure.chart[data-mounted]")
    expect(figures).to_have_count(len(specs))
    before = [figure.locator("canvas").first.evaluate(_PICTURE) for figure in figures.all()]
    page.get_by_role("button", name="Dark" if view.theme == "light" else "Light").click()
    for figure, spec, picture in zip(figures.all(), specs, before, strict=True):
        expect(figure.get_by_role("img", name=f"Chart: {spec.caption}")).to_be_visible()
        canvas = figure.locator("canvas").first
        assert canvas.evaluate(_PICTURE) != picture
        assert canvas.evaluate(_SHADES) > 8
        figure.locator(".canvas").hover()
        assert figure.locator("tbody tr").count() == len(list(spec.rows))
        expect(figure.locator("table")).to_contain_text("</script>")
    check_page(page)


def _chart(kind: Kind) -> Chart:
    if kind == "scatter":
        points, labels = ((0.1, 0.2), (0.5, -0.4), (-0.3, 0.1)), ("a cat", "a dog", "</script><b>a law")
        return Chart(
            kind=kind,
            caption="Texts near each other",
            unit="count",
            series=(Series(name="1", points=points, labels=labels),),
        )
    x = ("Mon", "Tue", "</script>", "Thu")
    series = (
        Series(name="minilm", values=(1200, None, 60_812_345, 4)),
        Series(name="<b>other</b>", values=(3, 4, None, None), colour="good"),
    )
    return Chart(kind=kind, caption=f"Tokens a day, {kind}", unit="tokens", x=x, series=series, stacked=kind == "bars")


def _show(page: Page, specs: list[Chart]) -> None:
    """The home page, as the server sends it, with charts for its content."""
    template = TEMPLATES.from_string(
        "{% from 'macros/chart.html' import chart %}{% for one in specs %}{{ chart(one) }}{% endfor %}"
    )
    drawn = template.render(specs=specs)

    def serve(route: Route) -> None:
        answer = route.fetch()
        head, _, rest = answer.text().partition('<section class="home">')
        route.fulfill(response=answer, body=f"{head}<h1>Charts</h1>{drawn}</main>{rest.partition('</main>')[2]}")

    page.route(re.compile("/$"), serve)
    page.goto("/")


@pytest.mark.parametrize(
    "wrong",
    [
        '<p style="color: red">x</p>',
        '<img src="http://example.org/x.png" alt="">',
        "<pre>" + "x" * 4000 + "</pre>",
        "<button></button>",
        '<img src="/assets/nothing.png" alt="">',
    ],
)
def test_what_no_page_may_have_is_found(desk: Page, wrong: str) -> None:
    desk.goto("/login")
    check_page(desk)
    desk.evaluate("markup => document.querySelector('main').insertAdjacentHTML('beforeend', markup)", wrong)
    eventually(lambda: _is_found_wrong(desk))  # that an image is not there is told a little later


def _is_found_wrong(page: Page) -> bool:
    try:
        check_page(page)
    except AssertionError as error:
        return page.url in str(error)
    return False
