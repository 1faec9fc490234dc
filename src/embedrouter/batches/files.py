"""Files: what was uploaded for batches, kept in parts, so that none ever lies in memory as a whole."""

import secrets
from collections.abc import Sequence
from typing import Final, Literal, NamedTuple

import msgspec
from sqlalchemy import Connection, and_, delete, insert, or_, select, update

from embedrouter.errors import ConflictError, NotFoundError, PayloadTooLargeError
from embedrouter.store import Batch
from embedrouter.store.batch_tables import file_parts, files

PART: Final = 1 << 20  # bytes that a part is best of
MOST_BYTES: Final = 1 << 30  # of one file
MOST: Final = 10_000  # files of one page
STEP: Final = 16  # parts that go in one transaction when a file is deleted

FileStatus = Literal["uploading", "uploaded"]


class File(msgspec.Struct, frozen=True, kw_only=True):
    """A row of `files`. Times are microseconds."""

    id: str
    key_id: int
    workspace_id: str
    owner_id: str | None
    filename: str
    purpose: str
    bytes: int
    status: FileStatus
    created_at: int
    expires_at: int | None


class NewFile(NamedTuple):
    """What to make. at: now, in microseconds."""

    id: str
    key_id: int
    workspace_id: str
    owner_id: str | None
    filename: str
    purpose: str
    at: int


class Part(NamedTuple):
    """The next bytes of a file that is being uploaded. number: from 0, so that none is there twice."""

    file_id: str
    data: bytes
    number: int | None = None  # None: the next


class Whole(NamedTuple):
    """A file all of whose parts are there. expires_at: microseconds; None for as long as files are kept."""

    file_id: str
    expires_at: int | None = None


class OfFile(NamedTuple):
    """A file of a workspace."""

    file_id: str
    workspace_id: str


class FileFilter(NamedTuple):
    """Which files to list. after: the id of the last one that was shown."""

    workspace_id: str
    limit: int = 10_000
    after: str | None = None
    purpose: str | None = None
    ascending: bool = False  # else the newest first


class FilePage(NamedTuple):
    """more: whether there are more files after these."""

    files: tuple[File, ...]
    more: bool


def new_id() -> str:
    """`file-` and 24 hex digits."""
    return f"file-{secrets.token_hex(12)}"


# --- the writer's handlers


def create(batch: Batch, wanted: Sequence[NewFile]) -> Sequence[File | Exception]:
    """Makes files without bytes, `uploading`."""
    return [_create(batch, one) for one in wanted]


def append(batch: Batch, parts: Sequence[Part]) -> Sequence[int | Exception]:
    """Adds parts; answers with the file's bytes so far, PayloadTooLargeError, ConflictError, NotFoundError."""
    return [_append(batch, part) for part in parts]


def finish(batch: Batch, wanted: Sequence[Whole]) -> Sequence[File | Exception]:
    """Says that files are whole: `uploaded`. Answers NotFoundError."""
    return [_finish(batch, one) for one in wanted]


def remove(batch: Batch, wanted: Sequence[OfFile]) -> Sequence[bool | Exception]:
    """Deletes files, a step of their parts at a time: True once all is gone, False: call again. NotFoundError."""
    return [_remove(batch, one) for one in wanted]


# --- reading


def find(connection: Connection, file_id: str, workspace_id: str | None) -> File:
    """One that is whole, of a workspace or of any. Raises NotFoundError."""
    found = _any(connection, file_id, workspace_id)
    if isinstance(found, Exception):
        raise found
    if found.status != "uploaded":
        raise _unknown()
    return found


