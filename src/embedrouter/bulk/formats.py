"""Which format a file has: by its suffix, or because the caller says so."""

from pathlib import Path
from typing import Generic, Literal, TypeVar, get_args

import msgspec

from embedrouter.bulk import storage
from embedrouter.errors import InvalidRequestError, nearest

SourceFormat = Literal["text", "csv", "tsv", "jsonl", "parquet"]
TargetFormat = Literal["parquet", "jsonl", "npy"]
VectorsType = Literal["float32", "float16"]
FormatT = TypeVar("FormatT", SourceFormat, TargetFormat)

STANDARD_STREAM = "-"
_GZIP = ".gz"
_SOURCE_FORMATS: tuple[SourceFormat, ...] = get_args(SourceFormat)
_TARGET_FORMATS: tuple[TargetFormat, ...] = get_args(TargetFormat)
_SOURCES: dict[str, SourceFormat] = {
    ".txt": "text",
    ".text": "text",
    ".csv": "csv",
    ".tsv": "tsv",
    ".jsonl": "jsonl",
    ".ndjson": "jsonl",
    ".parquet": "parquet",
    ".pq": "parquet",
}
_TARGETS: dict[str, TargetFormat] = {
    ".parquet": "parquet",
    ".pq": "parquet",
    ".jsonl": "jsonl",
    ".ndjson": "jsonl",
    ".npy": "npy",
}


class Place(msgspec.Struct, Generic[FormatT], frozen=True):
    """Where a file is and how its bytes are to be read or written. location None: the standard stream."""

    location: str | None  # as storage.py has them
    format: FormatT
    gzip: bool
    name: str  # what messages call it


def source_place(given: Path | str, wanted: str | None) -> Place[SourceFormat]:
    """The input that `given` names; `-` is standard input, text lines unless `wanted` says otherwise.

    Raises InvalidRequestError for an unknown suffix or format, and for Parquet from a stream or compressed again.
    """
    if str(given) == STANDARD_STREAM:
        chosen = _known(wanted, _SOURCE_FORMATS, "input") if wanted else "text"
        if chosen == "parquet":
            raise InvalidRequestError("Parquet cannot be read from standard input: name a file")
        return Place(None, chosen, gzip=False, name="standard input")
    location, name = storage.location_of(given), storage.shown(str(given))
    inner, gzipped = _inner_suffix(Path(name))
    chosen = _known(wanted, _SOURCE_FORMATS, "input") if wanted else _by_suffix(name, inner, _SOURCES, "input")
    if gzipped and chosen == "parquet":
        raise InvalidRequestError(f"{name}: Parquet is compressed inside; decompress the file first (gunzip)")
    return Place(location, chosen, gzip=gzipped, name=name)


def target_place(given: Path | str, wanted: str | None) -> Place[TargetFormat]:
    """The output that `given` names; `-` is standard output, always JSON lines. A folder is one of Parquet files.

    Raises InvalidRequestError for an unknown suffix or format, and for a format that the place cannot take.
    """
    if str(given) == STANDARD_STREAM:
        chosen = _known(wanted, _TARGET_FORMATS, "output") if wanted else "jsonl"
        if chosen != "jsonl":
            raise InvalidRequestError(f"standard output takes JSONL only: name a file for {chosen}")
        return Place(None, chosen, gzip=False, name="standard output")
    location, name = storage.location_of(given), storage.shown(str(given))
    inner, gzipped = _inner_suffix(Path(name))
    if not wanted and _is_folder(location, inner):
        return Place(location, "parquet", gzip=False, name=name)
    chosen = _known(wanted, _TARGET_FORMATS, "output") if wanted else _by_suffix(name, inner, _TARGETS, "output")
    if gzipped and chosen != "jsonl":
        raise InvalidRequestError(f"{name}: only JSONL is written compressed; leave out {_GZIP}")
    return Place(location, chosen, gzip=gzipped, name=name)


def _is_folder(location: str, suffix: str) -> bool:
    if storage.is_folder_name(location):
        return True
    found = None if suffix in _TARGETS else storage.entry(location)
    return found is not None and found.kind == "folder"


def _inner_suffix(path: Path) -> tuple[str, bool]:
    suffix = path.suffix.lower()
    if suffix == _GZIP:
        return path.with_suffix("").suffix.lower(), True
    return suffix, False


def _by_suffix(name: str, suffix: str, known: dict[str, FormatT], side: str) -> FormatT:
    if suffix in known:
        return known[suffix]
    raise InvalidRequestError(
        f"cannot tell the {side} format of {name} by its name{nearest(suffix, list(known))}: "
        f"use one of {', '.join(known)}, or --{side}-format"
    )


def _known(wanted: str, known: tuple[FormatT, ...], side: str) -> FormatT:
    for name in known:
        if name == wanted:
            return name
    raise InvalidRequestError(
        f'unknown {side} format "{wanted}"{nearest(wanted, list(known))}: the formats are {", ".join(known)}'
    )
