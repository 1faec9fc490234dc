"""Haystack: components that embed a query, and documents, in its pipelines."""

import asyncio
from dataclasses import replace
from typing import Any, Self

from embedrouter.catalog.builtin import SLUG
from embedrouter.tasks.adapters.choice import Choice

try:
    from haystack import Document, component, default_from_dict, default_to_dict
    from haystack.utils import Secret
except ImportError as error:
    raise ImportError("the Haystack adapter needs haystack-ai: pip install haystack-ai") from error


class _Embedder:
    """What both components share: the built-in model, one of a folder, or with `base_url` any of a running server."""

    def __init__(
        self,
        folder: str | None = None,
        base_url: str | None = None,
        api_key: Secret | None = None,
        model: str = SLUG,
        truncate: bool | None = None,
        dimensions: int | None = None,
    ) -> None:
        """api_key: Secret.from_env_var(...), so that a pipeline can be stored. Raises InvalidRequestError."""
        self._choice = Choice(folder, base_url, model, truncate, dimensions)
        self._choice.check()
        self._api_key = api_key

    def _embed(self, texts: list[str]) -> list[list[float]]:
        key = self._api_key.resolve_value() if self._api_key is not None else None
        return self._choice.embed(texts, key or "")

    def _fields(self) -> dict[str, Any]:
        return self._choice._asdict() | {"api_key": self._api_key}

    def to_dict(self) -> dict[str, Any]:
        """For `Pipeline.dumps`."""
        return default_to_dict(self, **self._fields())

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> Self:
        """For `Pipeline.loads`."""
        return default_from_dict(cls, data)


@component
class EmbedRouterTextEmbedder(_Embedder):
    """Embeds a query."""

    @component.output_types(embedding=list[float])
    def run(self, text: str) -> dict[str, list[float]]:
        """A vector of length 1."""
        return {"embedding": self._embed([text])[0]}

    @component.output_types(embedding=list[float])
    async def run_async(self, text: str) -> dict[str, list[float]]:
        """As run, in a thread."""
        return await asyncio.to_thread(self.run, text)


@component
class EmbedRouterDocumentEmbedder(_Embedder):
    """Embeds documents, with those of their metadata that say what they are about.

    `@component` makes the class anew: `super()` would look for the one it was.
    """

    def __init__(
        self,
        folder: str | None = None,
        base_url: str | None = None,
        api_key: Secret | None = None,
        model: str = SLUG,
        truncate: bool | None = None,
        dimensions: int | None = None,
        meta_fields_to_embed: list[str] | None = None,
        embedding_separator: str = "\n",
    ) -> None:
        """meta_fields_to_embed: put before a document's content, with the separator between."""
        _Embedder.__init__(self, folder, base_url, api_key, model, truncate, dimensions)
        self._meta = list(meta_fields_to_embed or [])
        self._separator = embedding_separator

    def _fields(self) -> dict[str, Any]:
        return _Embedder._fields(self) | {"meta_fields_to_embed": self._meta, "embedding_separator": self._separator}

    @component.output_types(documents=list[Document])
    def run(self, documents: list[Document]) -> dict[str, list[Document]]:
        """Copies of the documents, each with its vector of length 1."""
        vectors = self._embed([self._text(document) for document in documents])
        pairs = zip(documents, vectors, strict=True)
        return {"documents": [replace(document, embedding=vector) for document, vector in pairs]}

    @component.output_types(documents=list[Document])
    async def run_async(self, documents: list[Document]) -> dict[str, list[Document]]:
        """As run, in a thread."""
        return await asyncio.to_thread(self.run, documents)

    def _text(self, document: Document) -> str:
        meta = [str(document.meta[field]) for field in self._meta if document.meta.get(field) is not None]
        return self._separator.join([*meta, document.content or ""])
