"""The real `openrouter` client 1.3: it checks every answer against its schema and raises if a field is missing."""

import json
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from typing import Any

import numpy as np
import pytest
from openrouter import OpenRouter, errors
from openrouter.utils import BackoffStrategy, RetryConfig

from server import KEY, MANAGER, MODEL, Server, at, cl100k, cosine, decoded

_AUTHOR, _SLUG = MODEL.split("/")
_NO_RETRIES = RetryConfig("none", BackoffStrategy(1, 1, 1.0, 1), retry_connection_errors=False)

_MODEL_PATHS = (
    "id", "canonical_slug", "name", "created", "context_length", "architecture", "architecture.modality",
    "architecture.input_modalities", "architecture.output_modalities", "pricing", "pricing.prompt",
    "pricing.completion", "top_provider", "top_provider.is_moderated", "per_request_limits", "supported_parameters",
    "default_parameters", "supported_voices", "links", "links.details",
)  # fmt: skip
_ENDPOINT_PATHS = (
    "name", "model_id", "model_name", "context_length", "pricing", "pricing.prompt", "pricing.completion",
    "provider_name", "tag", "quantization", "max_completion_tokens", "max_prompt_tokens", "supported_parameters",
    "uptime_last_5m", "uptime_last_30m", "uptime_last_1d", "supports_implicit_caching", "latency_last_30m",
    "throughput_last_30m", "native_tools", "service_tier", "supports_diarization", "supports_tool_choice",
    "supports_tool_choice.auto", "supports_tool_choice.function", "supports_tool_choice.none",
    "supports_tool_choice.required",
)  # fmt: skip
_LIST_PATHS = ("data", *(f"data.0.{path}" for path in _MODEL_PATHS), "total_count", "links", "links.next")
# What the client raises without; a value may be null, but must be there.
_REQUIRED = {
    "/api/v1/models": _LIST_PATHS,
    "/api/v1/embeddings/models": _LIST_PATHS,
    "/api/v1/models/count": ("data", "data.count"),
    f"/api/v1/model/{MODEL}": ("data", *(f"data.{path}" for path in _MODEL_PATHS)),
    f"/api/v1/models/{MODEL}/endpoints": (
        "data", "data.id", "data.name", "data.created", "data.description", "data.architecture",
        "data.architecture.modality", "data.architecture.input_modalities", "data.architecture.output_modalities",
        "data.architecture.tokenizer", "data.architecture.instruct_type", "data.endpoints",
        *(f"data.endpoints.0.{path}" for path in _ENDPOINT_PATHS),
    ),
    "/api/v1/providers": ("data", "data.0.name", "data.0.slug", "data.0.privacy_policy_url"),
}  # fmt: skip


@pytest.fixture
def client(live: Server) -> Iterator[OpenRouter]:
    with _client(live) as made:
        yield made


def _client(server: Server, key: str = KEY) -> OpenRouter:
    return OpenRouter(api_key=key, server_url=server.base, retry_config=_NO_RETRIES)


@pytest.fixture
def manager(managed: Server) -> Iterator[OpenRouter]:
    with _client(managed, MANAGER) as made:
        yield made


def _vectors(found: Any) -> list[Any]:
    return [decoded(row.embedding) for row in found.data]


@pytest.mark.parametrize("path", _REQUIRED)
def test_every_path_it_requires_is_there(live: Server, path: str) -> None:
    document = live.get(path).json()
    for required in _REQUIRED[path]:
        at(document, required)


def test_every_path_it_requires_of_an_embedding_is_there(live: Server) -> None:
    document = live.embed("hello").json()
    for path in (
        "object", "data", "data.0.object", "data.0.embedding", "model", "usage.prompt_tokens", "usage.total_tokens",
        "usage.cost_details.upstream_inference_prompt_cost", "usage.cost_details.upstream_inference_completions_cost",
    ):  # fmt: skip
        at(document, path)


def test_percentiles_are_whole_or_null(live: Server) -> None:
    """The client raises for statistics that lack one of their percentiles."""
    endpoint = live.get(f"/api/v1/models/{MODEL}/endpoints").json()["data"]["endpoints"][0]
    for field in ("latency_last_30m", "throughput_last_30m"):
        assert endpoint[field] is None or set(endpoint[field]) >= {"p50", "p75", "p90", "p99"}


