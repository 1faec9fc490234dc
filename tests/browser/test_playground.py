"""The Playground in a browser: every view, 2,000 lines, files in and out, keys, keyboard, no scripts."""

import gzip
import io
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import numpy as np
import pyarrow.parquet
import pytest
from playwright.sync_api import Browser, Page, Route, expect

from browser.chromium import View, check_page, opened
from browser.conftest import sign_in
from embedrouter.web.assets import BUILT
from embedrouter.web.playground.examples import EXAMPLES
from server import KEY, Server, Vectors, sentences

_VIEWS: Final = ("matrix", "rank", "search", "clusters", "map", "tokens", "code")
_LARGEST_SCRIPTS: Final = 250_000  # bytes, gzipped


@pytest.fixture
def mine(chromium: Browser, site: Server) -> Iterator[Page]:
    """The Playground of who is signed in, on a wide light screen."""
    with opened(chromium, site.root, View("light", 1440)) as page:
        sign_in(page, site)
        page.goto("/playground")
        page.wait_for_selector("[data-mounted]")
        yield page


def _embed(page: Page, *lines: str) -> None:
    """lines: none for those that are there."""
    if lines:
        page.get_by_label("Texts, one a line").fill("\n".join(lines))
    page.get_by_role("button", name="Embed").click()
    expect(page.locator("[data-stats]")).to_be_visible()


def _turn(page: Page, view: str) -> None:
    page.locator(f".tabs a[href$='view={view}']").click()
    page.wait_for_selector(f"[data-view][data-shows={view}]")


@pytest.mark.parametrize("view", [View("light", 390), View("dark", 1440)], ids=["light-390", "dark-1440"])
def test_every_view_is_as_pages_must_be_and_has_its_own_address(chromium: Browser, site: Server, view: View) -> None:
    with opened(chromium, site.root, view) as page:
        scripts: set[str] = set()
        page.on("response", lambda answer: scripts.add(answer.url) if answer.url.endswith(".js") else None)
        sign_in(page, site)
        page.goto("/playground?view=code")
        page.wait_for_selector("[data-mounted]")
        check_page(page)
        _embed(page)
        page.wait_for_selector("[data-shows=code]")
        for name in _VIEWS:
            _turn(page, name)
            expect(page).to_have_url(f"{site.root}/playground?view={name}")
            expect(page.locator(f".tabs a[href$='view={name}']")).to_have_attribute("aria-current", "page")
            check_page(page)
        sizes = [len(gzip.compress((BUILT / url.rpartition("/")[2]).read_bytes())) for url in scripts]
        assert sum(sizes) < _LARGEST_SCRIPTS
        assert not [url for url in scripts if "umap" in url or "parquet" in url]


def test_2000_lines_from_a_file_are_compared_searched_clustered_and_mapped(mine: Page, tmp_path: Path) -> None:
    lines = [f"{text} {number}" for number, text in enumerate(sentences(2000, 4))]
    (tmp_path / "lines.txt").write_text("\n".join(lines))
    mine.set_input_files("input[type=file]", tmp_path / "lines.txt")
    expect(mine.locator("[data-count]")).to_have_text("2,000 lines")
    mine.set_default_timeout(60_000)
    mine.get_by_role("button", name="Embed").click()
    mine.wait_for_selector("[data-shows=matrix]")
    canvas = mine.locator("canvas.heatmap")
    assert canvas.evaluate("one => [one.width, one.height]") == [1000, 1000]
    assert (
        canvas.evaluate(
            "one => new Set(new Uint32Array(one.getContext('2d').getImageData(0, 0, 1000, 1000).data.buffer)).size"
        )
        > 20
    )
    canvas.hover(position={"x": 100, "y": 300})
    expect(mine.locator(".pair")).to_contain_text(re.compile(r"0\.\d{4}"))
    _turn(mine, "search")
    mine.get_by_label("Search the lines for").fill(lines[1234])
    mine.get_by_role("button", name="Search", exact=True).last.click()
    expect(mine.locator("[data-view] tbody tr").first).to_contain_text(lines[1234])
    expect(mine.locator("[data-view] tbody tr")).to_have_count(10)
    _turn(mine, "clusters")
    assert sum(int(one) for one in re.findall(r"(\d+) lines?,", mine.locator(".clusters").inner_text())) == 2000
    _turn(mine, "map")
    expect(mine.locator(".chart canvas")).to_be_visible()
    _turn(mine, "rank")
    expect(mine.locator("[data-view] tbody tr")).to_have_count(100)


