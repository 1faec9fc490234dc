"""Keys: who gets past, and what is told of them. The numbers are those of the attack list.

Where secrets and texts must never be seen is in test_canary.py.
"""

import json
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from server import EMBEDDINGS, MODEL, Server, serving

_CANARY = "sk-er-v1-" + "ca9a4e" * 10 + "beef"
_BODY = {"model": MODEL, "input": "hello"}


@pytest.fixture(scope="module")
def canary(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server whose key is looked for everywhere, with all logging on."""
    folder = tmp_path_factory.mktemp("canary")
    with serving(folder, "--access-log", "--log-format", "json", key=_CANARY) as server:
        yield server


@pytest.mark.parametrize(
    "attempt",
    [
        "' OR 1=1 --",
        '"; DROP TABLE keys; --',
        "%",
        "*",
        "\\",
        "../../api-key.sha256",
        "{{7*7}}",
        "${jndi:ldap://x}",
        "null",
    ],
)
def test_19_metacharacters_in_a_key_are_a_wrong_key(live: Server, attempt: str) -> None:
    answer = live.request("POST", EMBEDDINGS, _BODY, key=attempt)
    answer.error(401, "authentication")
    assert attempt not in answer.body.decode()


def test_20_21_every_wrong_key_is_refused_alike(canary: Server) -> None:
    """The same prefix, length, label or beginning is no better than anything else."""
    wrong = [
        _CANARY[:-1],
        _CANARY[:-1] + "0",
        _CANARY + "0",
        _CANARY[:12] + "0" * 58 + _CANARY[-3:],
        f"{_CANARY[:12]}...{_CANARY[-3:]}",
        "sk-er-v1-" + "0" * 64,
        _CANARY.upper(),
        "x",
    ]
    cached = {"X-OpenRouter-Cache": "true"}
    assert canary.embed("hello", cached).status == canary.embed("hello", cached).status == 200
    answers = [canary.request("POST", EMBEDDINGS, _BODY, sent, key=key) for key in wrong for sent in ({}, cached)]
    assert {answer.status for answer in answers} == {401}
    assert len({answer.body for answer in answers}) == 1
    # Whether the connection is closed depends on whether the body had come when the key was refused.
    names = {frozenset(answer.headers) - {"connection"} for answer in answers}
    assert len(names) == 1


@pytest.mark.parametrize("name", ["api_key", "key", "access_token", "authorization", "token"])
def test_23_a_key_in_the_query_is_not_accepted(canary: Server, name: str) -> None:
    answer = canary.request("POST", f"{EMBEDDINGS}?{name}={_CANARY}", _BODY)
    answer.error(401, "authentication")
    assert _CANARY not in answer.body.decode()


@pytest.mark.parametrize("scheme", ["Digest ", "Token ", "Basic  ", "Bearer:", "bearer\t", "ApiKey ", ""])
def test_23_no_other_scheme_carries_a_key(canary: Server, scheme: str) -> None:
    canary.request("POST", EMBEDDINGS, _BODY, {"Authorization": f"{scheme}{_CANARY}"}).error(401, "authentication")


def test_23_basic_authentication_is_not_accepted(canary: Server) -> None:
    import base64

    for pair in (f"user:{_CANARY}", f"{_CANARY}:", f":{_CANARY}"):
        header = {"Authorization": "Basic " + base64.b64encode(pair.encode()).decode()}
        canary.request("POST", EMBEDDINGS, _BODY, header).error(401, "authentication")


@pytest.mark.parametrize("name", ["Authorization", "api_key", "key", "session"])
def test_23_a_key_in_a_cookie_is_not_accepted(canary: Server, name: str) -> None:
    for value in (_CANARY, f"Bearer {_CANARY}"):
        canary.request("POST", EMBEDDINGS, _BODY, {"Cookie": f"{name}={value}"}).error(401, "authentication")


def test_23_two_authorization_headers_are_no_way_in(canary: Server) -> None:
    head = canary.head("Authorization: Bearer wrong", "Content-Length: 0", "Connection: close")
    (answer,) = canary.raw(head)
    assert answer.status in (400, 401)
    assert _CANARY.encode() not in answer.body


def test_47_a_key_that_was_given_is_not_printed(canary: Server) -> None:
    """Standard output of a container is a log; only a key that was just made has to be shown."""
    assert _CANARY not in canary.output()
    assert f"{_CANARY[:12]}...{_CANARY[-3:]}" in canary.output()


def test_36_the_json_log_is_one_object_a_line(canary: Server) -> None:
    canary.embed("a", model='x"}\n{"forged":true}')
    lines = (canary.folder / "stderr").read_text().splitlines()
    assert lines
    for line in lines:
        assert "forged" not in json.loads(line)


def test_37_no_caller_can_grow_the_metrics(canary: Server) -> None:
    before = set(canary.metrics())
    for number in range(5):
        canary.embed("a", model=f"model-{number}")
        canary.request("GET", f"/api/v1/model/a/{number}", headers={"User-Agent": f"agent-{number}"})
        canary.request(f"BREW{number}", EMBEDDINGS)
    assert set(canary.metrics()) == before


def test_38_the_same_text_of_two_callers_at_once_gives_each_their_own_answer(canary: Server) -> None:
    """Identical texts in flight are computed once; the answers must not be mixed up."""
    from concurrent.futures import ThreadPoolExecutor

    inputs = [["same", f"own {number}", "same"] for number in range(24)]
    with ThreadPoolExecutor(12) as pool:
        answers = list(pool.map(canary.embed, inputs))
    assert len({answer.json()["id"] for answer in answers}) == 24
    for number, answer in enumerate(answers):
        alone = canary.embed(f"own {number}").vectors()[0]
        assert float(answer.vectors()[1] @ alone) > 0.9999


def test_47_failures_tell_nothing_of_the_inside(canary: Server) -> None:
    inside = re.compile(r"Traceback|File \"|site-packages|/src/|\.py\b|msgspec|litestar|granian/|0x[0-9a-f]{6}")
    for body in (
        "{",
        '{"model":1}',
        json.dumps({**_BODY, "provider": {"only": 1}}),
        json.dumps({**_BODY, "input": [1e300]}),
    ):
        assert not inside.search(canary.post(body).body.decode())


def test_48_without_a_key_a_strong_one_is_made_never_a_default(tmp_path: Path) -> None:
    keys = set()
    for name in ("one", "two"):
        with serving(tmp_path / name, key=None) as server:
            (key,) = set(re.findall(r"sk-er-v1-[0-9a-f]{64}", server.output()))
            keys.add(key)
            server.request("POST", EMBEDDINGS, _BODY).error(401, "authentication")
            server.request("POST", EMBEDDINGS, _BODY, key="").error(401, "authentication")
    assert len(keys) == 2
