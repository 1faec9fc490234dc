"""The built-in model, all-MiniLM-L6-v2; usable alone: `from embedrouter.minilm import MiniLM`."""

from embedrouter.minilm.model import MiniLM

__all__ = ["MiniLM"]
