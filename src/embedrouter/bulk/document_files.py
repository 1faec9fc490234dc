"""Which files there are to read: those that are named, and the documents in the folders that are."""

import stat
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

from embedrouter.bulk import storage
from embedrouter.bulk.document_texts import SUFFIXES, DocumentKind
from embedrouter.bulk.formats import STANDARD_STREAM, SourceFormat, source_place
from embedrouter.errors import InvalidRequestError

Refuse = Callable[[InvalidRequestError], None]


class DocumentFile(NamedTuple):
    """A file to be read; `-` is standard input."""

    path: Path
    kind: DocumentKind | None  # None: rows
    bytes: int | None  # None where there is no telling


def named(given: Path | str, input_format: SourceFormat | None, refuse: Refuse) -> list[DocumentFile]:
    """The files that a path means. With an input_format, a file is rows of it, whatever its suffix.

    refuse: hears of what cannot be read inside a folder. Raises InvalidRequestError for a path that is not there, a
    folder without documents, and a file whose name tells no format.
    """
    if str(given) == STANDARD_STREAM:
        return [DocumentFile(Path(STANDARD_STREAM), None, None)]
    path = Path(given)
    storage.location_of(path)
    try:
        status = path.stat()
    except OSError as error:
        raise InvalidRequestError(f"cannot read {path}: {error.strerror}") from error
    if stat.S_ISDIR(status.st_mode):
        found = list(_inside(path, refuse))
        if not found:
            raise InvalidRequestError(
                f"there are no documents in {path} ({', '.join(SUFFIXES)}); name files of rows one by one"
            )
        return found
    if input_format is None and path.suffix.lower() in SUFFIXES:
        return [DocumentFile(path, SUFFIXES[path.suffix.lower()], status.st_size)]
    _check_rows(path, input_format)
    return [DocumentFile(path, None, status.st_size if stat.S_ISREG(status.st_mode) else None)]


def _check_rows(path: Path, input_format: SourceFormat | None) -> None:
    try:
        source_place(path, input_format)
    except InvalidRequestError as error:
        raise InvalidRequestError(f"{error.message}; or a document: {', '.join(SUFFIXES)}") from error


def _inside(folder: Path, refuse: Refuse) -> Iterator[DocumentFile]:
    """Documents below a folder by name, hidden ones left out. Links are followed, and each folder is entered once."""
    entered: set[tuple[int, int]] = set()
    waiting = [folder]
    while waiting:
        here = waiting.pop()
        try:
            status = here.stat()
            paths = sorted(here.iterdir())
        except OSError as error:
            refuse(InvalidRequestError(f"cannot read {here}: {error.strerror}"))
            continue
        if (status.st_dev, status.st_ino) in entered:
            continue
        entered.add((status.st_dev, status.st_ino))
        folders: list[Path] = []
        for path in (path for path in paths if not path.name.startswith(".")):
            kind = SUFFIXES.get(path.suffix.lower())
            try:
                status = path.stat()
                storage.location_of(path)
            except OSError as error:
                if kind:
                    refuse(InvalidRequestError(f"cannot read {path}: {error.strerror}"))
                continue
            except InvalidRequestError as error:
                refuse(error)
                continue
            if stat.S_ISDIR(status.st_mode):
                folders.append(path)
            elif kind and stat.S_ISREG(status.st_mode):
                yield DocumentFile(path, kind, status.st_size)
        waiting.extend(reversed(folders))
