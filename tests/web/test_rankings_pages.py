"""/rankings and /apps: what is public, told truly; what attackers say of themselves, told harmlessly."""

from datetime import UTC, datetime
from typing import Any
from urllib.parse import quote

import pytest

from embedrouter.web.market.choices import pages
from embedrouter.web.market.moves import Move, move
from server import KEY, MANAGER, MODEL, Server, eventually, shared
from web.pages import charts, page, tables, text

_TITLE = "<script>alert(1)</script>\"'><img src=x onerror=alert(2)>"
_APP = "https://busy.example/app"
_EVIL = "https://evil.example/'%3E%3Cscript%3E"


@pytest.fixture(scope="module")
def server() -> Server:
    """One whose usage is all made here."""
    return shared(management_key=MANAGER, keep_prompts_days=91)


def _ask(server: Server, given: Any = "hello", key: str = KEY, **headers: str) -> int:
    answer = server.request(
        "POST",
        "/api/v1/embeddings",
        {"model": MODEL, "input": given},
        {name.replace("_", "-"): value for name, value in headers.items()},
        key=key,
    )
    return answer.tokens()


def _dataset(server: Server, name: str) -> list[dict[str, Any]]:
    day = datetime.now(UTC).date()
    answer = server.request("GET", f"/api/v1/datasets/{name}?start_date={day}&end_date={day}", key=KEY)
    assert answer.status == 200, answer.body
    found: list[dict[str, Any]] = answer.json()["data"]
    return found


def test_a_server_that_nobody_used_says_so_and_what_to_do() -> None:
    server = shared(keep_prompts_days=92)
    for path in ("/rankings", "/rankings?period=month&by=author", "/apps", "/apps?period=day", "/apps?q=x"):
        told = text(page(server, path))
        assert "No public requests" in told or "No app" in told
        assert charts(page(server, path)) == []
    assert "HTTP-Referer" in page(server, "/apps")


def test_models_have_the_tokens_that_the_dataset_has(server: Server) -> None:
    _ask(server, ["one text", "and another"])
    source = page(server, "/rankings?period=day")
    (row,) = _dataset(server, "rankings-daily")
    drawn = next(one for one in charts(source) if one["unit"] == "tokens")
    assert [(one["name"], one["values"]) for one in drawn["series"]] == [
        ("Sentence Transformers: all-MiniLM-L6-v2", [int(row["total_tokens"])])
    ]
    share = next(one for one in charts(source) if one["unit"] == "percent")
    assert [one["values"] for one in share["series"]] == [[100.0]]
    listed = tables(source)[0]
    assert listed[0] == ["#", "Model", "Tokens", "Share", "Change", "Requests"]
    assert listed[1][:5] == ["1", "Sentence Transformers: all-MiniLM-L6-v2", row["total_tokens"], "100%", "new"]
    assert f'href="/{MODEL}"' in source
    assert 'href="/models?author=sentence-transformers"' in page(server, "/rankings?by=author")


def test_apps_have_the_places_and_tokens_that_the_dataset_has(server: Server) -> None:
    for _ in range(3):
        _ask(server, HTTP_Referer=_APP, X_Title="Busy")
    _ask(server, HTTP_Referer="https://idle.example", X_Title="Idle")
    ranked = _dataset(server, "app-rankings")
    assert {"Busy", "Idle"} <= {one["app_name"] for one in ranked}
    rows = tables(page(server, "/apps?period=day"))[0][1:]
    assert [(row[0], row[2], row[4]) for row in rows] == [
        (str(one["rank"]), one["total_tokens"], str(one["total_requests"])) for one in ranked
    ]
    found = tables(page(server, "/apps?period=day&q=BUSY+example"))[0][1:]
    assert [row[1] for row in found] == ["Busy busy.example/app"]
    busy = next(one for one in ranked if one["app_name"] == "Busy")
    source = page(server, f"/apps?url={quote(_APP, safe='')}")
    assert f"#{busy['rank']}" in text(source)
    assert sum(charts(source)[0]["series"][0]["values"]) == int(busy["total_tokens"])
    assert f'href="{_APP}" rel="nofollow noopener ugc"' in source
    assert page(server, f"/apps?url={quote(_APP, safe='')}/") == source


