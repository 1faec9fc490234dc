"""What has been done: a file of JSON lines beside the shards, the plan first, then a line for each shard on disk.

One process writes it. A line is on disk before the next shard is recorded, so that a crash at any time costs at most
the shards that were not recorded yet; they are written again, with the same bytes.
"""

import os
from collections.abc import Mapping
from io import FileIO
from pathlib import Path
from types import TracebackType
from typing import NamedTuple, Self

import msgspec

from embedrouter.bulk import storage
from embedrouter.bulk.columns import OnEmpty
from embedrouter.bulk.locks import hold
from embedrouter.bulk.shards import Done, Plan, Shard, shard_name
from embedrouter.errors import InvalidRequestError

VERSION = 1
NAME = "_manifest.jsonl"  # who reads a folder of Parquet passes over names that begin so
_PLAN = msgspec.json.Decoder(Plan)
_DONE = msgspec.json.Decoder(Done)


class Recorded(NamedTuple):
    """What a manifest says."""

    plan: Plan
    done: Mapping[int, Done]  # by the number of the shard


class Manifest:
    """The manifest of one run, held by this process until it is closed. A context manager."""

    def __init__(self, folder: str, plan: Plan, done: Mapping[int, Done]) -> None:
        """Begin or go on: writes the plan and what is done.

        Raises InvalidRequestError when another process holds it.
        """
        self.plan = plan
        self.done = dict(done)
        self._folder = folder
        self._location = storage.child(folder, NAME)
        self._lock = None if storage.is_remote(folder) else hold(folder)  # a store has no locks
        try:
            self._rewrite()
            self._stream = None if storage.is_remote(folder) else _growing(self._location)
        except BaseException:
            self.close()
            raise

    def left(self) -> list[Shard]:
        """The shards that are not done, in order."""
        return [shard for shard in self.plan.shards if shard.number not in self.done]

    def record(self, done: Done) -> None:
        """A shard whose file is on disk. On return the record is, too. Raises InvalidRequestError."""
        self.done[done.number] = done
        if self._stream is None:  # objects cannot grow
            self._rewrite()
            return
        try:
            self._stream.write(msgspec.json.encode(done) + b"\n")
            os.fsync(self._stream.fileno())
        except OSError as error:
            raise InvalidRequestError(f"cannot write {self._location}: {error.strerror}") from error

    def close(self) -> None:
        """Let other processes have it."""
        if (stream := getattr(self, "_stream", None)) is not None:
            stream.close()
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None

    def remove(self) -> None:
        """Remove the file."""
        storage.remove(self._location)

    def _rewrite(self) -> None:
        lines = [msgspec.json.encode(item) for item in (self.plan, *self.done.values())]
        with storage.creating(self._location) as stream:
            stream.write(b"\n".join(lines) + b"\n")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()


def read(folder: str) -> Recorded | None:
    """What an earlier run has done: shards whose files are there, of the size they had. None without a manifest.

    A last line that a crash cut short is passed over. Raises InvalidRequestError for a manifest that is none.
    """
    location = storage.child(folder, NAME)
    if storage.entry(location) is None:
        return None
    with storage.open_input(location) as stream:
        first, *rest = stream.read().split(b"\n")
    try:
        plan = _PLAN.decode(first)
        done = [_DONE.decode(line) for line in rest[:-1]]
    except msgspec.DecodeError as error:
        raise InvalidRequestError(f"{storage.shown(location)} is not a manifest of this version: --restart") from error
    return Recorded(plan, {one.number: one for one in done if _is_there(folder, plan, one)})


def still_good(recorded: Recorded, plan: Plan, on_empty: OnEmpty) -> dict[int, Done]:
    """What of an earlier run holds for `plan`: done shards whose rows have not changed. A pure function.

    on_empty "error": a shard that left rows out is done again, so that they are told.
    Raises InvalidRequestError when the plans cannot go together.
    """
    for before, now in _differences(recorded.plan, plan):
        raise InvalidRequestError(
            f"what is there was begun with {before}, and this has {now}: "
            "run the command as it was, or begin anew with --restart"
        )
    shards = {shard.number: shard for shard in plan.shards}
    good = {}
    for number, done in recorded.done.items():
        if number >= len(recorded.plan.shards) or shards.get(number) is None:
            raise InvalidRequestError(_changed(plan))
        if not _same(recorded.plan, plan, recorded.plan.shards[number], shards[number]):
            raise InvalidRequestError(_changed(plan))
        if not (done.skipped and on_empty == "error"):
            good[number] = done
    return good


def _differences(before: Plan, now: Plan) -> list[tuple[str, str]]:
    pairs: list[tuple[str, object, object]] = [("the version", before.version, now.version)]
    for name in type(now.choices).__struct_fields__:
        option = "--" + name.replace("_", "-")
        pairs.append((option, getattr(before.choices, name), getattr(now.choices, name)))
    pairs.append(("the model", before.model, now.model))  # its name has --truncate in it
    found = [(_said(what, old), _said(what, new)) for what, old, new in pairs if old != new]
    if not found and (before.schema, before.column) != (now.schema, now.column):
        found.append(("other columns", "these"))
    return found


def _said(what: str, value: object) -> str:
    """An option as one gives it."""
    if value is None:
        return f"no {what}"
    if isinstance(value, bool):
        return what if value else what.replace("--", "--no-")
    return f"{what} {value}"


def _same(before: Plan, now: Plan, old: Shard, new: Shard) -> bool:
    """Whether a shard has the rows it had. Lines have a digest of their own; of Parquet the whole file must be same."""
    if old.file != new.file or old.span != new.span:
        return False
    return bool(old.span.digest) or before.inputs[old.file].same(now.inputs[new.file])


def _changed(plan: Plan) -> str:
    names = ", ".join(one.name for one in plan.inputs[:3])
    return f"{names}: rows that are embedded already have changed since; begin anew with --restart"


def _is_there(folder: str, plan: Plan, done: Done) -> bool:
    found = storage.entry(storage.child(folder, shard_name(plan, done.number)))
    return found is not None and found.size == done.size


def _growing(location: str) -> FileIO:
    return Path(location).open("ab", buffering=0)
