"""embedrouter in other libraries, one file a library; each is imported only by who uses that library.

from embedrouter.tasks.adapters.langchain import EmbedRouterEmbeddings
from embedrouter.tasks.adapters.llama_index import EmbedRouterEmbedding
from embedrouter.tasks.adapters.haystack import EmbedRouterDocumentEmbedder, EmbedRouterTextEmbedder
from embedrouter.tasks.adapters.chroma import EmbedRouterEmbeddingFunction
"""
