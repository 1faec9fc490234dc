"""What should be the same in two places and is not: groups of rows whose sums differ."""

from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from typing import Any, Final, NamedTuple

from sqlalchemy import BigInteger, ColumnElement, Connection, Select, func, literal, or_, select, union_all

MOST: Final = 100  # findings of one check; who has more has them all for one reason


class Finding(NamedTuple):
    """One disagreement."""

    check: str
    row: str
    expected: str
    found: str

    def __str__(self) -> str:
        return f"{self.check}: {self.row} should be {self.expected}, is {self.found}"


def compare(
    connection: Connection,
    check: str,
    by: Sequence[str],
    parts: Sequence[Select[Any]],
    metrics: Sequence[str] = ("",),
) -> Iterator[Finding]:
    """Groups of the rows of `parts`, of which the sum of `made` is not the sum of `kept`, for one metric or several."""
    pairs = [(f"made_{name}", f"kept_{name}") if name else ("made", "kept") for name in metrics]
    rows = union_all(*parts).subquery()
    sums = [(func.sum(rows.c[made]), func.sum(rows.c[kept])) for made, kept in pairs]
    columns = [rows.c[name] for name in by]
    query = (
        select(*columns, *(total for pair in sums for total in pair))
        .group_by(*columns)
        .having(or_(*(made != kept for made, kept in sums)))
        .order_by(*columns)
        .limit(MOST)
    )
    for row in connection.execute(query):
        values = row[len(by) :]
        for index, name in enumerate(metrics):
            told = f"{check} ({name})" if name else check
            yield from differ(told, named(by, row), int(values[2 * index]), int(values[2 * index + 1]))


def differ(check: str, row: str, expected: int, found: int) -> Iterator[Finding]:
    if expected != found:
        yield Finding(check, row, str(expected), str(found))


def named(names: Sequence[str], values: Sequence[Any]) -> str:
    """`key_id=1, day=1767225600 (2026-01-01T00:00Z)`: enough for a WHERE."""
    return ", ".join(
        f"{name}={value}{_moment(value) if name in {'day', 'bucket', 'start'} else ''}"
        for name, value in zip(names, values, strict=False)
    )


def zero(name: str) -> ColumnElement[int]:
    return literal(0, BigInteger).label(name)


def _moment(second: Any) -> str:
    try:
        return f" ({datetime.fromtimestamp(int(second), UTC):%Y-%m-%dT%H:%MZ})" if second else ""
    except (OverflowError, ValueError):  # a damaged one
        return ""
