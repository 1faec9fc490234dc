"""Files in, vectors out: `embed_file` reads texts, embeds them and writes the vectors, in memory that does not grow."""

from typing import TYPE_CHECKING, Any

from embedrouter.bulk.formats import SourceFormat, TargetFormat

if TYPE_CHECKING:
    from embedrouter.bulk.embed import EmbedOptions, EmbedReport, embed_file
    from embedrouter.bulk.encoding import Encoder

__all__ = ["EmbedOptions", "EmbedReport", "Encoder", "SourceFormat", "TargetFormat", "embed_file"]


def __getattr__(name: str) -> Any:
    """Arrow takes 60 MB and 0.2 s: it is loaded by who embeds files, not by a server that shares the command line."""
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from embedrouter.bulk import embed

    return getattr(embed, name)
