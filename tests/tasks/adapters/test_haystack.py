"""In Haystack's own pipelines."""

import asyncio

import numpy as np
import pytest
from haystack import Document, Pipeline
from haystack.components.retrievers.in_memory import InMemoryEmbeddingRetriever
from haystack.document_stores.in_memory import InMemoryDocumentStore
from haystack.utils import Secret
from numpy.typing import NDArray

from embedrouter.minilm import MiniLM
from embedrouter.tasks.adapters.haystack import EmbedRouterDocumentEmbedder, EmbedRouterTextEmbedder
from server import KEY, shared

TEXTS = ["Bread is baked in an oven.", "A goalkeeper saves a penalty.", "Rivers flow into the sea."]


def vectors_of(documents: list[Document]) -> NDArray[np.float64]:
    return np.array([document.embedding for document in documents])


def test_a_pipeline_finds_what_is_meant_also_after_it_was_stored(folder: str, model: MiniLM) -> None:
    store = InMemoryDocumentStore()
    documents = [Document(content=text, meta={"number": number}) for number, text in enumerate(TEXTS)]
    embedded = EmbedRouterDocumentEmbedder(folder=folder).run(documents=documents)["documents"]
    assert [document.embedding for document in documents] == [None] * 3
    assert np.abs(vectors_of(embedded) - model.encode(TEXTS)).max() < 1e-6
    store.write_documents(embedded)
    pipeline = Pipeline()
    pipeline.add_component("embed", EmbedRouterTextEmbedder(folder=folder))
    pipeline.add_component("find", InMemoryEmbeddingRetriever(store, top_k=1))
    pipeline.connect("embed.embedding", "find.query_embedding")
    assert pipeline.run({"embed": {"text": "football"}})["find"]["documents"][0].content == TEXTS[1]
    stored = Pipeline.loads(pipeline.dumps(), allowed_modules=["embedrouter.tasks.adapters.haystack"])
    assert stored.to_dict()["components"]["embed"] == pipeline.to_dict()["components"]["embed"]


def test_metadata_is_embedded_with_the_content(folder: str, model: MiniLM) -> None:
    embedder = EmbedRouterDocumentEmbedder(folder=folder, meta_fields_to_embed=["title"], embedding_separator=": ")
    again = EmbedRouterDocumentEmbedder.from_dict(embedder.to_dict())
    documents = [Document(content="It rises.", meta={"title": "Bread"}), Document(content="It rises.")]
    found = asyncio.run(again.run_async(documents=documents))["documents"]
    assert np.abs(vectors_of(found) - model.encode(["Bread: It rises.", "It rises."])).max() < 1e-6


def test_a_running_server_embeds_and_only_the_name_of_its_key_is_stored(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OUR_KEY", KEY)
    embedder = EmbedRouterTextEmbedder(base_url=shared().base, api_key=Secret.from_env_var("OUR_KEY"))
    stored = embedder.to_dict()
    assert KEY not in str(stored)
    again = EmbedRouterTextEmbedder.from_dict(stored)
    assert again.run(text="a") == embedder.run(text="a")
    assert len(again.run(text="a")["embedding"]) == 384
