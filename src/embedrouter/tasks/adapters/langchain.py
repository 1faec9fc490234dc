"""LangChain: `Embeddings` for its vector stores and retrievers. The async methods run these in a thread."""

from embedrouter.catalog.builtin import SLUG
from embedrouter.tasks.adapters.choice import Choice

try:
    from langchain_core.embeddings import Embeddings
except ImportError as error:
    raise ImportError("the LangChain adapter needs langchain-core: pip install langchain-core") from error


class EmbedRouterEmbeddings(Embeddings):
    """The built-in model, one of a folder, or with `base_url` any model of a running server."""

    def __init__(
        self,
        *,
        folder: str | None = None,
        base_url: str | None = None,
        api_key: str = "",
        model: str = SLUG,
        truncate: bool | None = None,
        dimensions: int | None = None,
    ) -> None:
        """truncate, dimensions: as of MiniLM.encode. Raises InvalidRequestError."""
        self._choice = Choice(folder, base_url, model, truncate, dimensions)
        self._choice.check()
        self._api_key = api_key

    def embed_documents(self, texts: list[str]) -> list[list[float]]:
        """A vector of length 1 for each text."""
        return self._choice.embed(texts, self._api_key)

    def embed_query(self, text: str) -> list[float]:
        """The same as of a document: the model treats both alike."""
        return self.embed_documents([text])[0]