def test_one_text(client: OpenRouter, live: Server) -> None:
    found: Any = client.embeddings.generate(model=MODEL, input="hello world")
    assert found.object == "list"
    assert found.model == MODEL
    assert found.id.startswith("gen-")
    assert (found.usage.prompt_tokens, found.usage.total_tokens) == (4, 4)
    assert found.usage.cost == pytest.approx(2e-8, rel=1e-12)
    np.testing.assert_array_equal(_vectors(found)[0], live.embed("hello world").vectors()[0])


def test_a_batch_keeps_its_order(client: OpenRouter, live: Server) -> None:
    texts = ["first", "second text", "third"]
    found: Any = client.embeddings.generate(model=MODEL, input=texts, encoding_format="float")
    assert [row.index for row in found.data] == [0, 1, 2]
    assert cosine(np.array(_vectors(found)), live.embed(texts).vectors()) > 0.9999


def test_base64(client: OpenRouter, live: Server) -> None:
    found: Any = client.embeddings.generate(model=MODEL, input="hello", encoding_format="base64")
    assert isinstance(found.data[0].embedding, str)
    np.testing.assert_array_equal(_vectors(found)[0], live.embed("hello").vectors()[0])


def test_token_ids(client: OpenRouter, live: Server) -> None:
    expected = live.embed("hello world").vectors()[0]
    forms: list[Any] = [cl100k("hello world"), [cl100k("hello world")]]
    for ids in forms:
        found: Any = client.embeddings.generate(model=MODEL, input=ids)
        assert cosine(_vectors(found)[0], expected) > 0.9999


def test_content_parts(client: OpenRouter, live: Server) -> None:
    parts: Any = [{"content": [{"type": "text", "text": "hello world"}]}]
    found: Any = client.embeddings.generate(model=MODEL, input=parts)
    np.testing.assert_array_equal(_vectors(found)[0], live.embed("hello world").vectors()[0])


def test_dimensions_user_and_session(client: OpenRouter) -> None:
    found: Any = client.embeddings.generate(
        model=MODEL,
        input="hello",
        dimensions=32,
        user="u",
        session_id="s",
        input_type="search_query",
        http_referer="https://example.com",
        x_open_router_title="a test",
    )
    assert len(found.data[0].embedding) == 32


def test_provider_preferences(client: OpenRouter) -> None:
    preferences: Any = {
        "order": ["builtin"],
        "allow_fallbacks": False,
        "data_collection": "deny",
        "zdr": True,
        "sort": "price",
        "max_price": {"prompt": "0.01"},
        "require_parameters": True,
    }
    found: Any = client.embeddings.generate(model=MODEL, input="hello", provider=preferences)
    assert found.usage.prompt_tokens == 3


def test_rerank(client: OpenRouter, managed: Server) -> None:
    documents: Any = ["Berlin is in Germany.", {"text": "Paris is the capital of France."}]
    found: Any = client.rerank.rerank(
        model=MODEL, query="the capital of France", documents=documents, top_n=1, user="u", session_id="s",
        provider={"only": ["builtin"]}, trace={"trace_id": "t"},
    )  # fmt: skip
    (best,) = found.results
    assert (best.index, best.document.text) == (1, "Paris is the capital of France.")
    assert 0.5 < best.relevance_score < 1
    assert (found.model, found.provider, found.usage.search_units) == (MODEL, "Builtin", 1)
    assert found.usage.cost == pytest.approx(found.usage.total_tokens * 5e-9)
    with _client(managed) as another:
        answer: Any = another.rerank.rerank(model=MODEL, query="a", documents=["b"])
        kept: Any = another.generations.get_generation(id=answer.id)
    assert kept.data.api_type == "rerank"


def test_models(client: OpenRouter) -> None:
    listed: Any = client.models.list()
    assert [model.id for model in listed.result.data] == [MODEL]
    assert listed.result.data[0].pricing.prompt == "0.000000005"
    counted: Any = client.models.count()
    assert counted.data.count == 1
    one: Any = client.models.get(author=_AUTHOR, slug=_SLUG)
    assert one.data.canonical_slug == f"{MODEL}-20251117"


