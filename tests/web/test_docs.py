"""The docs: pages, links, search, the reference, and what programs read."""

import inspect
import json
import re
import subprocess
import sys
from html import unescape
from pathlib import Path
from typing import Any

import pytest

from cli.manual import manual
from embedrouter import errors
from embedrouter.errors import EmbedRouterError
from embedrouter.web.docs import texts
from embedrouter.web.docs.finding import Passage, excerpt, find
from embedrouter.web.docs.library import library
from embedrouter.web.docs.markdown import render
from embedrouter.web.docs.operations import Operation, operations
from server import EMBEDDINGS, KEY, MANAGER, MODEL, Server, environment

ADDRESS = "https://embed.example.org"
FOLDER = Path(__file__).parents[2] / "docs"


def page(server: Server, path: str) -> str:
    answer = server.get(path)
    assert answer.status == 200, path
    assert answer.headers["content-type"].startswith("text/html")
    return answer.body.decode()


# --- the pages


def test_every_text_is_a_page_of_exactly_one_group() -> None:
    assert sorted(texts.NAMES) == sorted(path.stem for path in FOLDER.glob("*.md"))


def test_links_lead_to_pages_and_headings_that_are_there() -> None:
    pages = {one.name: one for one in library(ADDRESS).pages}
    anchors = {name: {heading.anchor for heading in one.rendered.headings} for name, one in pages.items()}
    links = [(name, href) for name, one in pages.items() for href in re.findall(r'href="([^"]+)"', one.rendered.html)]
    assert len(links) > 200
    for name, href in links:
        if href.startswith("#"):
            assert href[1:] in anchors[name], (name, href)
        elif href.startswith("/docs/") and not href.startswith("/docs/reference"):
            target, _, anchor = href.removeprefix("/docs/").partition("#")
            assert target in pages, (name, href)
            assert not anchor or anchor in anchors[target], (name, href)
        else:
            assert href.startswith(("http://", "https://", "/")), (name, href)


def test_no_page_has_inline_styles_or_scripts_or_links_to_files() -> None:
    for one in library(ADDRESS).pages:
        html = re.sub(r"<code.*?</code>", "", one.rendered.html, flags=re.DOTALL)
        assert not re.search(r"<script|<style|\sstyle=|\son\w+=", html), one.name
        assert '.md"' not in html, one.name


def test_markup_in_a_text_is_text() -> None:
    made = render("# A <b>title</b>\n\n<script>alert(1)</script> [x](javascript:alert(1))\n", {})
    assert "<script" not in made.html
    assert "javascript:" not in re.sub(r">[^<]*<", "><", made.html)
    assert made.title == "A <b>title</b>"


def test_links_between_texts_become_links_between_pages_and_others_become_text() -> None:
    html = render(
        "# T\n\n[keys.md](keys.md) [that](docs/keys.md#making-a-key) [out](https://example.org) [a](../src/x.py)\n",
        {"keys": "Keys"},
    ).html
    assert '<a href="/docs/keys">Keys</a>' in html
    assert '<a href="/docs/keys#making-a-key">that</a>' in html
    assert '<a href="https://example.org" rel="noopener">out</a>' in html
    assert html.rstrip().endswith(" a</p>")


def test_headings_of_one_name_get_anchors_of_their_own_as_on_github() -> None:
    made = render("# T\n\n## Making a key\n\nx\n\n## Making a key\n\ny\n\n### `db` & *more*\n", {})
    assert [one.anchor for one in made.headings] == ["making-a-key", "making-a-key-1", "db--more"]
    assert 'id="making-a-key-1"' in made.html
    assert [one.text for one in made.sections] == ["", "x", "y", ""]


def test_a_text_without_a_title_is_refused() -> None:
    with pytest.raises(ValueError, match="begins with its title"):
        render("no title", {})


def test_cells_are_aligned_by_class_and_empty_heads_are_none() -> None:
    html = render("# T\n\n| | n |\n|---|---:|\n| a | 1 |\n", {}).html
    assert "style=" not in html
    assert '<td class="number">1</td>' in html
    assert html.count("<th") - html.count("<thead") == 1


