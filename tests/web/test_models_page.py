"""The list of models and a model's page, as they are without scripts."""

import re
from collections.abc import Iterator
from datetime import date
from html import unescape

import pytest

from embedrouter.ledger.trends import DayTotal, ModelDay
from embedrouter.ledger.uptime import Answers, ModelHour
from embedrouter.web.models import asked
from embedrouter.web.models.activity import activity
from embedrouter.web.models.sections import SECTIONS
from embedrouter.web.models.uptime import floored, uptime
from server import MODEL, Answer, Server, eventually, serving

_EVIL = "</title><script>alert(1)</script>"
_CATALOG = """
[[providers]]
slug = "acme"
name = "Acme & Sons"
wire = "openai"
base_url = "http://127.0.0.1:9"
allow_private = true
needs_credential = false

[[models]]
slug = "acme/one"
name = "One </title><script>alert(1)</script>"
description = "Reads <img src=x onerror=alert(1)> and '\\"{{7*7}}"
canonical_slug = "acme/one-20260101"
aliases = ["acme/first"]
created = 2026-01-01
context_length = 512
dimensions = 128

[[models]]
slug = "globex/two"
context_length = 32000
dimensions = 1024

[[endpoints]]
model = "acme/one"
provider = "acme"
upstream_model = "one"
price_per_million = "0.10"
region = "eu"

[[endpoints]]
model = "acme/one"
provider = "acme"
tag = "acme/small"
upstream_model = "one-small"
price_per_million = "0.05"
retains_prompts = false
trains_on_prompts = false

[[endpoints]]
model = "globex/two"
provider = "acme"
upstream_model = "two"
price_per_million = "2"
trains_on_prompts = true
"""
_HTML = {"Accept": "text/html,*/*"}
_TABS = ["", *(f"/{section.key}" for section in SECTIONS)]
_QUERIES = [
    "", "q=mini", "q=ONE", "q=acme%2F", "q=%3Cscript%3E", "q=nothing", "context=512", "context=8192", "context=8193",
    "max_price=0.05", "max_price=0.1", "min_price=0.06", "min_price=0.01&max_price=1", "model_authors=acme",
    "model_authors=ACME,globex", "providers=acme", "providers=builtin,acme", "providers=other", "zdr=true", "zdr=false",
    "supported_parameters=seed", "supported_parameters=seed,tools", "input_modalities=text", "input_modalities=image",
    "output_modalities=embeddings", "output_modalities=text", "sort=newest", "sort=pricing-low-to-high",
    "sort=pricing-high-to-low", "sort=context-high-to-low", "sort=most-popular", "zdr=true&sort=newest&context=600",
    "limit=1000&unknown=1",
]  # fmt: skip


