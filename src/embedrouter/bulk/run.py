"""One run over many shards: begun or resumed, recorded shard by shard, and finished."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import BinaryIO, NamedTuple, Self

import msgspec
import pyarrow as pa

from embedrouter.bulk import manifest, storage, targets
from embedrouter.bulk.columns import OnEmpty
from embedrouter.bulk.formats import Place, SourceFormat, TargetFormat
from embedrouter.bulk.join import join
from embedrouter.bulk.manifest import Manifest
from embedrouter.bulk.readers import open_source
from embedrouter.bulk.records import merge_schemas
from embedrouter.bulk.shards import MAX_SHARDS, Choices, Done, Plan, Shard, Work, numbered, shard_name
from embedrouter.bulk.source import ReadOptions, Span
from embedrouter.errors import InvalidRequestError

_PARTS = ".parts"
_PLANNED = 2048  # rows at a time while the columns of JSON lines are found


class Wanted(NamedTuple):
    """What a run is asked to do."""

    files: tuple[Place[SourceFormat], ...]
    goal: Place[TargetFormat]
    choices: Choices
    model: str  # the fingerprint of what computes
    dimensions: int


class Run:
    """A context manager. `work` goes to whoever embeds shards; `record` and `finish` belong to this process alone."""

    def __init__(self, work: Work, record: Manifest, goal: Place[TargetFormat], *, overwrite: bool) -> None:
        self.work = work
        self.resumed = len(record.done)  # shards that an earlier run did
        self.resumed_rows = sum(work.plan.shards[number].rows for number in record.done)
        self._manifest = record
        self._goal = goal
        self._overwrite = overwrite

    @property
    def shards(self) -> int:
        """All of them."""
        return len(self.work.plan.shards)

    @property
    def total_rows(self) -> int:
        """Rows of the input."""
        return sum(shard.rows for shard in self.work.plan.shards)

    @property
    def done(self) -> list[Done]:
        """In the order of the input."""
        return [self._manifest.done[number] for number in sorted(self._manifest.done)]

    def left(self) -> list[Shard]:
        """The shards that are not done, in order."""
        return self._manifest.left()

    def record(self, done: Done) -> None:
        """A shard whose file is on disk; on return the record is, too. In any order. Not from two threads at once."""
        self._manifest.record(done)

    def finish(self) -> None:
        """Make the output of the shards, once all are done. Raises InvalidRequestError when it cannot be written."""
        if self.left():
            raise RuntimeError("there are shards to do")
        if is_folder(self._goal):
            return
        location = self._goal.location or ""
        with _replacing(location, overwrite=self._overwrite) as stream:
            join(self.work.folder, self.work.plan, self.done, stream)
        self._manifest.close()
        storage.remove_folder(self.work.folder)

    def close(self) -> None:
        """What is done stays for the next run; where nothing is done, nothing stays."""
        self._manifest.close()
        if not self._manifest.done:
            if is_folder(self._goal):
                self._manifest.remove()
            else:
                storage.remove_folder(self.work.folder)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()


def begin(
    wanted: Wanted,
    *,
    batch_rows: int = 4096,
    on_empty: OnEmpty = "error",
    dedupe: bool = False,
    overwrite: bool = False,
    restart: bool = False,
    always: bool = True,
) -> Run | None:
    """Plan the work, or go on with what an earlier run has left. restart: forget the earlier run.

    always: also for work of a single shard that makes one file; else None, and nothing was done.
    Raises InvalidRequestError for an input that cannot be read, an output that cannot be written, and for what was
    begun with other options, another model or other rows.
    """
    folder = _check_goal(wanted, overwrite=overwrite)
    recorded = None if restart else manifest.read(folder)
    if recorded and is_folder(wanted.goal) and overwrite and len(recorded.done) == len(recorded.plan.shards):
        recorded = None
    inputs = tuple(storage.identity(place.location or "") for place in wanted.files)
    if recorded and _unchanged(recorded.plan.inputs, inputs):
        plan = msgspec.structs.replace(recorded.plan, choices=wanted.choices, model=wanted.model)
    else:
        plan = _plan(wanted, inputs)
    done = manifest.still_good(recorded, plan, on_empty) if recorded else {}
    if not (always or done or len(plan.shards) > 1 or is_folder(wanted.goal)):
        return None
    storage.make_folder(folder)
    work = Work(plan, wanted.files, folder, batch_rows, on_empty, dedupe)
    held = Manifest(folder, plan, done)
    _remove_leftovers(folder, {shard_name(plan, number) for number in done})
    return Run(work, held, wanted.goal, overwrite=overwrite)


def is_folder(goal: Place[TargetFormat]) -> bool:
    """Whether the shards themselves are the output."""
    location = goal.location or ""
    if storage.is_folder_name(location):
        return True
    found = storage.entry(location)
    return found is not None and found.kind == "folder"


def _check_goal(wanted: Wanted, *, overwrite: bool) -> str:
    """The folder that the shards go to. Raises InvalidRequestError for an output that cannot be."""
    location = wanted.goal.location or ""
    found = storage.entry(location.rstrip("/") if not storage.is_remote(location) else location)
    if not is_folder(wanted.goal):
        if storage.is_remote(location):
            if found is not None and not overwrite:
                raise InvalidRequestError(f"{wanted.goal.name} exists: name another output, or --overwrite")
            return storage.hidden_sibling(location, _PARTS)
        sources = [Path(place.location) for place in wanted.files if place.location]
        return storage.hidden_sibling(str(targets.check_target(Path(location), sources, overwrite=overwrite)), _PARTS)
    if wanted.choices.output_format == "npy":
        raise InvalidRequestError("a folder takes Parquet or JSONL: name a file for npy")
    if found is not None and found.kind != "folder":
        raise InvalidRequestError(f"{wanted.goal.name} is not a folder")
    if found is None and not storage.is_remote(location) and not Path(location).parent.is_dir():
        raise InvalidRequestError(f"there is no folder {Path(location).parent} to make {Path(location).name} in")
    names = [] if found is None else storage.names_in(location)
    if names and manifest.NAME not in names:
        raise InvalidRequestError(f"{wanted.goal.name} has other files in it: name an empty or new folder")
    return location


def _plan(wanted: Wanted, inputs: tuple[storage.Identity, ...]) -> Plan:
    """Raises InvalidRequestError for what cannot be read, and for files that do not go together."""
    choices = wanted.choices
    typed = choices.output_format == "parquet"
    reading = ReadOptions(
        choices.column, _PLANNED, choices.vector_column if choices.output_format != "npy" else None, typed=typed
    )
    spans: list[list[Span]] = []
    column = ""
    schema: pa.Schema | None = None
    for place in wanted.files:
        with open_source(place, reading) as source:
            spans.append(list(source.cuts(choices.shard_rows)))
            own = source.schema() if typed else None
            if schema is not None and own is not None:
                own = _merged(schema, own, place, wanted.files[0])
            schema = own
            if column and source.column != column:
                raise InvalidRequestError(f'{place.name}: its texts are in "{source.column}", not in "{column}"')
            column = source.column
    shards = numbered(spans)
    if len(shards) > MAX_SHARDS:
        raise InvalidRequestError(f"that makes {len(shards):,} shards: take a larger --shard-rows")
    encoded = None if schema is None else schema.serialize().to_pybytes()
    return Plan(manifest.VERSION, inputs, choices, wanted.model, wanted.dimensions, column, encoded, shards)


def _merged(first: pa.Schema, own: pa.Schema, place: Place[SourceFormat], before: Place[SourceFormat]) -> pa.Schema:
    """JSON lines may have fields that other files lack; files with a schema have to have the same."""
    if place.format == "jsonl":
        return merge_schemas(first, own)
    if not own.equals(first):
        raise InvalidRequestError(f"{place.name} has other columns than {before.name}: embed them one by one")
    return first


def _unchanged(before: Sequence[storage.Identity], now: Sequence[storage.Identity]) -> bool:
    return len(before) == len(now) and all(one.same(other) for one, other in zip(before, now, strict=True))


def _remove_leftovers(folder: str, kept: set[str]) -> None:
    """What a run that was killed, or one before a restart, has left."""
    for name in storage.names_in(folder):
        if name.startswith(("part-", ".part-")) and name not in kept:
            storage.remove(storage.child(folder, name))


@contextmanager
def _replacing(location: str, *, overwrite: bool) -> Iterator[BinaryIO]:
    if storage.is_remote(location):
        with storage.creating(location) as stream:
            yield stream
        return
    target = targets.check_target(Path(location), (), overwrite=overwrite)
    with targets.replacing(target, overwrite=overwrite) as stream:
        yield stream
