"""Lines of batch jobs: one request each, with its result once it is done."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final, Literal, NamedTuple

from sqlalchemy import Connection, select

from embedrouter.fields import bad_field
from embedrouter.store.batch_tables import batch_lines

LONGEST_ID: Final = 512  # characters of a custom_id
MOST: Final = 1_000  # lines of one reading ...
_MOST_BYTES: Final = 8 << 20  # ... or bytes of their bodies and vectors; then it ends early

LineStatus = Literal["pending", "done", "failed"]


class NewLine(NamedTuple):
    """What was sent. custom_id: 1 to LONGEST_ID characters; body: JSON."""

    custom_id: str
    body: bytes


class Line(NamedTuple):
    """A row of `batch_lines`, column by column; docs in the table."""

    number: int
    custom_id: str
    body: bytes  # empty once it is done
    status: LineStatus
    status_code: int | None  # HTTP; None: it waits, or was never asked
    error_json: str | None  # {"code": HTTP status or word, "message": ..., "metadata": {...}}
    generation_id: str | None
    request_id: str | None
    tokens: int | None
    vectors: bytes | None  # float32, little-endian, (n, dimensions)
    dimensions: int | None
    encoding_format: str | None


def lines(
    connection: Connection, job_id: str, after: int = -1, limit: int = MOST, status: LineStatus | None = None
) -> Sequence[Line]:
    """The next ones by number, at most `limit`, fewer where they are big; none: that was all.

    after: the number of the last one that was read; -1: none. status: only these.
    """
    table = batch_lines
    columns = [table.c[name] for name in Line._fields]
    query = select(*columns).where(table.c.batch_id == job_id, table.c.number > after)
    if status is not None:
        query = query.where(table.c.status == status)
    query = query.order_by(table.c.number).limit(max(1, min(limit, MOST)))
    with connection.execution_options(stream_results=True).execute(query) as found:
        return list(_bounded(Line(*row) for row in found))


def check_id(custom_id: str) -> None:
    """Raise InvalidRequestError for one that PostgreSQL cannot keep."""
    if "\x00" in custom_id:
        raise bad_field("custom_id", "must not hold NUL characters")


def waiting(connection: Connection, job_id: str, after: int, limit: int) -> Sequence[int]:
    """The numbers of the next ones that are neither done nor failed."""
    table = batch_lines
    query = select(table.c.number).where(
        table.c.batch_id == job_id, table.c.number > after, table.c.status == "pending"
    )
    return list(connection.execute(query.order_by(table.c.number).limit(limit)).scalars())


def rows_of(job_id: str, first: int, added: Sequence[NewLine]) -> list[Mapping[str, Any]]:
    """Their rows, numbered from `first`."""
    empty = dict.fromkeys(name for name in Line._fields)
    return [
        {**empty, **line._asdict(), "batch_id": job_id, "number": number, "status": "pending"}
        for number, line in enumerate(added, first)
    ]


def known_ids(connection: Connection, job_id: str, added: Sequence[NewLine]) -> str | None:
    """A custom_id that is in the job already, or twice among these; None: there is none."""
    seen: set[str] = set()
    for line in added:
        if line.custom_id in seen:
            return line.custom_id
        seen.add(line.custom_id)
    ids = list(seen)
    for start in range(0, len(ids), MOST):
        some = ids[start : start + MOST]
        query = select(batch_lines.c.custom_id).where(
            batch_lines.c.batch_id == job_id, batch_lines.c.custom_id.in_(some)
        )
        twice = connection.execute(query.limit(1)).scalar_one_or_none()
        if twice is not None:
            return str(twice)
    return None


def _bounded(found: Iterator[Line]) -> Iterator[Line]:
    size = 0
    for line in found:
        yield line
        size += len(line.body) + len(line.vectors or b"")
        if size >= _MOST_BYTES:
            return