def test_models_by_filter(client: OpenRouter) -> None:
    found: Any = client.models.list(
        output_modalities="embeddings", context=8192, q="minilm", sort="newest", max_price=1
    )
    assert len(found.result.data) == 1
    none: Any = client.models.list(context=8193)
    assert none.result.data == []
    text: Any = client.models.list(output_modalities="text")
    assert text.result.data == []


def test_embedding_models_are_paged_to_their_end(client: OpenRouter) -> None:
    page: Any = client.embeddings.list_models()
    assert [model.id for model in page.result.data] == [MODEL]
    following = page.next()
    assert following is None or following.result.data == []


def test_endpoints(client: OpenRouter) -> None:
    found: Any = client.endpoints.list(author=_AUTHOR, slug=_SLUG)
    (endpoint,) = found.data.endpoints
    assert endpoint.provider_name == "Builtin"
    assert endpoint.context_length == 8192


def test_providers(client: OpenRouter) -> None:
    found: Any = client.providers.list()
    assert [provider.slug for provider in found.data] == ["builtin"]


_Call = Callable[[OpenRouter], object]


@pytest.mark.parametrize(
    ("call", "error"),
    [
        (lambda c: c.embeddings.generate(model=MODEL, input=""), errors.BadRequestResponseError),
        (lambda c: c.embeddings.generate(model=MODEL, input=["a", ""]), errors.BadRequestResponseError),
        (lambda c: c.embeddings.generate(model=MODEL, input="a", dimensions=385), errors.BadRequestResponseError),
        (lambda c: c.rerank.rerank(model=MODEL, query="", documents=["a"]), errors.BadRequestResponseError),
        (
            lambda c: c.rerank.rerank(model=MODEL, query="a", documents=[{"image": "https://x.example/y.png"}]),
            errors.BadRequestResponseError,
        ),
        (lambda c: c.rerank.rerank(model="acme/none", query="a", documents=["a"]), errors.NotFoundResponseError),
        (lambda c: c.embeddings.generate(model=MODEL, input="a " * 9000), errors.BadRequestResponseError),
        (lambda c: c.embeddings.generate(model="openai/gpt-4", input="a"), errors.NotFoundResponseError),
        (
            lambda c: c.embeddings.generate(model=MODEL, input="a", provider={"only": ["other"]}),
            errors.NotFoundResponseError,
        ),
        (lambda c: c.models.get(author="x", slug="y"), errors.NotFoundResponseError),
        (lambda c: c.endpoints.list(author="x", slug="y"), errors.NotFoundResponseError),
        (lambda c: c.models.list(limit=0), errors.BadRequestResponseError),
    ],
)
def test_errors_are_its_own_types_with_our_message(client: OpenRouter, call: _Call, error: type[Any]) -> None:
    with pytest.raises(error) as caught:
        call(client)
    found: Any = caught.value
    assert found.data.error.code == found.status_code
    assert str(found) == found.data.error.message


def test_availability_reaches_the_caller(client: OpenRouter) -> None:
    with pytest.raises(errors.NotFoundResponseError) as caught:
        client.embeddings.generate(model=MODEL, input="a", provider={"only": ["other"]})
    availability = at(json.loads(caught.value.body), "error.availability")
    assert availability["code"] == "constraint_filtered"
    assert availability["excluded_by"] == ["allowed_providers"]


def test_a_wrong_key_is_unauthorized(live: Server) -> None:
    with _client(live, "sk-or-v1-wrong") as client, pytest.raises(errors.UnauthorizedResponseError):
        client.embeddings.generate(model=MODEL, input="a")


def test_a_body_over_the_limit_is_too_large(small: Server) -> None:
    with _client(small) as client, pytest.raises(errors.PayloadTooLargeResponseError) as caught:
        client.embeddings.generate(model=MODEL, input="a " * (4 << 20))
    assert caught.value.data.error.code == 413