@pytest.fixture(scope="module")
def stocked(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server with three models, two of which nobody ever asked."""
    folder = tmp_path_factory.mktemp("models")
    (folder / "data").mkdir()
    (folder / "data" / "catalog.toml").write_text(_CATALOG)
    with serving(folder) as running:
        yield running


def _page(server: Server, path: str, status: int = 200) -> str:
    answer = server.request("GET", path, headers=_HTML)
    assert answer.status == status, (path, answer.status, answer.body[-2000:])
    assert answer.headers["content-type"].startswith("text/html")
    return answer.body.decode()


def _listed(page: str) -> list[str]:
    return re.findall(r'<(?:th scope="row"|h2)><a href="/([^"]+)">', page)


@pytest.mark.parametrize("fmt", ["table", "cards"])
def test_the_list_is_what_the_api_answers_for_the_same_parameters(stocked: Server, fmt: str) -> None:
    several = 0
    for query in _QUERIES:
        found = [model["id"] for model in stocked.get(f"/api/v1/models?{query}").json()["data"]]
        page = _page(stocked, f"/models?{query}&fmt={fmt}")
        assert _listed(page) == found, query
        assert f"<strong>{len(found)}</strong>" in page
        several += len(found) > 1
    assert several > 5


def test_what_a_form_sends_is_the_same_as_a_list_with_commas(stocked: Server) -> None:
    sent = "q=&context=&max_price=&sort=&providers=acme&providers=builtin&model_authors=globex&zdr="
    assert _listed(_page(stocked, f"/models?{sent}")) == ["globex/two"]


def test_filters_that_hold_can_each_be_taken_away(stocked: Server) -> None:
    page = _page(stocked, "/models?providers=acme,other&zdr=true&q=one&sort=newest&fmt=cards")
    chips = [unescape(href) for href in re.findall(r'<a class="chip" href="([^"]+)"', page)]
    assert len(chips) == 4
    assert "/models?q=one&providers=other&zdr=true&sort=newest&fmt=cards" in chips
    assert "/models?q=one&providers=acme%2Cother&sort=newest&fmt=cards" in chips
    assert _listed(_page(stocked, chips[-1])) == ["acme/one"]


def test_an_empty_list_says_which_filters_and_how_to_clear_them(stocked: Server) -> None:
    page = _page(stocked, "/models?q=%3Cb%3Ezzz&providers=acme&fmt=cards")
    assert "No models found." in page
    assert "<b>&lt;b&gt;zzz</b>" in page
    assert "<b>Acme &amp; Sons</b>" in page
    assert '<a href="/models?fmt=cards">Clear the filters</a>' in page


@pytest.mark.parametrize(
    ("query", "named"),
    [("context=x", "context"), ("max_price=nan", "max_price"), ("min_price=-1", "min_price"), ("sort=best", "sort"),
     ("zdr=1", "zdr"), ("offset=-1", "offset"), ("q=" + "x" * 1001, "q"), ("max_price=%3Cscript%3E", "max_price")],
)  # fmt: skip
def test_what_the_api_refuses_is_told_and_left_out(stocked: Server, query: str, named: str) -> None:
    assert stocked.get(f"/api/v1/models?{query}").status == 400
    page = _page(stocked, f"/models?{query}", 400)
    assert f'role="alert">{named}: ' in page
    assert len(_listed(page)) == 3
    assert "<script>" not in page


def test_htmx_gets_the_results_only_and_a_page_when_it_goes_back(stocked: Server) -> None:
    asks = {"HX-Request": "true", "HX-Request-Type": "partial"}
    part = stocked.request("GET", "/models?q=one&context=", headers=asks)
    assert part.body.strip().startswith(b"<section")
    assert part.headers["hx-push-url"] == "/models?q=one"
    back = stocked.request("GET", "/models?q=one", headers={"HX-Request": "true", "HX-Request-Type": "full"})
    assert b"<!doctype html>" in back.body
    assert "hx-push-url" not in back.headers


def test_a_long_list_has_pages(stocked: Server) -> None:
    assert "The list ends before this page." in _page(stocked, "/models?offset=10")
    given = asked.read([("q", "x"), ("offset", "60")])
    assert asked.address_of(given) == "/models?q=x&offset=60"
    assert asked.address_of(given, offset=None) == "/models?q=x"


@pytest.mark.parametrize("tab", _TABS)
@pytest.mark.parametrize("model", [MODEL, "acme/one", "globex/two"])
def test_every_tab_of_every_model_is_an_address_of_its_own(stocked: Server, model: str, tab: str) -> None:
    page = _page(stocked, f"/{model}{tab}")
    shown = re.findall('<section class="section model-part" id="([^"]+)"', page)
    assert shown == ([section.key for section in SECTIONS] if not tab else [tab[1:]])
    assert len(re.findall(r'<a href="[^"]+" aria-current="page">', page)) == 1
    assert f'href="/{model}{tab}" aria-current="page"' in page
    assert page.count("<h1>") == 1


@pytest.mark.parametrize("tab", _TABS)
def test_what_the_catalog_says_is_text_whatever_it_says(stocked: Server, tab: str) -> None:
    page = _page(stocked, f"/acme/one{tab}")
    assert "One &lt;/title&gt;&lt;script&gt;alert(1)&lt;/script&gt;" in page
    for wrong in (_EVIL, "<script>alert", "<img", "onerror=alert(1)>"):
        assert wrong not in page
    assert tab or "{{7*7}}" in page


def test_the_list_takes_names_for_text_too(stocked: Server) -> None:
    for fmt in ("table", "cards"):
        page = _page(
            stocked, f"/models?fmt={fmt}&q=%22%3E%3Cscript%3E&model_authors=%3Cscript%3E&providers=%22%3E%3Cimg"
        )
        assert "<script>" not in page
        assert "<img" not in page
        assert "<script>alert" not in _page(stocked, f"/models?fmt={fmt}")


def test_the_head_tells_what_the_catalog_does(stocked: Server) -> None:
    page = _page(stocked, "/acme/one")
    for told in ("1 Jan 2026", "128 dimensions", "$0.05 to $0.1, by provider", "Zero retention at 1 of 2"):
        assert told in page
    assert 'data-copy="acme/one"' in page
    assert "Open weights" not in page
    assert "Open weights" in _page(stocked, f"/{MODEL}")


def test_the_providers_are_rows_of_endpoints(stocked: Server) -> None:
    page = _page(stocked, "/acme/one/providers")
    assert page.count('<a href="/providers/acme">Acme &amp; Sons</a>') == 2
    assert 'data-copy="acme/small"' in page
    for told in ("Not kept", "Kept", "No training", "Trains on them", ">eu<"):
        assert told in page + _page(stocked, "/globex/two/providers"), told
    other = _page(stocked, "/globex/two/providers")
    assert ">Region<" not in other
    assert "none to fall back to" in other
    assert "none to fall back to" not in page


def test_a_model_that_nobody_asked_says_so(stocked: Server) -> None:
    for tab, told in (
        ("performance", "Nobody was answered in the last 24 hours."),
        ("apps", "No app used it in the last 30 days."),
        ("activity", "No requests in the last 30 days yet."),
        ("uptime", "No requests in the last three days."),
    ):
        assert told in _page(stocked, f"/globex/two/{tab}")
        assert told in _page(stocked, "/globex/two")
    assert "nothing asked in 7 days" in _page(stocked, "/globex/two")
    assert '<figure class="chart' not in _page(stocked, "/globex/two")


def test_a_request_is_on_the_page(stocked: Server) -> None:
    app = {"HTTP-Referer": "https://evil.example", "X-Title": "<script>alert(2)</script>"}
    answer = stocked.embed("how are you", headers=app)
    assert answer.status == 200
    eventually(lambda: "https://evil.example" in _page(stocked, f"/{MODEL}/apps"))
    page = _page(stocked, f"/{MODEL}")
    assert "&lt;script&gt;alert(2)&lt;/script&gt;" in page
    assert "<script>alert(2)" not in page
    assert '<a href="/apps?url=https%3A//evil.example">' in page
    assert 'rel="nofollow noopener ugc"' in page
    assert f'<dd class="value">{answer.tokens()}</dd>' in page
    assert '<rect class="good"' in page
    assert "100.00%" in page


@pytest.mark.parametrize(
    ("path", "target"),
    [
        ("/acme/first", "/acme/one"),
        ("/acme/one-20260101", "/acme/one"),
        ("/ACME/One/uptime", "/acme/one/uptime"),
        ("/acme/first/pricing?a=b", "/acme/one/pricing?a=b"),
        ("/models/acme/one", "/acme/one"),
        ("/models/acme/one-20260101?x=//evil.example", "/acme/one?x=//evil.example"),
        ("/models/sentence-transformers/all-MiniLM-L6-v2", f"/{MODEL}"),
    ],
)
def test_other_names_lead_to_the_page(stocked: Server, path: str, target: str) -> None:
    answer = stocked.get(path)
    assert (answer.status, answer.headers["location"]) == (308, target)


@pytest.mark.parametrize("path", ["/acme/onee", "/acme/on", "/models/acme/onw", "/other/one", "/acme/onee/uptime"])
def test_an_unknown_model_is_not_found_and_the_nearest_are_named(stocked: Server, path: str) -> None:
    page = _page(stocked, path, 404)
    assert "no model named" in page
    assert '<a href="/acme/one">' in page


@pytest.mark.parametrize(
    "path",
    ["/wp-admin/setup", "/login/now", "/assets/nothing", "/acme/one/nothing", "/a/b/c/d",
     "/%00/%ff", "/<script>/x", "/" + "x" * 900 + "/y", "/models/x", "/acme"],
)  # fmt: skip
def test_other_addresses_are_nobodys(stocked: Server, path: str) -> None:
    page = _page(stocked, path.replace("<", "%3C").replace(">", "%3E"), 404)
    assert "Nearest names" not in page
    assert "<script>" not in page
    program: Answer = stocked.get(path.replace("<", "%3C").replace(">", "%3E"))
    if not path.startswith("/assets/"):
        program.error(404, "not_found")


def test_who_lacks_a_credential_is_told_instead(stocked: Server) -> None:
    page = _page(stocked, "/openai/text-embedding-3-small", 404)
    assert "nobody serves it here yet" in page
    assert "OPENAI_API_KEY" in page


def test_uptimes_are_rounded_down_and_coloured_at_95_and_85() -> None:
    assert floored(99_999, 100_000) == 99.99
    assert floored(100, 100) == 100.0
    assert floored(0, 0) is None
    counts = [(100, 100, 95), (100, 95, 95), (10_000, 9_499, 0), (100, 85, 0), (10_000, 8_499, 0), (0, 0, 0)]
    found = uptime([ModelHour(3600 * hour, Answers(*each)) for hour, each in enumerate(counts)])
    assert [bar.tone for bar in found.bars] == ["good", "good", "warn", "warn", "bad", ""]
    assert [bar.word for bar in found.bars][-2:] == ["poor", "no data"]
    assert found.chart.series[1].values[:2] == [95.0, 95.0]


def test_providers_that_not_everybody_may_know_are_others() -> None:
    day = date(2026, 1, 1)
    rows = [ModelDay(day, "Acme", "acme", 5, 1), ModelDay(day, "Hush", "hush", 7, 2), ModelDay(day, "Acme", "b", 1, 1)]
    found = activity(rows, [DayTotal(day, 13, 4)], {"Acme", "Unused"})
    assert [(one.name, list(one.values)) for one in found.chart.series] == [("Acme", [6]), ("Others", [7])]
    assert (found.tokens, found.requests) == (13, 4)
