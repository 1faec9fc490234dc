"""The reader for each format."""

from embedrouter.bulk.formats import Place, SourceFormat
from embedrouter.bulk.line_sources import CsvSource, JsonlSource, TextSource
from embedrouter.bulk.parquet_source import ParquetSource
from embedrouter.bulk.source import ReadOptions, Source


def open_source(place: Place[SourceFormat], options: ReadOptions) -> Source:
    """The reader for a file. Raises InvalidRequestError when it cannot be opened or has no such column."""
    match place.format:
        case "text":
            return TextSource(place, options)
        case "csv":
            return CsvSource(place, options, delimiter=",")
        case "tsv":
            return CsvSource(place, options, delimiter="\t")
        case "jsonl":
            return JsonlSource(place, options)
        case "parquet":
            return ParquetSource(place, options)
