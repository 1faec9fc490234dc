"""Which app a request comes from: headers that anybody can send."""

import itertools

import pytest

from embedrouter.api.attribution import app_url, categories_of, claim_of, clean_title
from server import KEY, MODEL
from used import Used, used

__all__ = ["used"]

_numbers = itertools.count()


@pytest.mark.parametrize(
    ("given", "app"),
    [
        ("https://App.Example", "https://app.example"),
        ("https://app.example/", "https://app.example"),
        ("HTTPS://app.example:443/a/B/?q=secret#part", "https://app.example/a/B"),
        ("http://user:password@app.example:8080/x", "http://app.example:8080/x"),
        ("http://app.example.:80", "http://app.example"),
        ("https://xn--bcher-kva.example/%C3%A9", "https://xn--bcher-kva.example/%C3%A9"),
        ("http://[::1]:3000", "http://[::1]:3000"),
        ("  https://app.example  ", "https://app.example"),
    ],
)
def test_an_app_is_a_normalised_url(given: str, app: str) -> None:
    assert app_url(given) == app
    assert app_url(app) == app


@pytest.mark.parametrize(
    "given",
    ["", "app.example", "ftp://app.example", "javascript:alert(1)", "https://", "https:///path", "https://a b.example",
     "https://app.example/<script>", 'https://app.example/"x', "https://app.example:99999", "https://[::1", "https://[x]",
     "https://app.example/\u00e9", "https://-x.example", "https://a..b", "https://app.example/" + "x" * 512,
     "https://" + "x" * 64 + ".example", "data:text/html,x", "https://app.example\\@evil.example"],
)  # fmt: skip
def test_anything_else_is_no_app(given: str) -> None:
    """Attack 29: only http and https."""
    assert app_url(given) is None


@pytest.mark.parametrize(
    ("given", "title"),
    [
        (None, None),
        ("", None),
        (" \x00\x1f ", None),
        ("My\tapp\r\n  two", "My app two"),
        ("B\u00c3\u00bccher", "B\u00fccher"),  # UTF-8 bytes, read as Latin-1
        ("B\u00fccher", "B\u00fccher"),
        ("evil\u00e2\u0080\u00aetxt.exe", "evil txt.exe"),  # a right-to-left override
        ("x" * 500, "x" * 120),
    ],
)
def test_a_title_is_cleaned_and_cut(given: str | None, title: str | None) -> None:
    """Attacks 29 and 31."""
    assert clean_title(given) == title


@pytest.mark.parametrize(
    ("given", "found"),
    [
        (None, ()),
        ("game", ("game",)),
        (" Game , unknown, LEGAL, roleplay", ("game", "legal")),
        ("game,game,legal", ("game", "legal")),
        ("x" * 31 + ",legal", ("legal",)),
    ],
)
def test_two_known_categories_a_request(given: str | None, found: tuple[str, ...]) -> None:
    assert categories_of(given) == found


@pytest.mark.parametrize(
    ("headers", "url", "title"),
    [
        ({b"http-referer": "https://app.example/x", b"x-title": "A"}, "https://app.example/x", "A"),
        ({b"http-referer": "https://a.example", b"x-title": "A", b"x-openrouter-title": "B"}, "https://a.example", "B"),
        ({b"referer": "https://app.example/page?x=1"}, "https://app.example", None),
        ({b"http-referer": "nonsense", b"referer": "https://app.example/page"}, "https://app.example", None),
        ({b"http-referer": "http://localhost:3000", b"x-title": "Mine"}, "http://localhost:3000", "Mine"),
        ({b"http-referer": "http://localhost:3000"}, None, None),
        ({b"http-referer": "http://127.8.9.1"}, None, None),
        ({b"http-referer": "http://[::1]:1"}, None, None),
        ({b"http-referer": "http://app.localhost"}, None, None),
        ({b"x-title": "A title alone does nothing"}, None, None),
        ({}, None, None),
    ],
)
def test_what_headers_claim(headers: dict[bytes, str], url: str | None, title: str | None) -> None:
    claim = claim_of(headers.get)
    assert (claim and claim.url) == url
    assert (claim and claim.title) == title


def _embed(used: Used, **headers: str) -> str:
    sent = {name.replace("_", "-"): value for name, value in headers.items()}
    answer = used.server.embed(f"text {next(_numbers)}", headers=sent)
    assert answer.status == 200, answer.body
    return answer.headers["x-generation-id"]


def test_a_request_is_attributed(used: Used) -> None:
    url = "https://attributed.example/app"
    for _ in range(2):
        _embed(used, HTTP_Referer=f"{url}/?token=secret", X_OpenRouter_Title="An app", X_OpenRouter_Categories="game")
    generation = _embed(used, HTTP_Referer=url)
    found = [row for row in used.rows(metrics=["request_count"], dimensions=["app"]) if row["app"] == "An app"]
    assert [row["request_count"] for row in found] == [3]
    data = used.get(f"/generation?id={generation}").json()["data"]
    assert data["origin"] == url
    assert data["app_id"] == found[0]["app_id"]


def test_what_headers_hold_fails_no_request_and_is_logged_nowhere(used: Used) -> None:
    generation = _embed(used, HTTP_Referer="https://app.example/\x80\xff", X_Title="canary-\x9b31m-title")
    data = used.get(f"/generation?id={generation}").json()["data"]
    assert (data["origin"], data["app_id"]) in (("", None), ("", 0))
    assert "canary" not in used.server.output()


def test_the_model_is_ranked_by_what_was_public(used: Used) -> None:
    """As a request of a key that is not private."""
    _embed(used)
    today = used.get("/datasets/rankings-daily", key=KEY).json()["meta"]["as_of"][:10]
    answer = used.get(f"/datasets/rankings-daily?start_date={today}&end_date={today}", key=KEY)
    assert [row["model_permaslug"] for row in answer.json()["data"] if row["model_permaslug"].startswith(MODEL)]
