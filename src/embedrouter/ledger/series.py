"""What somebody spent and used over time: the charts of the dashboard, with what it comes to and what was before.

The last hour comes from the generations, the last day from the quarters of an hour, what is longer from the sums by UTC
day, or from the quarters where those cannot tell it.
"""

from collections.abc import Sequence
from datetime import UTC, timedelta, tzinfo
from typing import Any, Final, Literal, NamedTuple

from sqlalchemy import BigInteger, ColumnElement, Connection, Select, Subquery, case, func, literal, select

from embedrouter.ledger.labels import labels
from embedrouter.ledger.logs import Reader
from embedrouter.ledger.observed import MINUTE
from embedrouter.ledger.rollups import DAYS, DAYS_OF_ALL, Columns, rows
from embedrouter.ledger.spans import Span
from embedrouter.ledger.zones import Granularity, midnight, step_of, today
from embedrouter.periods import DAY, HOUR, SECOND
from embedrouter.store.tables import generations, usage

Stretch = Literal["hour", "day", "week", "month", "year"]
Split = Literal["model", "key", "app", "provider"]

_STEPS: Final[dict[Stretch, Granularity]] = {
    "hour": "minute", "day": "hour", "week": "day", "month": "day", "year": "month",
}  # fmt: skip
_LENGTHS: Final = {"week": 7, "month": 30, "year": 365}
_SUMS: Final = ("requests", "failures", "cache_hits", "inputs", "prompt_tokens", "cost_pico")
_COLUMN: Final = {"model": "model_permaslug", "key": "key_id", "app": "app_id", "provider": "provider_name"}
_DIMENSION: Final = {"model": "model", "key": "api_key_id", "app": "app", "provider": "provider"}


class Scope(NamedTuple):
    """What counts, and whose days."""

    model_permaslug: str | None = None  # None: all
    zone: tzinfo = UTC

    def fits_days(self, split: "Split") -> bool:
        """Whether sums by UTC day and split are enough."""
        return self.zone is UTC and (self.model_permaslug is None or split in ("model", "key"))


EVERYTHING: Final = Scope()


class Totals(NamedTuple):
    """Of a time."""

    requests: int = 0
    failures: int = 0  # of them, not answered with 200
    cache_hits: int = 0
    inputs: int = 0
    tokens: int = 0
    cost_pico: int = 0


class Point(NamedTuple):
    """One model, key, app or provider in one step."""

    start: int  # as in zones.step_of: in UTC the step's first second
    id: str | int  # canonical slug, key's or app's number (0: none), provider's name
    totals: Totals


class Name(NamedTuple):
    """What people call it; None: it has no name, as requests without an app."""

    id: str | int
    label: str | None


class Series(NamedTuple):
    """Points in order of time; steps and ids without use are not there."""

    span: Span
    step: Granularity
    points: tuple[Point, ...]
    names: tuple[Name, ...]  # of the points' ids, the dearest first, then those with the most tokens
    totals: Totals
    before: Totals  # in as much time right before


