import threading
from collections import Counter

from server import PATIENCE, Server, eventually, sentences, shared

_MANAGEMENT = "sk-er-v1-" + "c0ffee" * 10 + "0000"


def _server() -> Server:
    return shared(management_key=_MANAGEMENT)


def _key(server: Server, **limits: object) -> str:
    made = server.request("POST", "/api/v1/keys", {"name": "of a test", **limits}, key=_MANAGEMENT)
    assert made.status == 201, made.body
    secret: str = made.json()["key"]
    return secret


def test_no_more_requests_are_under_way_than_the_key_may_have() -> None:
    server = _server()
    key = _key(server, max_concurrent=2)
    body = {"model": "sentence-transformers/all-minilm-l6-v2", "input": sentences(1500, 60)}
    statuses: Counter[int] = Counter()
    seen = threading.Event()

    def ask() -> None:
        while not seen.is_set():  # one may itself find both places taken, by the other and a small one
            statuses[server.request("POST", "/api/v1/embeddings", body, key=key).status] += 1

    slow = [threading.Thread(target=ask) for _ in range(2)]
    for thread in slow:
        thread.start()
    small = {**body, "input": "one more"}
    refused = []

    def is_refused() -> bool:
        refused.append(server.request("POST", "/api/v1/embeddings", small, key=key))
        return refused[-1].status == 429

    try:
        eventually(is_refused)
    finally:
        seen.set()
    error = refused[-1].error(429, "rate_limit_exceeded")
    assert error["metadata"]["limit"] == "max_concurrent"
    assert refused[-1].headers["retry-after"] == "1"
    for thread in slow:
        thread.join(PATIENCE)
    assert statuses[200] >= 1
    # The place is free again: at once for a request that ended.
    eventually(lambda: server.request("POST", "/api/v1/embeddings", small, key=key).status == 200)


def test_one_after_the_other_is_never_too_many() -> None:
    server = _server()
    key = _key(server, max_concurrent=1)
    for number in range(20):
        body = {"model": "sentence-transformers/all-minilm-l6-v2", "input": f"text {number}"}
        assert server.request("POST", "/api/v1/embeddings", body, key=key).status == 200
