"""Filling a search index from files, batch by batch."""

import sys
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import islice
from pathlib import Path
from typing import Any, NamedTuple

from embedrouter.bulk.documents import DocumentReader, Passage
from embedrouter.bulk.encoding import for_rows
from embedrouter.bulk.progress import meter
from embedrouter.errors import ConflictError, ContextLengthExceededError, InvalidRequestError
from embedrouter.minilm import MiniLM
from embedrouter.minilm.model import long_input_rule
from embedrouter.minilm.windows import LongInput
from embedrouter.tasks.index import Index
from embedrouter.tasks.index_files import read_facts
from embedrouter.tasks.vectors import Vectors

_AT_ONCE = 2048  # passages
_NAMED = 3  # sources in a message


class Ruled:
    """The built-in model with one rule for long texts, which the vectors of an index have to share."""

    def __init__(self, model: MiniLM, rule: LongInput) -> None:
        self._model = model
        self._rule = rule

    @property
    def dimensions(self) -> int:
        return self._model.dimensions

    def fingerprint(self) -> str:
        return self._model.fingerprint(self._rule)

    def encode(self, inputs: Sequence[str], *, truncate: bool | None = None) -> Vectors:
        """Vectors by the rule, whatever `truncate` says."""
        return self._model.encode(inputs, truncate=self._rule.truncate)


def opened_index(folder: Path, model: MiniLM) -> Index:
    """An index on disk, for texts by the rule that it was built with. Raises what `Index.load` raises."""
    return Index.load(folder, Ruled(model, long_input_rule(read_facts(folder).fingerprint)))


class IndexReport(NamedTuple):
    """What was done."""

    passages: int  # added
    documents: int  # files read
    left_out: int  # what could not be read
    replaced: int  # passages taken out before
    seconds: float


def fill(index: Index, reader: DocumentReader, *, replace: bool, quiet: bool) -> IndexReport:
    """Add all passages of a reader's files. replace: in place of those that the index has of the same files.

    Raises ConflictError when it has some and they are not to be replaced, and what reading and embedding raise.
    """
    started = time.monotonic()
    replaced = _make_room(index, reader.sources, replace=replace)
    added = 0
    with meter(sys.stderr, reader.total, quiet=quiet) as progress:
        for batch in _batched(reader.passages()):
            try:
                index.add([one.text for one in batch], metadata=[dict(one.metadata) for one in batch])
            except (InvalidRequestError, ContextLengthExceededError) as error:
                raise _named(error, batch) from error
            added += len(batch)
            progress.advance(len(batch), reader.position())
    return IndexReport(added, reader.read, reader.left_out, replaced, time.monotonic() - started)


def remove(index: Index, where: Mapping[str, Any]) -> int:
    """Take out all passages with these values of their metadata. Returns how many there were."""
    return index.delete(index.matching(where))


def conditions(given: Sequence[str]) -> dict[str, list[Any]]:
    """What `field=value` texts ask for; of one field any value will do.

    CSV knows only texts and JSON knows numbers, so that 2020 means both. Raises InvalidRequestError.
    """
    wanted: dict[str, list[Any]] = {}
    for text in given:
        name, equals, value = text.partition("=")
        if not name or not equals:
            raise InvalidRequestError(f'"{text}" is no condition: write field=value, such as year=2020')
        wanted.setdefault(name, []).extend(_meanings(value))
    return wanted


def _meanings(value: str) -> Iterator[Any]:
    yield value
    if value in {"true", "false"}:
        yield value == "true"
    elif value in {"", "null"}:
        yield None
    else:
        for kind in (int, float):
            try:
                yield kind(value)
            except ValueError:
                continue
            return


def _make_room(index: Index, sources: Sequence[str], *, replace: bool) -> int:
    if not len(index):
        return 0
    there = [source for source in sources if index.matching({"source": source})]
    if there and not replace:
        more = f" and {len(there) - _NAMED} more" if len(there) > _NAMED else ""
        raise ConflictError(
            f"the index has passages of {', '.join(there[:_NAMED])}{more} already: put the new ones in their place "
            "with --replace"
        )
    return remove(index, {"source": there}) if there else 0


def _batched(passages: Iterable[Passage]) -> Iterator[list[Passage]]:
    rest = iter(passages)
    while batch := list(islice(rest, _AT_ONCE)):
        yield batch


def _named(
    error: InvalidRequestError | ContextLengthExceededError, batch: Sequence[Passage]
) -> InvalidRequestError | ContextLengthExceededError:
    """The same error with the file and row, for who knows files."""
    index = error.metadata.get("index")
    if not isinstance(index, int) or index >= len(batch):
        return error
    passage = batch[index]
    row = passage.metadata.get("row", passage.number)
    message = for_rows(error)
    if isinstance(error, ContextLengthExceededError):  # an index has one rule for long texts: no option is for this row
        message = f"{message.partition(': ')[0]}: cut long rows into passages with --split"
    return type(error)(f"{passage.source}: row {row} {message}")


def index_name(folder: Path, *, overwrite: bool) -> Path:
    """Where a new index may go. Raises InvalidRequestError before any work is done."""
    if folder.exists() and not folder.is_dir():
        raise InvalidRequestError(f"{folder} is a file: an index is a folder")
    if (folder / "index.json").exists():
        if not overwrite:
            raise InvalidRequestError(f"{folder} holds an index: use `index add`, or replace it with --overwrite")
    elif folder.exists() and any(folder.iterdir()):
        raise InvalidRequestError(f"{folder} holds other files and no index: name a new or empty folder")
    return folder
