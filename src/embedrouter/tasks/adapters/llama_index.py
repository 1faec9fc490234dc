"""LlamaIndex: an embedding model for its indexes and ingestion pipelines."""

import asyncio
from typing import Self

from embedrouter.catalog.builtin import SLUG
from embedrouter.tasks.adapters.choice import Choice

try:
    from llama_index.core.base.embeddings.base import BaseEmbedding
    from llama_index.core.bridge.pydantic import Field, SecretStr, model_validator
except ImportError as error:
    raise ImportError("the LlamaIndex adapter needs llama-index-core: pip install llama-index-core") from error


class EmbedRouterEmbedding(BaseEmbedding):
    """The built-in model, one of a folder, or with `base_url` any model of a running server."""

    model_name: str = Field(default=SLUG, description="Of the server.")
    embed_batch_size: int = Field(default=256, description="Texts embedded at once.", gt=0, le=2048)
    folder: str | None = Field(default=None, description="With model.safetensors and tokenizer.json.")
    base_url: str | None = Field(default=None, description="Of a running server, with /api/v1.")
    api_key: SecretStr = Field(default=SecretStr(""), description="Of the server.", exclude=True)
    truncate: bool | None = Field(default=None, description="As of MiniLM.encode.")
    dimensions: int | None = Field(default=None, description="Of the vectors; all of the model's by default.")

    @model_validator(mode="after")
    def _check(self) -> Self:
        self._choice().check()
        return self

    @classmethod
    def class_name(cls) -> str:
        """What LlamaIndex stores it under."""
        return "EmbedRouterEmbedding"

    def _choice(self) -> Choice:
        return Choice(self.folder, self.base_url, self.model_name, self.truncate, self.dimensions)

    def _get_text_embeddings(self, texts: list[str]) -> list[list[float]]:
        return self._choice().embed(texts, self.api_key.get_secret_value())

    def _get_text_embedding(self, text: str) -> list[float]:
        return self._get_text_embeddings([text])[0]

    def _get_query_embedding(self, query: str) -> list[float]:
        return self._get_text_embedding(query)

    async def _aget_text_embeddings(self, texts: list[str]) -> list[list[float]]:
        return await asyncio.to_thread(self._get_text_embeddings, texts)

    async def _aget_text_embedding(self, text: str) -> list[float]:
        return await asyncio.to_thread(self._get_text_embedding, text)

    async def _aget_query_embedding(self, query: str) -> list[float]:
        return await self._aget_text_embedding(query)