def span_of(stretch: Stretch, at: int, zone: tzinfo = UTC) -> Span:
    """The last 60 minutes, 24 hours, or 7, 30 or 365 days; the running one is the last. at: microseconds."""
    if stretch in _LENGTHS:
        last = today(at, zone)
        first = last - timedelta(days=_LENGTHS[stretch] - 1)
        return Span(midnight(first, zone), midnight(last + timedelta(days=1), zone))
    step, length = (MINUTE, HOUR) if stretch == "hour" else (HOUR, DAY)
    end = (at // SECOND // step + 1) * step
    return Span(end - length, end)


def series(
    connection: Connection, reader: Reader, stretch: Stretch, split: Split, at: int, scope: Scope = EVERYTHING
) -> Series:
    """What a reader's keys did. at: now, in microseconds."""
    span = span_of(stretch, at, scope.zone)
    each = _each(connection, reader, stretch, split, span, scope)
    least: Split = "provider" if scope.model_permaslug is None else "model"  # split into the fewest rows
    before = _each(connection, reader, stretch, least, span.before, scope)
    found = connection.execute(select(each.c.step, each.c.id, *_sums(each)).group_by(each.c.step, each.c.id)).all()
    points = tuple(
        sorted(
            (Point(int(row[0]), int(row[1]) if split in ("key", "app") else row[1], _totals(row[2:])) for row in found),
            key=lambda point: (point.start, point.id),
        )
    )
    return Series(
        span,
        _STEPS[stretch],
        points,
        _names(connection, split, points),
        _together([point.totals for point in points]),
        _totals(connection.execute(select(*_sums(before))).one()),
    )


def _each(connection: Connection, reader: Reader, stretch: Stretch, split: Split, span: Span, scope: Scope) -> Subquery:
    """Requests or sums of them, each with its step and what it is split by."""
    if stretch == "hour":
        source = _requests(reader, split, span, scope)
    elif stretch == "day" or not scope.fits_days(split):
        source = _quarters(reader, split, span, scope)
    else:
        source = _days(connection, reader, split, span, scope)
    return select(
        step_of(source.c.second, _STEPS[stretch], scope.zone, *span).label("step"),
        *(source.c[name] for name in ("id", *Totals._fields)),
    ).subquery()


def _requests(reader: Reader, split: Split, span: Span, scope: Scope) -> Subquery:
    made = generations.c
    measures = (
        literal(1, BigInteger),
        case((made.status != 200, 1), else_=0),
        case((made.cache_source_id.is_not(None), 1), else_=0),
        *(made[name] for name in _SUMS[3:]),
    )
    query = _selected(made.created_at // SECOND, made[_COLUMN[split]], measures)
    within = (made.created_at >= span.start * SECOND, made.created_at < span.end * SECOND)
    return query.where(*within, *_of(reader, made.key_id), *_of_model(scope, made.model_permaslug)).subquery()


def _quarters(reader: Reader, split: Split, span: Span, scope: Scope) -> Subquery:
    query = _selected(usage.c.bucket, usage.c[_COLUMN[split]], [usage.c[name] for name in _SUMS])
    within = (usage.c.bucket >= span.start, usage.c.bucket < span.end)
    return query.where(*within, *_of(reader, usage.c.key_id), *_of_model(scope, usage.c.model_permaslug)).subquery()


def _days(connection: Connection, reader: Reader, split: Split, span: Span, scope: Scope) -> Subquery:
    if split == "key":  # each split has all there is; that of providers in the fewest rows
        rollup, id_ = DAYS["provider" if scope.model_permaslug is None else "model"], "key_id"
    else:
        rollup, id_ = (DAYS_OF_ALL if reader.key_ids is None else DAYS)[split], "of"

    def wanted(of: Columns) -> list[ColumnElement[bool]]:
        return [*_of(reader, of["key_id"]), *_of_model(scope, of["of"])]

    sums = rows(connection, rollup, span, ("bucket", id_, *_SUMS), wanted).c
    return _selected(sums.bucket, sums[id_], [sums[name] for name in _SUMS]).subquery()


def _selected(second: ColumnElement[int], id_: ColumnElement[Any], measures: Sequence[Any]) -> Select[Any]:
    """measures: as in Totals."""
    named = (measure.label(name) for measure, name in zip(measures, Totals._fields, strict=True))
    return select(second.label("second"), id_.label("id"), *named)


def _of(reader: Reader, key_id: ColumnElement[int]) -> list[ColumnElement[bool]]:
    return [] if reader.key_ids is None else [key_id.in_(reader.key_ids)]


def _of_model(scope: Scope, model: ColumnElement[Any]) -> list[ColumnElement[bool]]:
    """Not asked of the days of apps and providers: those do not tell it."""
    return [] if scope.model_permaslug is None else [model == scope.model_permaslug]


def _sums(each: Subquery) -> list[Any]:
    return [func.sum(each.c[name]) for name in Totals._fields]


def _totals(sums: Sequence[Any]) -> Totals:
    return Totals(*(int(value or 0) for value in sums))


def _together(several: Sequence[Totals]) -> Totals:
    return Totals(*map(sum, zip(*several, strict=True))) if several else Totals()


def _names(connection: Connection, split: Split, points: Sequence[Point]) -> tuple[Name, ...]:
    of: dict[str | int, list[Totals]] = {}
    for point in points:
        of.setdefault(point.id, []).append(point.totals)
    sums = {id_: _together(several) for id_, several in of.items()}
    found = labels(connection, _DIMENSION[split], list(sums))
    order = sorted(sums, key=lambda id_: (-sums[id_].cost_pico, -sums[id_].tokens, str(id_)))
    return tuple(Name(id_, None if found[id_][0] is None else str(found[id_][0])) for id_ in order)
