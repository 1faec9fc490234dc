"""LangChain's `OpenAIEmbeddings` as it comes: it sends cl100k token ids, and OpenRouter answers those with no data."""

from typing import Any

import pytest
import tiktoken
from langchain_openai import OpenAIEmbeddings
from pydantic import SecretStr

from server import KEY, MODEL, Server, cl100k, cosine, rows, sentences


class _Encoding:
    """tiktoken's cl100k_base, which downloads its ranks, by a library that brings them along."""

    name = "cl100k_base"

    def encode(self, text: str, **_: Any) -> list[int]:
        return cl100k(text)

    encode_ordinary = encode

    def decode(self, ids: list[int]) -> str:
        from rs_bpe import openai

        text: str = openai.cl100k_base().decode(ids)
        return text


@pytest.fixture(autouse=True)
def _offline_encoding(monkeypatch: pytest.MonkeyPatch) -> None:
    def unknown(name: str) -> Any:
        raise KeyError(name)

    monkeypatch.setattr(tiktoken, "encoding_for_model", unknown)
    monkeypatch.setattr(tiktoken, "get_encoding", lambda _: _Encoding())


def _embeddings(server: Server, **options: Any) -> OpenAIEmbeddings:
    return OpenAIEmbeddings(model=MODEL, base_url=server.base, api_key=SecretStr(KEY), max_retries=0, **options)


def test_its_defaults_give_the_vectors_of_the_texts(live: Server) -> None:
    texts = [*sentences(20, 8), "Grüße", "日本語 text", "\U0001f9ff!"]
    found = rows(_embeddings(live).embed_documents(texts))
    assert cosine(found, live.embed(texts).vectors()) > 0.9999


def test_its_defaults_send_token_ids(live: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    """Guards the test above: were texts sent, it would prove nothing."""
    sent: list[Any] = []
    embeddings = _embeddings(live)
    create = embeddings.client.create

    def spy(**body: Any) -> Any:
        sent.append(body["input"])
        return create(**body)

    monkeypatch.setattr(embeddings.client, "create", spy)
    embeddings.embed_documents(["hello world"])
    assert sent == [[cl100k("hello world")]]


def test_a_query(live: Server) -> None:
    found = rows(_embeddings(live).embed_query("What is a vector?"))
    assert cosine(found, live.embed("What is a vector?").vectors()[0]) > 0.9999


def test_many_texts_go_in_several_requests(live: Server) -> None:
    texts = sentences(25, 5, seed=1)
    found = rows(_embeddings(live, chunk_size=4).embed_documents(texts))
    assert cosine(found, live.embed(texts).vectors()) > 0.9999


def test_fewer_dimensions(live: Server) -> None:
    assert len(_embeddings(live, dimensions=100).embed_query("hello")) == 100


def test_texts_instead_of_ids(live: Server) -> None:
    found = rows(_embeddings(live, check_embedding_ctx_length=False).embed_documents(["hello", "world"]))
    assert cosine(found, live.embed(["hello", "world"]).vectors()) > 0.9999
