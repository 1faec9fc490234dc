"""In Chroma's own collections."""

from pathlib import Path
from typing import Any

import chromadb
import numpy as np
import pytest
from chromadb.config import Settings

from embedrouter.errors import InvalidRequestError
from embedrouter.minilm import MiniLM
from embedrouter.tasks.adapters.chroma import EmbedRouterEmbeddingFunction
from server import KEY, shared

TEXTS = ["Bread is baked in an oven.", "A goalkeeper saves a penalty.", "Rivers flow into the sea."]


def test_a_stored_collection_finds_its_function_again(folder: str, model: MiniLM, tmp_path: Path) -> None:
    client = chromadb.PersistentClient(tmp_path, Settings(anonymized_telemetry=False))
    function: Any = EmbedRouterEmbeddingFunction(folder=folder)  # Chroma's own functions of texts fit no better
    made = client.create_collection("texts", embedding_function=function)
    made.add(ids=["bread", "football", "water"], documents=TEXTS)
    stored = made.get(include=["embeddings"])["embeddings"]
    np.testing.assert_allclose(np.asarray(stored), model.encode(TEXTS), atol=1e-7)
    again = client.get_collection("texts")
    found = again.query(query_texts=["a penalty kick in football"], n_results=1)
    assert found["ids"] == [["football"]]
    assert found["distances"] is not None
    cosine = float((model.encode(TEXTS[1]) @ model.encode("a penalty kick in football").T).item())
    assert found["distances"][0][0] == pytest.approx(1 - cosine, abs=1e-5)


def test_a_configuration_makes_the_same_function(folder: str) -> None:
    made = EmbedRouterEmbeddingFunction(folder=folder, dimensions=8)
    again = EmbedRouterEmbeddingFunction.build_from_config(made.get_config())
    np.testing.assert_array_equal(again(TEXTS), made(TEXTS))
    assert len(again(TEXTS)[0]) == 8
    with pytest.raises(InvalidRequestError, match="dimensions of a collection cannot change"):
        made.validate_config_update(made.get_config(), made.get_config() | {"dimensions": 9})
    with pytest.raises(InvalidRequestError, match="no such field.*speed"):
        made.validate_config({"speed": 1})


def test_a_running_server_embeds_and_only_the_name_of_its_key_is_stored(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OUR_KEY", KEY)
    made = EmbedRouterEmbeddingFunction(base_url=shared().base, api_key_env_var="OUR_KEY")
    assert KEY not in str(made.get_config())
    assert len(made(["a"])[0]) == 384
