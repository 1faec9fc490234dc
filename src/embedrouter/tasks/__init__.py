"""What embeddings are for: similarity, search, ranking, clustering, near duplicates; over texts or over vectors."""

import sys
from importlib import import_module
from types import ModuleType
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from embedrouter.tasks.cluster import Cluster, Clustering, cluster
    from embedrouter.tasks.dedupe import Duplicates, deduplicate
    from embedrouter.tasks.index import Hit, Index, IndexInfo
    from embedrouter.tasks.paraphrase import Pair, paraphrase_pairs
    from embedrouter.tasks.rank import Ranked, rank
    from embedrouter.tasks.search import Match, semantic_search
    from embedrouter.tasks.transformer import EmbedTransformer
    from embedrouter.tasks.vectors import Encoder, default_encoder, unit_vectors

__all__ = [
    "Cluster",
    "Clustering",
    "Duplicates",
    "EmbedTransformer",
    "Encoder",
    "Hit",
    "Index",
    "IndexInfo",
    "Match",
    "Pair",
    "Ranked",
    "cluster",
    "deduplicate",
    "default_encoder",
    "paraphrase_pairs",
    "rank",
    "semantic_search",
    "unit_vectors",
]

_ROOMS: Final = {
    "cluster": ("Cluster", "Clustering", "cluster"),
    "dedupe": ("Duplicates", "deduplicate"),
    "index": ("Hit", "Index", "IndexInfo"),
    "paraphrase": ("Pair", "paraphrase_pairs"),
    "rank": ("Ranked", "rank"),
    "search": ("Match", "semantic_search"),
    "transformer": ("EmbedTransformer",),
    "vectors": ("Encoder", "default_encoder", "unit_vectors"),
}
_HOME: Final = {name: module for module, names in _ROOMS.items() for name in names}


def __getattr__(name: str) -> Any:
    """Each is loaded when it is asked for: scikit-learn alone takes a second, and the server needs none of them."""
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOME[name]}"), name)


class _Tasks(ModuleType):
    def __setattr__(self, name: str, value: object) -> None:
        # Importing a submodule puts its name here; where a function bears the same name, that is what is meant.
        if not (name in _HOME and isinstance(value, ModuleType)):
            super().__setattr__(name, value)


sys.modules[__name__].__class__ = _Tasks