def test_examples_call_this_server_and_only_they_do() -> None:
    told = texts.localised(
        "`http://127.0.0.1:8000/x`\n\n```sh\ncurl http://localhost:8000/api\n```\n\n```nginx\nproxy http://127.0.0.1:8000;\n"
        "```\nhttp://127.0.0.1:9000\n",
        ADDRESS,
    )
    assert f"`{ADDRESS}/x`" in told
    assert f"curl {ADDRESS}/api" in told
    assert "proxy http://127.0.0.1:8000;" in told
    assert "http://127.0.0.1:9000" in told


def test_pages_are_served_with_their_place_and_their_neighbours(live: Server) -> None:
    html = page(live, "/docs/limits")
    assert "<h1>Limits</h1>" in html
    assert 'href="/docs/limits" aria-current="page"' in html
    assert re.search(r'rel="prev"><span[^>]*>Previous</span> Errors', html)
    assert re.search(r'rel="next"><span[^>]*>Next</span> Keys', html)
    assert '<a href="#rates">Rates</a>' in html
    assert f"curl -s {live.root}/api/v1/key" in re.sub(r"<[^>]+>", "", html)
    assert 'class="c-' in html
    for one in library(ADDRESS).pages:
        assert f"<h1>{one.title}</h1>" in unescape(page(live, one.href))


@pytest.mark.parametrize(
    "path", ["nope", "nope.md", "nope.js", "..%2f..%2fpyproject.toml", "%2e%2e/app.py", "reference/x"]
)
def test_there_is_nothing_but_the_pages(live: Server, path: str) -> None:
    answer = live.get(f"/docs/{path}")
    assert answer.status == 404
    assert b"scikit" not in answer.body
    assert b"import " not in answer.body


def test_a_page_loads_everything_from_this_server(live: Server) -> None:
    html = page(live, "/docs/api")
    loaded = re.findall(r'<(?:script|link|img)[^>]*(?:src|href)="([^"]+)"', html)
    assert all(re.match(r"/[^/]|data:", one) for one in loaded), loaded
    policy = live.get("/docs/api").headers["content-security-policy"]
    assert "script-src 'self'; style-src 'self';" in policy
    assert "unsafe" not in policy


# --- what the pages say


def _errors() -> set[tuple[int, str]]:
    classes = [one for _, one in inspect.getmembers(errors, inspect.isclass) if issubclass(one, EmbedRouterError)]
    return {(one.status, one.error_type) for one in classes}


def test_the_page_of_errors_has_exactly_the_errors_that_there_are() -> None:
    rows = re.findall(r"^\| (\d{3}) \| `(\w+)` \| (.+) \| (.+) \|$", (FOLDER / "errors.md").read_text(), re.MULTILINE)
    assert {(int(status), kind) for status, kind, *_ in rows} == _errors()
    assert len(rows) == len(_errors())
    assert all(meaning.endswith(".") and what.endswith(".") for *_, meaning, what in rows)


def test_the_page_of_the_command_line_has_exactly_the_commands_that_there_are() -> None:
    assert (FOLDER / "cli.md").read_text() == manual(), "run: python tests/cli/manual.py > docs/cli.md"


def _blocks(name: str, language: str, address: str) -> list[str]:
    source = texts.read(name, address)
    return re.findall(rf"^```{language}\n(.*?)^```", source, re.MULTILINE | re.DOTALL)


def test_the_quickstarts_python_runs(live: Server) -> None:
    blocks = _blocks("quickstart", "python", live.root)
    assert len(blocks) == 3
    said = [_run(block, key=KEY) for block in blocks]
    assert said[0].startswith("2 384 ")
    assert said[1] == "384\n"
    assert re.search(r"0\.\d\d  I cannot sign in", said[2])


