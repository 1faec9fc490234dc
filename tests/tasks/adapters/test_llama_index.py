"""Through LlamaIndex's own index and pipeline."""

import asyncio
import json

import numpy as np
import pytest
from llama_index.core import VectorStoreIndex
from llama_index.core.bridge.pydantic import SecretStr
from llama_index.core.ingestion import IngestionPipeline
from llama_index.core.schema import Document, TextNode

from embedrouter.minilm import MiniLM
from embedrouter.tasks.adapters.llama_index import EmbedRouterEmbedding
from server import KEY, shared

TEXTS = ["Bread is baked in an oven.", "A goalkeeper saves a penalty.", "Rivers flow into the sea."]


def test_an_index_finds_what_is_meant(folder: str, model: MiniLM) -> None:
    embed_model = EmbedRouterEmbedding(folder=folder)
    index = VectorStoreIndex([TextNode(text=text) for text in TEXTS], embed_model=embed_model)
    retriever = index.as_retriever(similarity_top_k=1)
    assert retriever.retrieve("football")[0].get_content() == TEXTS[1]
    assert asyncio.run(retriever.aretrieve("water"))[0].get_content() == TEXTS[2]
    batch = asyncio.run(embed_model.aget_text_embedding_batch(TEXTS))
    np.testing.assert_allclose(batch, model.encode(TEXTS), atol=1e-7)


def test_it_is_a_step_of_a_pipeline(folder: str) -> None:
    pipeline = IngestionPipeline(transformations=[EmbedRouterEmbedding(folder=folder, dimensions=16)])
    nodes = pipeline.run(documents=[Document(text=text) for text in TEXTS])
    assert [len(node.embedding or []) for node in nodes] == [16, 16, 16]


def test_a_running_server_embeds_and_its_key_is_not_stored() -> None:
    embed_model = EmbedRouterEmbedding(base_url=shared().base, api_key=SecretStr(KEY))
    assert len(embed_model.get_query_embedding("a")) == 384
    stored = json.dumps(embed_model.to_dict())
    assert KEY not in stored + repr(embed_model)
    assert EmbedRouterEmbedding.from_dict(embed_model.to_dict()).base_url == shared().base


def test_a_folder_and_a_server_are_one_too_many() -> None:
    with pytest.raises(ValueError, match="give one of them"):
        EmbedRouterEmbedding(folder="model", base_url="http://localhost:8000/api/v1")
