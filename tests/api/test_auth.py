"""Who is let in: the bearer key and nothing else."""

import pytest

from server import EMBEDDINGS, KEY, MODEL, Answer, Server

_BODY = {"model": MODEL, "input": "hello"}
_REFUSED = 'embedrouter_requests_total{status="401"}'


def _refused(answer: Answer) -> str:
    message: str = answer.error(401, "authentication")["message"]
    assert answer.headers["www-authenticate"] == "Bearer"
    assert KEY not in answer.body.decode()
    return message


def test_no_key_is_refused_with_what_to_send(live: Server) -> None:
    assert "Authorization: Bearer" in _refused(live.request("POST", EMBEDDINGS, _BODY))


@pytest.mark.parametrize(
    "header",
    [
        "",
        "Bearer",
        "Bearer ",
        f"Bearer{KEY}",
        f"Bearer {KEY}x",
        f"Bearer {KEY[:-1]}",
        f"Bearer {KEY[:-1]}0",
        f"Bearer {KEY.upper()}",
        f"Bearer {KEY} {KEY}",
        f"Bearer {KEY},",
        KEY,
        f"Token {KEY}",
        f"Basic {KEY}",
        "Basic dXNlcjpwYXNz",
        "Bearer null",
        "Bearer undefined",
        "Bearer ÿ",
        "Bearer " + "x" * 10_000,
    ],
)
def test_anything_but_the_key_is_refused(live: Server, header: str) -> None:
    _refused(live.request("POST", EMBEDDINGS, _BODY, {"Authorization": header}))


@pytest.mark.parametrize("scheme", ["Bearer", "bearer", "BEARER"])
def test_the_scheme_is_named_in_any_case(live: Server, scheme: str) -> None:
    assert live.request("POST", EMBEDDINGS, _BODY, {"Authorization": f"{scheme} {KEY}"}).status == 200


@pytest.mark.parametrize("name", ["X-API-Key", "Api-Key", "Proxy-Authorization", "X-Authorization"])
def test_other_headers_carry_no_key(live: Server, name: str) -> None:
    _refused(live.request("POST", EMBEDDINGS, _BODY, {name: f"Bearer {KEY}"}))


def test_the_key_is_checked_before_the_body_is_read(live: Server) -> None:
    _refused(live.request("POST", EMBEDDINGS, b"\xff not json"))
    head = f"POST {EMBEDDINGS} HTTP/1.1\r\nHost: x\r\nContent-Length: 1000000\r\n\r\n".encode()
    (answer,) = live.raw(head)
    _refused(answer)


def test_a_refused_client_with_a_large_body_still_reads_its_refusal(live: Server) -> None:
    _refused(live.request("POST", EMBEDDINGS, b" " * (16 << 20), {"Authorization": "Bearer wrong"}))


def test_refusals_are_counted(live: Server) -> None:
    before = live.metrics()
    live.request("POST", EMBEDDINGS, _BODY)
    after = live.metrics()
    assert after[_REFUSED] == before[_REFUSED] + 1
    reason = 'embedrouter_rejects_total{reason="authentication"}'
    assert after[reason] == before[reason] + 1


@pytest.mark.parametrize(
    "path",
    ["/api/v1/models", "/v1/models", "/api/v1/providers", "/health", "/ready", "/metrics", "/docs", "/openapi.json"],
)
def test_what_is_public_needs_no_key_and_ignores_a_wrong_one(live: Server, path: str) -> None:
    assert live.get(path).status == 200
    assert live.request("GET", path, key="wrong").status == 200
