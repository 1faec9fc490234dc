"""embedrouter: a self-hosted OpenRouter for text embeddings, with all-MiniLM-L6-v2 built in."""

from importlib.metadata import version

__version__ = version("embedrouter")
