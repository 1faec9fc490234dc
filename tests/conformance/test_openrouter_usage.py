"""The real `openrouter` client's analytics and datasets: it raises where a field is missing."""

import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import pytest
from openrouter import OpenRouter, errors, operations
from openrouter.utils import BackoffStrategy, RetryConfig

from ledger.sums import DAY, SECOND
from server import KEY, MANAGER
from used import Used, used

__all__ = ["used"]

_NO_RETRIES = RetryConfig("none", BackoffStrategy(1, 1, 1.0, 1), retry_connection_errors=False)
_YESTERDAY = int(time.time()) // 86_400 * DAY - DAY // 2


def _client(used: Used, key: str) -> Iterator[OpenRouter]:
    with OpenRouter(api_key=key, server_url=used.server.base, retry_config=_NO_RETRIES) as made:
        yield made


@pytest.fixture
def manager(used: Used) -> Iterator[OpenRouter]:
    yield from _client(used, MANAGER)


@pytest.fixture
def client(used: Used) -> Iterator[OpenRouter]:
    yield from _client(used, KEY)


def test_activity(used: Used, manager: OpenRouter) -> None:
    key = used.books.new_key("of a client")
    used.books.used(_YESTERDAY, key=key, prompt_tokens=5)
    found = manager.analytics.get_user_activity(request={"api_key_hash": key.hash})
    assert [(row.prompt_tokens, row.requests, row.cached_tokens) for row in found.data] == [(5, 1, 0)]


def test_analytics(used: Used, manager: OpenRouter) -> None:
    used.books.used(_YESTERDAY)
    meta = manager.analytics.get_analytics_meta().data
    start = datetime.fromtimestamp(_YESTERDAY // SECOND, UTC).replace(minute=0, second=0)
    found = manager.analytics.query_analytics(
        metrics=[metric.name for metric in meta.metrics],
        dimensions=["model", "api_key_id"],
        granularity="hour",
        filters=[operations.Filter(field="model", operator="in", value=["model-a"])],
        order_by={"field": "request_count", "direction": "desc"},
        time_range={"start": start, "end": start + timedelta(hours=1)},
        limit=10,
    )
    assert found.data.metadata.row_count == len(found.data.data) >= 1


def test_rankings(used: Used, client: OpenRouter) -> None:
    used.books.used(_YESTERDAY, model="of-a-client")
    found = client.datasets.get_rankings_daily()
    assert "of-a-client-2026" in [row.model_permaslug for row in found.data]
    assert found.meta.version == "v1"
    page = client.datasets.get_app_rankings(sort="trending", limit=5)
    assert page is not None
    assert page.result.meta.version == "v1"


def test_refusals_are_typed(client: OpenRouter, manager: OpenRouter) -> None:
    with pytest.raises(errors.ForbiddenResponseError):
        client.analytics.get_analytics_meta()
    with pytest.raises(errors.BadRequestResponseError, match="metrics"):
        manager.analytics.query_analytics(metrics=["nothing"])
    with pytest.raises(errors.BadRequestResponseError, match="end_date"):
        client.datasets.get_rankings_daily(end_date="2020-01-01")