def page(connection: Connection, wanted: FileFilter) -> FilePage:
    """Those that are whole. Raises NotFoundError for an `after` that the workspace has not."""
    table = files
    limit = max(1, min(wanted.limit, MOST))
    query = select(table).where(table.c.workspace_id == wanted.workspace_id, table.c.status == "uploaded")
    if wanted.purpose is not None:
        query = query.where(table.c.purpose == wanted.purpose)
    if wanted.after is not None:
        last = find(connection, wanted.after, wanted.workspace_id)
        same = table.c.created_at == last.created_at
        if wanted.ascending:
            query = query.where(or_(table.c.created_at > last.created_at, and_(same, table.c.id > last.id)))
        else:
            query = query.where(or_(table.c.created_at < last.created_at, and_(same, table.c.id < last.id)))
    order = [table.c.created_at, table.c.id]
    query = query.order_by(*(order if wanted.ascending else [column.desc() for column in order])).limit(limit + 1)
    found = [File(**row) for row in connection.execute(query).mappings()]
    return FilePage(tuple(found[:limit]), len(found) > limit)


def read_part(connection: Connection, file_id: str, number: int) -> bytes | None:
    """A part by its number, from 0; None: that was all."""
    query = select(file_parts.c.data).where(file_parts.c.file_id == file_id, file_parts.c.number == number)
    found = connection.execute(query).scalar_one_or_none()
    return None if found is None else bytes(found)


# --- how


def _create(batch: Batch, wanted: NewFile) -> File:
    values = {**wanted._asdict(), "bytes": 0, "status": "uploading", "created_at": wanted.at}
    del values["at"]
    return File(**batch.connection.execute(insert(files).values(values).returning(files)).mappings().one())


def _append(batch: Batch, part: Part) -> int | Exception:
    found = _any(batch.connection, part.file_id, None)
    if isinstance(found, Exception):
        return found
    if found.status != "uploading":
        return ConflictError("the file is whole already")
    size = found.bytes + len(part.data)
    if size > MOST_BYTES:
        return PayloadTooLargeError(f"a file may have {MOST_BYTES >> 20:,} MiB; send several")
    last = select(file_parts.c.number).where(file_parts.c.file_id == found.id)
    number = batch.connection.execute(last.order_by(file_parts.c.number.desc()).limit(1)).scalar_one_or_none()
    following = 0 if number is None else number + 1
    if batch.again and part.number is not None and part.number < following:
        return found.bytes
    row = {"file_id": found.id, "number": following, "data": part.data}
    batch.connection.execute(insert(file_parts).values(row))
    batch.connection.execute(update(files).where(files.c.id == found.id).values(bytes=size))
    return size


def _finish(batch: Batch, wanted: Whole) -> File | Exception:
    values = {"status": "uploaded", "expires_at": wanted.expires_at}
    whole = update(files).where(files.c.id == wanted.file_id).values(values).returning(files)
    row = batch.connection.execute(whole).mappings().one_or_none()
    return _unknown() if row is None else File(**row)


def _remove(batch: Batch, wanted: OfFile) -> bool | Exception:
    found = _any(batch.connection, wanted.file_id, wanted.workspace_id)
    if isinstance(found, Exception):
        return True if batch.again else found
    return drop_parts(batch, found.id)


def drop_parts(batch: Batch, file_id: str) -> bool:
    """Delete a step of a file's parts, and the file with the last of them; whether it is gone."""
    table = file_parts
    numbers = select(table.c.number).where(table.c.file_id == file_id).order_by(table.c.number).limit(STEP)
    some = delete(table).where(table.c.file_id == file_id, table.c.number.in_(numbers))
    if batch.connection.execute(some).rowcount == STEP:
        batch.connection.execute(update(files).where(files.c.id == file_id).values(status="uploading"))  # found no more
        return False
    batch.connection.execute(delete(files).where(files.c.id == file_id))
    return True


def _any(connection: Connection, file_id: str, workspace_id: str | None) -> File | NotFoundError:
    query = select(files).where(files.c.id == file_id)
    if workspace_id is not None:
        query = query.where(files.c.workspace_id == workspace_id)
    row = connection.execute(query).mappings().one_or_none()
    return _unknown() if row is None else File(**row)


def _unknown() -> NotFoundError:
    return NotFoundError("no file has this id", metadata={"field": "file_id"})