def test_the_quickstarts_curl_runs(live: Server) -> None:
    (line,) = [one for one in _blocks("quickstart", "sh", live.root) if one.startswith("curl")]
    done = subprocess.run(
        ["/bin/sh", "-c", line.replace("curl ", "curl -sS --fail ", 1)],
        env=environment(api_key=KEY), capture_output=True, text=True, timeout=60, check=True,
    )  # fmt: skip
    assert done.stdout.startswith('{"object":"list"')


def test_the_python_librarys_examples_run() -> None:
    blocks = _blocks("python", "python", ADDRESS)
    assert len(blocks) == 4
    said = _run("\n".join(blocks))
    assert "(3, 384) float32" in said
    assert "(1, 128)" in said
    assert "[5]" in said
    assert "The Danube flows through Vienna." in said


def _run(program: str, **settings: str) -> str:
    made = {f"EMBEDROUTER_API_{name.upper()}": value for name, value in settings.items()}
    done = subprocess.run(
        [sys.executable, "-c", program], env={**environment(), **made}, capture_output=True, text=True, timeout=120,
        check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_the_page_of_limits_tells_what_refusals_carry(managed: Server) -> None:
    def key(**fields: Any) -> str:
        made: str = managed.request("POST", "/api/v1/keys", {"name": "limited", **fields}, key=MANAGER).json()["key"]
        return made

    text = (FOLDER / "limits.md").read_text()
    body = {"model": MODEL, "input": "x"}
    poor = managed.request("POST", EMBEDDINGS, body, key=key(limit=0, limit_reset="monthly"))
    told = poor.error(402, "payment_required")["metadata"]
    (example,) = [block for block in _blocks("limits", "json", ADDRESS) if '"payment_required"' in block]
    shown = json.loads(example)["error"]["metadata"]
    assert shown.keys() == told.keys()
    assert (shown["limit"], shown["limit_reset"]) == (told["limit"], told["limit_reset"])
    quick = key(requests_per_minute=1)
    assert managed.request("POST", EMBEDDINGS, body, key=quick).status == 200
    refused = managed.request("POST", EMBEDDINGS, body, key=quick)
    refused.error(429, "rate_limit_exceeded")
    named = re.findall(r"^\| `(Retry-After|X-RateLimit-\w+)` \|", text, re.MULTILINE)
    assert sorted(map(str.lower, named)) == sorted(
        one for one in refused.headers if one.startswith(("retry-", "x-rate"))
    )


# --- search


_PASSAGES = (
    Passage("/docs/keys", "Keys", "Keys", "What a key is.", is_first=True),
    Passage("/docs/keys#limits", "Keys", "Limits of keys", "Money and rates."),
    Passage("/docs/errors", "Errors", "Errors", "A wrong key, <b>a wrong key</b>, is 401.", is_first=True),
)


@pytest.mark.parametrize(
    ("query", "found"),
    [("keys", ["/docs/keys", "/docs/keys#limits"]), ("key wrong", ["/docs/errors"]), ("RATES", ["/docs/keys#limits"]),
     ("zzz", []), ("wrong zzz", []), ("  ", [])],
)  # fmt: skip
def test_all_words_must_be_there_and_titles_weigh_more(query: str, found: list[str]) -> None:
    assert [hit.passage.href for hit in find(query, _PASSAGES)] == found


def test_an_excerpt_shows_the_words_where_they_are() -> None:
    pieces = excerpt("a " * 200 + "the Needle here " + "b " * 200, ["needle"])
    assert [piece.text for piece in pieces if piece.is_found] == ["Needle"]
    assert pieces[0].text.startswith("… ")
    assert pieces[-1].text.endswith(" …")
    assert sum(len(piece.text) for piece in pieces) < 300


def test_search_works_without_scripts_and_shows_no_markup_of_the_reader(live: Server) -> None:
    html = page(live, "/docs?q=retry-after")
    assert "<mark>Retry-After</mark>" in html
    assert 'href="/docs/limits#rates"' in html
    assert 'href="/docs/reference/createKeys"' in page(live, "/docs?q=make+an+api+key")
    html = page(live, "/docs?q=%3Cscript%3Ealert(1)%3C/script%3E")
    assert "<script>alert" not in html
    assert "Nothing in the docs has all of these words." in html
    assert page(live, "/docs?q=" + "x" * 4000)


def test_the_palette_finds_pages_headings_and_operations(live: Server) -> None:
    def urls(query: str) -> list[str]:
        return [one["url"] for one in live.get(f"/search.json?q={query}").json()["results"]]

    assert urls("quickstart")[0] == "/docs/quickstart"
    assert "/docs/limits#rates" in urls("rates")
    assert "/docs/reference/addCredits" in urls("post+/api/v1/credits")


# --- the reference


@pytest.fixture(scope="module")
def told(live: Server) -> tuple[Operation, ...]:
    return operations(live.get("/openapi.json").body)


def test_the_reference_has_every_operation_of_the_document(live: Server, told: tuple[Operation, ...]) -> None:
    document = live.get("/openapi.json").json()
    ids = [one["operationId"] for methods in document["paths"].values() for one in methods.values()]
    assert sorted(one.id for one in told) == sorted(ids)
    html = page(live, "/docs/reference")
    for one in told:
        assert f'href="{one.href}"' in html
        assert f"<h1>{one.summary}</h1>" in unescape(page(live, one.href))


def _named(told: tuple[Operation, ...], name: str) -> Operation:
    return next(one for one in told if one.id == name)


def test_fields_are_told_with_type_range_and_what_is_required(told: tuple[Operation, ...]) -> None:
    embeddings = _named(told, "createEmbeddings")
    body = {one.name: one for one in embeddings.body}
    assert body["model"].required
    assert not body["dimensions"].required
    assert body["temperature"].type == "number, 0 to 2"
    assert body["encoding_format"].type == "base64 or float"
    assert body["provider.order"].type == "list of text"
    assert "data[].embedding" in {one.name for one in embeddings.answer}
    assert embeddings.needs_key
    models = {one.name: one for one in _named(told, "listModels").parameters}
    assert models["limit"].type == "integer, 1 to 1,000"
    assert models["limit"].description == "Models to return at most; all if left out."
    assert {one.kind for one in _named(told, "getKey").parameters} == {"path"}


def test_the_examples_of_bodies_are_taken_by_the_server(managed: Server, told: tuple[Operation, ...]) -> None:
    """Fields of the right names and types: what may be wrong is that a named thing is not there."""
    for one in told:
        if one.method != "POST" or not one.example or "{" in one.path:
            continue
        key = KEY if one.id == "createEmbeddings" else MANAGER
        answer = managed.request("POST", one.path, one.example, key=key)
        message = answer.body.decode()
        assert answer.status < 500, (one.id, message)
        assert "is required" not in message, (one.id, message)
        assert "expected " not in message, (one.id, message)


def test_curl_calls_the_operation(live: Server, told: tuple[Operation, ...]) -> None:
    line = _named(told, "createEmbeddings").curl(live.root).replace("curl ", "curl -sS --fail ", 1)
    done = subprocess.run(
        ["/bin/sh", "-c", line], env=environment(api_key=KEY), capture_output=True, text=True, timeout=60, check=True
    )
    assert done.stdout.startswith('{"object":"list"')


# --- for programs


def test_llms_txt_has_title_summary_and_links_that_give_markdown(live: Server) -> None:
    answer = live.get("/llms.txt")
    assert answer.headers["content-type"].startswith("text/plain")
    lines = answer.body.decode().splitlines()
    assert lines[0] == "# embedrouter"
    assert lines[2].startswith("> ")
    links = re.findall(rf"^- \[[^\]]+\]\({re.escape(live.root)}(/[^)]+)\)", answer.body.decode(), re.MULTILINE)
    assert len(links) == len(texts.NAMES) + 1
    for link in links:
        found = live.get(link)
        assert found.status == 200
        assert found.headers["content-type"].split(";")[0] in ("text/markdown", "text/plain")
        assert found.body.startswith(b"# ")


def test_the_full_text_has_every_page(live: Server) -> None:
    text: Any = live.get("/llms-full.txt").body.decode()
    for one in library(live.root).pages:
        assert one.source.rstrip() in text
