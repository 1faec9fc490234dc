"""Sums of sums: what pages tell of days and months is read from few rows, and is as new as the last request.

`usage` grows with each generation. What is over is summed up again by the hour and by the day: all that is in quarters
before a mark, and nothing else. Who reads takes those sums and, from the mark on, `usage`: together each request once.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Final, NamedTuple

from sqlalchemy import BigInteger, ColumnElement, Connection, Select, Subquery, Table, cast, literal, select, union_all

from embedrouter.ledger.spans import Span
from embedrouter.periods import DAY, HOUR
from embedrouter.store.tables import app_days, marks, model_days, model_hours, usage, usage_days

MARK: Final = "rolled_up"  # in `marks`: seconds; a whole number of quarters, 15 minutes ago or older

Columns = Mapping[str, ColumnElement[Any]]
Where = Callable[[Columns], Iterable[ColumnElement[bool]]]
"""Conditions on a rollup's columns, wherever they come from."""


class Rollup(NamedTuple):
    """A table, or a split of one, with sums of `usage`. Its columns are called as there, but for `split` and `of`."""

    table: Table
    step: int  # seconds of its buckets
    split: str | None = None
    of: str | None = None  # the column of `usage` that it calls so
    of_apps: bool = False  # only public usage that names an app
    of_all: bool = False  # all keys together: as the key 0

    @property
    def keys(self) -> tuple[str, ...]:
        """What there is one row of."""
        return tuple(self.table.primary_key.columns.keys())

    @property
    def sums(self) -> tuple[str, ...]:
        """What is summed up."""
        return tuple(
            column.name
            for column in self.table.c
            if column.name not in self.keys and isinstance(column.type, BigInteger)
        )

    @property
    def live(self) -> Columns:
        """Its columns, in order, as a row of `usage` has them."""
        return {column.name: self._live(column) for column in self.table.c}

    @property
    def within(self) -> tuple[ColumnElement[bool], ...]:
        """What rows of `usage` it sums up."""
        return (usage.c.public, usage.c.app_id != 0) if self.of_apps else ()

    def _live(self, column: ColumnElement[Any]) -> ColumnElement[Any]:
        match column.key:
            case "split":
                return literal(self.split, column.type)
            case "bucket":
                return usage.c.bucket - usage.c.bucket % self.step
            case "key_id" if self.of_all:
                return literal(0, column.type)
            case "of":
                source = usage.c[str(self.of)]
                return source if source.type.python_type is str else cast(source, column.type)
        return usage.c[str(column.key)]


DAYS: Final = {
    "model": Rollup(usage_days, DAY, "model", "model_permaslug"),
    "app": Rollup(usage_days, DAY, "app", "app_id"),
    "provider": Rollup(usage_days, DAY, "provider", "provider_name"),
}
DAYS_OF_ALL: Final = {
    "model": Rollup(usage_days, DAY, "all, by model", "model_permaslug", of_all=True),
    "app": Rollup(usage_days, DAY, "all, by app", "app_id", of_all=True),
    "provider": Rollup(usage_days, DAY, "all, by provider", "provider_name", of_all=True),
}
APP_DAYS: Final = Rollup(app_days, DAY, of_apps=True)
MODEL_HOURS: Final = Rollup(model_hours, HOUR)
MODEL_DAYS: Final = Rollup(model_days, DAY)
ROLLUPS: Final = (*DAYS.values(), *DAYS_OF_ALL.values(), APP_DAYS, MODEL_HOURS, MODEL_DAYS)


def mark(connection: Connection) -> int:
    """The first second that is not summed up yet."""
    return connection.execute(select(marks.c.value).where(marks.c.name == MARK)).scalar_one_or_none() or 0


def rows(
    connection: Connection, rollup: Rollup, span: Span, names: Sequence[str], where: Where = lambda _: ()
) -> Subquery:
    """All there is of a span of whole buckets, to be grouped: a bucket's key may be there more than once."""
    return _together(_parts(rollup, span, mark(connection), names, where))


def rows_of_models(connection: Connection, span: Span, names: Sequence[str], where: Where = lambda _: ()) -> Subquery:
    """The same of a span of whole hours, not split by time: whole days are read as such."""
    until = mark(connection)
    first, last = -(-span.start // DAY) * DAY, span.end // DAY * DAY
    if first >= last:
        return _together(_parts(MODEL_HOURS, span, until, names, where))
    around = [Span(span.start, first), Span(last, span.end)]
    hours = [part for one in around if one.start < one.end for part in _parts(MODEL_HOURS, one, until, names, where)]
    return _together([*_parts(MODEL_DAYS, Span(first, last), until, names, where), *hours])


def _parts(rollup: Rollup, span: Span, until: int, names: Sequence[str], where: Where) -> list[Select[Any]]:
    parts: list[Select[Any]] = []
    if span.start < until:
        kept: Columns = dict(rollup.table.c.items())
        of = (kept["split"] == rollup.split,) if rollup.split else ()
        inside = (kept["bucket"] >= span.start, kept["bucket"] < span.end)
        parts.append(select(*(kept[name] for name in names)).where(*of, *inside, *where(kept)))
    if span.end > until:
        live = rollup.live
        inside = (usage.c.bucket >= max(span.start, until), usage.c.bucket < span.end)
        columns = (live[name].label(name) for name in names)
        parts.append(select(*columns).where(*inside, *rollup.within, *where(live)))
    return parts


def _together(parts: Sequence[Select[Any]]) -> Subquery:
    return (parts[0] if len(parts) == 1 else union_all(*parts)).subquery()
