"""/providers and /pricing: who serves what for how much, as the catalog and the requests have it."""

from typing import Any

import pytest

from embedrouter.errors import InvalidRequestError
from embedrouter.web.market.pricing import amount
from server import MANAGER, MODEL, Server, shared
from web.pages import page, tables, text

_OTHER = "other"
_SECRET = "the-credential-of-somebody-qzx9"


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Server:
    """With a provider and prices of its own beside the built-in ones."""
    file = tmp_path_factory.mktemp("catalog") / "catalog.toml"
    file.write_text(_CATALOG)
    made = shared(management_key=MANAGER, catalog=file, billing="enforce")
    brought = made.manage("POST", "/byok", {"provider": _OTHER, "key": _SECRET, "name": "Ada's own"})
    assert brought.status in (200, 201), brought.body
    return made


_CATALOG = """
[[providers]]
slug = "other"
name = "<b>Other</b>"
wire = "openai"
base_url = "https://other.example/v1"
status_page_url = "https://status.other.example/?a=1&b=2"

[[providers]]
slug = "gratis"
wire = "openai"
base_url = "https://gratis.example/v1"
needs_credential = false

[[models]]
slug = "them/text"
name = "Them: <i>text</i>"
dimensions = 8
context_length = 512

[[endpoints]]
model = "them/text"
provider = "other"
upstream_model = "text"
price_per_million = "0.5"
retains_prompts = true
trains_on_prompts = true
region = "eu-west"

[[endpoints]]
model = "them/text"
provider = "gratis"
upstream_model = "text"
price_per_million = "0"
retains_prompts = false
trains_on_prompts = false
"""


def _prices(server: Server, query: str = "") -> list[list[str]]:
    found = tables(page(server, f"/pricing{query}"))
    return found[0][1:] if found else []


def test_every_provider_of_the_api_is_listed_with_what_he_does(server: Server) -> None:
    listed: list[dict[str, Any]] = server.get("/api/v1/providers").json()["data"]
    rows = {row[0].rpartition(" ")[2]: row for row in tables(page(server, "/providers"))[0][1:]}
    assert set(rows) == {one["slug"] for one in listed}
    assert rows["other"][1] == "1"
    assert rows["other"][4:] == ["keeps prompts trains on prompts", "there is one", "Status"]
    assert rows["gratis"][4:6] == ["keeps no prompts", "none needed"]
    assert rows["other"][2] == "–", "nobody asked it yet"


def test_a_credential_is_there_but_nobody_is_told_whose(server: Server) -> None:
    for path in ("/providers", "/providers/other", "/pricing"):
        source = page(server, path)
        assert "Ada" not in source
        assert _SECRET not in source
        assert _SECRET[-4:] not in text(source)


def test_a_providers_page_has_his_endpoints_and_what_was_asked(server: Server) -> None:
    source = page(server, "/providers/other")
    assert "<b>Other</b>" not in source
    assert "&lt;b&gt;Other" in source
    assert 'href="https://status.other.example/?a=1&amp;b=2" rel="nofollow noopener ugc"' in source
    (row,) = tables(source)[0][1:]
    assert row[:4] == ["Them: <i>text</i>", "other", "$0.5", "512"]
    assert row[8:] == ["eu-west", "keeps prompts trains on prompts"]
    assert 'href="/them/text"' in source


def test_requests_of_the_last_day_are_counted(live: Server) -> None:
    def requests() -> int:
        return int(tables(page(live, "/providers/builtin"))[0][1][7].replace(",", ""))

    before = requests()
    assert live.embed("count me").status == 200
    assert requests() == before + 1


def test_who_only_lacks_a_credential_has_a_page_that_says_so(server: Server) -> None:
    source = page(server, "/providers")
    assert 'href="/providers/voyage"' in source
    told = text(page(server, "/providers/voyage"))
    assert "Serves nothing here yet" in told
    assert "VOYAGE_API_KEY" in told


@pytest.mark.parametrize("slug", ["nobody", "%3Cscript%3E", "x" * 300])
def test_who_is_not_known_has_none(server: Server, slug: str) -> None:
    source = page(server, f"/providers/{slug}", 404)
    assert "There is no provider" in text(source)
    assert "<script>" not in source.partition("<main")[2]


def test_prices_are_those_of_the_api_the_cheapest_first(server: Server) -> None:
    rows = _prices(server)
    expected = [
        (float(one["pricing"]["prompt"]) * 1e6, one["tag"])
        for model in ("them/text", MODEL)
        for one in server.get(f"/api/v1/models/{model}/endpoints").json()["data"]["endpoints"]
    ]
    found = [(0.0 if row[1] == "Free" else float(row[1].strip("$")), row[-1]) for row in rows]
    assert [(round(usd, 9), tag) for usd, tag in sorted(expected)] == found
    assert [tag for _, tag in found][::2] == ["gratis", "other"]


def test_prices_are_filtered_and_reckoned_with(server: Server) -> None:
    assert [row[-1] for row in _prices(server, "?free=1")] == ["gratis"]
    assert [row[-1] for row in _prices(server, "?provider=other")] == ["other"]
    assert [row[-1] for row in _prices(server, "?under=0.49")][-1].startswith("builtin")
    assert [row[-1] for row in _prices(server, "?under=0.5")][-1] == "other"
    assert _prices(server, "?free=1&provider=other") == []
    assert "No endpoint costs that little" in page(server, "/pricing?free=1&provider=other")
    assert [row[2] for row in _prices(server, "?tokens=4,000,000")] == ["$0", "$0.02", "$2.00"]
    assert [row[2] for row in _prices(server, "?texts=2000&length=200")] == ["$0", "$0.002", "$0.2"]


@pytest.mark.parametrize(
    "query",
    ["under=x", "under=NaN", "under=-1", "tokens=1.5", "texts=5", "length=5", "tokens=%E0%A5%A9", "provider=nobody",
     "texts=1000000000&length=1000000000", "tokens=" + "9" * 400],
)  # fmt: skip
def test_a_form_that_cannot_be_read_says_which_field_and_shows_all_prices(server: Server, query: str) -> None:
    source = page(server, f"/pricing?{query}", 400)
    assert 'role="alert"' in source
    assert len(tables(source)[0]) == 4


def test_how_billing_works_is_told_as_it_is_set(server: Server, live: Server) -> None:
    assert "Costs are enforced" in page(server, "/pricing")
    assert "Costs are tracked" in page(live, "/pricing")


def test_an_amount_is_tokens_or_texts_by_their_length() -> None:
    assert amount("", "", "") is None
    assert amount(" 1 000_000 ", "5", "5") == 1_000_000
    assert amount("", "2,000", "200") == 400_000
    with pytest.raises(InvalidRequestError, match="texts"):
        amount("", "", "5")
