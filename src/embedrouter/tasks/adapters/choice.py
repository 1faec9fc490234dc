"""What every adapter lets its user choose: a model in this process, or one of a running server."""

from collections.abc import Sequence
from typing import NamedTuple

from embedrouter.catalog.builtin import SLUG
from embedrouter.errors import InvalidRequestError
from embedrouter.minilm.windows import shorten
from embedrouter.tasks.loaded import encoder_of
from embedrouter.tasks.server_encoder import ServerEncoder
from embedrouter.tasks.vectors import Encoder, Vectors


class Choice(NamedTuple):
    """A model, and how to embed with it."""

    folder: str | None = None  # with model.safetensors and tokenizer.json; None: the built-in model
    base_url: str | None = None  # of a running server, with /api/v1: embed there
    model: str = SLUG  # of the server
    truncate: bool | None = None  # as of MiniLM.encode
    dimensions: int | None = None  # None: all of the model's

    def check(self) -> None:
        """Raise InvalidRequestError for what contradicts itself."""
        if self.folder is not None and self.base_url is not None:
            raise InvalidRequestError("folder is of a model in this process, base_url of a server: give one of them")
        if self.dimensions is not None and self.dimensions < 1:
            raise InvalidRequestError(f"dimensions must be at least 1, not {self.dimensions}")

    def embed(self, texts: Sequence[str], api_key: str = "") -> list[list[float]]:
        """Vectors of length 1, as the libraries take them. api_key: of the server. Raises EmbedRouterError."""
        if not texts:
            return []
        found: list[list[float]] = self.vectors(texts, api_key).tolist()
        return found

    def vectors(self, texts: Sequence[str], api_key: str = "") -> Vectors:
        """(len(texts), dimensions) float32."""
        if self.base_url is not None:
            server = ServerEncoder(self.base_url, api_key, model=self.model, dimensions=self.dimensions)
            return server.encode(texts, truncate=self.truncate)
        return embed(encoder_of(self.folder), texts, self.truncate, self.dimensions)


def embed(encoder: Encoder, texts: Sequence[str], truncate: bool | None, dimensions: int | None) -> Vectors:
    """Vectors (len(texts), dimensions) of length 1, cut to their first dimensions where fewer are asked for."""
    vectors = encoder.encode(texts, truncate=truncate)
    if dimensions is None:
        return vectors
    if dimensions > vectors.shape[1]:
        raise InvalidRequestError(f"dimensions must be 1 to {vectors.shape[1]}, not {dimensions}")
    return shorten(vectors, dimensions)
