"""Limits that count what own credentials pay for: passed by nobody, whoever answers and whatever is switched."""

from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from server import MANAGER, Answer, Server, cli, serving
from upstream import Upstream

_MODEL = "test/slow"
_TEXT = "one two three four"  # 4 tokens to the upstreams, 18 bytes and some to us
_OWN = 4 * 0.0005  # USD, by list price
_SHARED = 4 * 0.00025
_MOST = 26 * 0.0005  # a request may ask for, before it is known what it comes to


@pytest.fixture
def own() -> Iterator[Upstream]:
    with Upstream("slow:0.02") as made:
        yield made


@pytest.fixture
def server(tmp_path: Path, database_url: str, own: Upstream) -> Iterator[Server]:
    """Asks `own` with a stored credential, and then `shared`, which needs none and costs half."""
    catalog = tmp_path / "catalog.toml"
    with Upstream("slow:0.02") as shared:
        catalog.write_text(
            f"""
[[providers]]
slug = "own"
wire = "openai"
base_url = "{own.url}"
allow_private = true

[[providers]]
slug = "shared"
wire = "openai"
base_url = "{shared.url}"
allow_private = true
needs_credential = false

[[models]]
slug = "{_MODEL}"
dimensions = 384
context_length = 8192

[[endpoints]]
model = "{_MODEL}"
provider = "own"
upstream_model = "slow"
price_per_million = "500"

[[endpoints]]
model = "{_MODEL}"
provider = "shared"
upstream_model = "slow"
price_per_million = "250"
"""
        )
        settings = {"builtin": "false", "management_key": MANAGER, "database_url": database_url}
        with serving(tmp_path / "server", catalog=catalog, **settings) as made:
            assert made.manage("POST", "/byok", {"provider": "own", "key": "sk-0123456789abcdef"}).status == 201
            yield made


def _embed(server: Server, key: str) -> Answer:
    return server.request("POST", "/api/v1/embeddings", {"model": _MODEL, "input": _TEXT}, key=key)


def _asked(server: Server, key: str, times: int) -> Counter[int]:
    """Statuses of so many requests, 16 at a time, and then one by one until one is refused."""
    with ThreadPoolExecutor(16) as pool:
        statuses = Counter(pool.map(lambda _: _embed(server, key).status, range(times)))
    while (status := _embed(server, key).status) == 200:
        statuses[status] += 1
    return statuses


def _told(server: Server, key: str) -> Any:
    return server.request("GET", "/api/v1/key", key=key).json()["data"]


def _generation(server: Server, key: str, answer: Answer) -> Any:
    return server.request("GET", f"/api/v1/generation?id={answer.json()['id']}", key=key).json()["data"]


def _require_clean_books(server: Server, database_url: str) -> None:
    found = cli("doctor", "--data-dir", server.data_dir, "--database-url", database_url)
    assert found.returncode == 0, found.stdout + found.stderr


def test_a_limit_that_counts_it_is_spent_and_not_passed_and_its_switch_holds_at_once(
    server: Server, own: Upstream, database_url: str
) -> None:
    key, data = server.new_key(limit=0.1, limit_reset="daily", include_byok_in_limit=True)
    statuses = _asked(server, key, 80)
    assert set(statuses) == {200, 402}
    assert own.requests == statuses[200]  # nobody was asked in vain
    told = _told(server, key)
    used = statuses[200] * _OWN
    assert 0.1 - _MOST < used <= 0.1
    assert told["usage"] == 0
    for name in ("byok_usage", "byok_usage_daily", "byok_usage_weekly", "byok_usage_monthly"):
        assert told[name] == pytest.approx(used)
    assert told["limit_remaining"] == pytest.approx(0.1 - used)
    refused = _embed(server, key).error(402, "payment_required")
    assert refused["metadata"]["include_byok"] is True
    assert refused["metadata"]["remaining_usd"] == pytest.approx(0.1 - used)

    path = f"/keys/{data['hash']}"
    item = server.manage("PATCH", path, {"include_byok_in_limit": False}).json()["data"]
    assert (item["limit_remaining"], item["byok_usage"]) == (0.1, pytest.approx(used))
    answer = _embed(server, key)
    assert answer.json()["usage"]["cost_details"]["upstream_inference_cost"] == pytest.approx(_OWN)
    assert _generation(server, key, answer)["upstream_inference_cost"] == pytest.approx(_OWN)
    query = {
        "metrics": ["usage_upstream"],
        "filters": [{"field": "api_key_id", "operator": "eq", "value": data["hash"]}],
    }
    rows = server.manage("POST", "/analytics/query", query).json()["data"]["data"]
    assert rows[0]["usage_upstream"] == pytest.approx(used + _OWN)
    server.manage("PATCH", path, {"include_byok_in_limit": True})
    assert _embed(server, key).status == 402

    other, _ = server.new_key()
    budget = {"limit_usd": used + 2 * _OWN + _MOST, "include_byok_in_budgets": True}
    made = server.manage("PUT", "/workspaces/default/budgets/lifetime", budget).json()["data"]
    assert made["spend_usd"] == pytest.approx(used + _OWN)
    assert _asked(server, other, 16)[403] > 0
    scope = _told(server, other)["budgets"][0]
    assert scope["include_byok"] is True
    assert 0 <= scope["remaining_usd"] < _MOST
    assert scope["spend_usd"] <= budget["limit_usd"]
    budget["include_byok_in_budgets"] = False
    server.manage("PUT", "/workspaces/default/budgets/lifetime", budget)
    assert _embed(server, other).status == 200
    _require_clean_books(server, database_url)


def test_a_limit_counts_what_own_credentials_and_credits_pay_for_together(
    server: Server, own: Upstream, database_url: str
) -> None:
    key, _ = server.new_key(limit=0.06, include_byok_in_limit=True)
    own.policy = lambda number: "500" if number > 8 else "slow:0.02"  # the others are asked, on the house
    statuses = _asked(server, key, 60)
    told = _told(server, key)
    assert 0.06 - _MOST < told["usage"] + told["byok_usage"] <= 0.06
    assert told["byok_usage"] == pytest.approx(9 * _OWN)
    assert told["usage"] == pytest.approx((statuses[200] - 9) * _SHARED)
    assert told["limit_remaining"] == pytest.approx(0.06 - told["usage"] - told["byok_usage"])
    rich, _ = server.new_key()
    found = _generation(server, rich, _embed(server, rich))
    assert (found["provider_name"], found["upstream_inference_cost"]) == ("shared", None)
    assert found["usage"] == pytest.approx(_SHARED)
    _require_clean_books(server, database_url)