def test_2000_lines_are_pasted_at_once(chromium: Browser, site: Server) -> None:
    with opened(chromium, site.root, permissions=["clipboard-read", "clipboard-write"]) as page:
        page.goto("/playground")
        page.wait_for_selector("[data-mounted]")
        lines = "\n".join(sentences(2000, 9))
        page.evaluate("text => navigator.clipboard.writeText(text)", lines)
        texts = page.get_by_label("Texts, one a line")
        texts.focus()
        page.keyboard.press("Control+a")
        page.keyboard.press("Control+v")
        expect(page.locator("[data-count]")).to_have_text("2,000 lines")
        expect(texts).to_have_value(lines)


def test_downloads_hold_the_very_vectors_of_the_api(mine: Page, site: Server) -> None:
    lines = ["a cat", 'a "dog"', "ein Käse 🧀"]
    _embed(mine, *lines)
    expected = site.embed(lines, encoding_format="base64").vectors()
    assert np.array_equal(np.load(io.BytesIO(_file(mine, ".npy"))), expected)
    rows = [json.loads(line) for line in _file(mine, "JSONL").decode().splitlines()]
    assert [row["text"] for row in rows] == lines
    assert _same(rows, expected)
    table = pyarrow.parquet.read_table(io.BytesIO(_file(mine, "Parquet")))
    assert [str(one.type) for one in table.schema][:2] == ["int32", "string"]
    assert str(table.schema.field("embedding").type.value_type) == "float"
    assert table.column("text").to_pylist() == lines
    assert _same(table.to_pylist(), expected)


def _same(rows: list[dict[str, object]], expected: Vectors) -> bool:
    return np.array_equal(np.array([row["embedding"] for row in rows], np.float32), expected)


def _file(page: Page, name: str) -> bytes:
    with page.expect_download() as download:
        page.get_by_role("button", name=f"Download the vectors as {name}").click()
    return Path(download.value.path()).read_bytes()


def test_the_heatmap_and_the_views_are_used_by_keyboard(mine: Page, site: Server) -> None:
    lines = list(EXAMPLES[0].texts)
    mine.get_by_label("Texts, one a line").focus()
    _embed(mine)
    mine.wait_for_selector("[data-shows=matrix]")
    vectors = site.embed(lines).vectors()
    mine.locator("canvas.heatmap").focus()
    for key in ("ArrowDown", "ArrowDown", "ArrowRight"):
        mine.keyboard.press(key)
    told = f"{float(vectors[2] @ vectors[1]):.4f}: line 3, {lines[2]}; line 2, {lines[1]}"
    expect(mine.locator("#announcer")).to_have_text(told)
    mine.get_by_label("Order").select_option("cluster")
    expect(mine.locator("canvas.heatmap")).to_be_visible()
    mine.get_by_role("link", name="Ranking", exact=True).focus()
    mine.keyboard.press("Enter")
    mine.wait_for_selector("[data-shows=rank]")
    field = mine.get_by_label("Rank all lines by their nearness to")
    field.fill("my parcel")
    field.press("Enter")
    best = int(np.argmax(vectors @ site.embed("my parcel").vectors()[0]))
    expect(mine.locator("[data-view] tbody tr").first).to_contain_text(lines[best])
    _turn(mine, "clusters")
    mine.get_by_label("How many").select_option("3")
    expect(mine.get_by_role("heading", name="3 clusters")).to_be_visible()
    mine.go_back()
    mine.wait_for_selector("[data-shows=rank]")
    expect(field).to_have_value("my parcel")
    expect(mine.locator("[data-view] tbody tr").first).to_contain_text(lines[best])


