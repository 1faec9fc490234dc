"""Through LangChain's own vector store."""

import asyncio

import numpy as np
import pytest
from langchain_core.documents import Document
from langchain_core.vectorstores import InMemoryVectorStore

from embedrouter.errors import AuthenticationError, EmbedRouterError, InvalidRequestError, ProviderUnavailableError
from embedrouter.minilm import MiniLM
from embedrouter.tasks.adapters.langchain import EmbedRouterEmbeddings
from server import KEY, free_port, shared

TEXTS = ["Bread is baked in an oven.", "A goalkeeper saves a penalty.", "Rivers flow into the sea."]


def test_a_vector_store_finds_what_is_meant(folder: str, model: MiniLM) -> None:
    embeddings = EmbedRouterEmbeddings(folder=folder)
    np.testing.assert_allclose(embeddings.embed_documents(TEXTS), model.encode(TEXTS), atol=1e-7)
    store = InMemoryVectorStore(embeddings)
    store.add_documents([Document(text) for text in TEXTS])
    assert store.similarity_search("football", k=1)[0].page_content == TEXTS[1]
    found = asyncio.run(store.as_retriever(search_kwargs={"k": 1}).ainvoke("water"))
    assert found[0].page_content == TEXTS[2]


def test_vectors_are_cut_to_the_dimensions_asked_for(folder: str, model: MiniLM) -> None:
    embeddings = EmbedRouterEmbeddings(folder=folder, dimensions=64, truncate=True)
    np.testing.assert_allclose([embeddings.embed_query("Bread")], model.encode("Bread", dimensions=64), atol=1e-7)
    assert embeddings.embed_documents([]) == []


def test_a_running_server_embeds(model: MiniLM) -> None:
    base_url = shared().base
    embeddings = EmbedRouterEmbeddings(base_url=base_url, api_key=KEY)
    many = [f"{text} {number}" for number in range(100) for text in TEXTS]
    assert np.abs(np.array(embeddings.embed_documents(many)) - model.encode(many)).max() < 1e-3
    assert len(asyncio.run(EmbedRouterEmbeddings(base_url=base_url, api_key=KEY, dimensions=8).aembed_query("a"))) == 8


def test_what_a_server_refuses_is_said() -> None:
    base_url = shared().base
    with pytest.raises(AuthenticationError, match="401"):
        EmbedRouterEmbeddings(base_url=base_url, api_key="wrong").embed_query("a")
    with pytest.raises(EmbedRouterError, match=r"no/model"):
        EmbedRouterEmbeddings(base_url=base_url, api_key=KEY, model="no/model").embed_query("a")
    with pytest.raises(ProviderUnavailableError, match="no answer from http"):
        EmbedRouterEmbeddings(base_url=f"http://127.0.0.1:{free_port()}/v1").embed_query("a")
    with pytest.raises(InvalidRequestError, match="give one of them"):
        EmbedRouterEmbeddings(base_url=base_url, folder="model")