def test_29_titles_and_referers_of_attackers_are_only_text(server: Server) -> None:
    """Attack 29."""
    _ask(server, HTTP_Referer=_EVIL, X_Title=_TITLE)
    paths = ("/rankings?period=day", "/apps?period=day", "/apps?q=evil.example")
    sources = [page(server, path) for path in paths]
    sources.append(page(server, f"/apps?url={quote(_EVIL, safe='')}"))
    for source in sources:
        assert "alert(1)" in source
        assert "<script>alert" not in source
        assert "<img" not in source
        assert "'%3E" not in source
    for query in (_TITLE, "javascript:alert(1)"):
        assert "<script>alert" not in page(server, f"/apps?q={quote(query)}")
        assert "alert(1)" not in page(server, f"/apps?url={quote(query)}", 404)


def test_private_usage_is_nowhere(server: Server) -> None:
    """Attack 31."""
    secret, _ = server.new_key(private=True)
    url = "https://hidden.example"
    before = _dataset(server, "rankings-daily")
    _ask(server, HTTP_Referer=url, X_Title="Hidden", key=secret)
    for path in ("/apps?period=month", "/apps?q=hidden.example", "/rankings?period=month"):
        found = [cell for table in tables(page(server, path)) for row in table for cell in row]
        assert not [cell for cell in found if "Hidden" in cell or "hidden.example" in cell]
    page(server, f"/apps?url={quote(url)}", 404)
    assert _dataset(server, "rankings-daily") == before
    assert f"{before[0]['total_tokens']}" in [row[2] for row in tables(page(server, "/rankings?period=day"))[0]]


def test_31_one_key_with_many_names_is_one_app(server: Server) -> None:
    """Attack 31: what differs by user, query, fragment, page or title only."""
    for number in range(6):
        _ask(server, HTTP_Referer=f"https://u{number}@spam.example/x/?a={number}#{number}", X_Title=f"Best {number}")
        _ask(server, Referer=f"https://browser.example/page/{number}?a={number}", X_Title=f"Page {number}")
    eventually(lambda: "spam.example" in page(server, "/apps?period=day&q=spam.example"))
    rows = tables(page(server, "/apps?period=day&q=example"))[0][1:]
    hosts = [row[1].rpartition(" ")[2] for row in rows]
    assert hosts.count("spam.example/x") == 1
    assert hosts.count("browser.example") == 1
    assert len([host for host in hosts if host.startswith(("spam", "browser"))]) == 2
    assert [row[1] for row in rows if row[1].startswith(("Best", "Page"))] == [
        "Best 0 spam.example/x",
        "Page 0 browser.example",
    ], "a title is taken over at most once a minute"


@pytest.mark.parametrize(
    "path", ["/rankings?period=year", "/rankings?by=app", "/apps?period=x", "/apps?page=0", "/apps?page=9e9"]
)
def test_what_cannot_be_shown_is_named(server: Server, path: str) -> None:
    field = path.partition("?")[2].partition("=")[0]
    assert f"{field.capitalize()}: " in text(page(server, path, 400))


def test_links_to_a_view_keep_its_parameters(server: Server) -> None:
    source = page(server, "/rankings?period=day&by=author")
    assert f'data-copy="{server.root}/rankings?period=day&amp;by=author"' in source
    assert 'href="/rankings?period=month&amp;by=author"' in source
    assert 'href="/apps?period=month&amp;q=a+b"' in page(server, "/apps?period=day&q=a+b")


@pytest.mark.parametrize(
    ("numbers", "told"),
    [((112, 100, 1, 3), Move("+12%", "good", 2)), ((50, 100, 3, 1), Move("−50%", "bad", -2)),
     ((100, 100, 1, 1), Move("±0%", "", 0)), ((1001, 1000, 1, 1), Move("±0%", "", 0)),
     ((5, 0, 1, None), Move("new", "", None)), ((1200, 100, 1, 2), Move("×12", "good", 1)),
     ((10**9, 1, 1, 2), Move("over ×999", "good", 1))],
)  # fmt: skip
def test_a_change_is_told_in_a_word(numbers: tuple[int, int, int, int | None], told: Move) -> None:
    assert move(*numbers) == told


def test_a_long_list_has_pages_and_a_short_one_none() -> None:
    assert pages("/apps", 1, 50, 50) is None
    first, last = pages("/apps", 1, 120, 50, q="a b"), pages("/apps", 3, 120, 50, q="a b")
    assert first is not None
    assert last is not None
    assert first == (1, 50, 120, None, "/apps?q=a+b&page=2")
    assert last == (101, 120, 120, "/apps?q=a+b&page=2", None)