def test_umap_lays_the_map_out_when_asked(mine: Page) -> None:
    _embed(mine)
    _turn(mine, "map")
    by_pca = _places(mine)
    mine.get_by_label("Laid out by").select_option("umap")
    expect(mine.get_by_role("img", name=re.compile("by UMAP"))).to_be_visible()
    by_umap = _places(mine)
    assert len(by_pca) == len(by_umap) == len(EXAMPLES[0].texts)
    assert not set(by_pca) & set(by_umap)
    _turn(mine, "code")
    _turn(mine, "map")
    assert _places(mine) == by_umap
    check_page(mine)


def test_the_map_is_there_before_its_clusters(chromium: Browser, site: Server) -> None:
    with opened(chromium, site.root, View("light", 1440)) as page:
        page.add_init_script("""
          const ask = Worker.prototype.postMessage;
          const held = [];
          Worker.prototype.postMessage = function (asked) {
            if (asked.what === "clusters" && !window.letGo) held.push([this, asked]);
            else ask.call(this, asked);
          };
          window.release = () => { window.letGo = true; for (const [worker, asked] of held) ask.call(worker, asked); };
        """)
        sign_in(page, site)
        page.goto("/playground")
        page.wait_for_selector("[data-mounted]")
        _embed(page)
        page.locator(".tabs a[href$='view=map']").click()
        expect(page.locator("figcaption")).to_contain_text("Finding clusters")
        expect(page.get_by_role("img", name=re.compile("by PCA"))).to_be_visible()
        places = _places(page)
        page.evaluate("release()")
        expect(page.locator("figcaption")).to_contain_text("Colours are the clusters")
        rows = page.locator("[data-view] tbody tr")
        assert [row.inner_text().split("\t", 3)[3] for row in rows.all()] == places
        check_page(page)


def _places(page: Page) -> list[str]:
    page.locator("[data-view] summary", has_text="Table").click()
    rows = page.locator("[data-view] tbody tr")
    expect(rows.first).to_be_visible()
    return [row.inner_text().split("\t", 3)[3] for row in rows.all()]


def test_who_is_not_signed_in_pastes_a_key_which_is_not_kept(chromium: Browser, site: Server) -> None:
    with opened(chromium, site.root) as page:
        page.goto("/playground?example=recipes")
        page.wait_for_selector("[data-mounted]")
        check_page(page)
        page.get_by_role("button", name="Embed").click()
        expect(page.get_by_role("alert")).to_contain_text("Paste an API key, or sign in")
        page.get_by_label("API key").fill(KEY)
        _embed(page)
        _turn(page, "tokens")
        expect(page.locator("[data-view]")).to_contain_text("Sign in to see the WordPieces")
        _turn(page, "code")
        assert KEY not in page.content()
        check_page(page)
        assert page.evaluate("[localStorage.length, sessionStorage.length, document.cookie]") == [0, 0, ""]
        page.get_by_label("API key").fill("sk-er-v1-wrong")
        page.get_by_role("button", name="Embed").click()
        expect(page.get_by_role("alert")).to_contain_text("The API key is not valid. Check the key, or sign in.")
        page.reload()
        expect(page.get_by_label("API key")).to_have_value("")


def test_wordpieces_are_shown_by_windows(mine: Page) -> None:
    _embed(mine, "unbelievable", "word " * 300)
    _turn(mine, "tokens")
    lines = mine.locator(".tokens > li")
    expect(lines.nth(0)).to_contain_text("[CLS]")
    expect(lines.nth(1)).to_contain_text("302 tokens, 2 windows")
    expect(lines.nth(1).locator(".special")).to_have_count(4)


