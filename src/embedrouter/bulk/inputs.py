"""The files that an input names: one, all of a folder, or those that fit a pattern."""

import fnmatch
from pathlib import Path

from embedrouter.bulk import storage
from embedrouter.bulk.formats import STANDARD_STREAM, Place, SourceFormat, source_place
from embedrouter.errors import InvalidRequestError

_WILD = frozenset("*?[")
_PARQUET = (".parquet", ".pq")


def source_places(given: Path | str, wanted: str | None) -> tuple[Place[SourceFormat], ...]:
    """The places of an input, in the order of their names. A folder is one of Parquet files.

    Raises InvalidRequestError when there are none, or they have not the same format.
    """
    text = str(given)
    if text == STANDARD_STREAM:
        return (source_place(given, wanted),)
    location = storage.location_of(text)
    found = storage.entry(location)
    if found is not None and found.kind == "folder":
        names = [name for name in storage.names_in(location) if _is_data(name) and name.lower().endswith(_PARQUET)]
        return tuple(source_place(storage.child(location, name), wanted) for name in names) or (
            source_place(given, wanted),  # says what is wrong
        )
    if found is not None or not _WILD & set(storage.shown(text)):
        return (source_place(given, wanted),)
    places = tuple(source_place(name, wanted) for name in _matching(location))
    if not places:
        raise InvalidRequestError(f"no file fits {storage.shown(text)}")
    if len({place.format for place in places}) > 1:
        raise InvalidRequestError(f"the files of {storage.shown(text)} have not the same format: embed them one by one")
    return places


def _matching(pattern: str) -> list[str]:
    if not storage.is_remote(pattern):
        return sorted(str(path) for path in Path("/").glob(pattern.lstrip("/")) if path.is_file())
    folder, wild = storage.split(pattern)
    return [storage.child(folder, name) for name in storage.names_in(folder) if fnmatch.fnmatchcase(name, wild)]


def _is_data(name: str) -> bool:
    return not name.startswith((".", "_"))
