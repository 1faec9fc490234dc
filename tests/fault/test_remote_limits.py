"""A key's limits at a provider that takes its time: passed by nobody, whether its requests held before or not."""

from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from server import MANAGER, Server, cli, eventually, serving
from upstream import Upstream

_MODEL = "test/slow"
_TEXT = "one two three four"  # 4 tokens to the upstream, 18 bytes and some to us
_COST = 4 * 0.0005  # USD


@pytest.fixture(scope="module")
def upstream() -> Iterator[Upstream]:
    with Upstream("slow:0.02") as made:
        yield made


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory, upstream: Upstream) -> Iterator[Server]:
    folder = tmp_path_factory.mktemp("limits")
    catalog = folder / "catalog.toml"
    catalog.write_text(
        f"""
[[providers]]
slug = "slow"
wire = "openai"
base_url = "{upstream.url}"
allow_private = true
needs_credential = false

[[models]]
slug = "{_MODEL}"
dimensions = 384
context_length = 8192

[[endpoints]]
model = "{_MODEL}"
provider = "slow"
upstream_model = "slow"
price_per_million = "500"
"""
    )
    with serving(folder / "server", catalog=catalog, builtin="false", management_key=MANAGER) as made:
        yield made


def _asked(server: Server, key: str, times: int) -> Counter[int]:
    """Statuses of so many requests, 16 at a time."""

    def one(_: int) -> int:
        return server.request("POST", "/api/v1/embeddings", {"model": _MODEL, "input": _TEXT}, key=key).status

    with ThreadPoolExecutor(16) as pool:
        return Counter(pool.map(one, range(times)))


def test_money_is_spent_to_its_limit_and_not_beyond(server: Server, upstream: Upstream) -> None:
    key, _ = server.new_key(limit=0.5)  # 250 requests
    before = upstream.requests
    # While little is left, a request holds what it may cost at most; 16 at once are refused before all is spent.
    statuses = _asked(server, key, 300)
    assert set(statuses) == {200, 402}
    for _ in range(100):
        statuses += _asked(server, key, 1)
    spent = server.request("GET", "/api/v1/key", key=key).json()["data"]["usage"]
    assert spent == pytest.approx(statuses[200] * _COST)
    assert 0.5 - 26 * 0.0005 < spent <= 0.5
    assert upstream.requests - before == statuses[200]  # nobody was asked in vain


def test_requests_a_minute_are_as_many_as_may_be(server: Server, upstream: Upstream) -> None:
    key, _ = server.new_key(limit=1000, requests_per_minute=120)
    before = upstream.requests
    statuses = _asked(server, key, 160)
    assert set(statuses) == {200, 429}
    assert 120 <= statuses[200] <= 130  # and those that came back while it ran: two a second
    assert upstream.requests - before == statuses[200]


def test_most_requests_far_from_their_limits_are_written_once(server: Server) -> None:
    key, _ = server.new_key(limit=1000, limit_reset="daily", requests_per_minute=1_000_000, max_concurrent=100)
    eventually(lambda: _works_of(server, key, 50) < 75)


def _works_of(server: Server, key: str, requests: int) -> float:
    """What the database is asked to write for so many."""
    before = server.metrics()["embedrouter_commit_works_sum"]
    assert _asked(server, key, requests) == {200: requests}
    return server.metrics()["embedrouter_commit_works_sum"] - before


def test_the_books_are_right_afterwards(server: Server) -> None:
    key, _ = server.new_key(limit=0.25)
    _asked(server, key, 150)
    found = cli("doctor", "--data-dir", server.data_dir)
    assert found.returncode == 0, found.stdout + found.stderr
    assert server.request("GET", "/api/v1/key", key=key).json()["data"]["usage"] <= 0.25


def test_a_limit_that_is_lowered_meanwhile_is_kept(server: Server) -> None:
    key, data = server.new_key(limit=100)
    assert _asked(server, key, 30) == {200: 30}
    assert server.manage("PATCH", f"/keys/{data['hash']}", {"limit": 30 * _COST + _COST / 2}).status == 200
    statuses = _asked(server, key, 40)
    assert statuses == {402: 40}