def test_a_column_of_a_table_is_chosen_and_errors_name_the_row(mine: Page, tmp_path: Path) -> None:
    texts = mine.get_by_label("Texts, one a line")
    _choose(mine, tmp_path / "a.csv", 'id,text,note\n1,"a ""red"", cat\nsleeps",x\n2,a dog,y\n')
    expect(texts).to_have_value('a "red", cat sleeps\na dog')
    mine.get_by_label("Column").select_option("note")
    expect(texts).to_have_value("x\ny")
    _choose(mine, tmp_path / "b.jsonl", '{"title": "one", "n": 1}\n{"title": "two", "body": "zwei"}\n')
    expect(texts).to_have_value("one\ntwo")
    mine.get_by_label("Column").select_option("body")
    expect(mine.get_by_role("alert")).to_have_text('Row 1 of b.jsonl has no text in "body".')
    for name, content, told in (
        ("c.csv", "a,b\n1,2\n3\n", "Row 3 of c.csv has 1 columns, the head has 2."),
        ("d.csv", 'a,b\n1,"2\n', "Row 2: a quotation mark is opened and not closed."),
        ("e.jsonl", '{"a": "b"}\nnope\n', "Row 2 of e.jsonl is not JSON."),
        ("f.txt", "x\n" * 3001, "f.txt has 3,001 lines; the Playground takes 3,000."),
        ("g.txt", "\n", "g.txt has no text there."),
    ):
        _choose(mine, tmp_path / name, content)
        expect(mine.get_by_role("alert")).to_contain_text(told)


def _choose(page: Page, file: Path, content: str) -> None:
    file.write_text(content)
    page.set_input_files("input[type=file]", file)


def test_embedding_waits_where_the_server_asks_for_it_and_can_be_given_up(mine: Page) -> None:
    asked: list[str] = []

    def refuse_once(route: Route) -> None:
        asked.append(route.request.url)
        if len(asked) == 1:
            route.fulfill(status=429, headers={"Retry-After": "3"}, json={"error": {"message": "slowly"}})
        else:
            route.continue_()

    mine.route("**/api/internal/embeddings", refuse_once)
    mine.get_by_role("button", name="Embed").click()
    expect(mine.locator("[data-count]")).to_have_text("The server asks to wait 3 s")
    expect(mine.locator("[data-stats]")).to_be_visible()
    assert len(asked) == 2
    mine.unroute("**/api/internal/embeddings")
    mine.route("**/api/internal/embeddings", lambda route: None)  # which never answers
    mine.get_by_role("button", name="Embed").click()
    mine.get_by_role("button", name="Cancel").click()
    expect(mine.locator("#announcer")).to_have_text("Given up")
    expect(mine.get_by_role("button", name="Embed")).to_be_enabled()
    mine.unroute("**/api/internal/embeddings")
    mine.route("**/api/internal/embeddings", lambda route: route.abort())
    mine.get_by_role("button", name="Embed").click()
    expect(mine.get_by_role("alert")).to_contain_text("The server did not answer.")


def test_without_scripts_the_form_answers_with_a_page(chromium: Browser, site: Server) -> None:
    with opened(chromium, site.root, View("light", 390), java_script_enabled=False) as page:
        page.goto("/playground")
        expect(page.locator("noscript p.note")).to_have_text("Without JavaScript, sign in to embed.")
        sign_in(page, site)
        page.goto("/playground?example=duplicates")
        expect(page.locator(".tabs")).to_be_hidden()
        page.get_by_role("textbox", name="Query").fill("plants")
        page.get_by_role("button", name="Embed").click()
        expect(page.get_by_role("heading", name="Ranking for “plants”")).to_be_visible()
        expect(page.get_by_role("textbox", name="Query")).to_have_value("plants")
    with opened(chromium, site.root, View("dark", 390)) as page:  # what it is then, with scripts to check it
        sign_in(page, site)
        page.goto("/playground")
        page.wait_for_selector("[data-mounted]")
        page.evaluate("document.querySelector('form.playground-form').submit()")
        page.wait_for_selector("[data-served]")
        check_page(page)
