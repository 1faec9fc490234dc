"""The real `openai` client, with nothing changed but its base URL and key."""

import asyncio
from collections.abc import Callable, Iterator

import numpy as np
import openai
import pytest

from server import KEY, MODEL, Server, cl100k, cosine, rows, sentences


@pytest.fixture(params=["/api/v1", "/v1"])
def client(live: Server, request: pytest.FixtureRequest) -> Iterator[openai.OpenAI]:
    with openai.OpenAI(base_url=live.root + request.param, api_key=KEY, max_retries=0) as made:
        yield made


def test_its_default_asks_for_base64_and_gives_floats(client: openai.OpenAI, live: Server) -> None:
    found = client.embeddings.create(model=MODEL, input="hello world")
    assert found.object == "list"
    assert found.model == MODEL
    assert found.usage.prompt_tokens == found.usage.total_tokens == 4
    (row,) = found.data
    assert (row.index, row.object, len(row.embedding)) == (0, "embedding", 384)
    np.testing.assert_array_equal(rows(row.embedding), live.embed("hello world").vectors()[0])


def test_floats_and_base64_are_the_same_vectors(client: openai.OpenAI) -> None:
    texts = sentences(5, 5)
    floats = client.embeddings.create(model=MODEL, input=texts, encoding_format="float")
    default = client.embeddings.create(model=MODEL, input=texts)
    assert [row.index for row in floats.data] == list(range(5))
    for one, other in zip(floats.data, default.data, strict=True):
        np.testing.assert_array_equal(rows(one.embedding), rows(other.embedding))


def test_token_ids_flat_and_nested(client: openai.OpenAI, live: Server) -> None:
    text = "token ids of the cl100k kind"
    expected = live.embed(text).vectors()[0]
    flat = client.embeddings.create(model=MODEL, input=cl100k(text))
    nested = client.embeddings.create(model=MODEL, input=[cl100k(text), cl100k("another")])
    assert len(nested.data) == 2
    for embedding in (flat.data[0].embedding, nested.data[0].embedding):
        assert cosine(rows(embedding), expected) > 0.9999


def test_dimensions(client: openai.OpenAI) -> None:
    found = client.embeddings.create(model=MODEL, input="hello", dimensions=64)
    assert len(found.data[0].embedding) == 64
    assert np.linalg.norm(found.data[0].embedding) == pytest.approx(1, abs=1e-5)


@pytest.mark.parametrize("name", ["all-minilm-l6-v2", "sentence-transformers/all-MiniLM-L6-v2"])
def test_other_names_of_the_model(client: openai.OpenAI, name: str) -> None:
    assert client.embeddings.create(model=name, input="hello").model == MODEL


def test_what_it_does_not_know_survives(client: openai.OpenAI) -> None:
    extra = {"truncate": True, "provider": {"only": ["builtin"]}, "seed": 1}
    found = client.embeddings.create(model=MODEL, input="a " * 400, user="u", extra_body=extra)
    assert found.usage.prompt_tokens == 256
    assert found.usage.model_extra is not None
    assert found.usage.model_extra["cost"] == pytest.approx(256 * 5e-9, rel=1e-12)
    assert found.model_extra is not None
    assert found.model_extra["provider"] == "Builtin"
    assert found.model_extra["id"].startswith("gen-")


def test_models_are_listed(client: openai.OpenAI) -> None:
    (model,) = client.models.list().data
    assert model.id == MODEL
    assert isinstance(model.created, int)


def test_the_raw_response_carries_the_generation_id(client: openai.OpenAI) -> None:
    raw = client.embeddings.with_raw_response.create(model=MODEL, input="hello")
    assert raw.headers["x-generation-id"] == (raw.parse().model_extra or {})["id"]
    assert "sha256:" in raw.headers["x-embedding-fingerprint"]


_Call = Callable[[openai.OpenAI], object]


@pytest.mark.parametrize(
    ("call", "error", "status"),
    [
        (lambda c: c.embeddings.create(model=MODEL, input=""), openai.BadRequestError, 400),
        (lambda c: c.embeddings.create(model=MODEL, input=[]), openai.BadRequestError, 400),
        (lambda c: c.embeddings.create(model=MODEL, input="a", dimensions=385), openai.BadRequestError, 400),
        (lambda c: c.embeddings.create(model=MODEL, input="a " * 9000), openai.BadRequestError, 400),
        (lambda c: c.embeddings.create(model="gpt-4", input="a"), openai.NotFoundError, 404),
        (
            lambda c: c.with_options(api_key="wrong").embeddings.create(model=MODEL, input="a"),
            openai.AuthenticationError,
            401,
        ),
    ],
)
def test_errors_are_its_own_types_with_our_message(
    client: openai.OpenAI, call: _Call, error: type[openai.APIStatusError], status: int
) -> None:
    with pytest.raises(error) as caught:
        call(client)
    body = caught.value.body
    assert isinstance(body, dict)
    assert body["code"] == caught.value.status_code == status
    assert body["message"] in str(caught.value)
    assert caught.value.response.headers["x-generation-id"].startswith("gen-")


def test_a_body_over_the_limit_is_a_status_error(small: Server) -> None:
    """The client is still sending when it is refused."""
    with (
        openai.OpenAI(base_url=small.base, api_key=KEY, max_retries=0) as client,
        pytest.raises(openai.APIStatusError) as caught,
    ):
        client.embeddings.create(model=MODEL, input="a " * (8 << 20))
    assert caught.value.status_code == 413


def test_it_retries_a_full_queue_until_it_is_served(small: Server) -> None:
    async def ask() -> list[int]:
        async with openai.AsyncOpenAI(base_url=small.base, api_key=KEY, max_retries=10) as client:
            calls = [client.embeddings.create(model=MODEL, input=sentences(32, 50, seed)) for seed in range(20)]
            return [len(found.data) for found in await asyncio.gather(*calls)]

    before = small.metrics()['embedrouter_requests_total{status="503"}']
    assert asyncio.run(ask()) == [32] * 20
    assert small.metrics()['embedrouter_requests_total{status="503"}'] > before, "the queue was never full"


def test_the_asynchronous_client(live: Server) -> None:
    texts = sentences(20, 4, seed=1)

    async def ask() -> list[list[float]]:
        async with openai.AsyncOpenAI(base_url=live.base, api_key=KEY, max_retries=0) as client:
            calls = [client.embeddings.create(model=MODEL, input=text) for text in texts]
            return [found.data[0].embedding for found in await asyncio.gather(*calls)]

    assert cosine(rows(asyncio.run(ask())), live.embed(texts).vectors()) > 0.9999


def test_the_asynchronous_clients_errors(live: Server) -> None:
    async def ask() -> None:
        async with openai.AsyncOpenAI(base_url=live.base, api_key="wrong", max_retries=0) as client:
            await client.embeddings.create(model=MODEL, input="a")

    with pytest.raises(openai.AuthenticationError):
        asyncio.run(ask())