def test_a_key_is_made_read_changed_listed_and_deleted(manager: OpenRouter, managed: Server) -> None:
    ends = datetime(2035, 1, 1, tzinfo=UTC)
    made: Any = manager.api_keys.create(
        name="made", limit=1.5, limit_reset="monthly", expires_at=ends, include_byok_in_limit=True
    )
    assert (made.data.name, made.data.limit, made.data.limit_remaining) == ("made", 1.5, 1.5)
    assert (made.data.limit_reset, made.data.expires_at) == ("monthly", ends)
    with _client(managed, made.key) as client:
        client.embeddings.generate(model=MODEL, input="hello")
    found: Any = manager.api_keys.get(hash=made.data.hash)
    assert found.data.usage == found.data.usage_daily == found.data.usage_weekly == found.data.usage_monthly == 1.5e-8
    assert found.data.last_used_at is not None
    changed: Any = manager.api_keys.update(hash=made.data.hash, name="changed", disabled=True, limit=None)
    assert (changed.data.name, changed.data.disabled, changed.data.limit) == ("changed", True, None)
    assert changed.data.limit_reset == "monthly", "what it leaves out stays"
    listed: Any = manager.api_keys.list(include_disabled=True, offset=0)
    assert listed.data[0].hash == made.data.hash
    assert manager.api_keys.delete(hash=made.data.hash).DELETED
    with pytest.raises(errors.NotFoundResponseError):
        manager.api_keys.get(hash=made.data.hash)


def test_the_current_key(manager: OpenRouter, managed: Server) -> None:
    made: Any = manager.api_keys.create(name="itself", limit=2.0, limit_reset="daily")
    with _client(managed, made.key) as client:
        found: Any = client.api_keys.get_current_key_metadata()
    assert (found.data.label, found.data.limit, found.data.limit_remaining) == (made.data.label, 2.0, 2.0)
    assert found.data.effective_budget.scope == "key_limit"
    assert found.data.effective_budget.resets_at.tzinfo is not None
    managing: Any = manager.api_keys.get_current_key_metadata()
    assert managing.data.is_management_key


def test_credits(manager: OpenRouter, managed: Server) -> None:
    before: Any = manager.credits.get_credits()
    managed.embed("hello")
    after: Any = manager.credits.get_credits()
    assert after.data.total_credits == before.data.total_credits
    assert round((after.data.total_usage - before.data.total_usage) * 1e12) == 15_000


def test_a_generation_as_soon_as_it_is_answered(managed: Server) -> None:
    with _client(managed) as client:
        answer: Any = client.embeddings.generate(model=MODEL, input=["hello", "world"])
        found: Any = client.generations.get_generation(id=answer.id)
        assert (found.data.id, found.data.tokens_prompt) == (answer.id, answer.usage.prompt_tokens)
        assert found.data.total_cost == answer.usage.cost
        assert found.data.api_type == "embeddings"
        assert [attempt.status for attempt in found.data.provider_responses] == [200]
        with pytest.raises(errors.NotFoundResponseError, match="STORE_PROMPTS"):
            client.generations.list_generation_content(id=answer.id)


@pytest.mark.parametrize(
    ("key", "call", "error"),
    [
        (KEY, lambda c: c.api_keys.create(name="x"), errors.ForbiddenResponseError),
        (KEY, lambda c: c.credits.get_credits(), errors.ForbiddenResponseError),
        ("wrong", lambda c: c.api_keys.list(), errors.UnauthorizedResponseError),
        ("wrong", lambda c: c.generations.get_generation(id="x"), errors.UnauthorizedResponseError),
        (MANAGER, lambda c: c.api_keys.create(name=""), errors.BadRequestResponseError),
        (MANAGER, lambda c: c.api_keys.update(hash="0" * 64, name="x"), errors.NotFoundResponseError),
        (MANAGER, lambda c: c.api_keys.delete(hash="0" * 64), errors.NotFoundResponseError),
        (MANAGER, lambda c: c.generations.get_generation(id="gen-none"), errors.NotFoundResponseError),
        (MANAGER, lambda c: c.embeddings.generate(model=MODEL, input="x"), errors.ForbiddenResponseError),
    ],
)
def test_refusals_of_management_are_its_own_types(managed: Server, key: str, call: _Call, error: type[Any]) -> None:
    with _client(managed, key) as client, pytest.raises(error) as caught:
        call(client)
    found: Any = caught.value
    assert found.data.error.code == found.status_code
