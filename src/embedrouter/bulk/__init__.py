"""Files in, vectors out: `embed_file` reads texts, embeds them and writes the vectors, in memory that does not grow."""

from embedrouter.bulk.embed import EmbedOptions, EmbedReport, Encoder, embed_file
from embedrouter.bulk.formats import SourceFormat, TargetFormat

__all__ = ["EmbedOptions", "EmbedReport", "Encoder", "SourceFormat", "TargetFormat", "embed_file"]
