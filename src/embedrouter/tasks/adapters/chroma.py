"""Chroma: an embedding function, registered by its name, so that a stored collection finds it again."""

import os
from collections.abc import Mapping
from typing import Any, Final

import numpy as np

from embedrouter.catalog.builtin import SLUG
from embedrouter.errors import InvalidRequestError
from embedrouter.tasks.adapters.choice import Choice

try:
    from chromadb.api.types import Documents, EmbeddingFunction, Embeddings, Space
    from chromadb.utils.embedding_functions import register_embedding_function
except ImportError as error:
    raise ImportError("the Chroma adapter needs chromadb: pip install chromadb") from error

_DECIDING: Final = ("folder", "base_url", "model", "truncate", "dimensions")


@register_embedding_function
class EmbedRouterEmbeddingFunction(EmbeddingFunction[Documents]):
    """The built-in model, one of a folder, or with `base_url` any model of a running server.

    Chroma stores the configuration with the collection: of the key only the name of its environment variable.
    """

    def __init__(
        self,
        *,
        folder: str | None = None,
        base_url: str | None = None,
        api_key_env_var: str = "EMBEDROUTER_API_KEY",
        model: str = SLUG,
        truncate: bool | None = None,
        dimensions: int | None = None,
    ) -> None:
        """truncate, dimensions: as of MiniLM.encode. Raises InvalidRequestError."""
        self._choice = Choice(folder, base_url, model, truncate, dimensions)
        self._choice.check()
        self._api_key_env_var = api_key_env_var

    def __call__(self, input: Documents) -> Embeddings:  # noqa: A002
        """Vectors of length 1."""
        return list(self._choice.vectors(input, os.environ.get(self._api_key_env_var, "")).astype(np.float32))

    @staticmethod
    def name() -> str:
        """What Chroma stores it under."""
        return "embedrouter"

    def default_space(self) -> Space:
        """Cosines."""
        return "cosine"

    def get_config(self) -> dict[str, Any]:
        """What `build_from_config` takes."""
        return self._choice._asdict() | {"api_key_env_var": self._api_key_env_var}

    @staticmethod
    def build_from_config(config: dict[str, Any]) -> "EmbedRouterEmbeddingFunction":
        """The function of a stored collection."""
        return EmbedRouterEmbeddingFunction(**config)

    def validate_config_update(self, old_config: Mapping[str, Any], new_config: Mapping[str, Any]) -> None:
        """Raise InvalidRequestError where vectors would no longer compare with those stored."""
        for field in ("model", "truncate", "dimensions"):
            if old_config.get(field) != new_config.get(field):
                raise InvalidRequestError(f"{field} of a collection cannot change: its vectors were made with another")

    @staticmethod
    def validate_config(config: Mapping[str, Any]) -> None:
        """Raise InvalidRequestError for a configuration that is not one."""
        if unknown := set(config) - {*_DECIDING, "api_key_env_var"}:
            raise InvalidRequestError(
                f"no such field of embedrouter's embedding function: {', '.join(sorted(unknown))}"
            )
