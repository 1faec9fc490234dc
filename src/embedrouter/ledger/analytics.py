"""Analytics: sums of any metrics by any two dimensions and by time, from `usage` where that is enough.

`usage` has quarters of an hour. Minutes, single generations and percentiles come from `generations`, in ranges that are
bounded. A query that would make too many groups is refused: a wrong answer would look like a right one.
"""

from collections.abc import Mapping, Sequence
from datetime import UTC, tzinfo
from typing import Any, Final, Literal, NamedTuple

from sqlalchemy import BigInteger, Connection, Subquery, case, func, literal, select
from sqlalchemy.sql import ColumnElement

from embedrouter.errors import InvalidRequestError, nearest
from embedrouter.ledger.doctor import PRUNED, USAGE_PRUNED, pruned_until
from embedrouter.ledger.filters import Filter
from embedrouter.ledger.labels import Label, labels
from embedrouter.ledger.measures import DIMENSIONS, METRICS, Metric, Number, Sums
from embedrouter.ledger.zones import GRANULARITIES, Granularity, step_of
from embedrouter.periods import DAY, QUARTER, SECOND, iso
from embedrouter.store.tables import api_keys, generations, usage

MOST_ROWS: Final = 10_000
_MOST_GROUPS: Final = 100_000  # that are sorted in memory
_LATEST: Final = 7_258_118_400 * SECOND  # the year 2200; beyond its end no clock can tell a time
_LONGEST: Final = 3_660 * DAY
_LONGEST_DETAILED: Final = 31 * DAY
_LONGEST_MINUTES: Final = 2 * DAY


class Order(NamedTuple):
    """What rows are sorted by: a metric, a dimension or `date`."""

    field: str
    direction: Literal["asc", "desc"]


class Query(NamedTuple):
    """What to sum up, of the time from `start` until before `end`, in microseconds."""

    metrics: Sequence[str]
    start: int
    end: int
    dimensions: Sequence[str] = ()
    granularity: Granularity | None = None
    zone: tzinfo = UTC
    filters: Sequence[Filter] = ()
    order: Order | None = None
    limit: int = 1_000
    group_limit: int | None = None  # rows of one combination of dimensions

    @property
    def detailed(self) -> bool:
        """Whether sums by the quarter of an hour are not enough."""
        named = {*self.dimensions, *(one.field for one in self.filters)}
        return (
            self.granularity == "minute"
            or "generation_id" in named
            or any(METRICS[name].percent is not None for name in self.metrics)
        )

    def check(self) -> None:
        """Raises InvalidRequestError naming the field."""
        _known("metrics", self.metrics, [*METRICS])
        _known("dimensions", self.dimensions, [*DIMENSIONS])
        if not self.metrics:
            raise _wrong("metrics", "name at least one; GET /analytics/meta lists them")
        if len(self.dimensions) > 2:
            raise _wrong("dimensions", "at most 2")
        if self.granularity is not None and self.granularity not in GRANULARITIES:
            raise _wrong("granularity", f'"{self.granularity}" is none of {", ".join(GRANULARITIES)}')
        if len(self.filters) > 20:
            raise _wrong("filters", "at most 20")
        for index, one in enumerate(self.filters):
            one.check(f"filters.{index}")
        for field, value in (("limit", self.limit), ("group_limit", self.group_limit)):
            if value is not None and not 1 <= value <= MOST_ROWS:
                raise _wrong(field, f"must be 1 to {MOST_ROWS:,}")
        self._check_order()
        self._check_range()

    def _check_order(self) -> None:
        if self.order is None:
            return
        field = self.order.field
        allowed = [*self.metrics, "request_count", *self.dimensions]
        if self.granularity is not None or "generation_id" in self.dimensions:
            allowed.append("date")
        if field not in allowed:
            raise _wrong("order_by.field", f'rows have no "{field}"; one of {", ".join(dict.fromkeys(allowed))}')
        if self.order.direction not in ("asc", "desc"):
            raise _wrong("order_by.direction", 'either "asc" or "desc"')

    def _check_range(self) -> None:
        span = (self.end - self.start) // SECOND
        if self.end <= self.start:
            raise _wrong("time_range", "end must be after start")
        if self.start < 0 or self.end > _LATEST:
            raise _wrong("time_range", "from 1970 to 2200")
        if span > _LONGEST:
            raise _wrong("time_range", f"at most {_LONGEST // DAY:,} days")
        if self.granularity == "minute" and span > _LONGEST_MINUTES:
            raise _wrong("time_range", f"at most {_LONGEST_MINUTES // DAY} days by the minute")
        if self.detailed and span > _LONGEST_DETAILED:
            raise _wrong(
                "time_range", f"at most {_LONGEST_DETAILED // DAY} days for generation_id and percentiles of latency"
            )


class Row(NamedTuple):
    """A group of requests."""

    step: int | None  # as in `zones.step_of`; None without granularity
    last: int  # the second of its newest request, or of that one's quarter
    ids: tuple[Any, ...]  # of its dimensions
    labels: tuple[Label, ...]
    sums: Sums
    percentiles: Mapping[int, int]  # microseconds by percent

    def value(self, metric: Metric) -> Number:
        """A metric of this group."""
        if metric.percent is not None:
            found = self.percentiles.get(metric.percent)
            return None if found is None else found / 1000
        return metric.value(self.sums)


class Found(NamedTuple):
    """An answer."""

    rows: Sequence[Row]
    truncated: bool
    warnings: Sequence[str]


def run(connection: Connection, query: Query) -> Found:
    """Answer a query. Raises InvalidRequestError for one that is wrong or too large."""
    query.check()
    warnings: list[str] = []
    start, end = _range(connection, query, warnings)
    each = _each(connection, query, start, end, warnings)
    groups = _groups(connection, query, each)
    percents = sorted({METRICS[name].percent or 0 for name in query.metrics} - {0})
    percentiles = _percentiles(connection, query, each, percents) if percents and groups else {}
    named = [labels(connection, name, {row[1][index] for row in groups}) for index, name in enumerate(query.dimensions)]
    rows = [
        Row(
            step,
            last,
            ids,
            tuple(found[one] for found, one in zip(named, ids, strict=True)),
            sums,
            percentiles.get((step, ids), {}),
        )
        for step, ids, last, sums in groups
    ]
    kept = _limited(_sorted(rows, query), query)
    return Found(kept, len(kept) < len(rows), warnings)


def _range(connection: Connection, query: Query, warnings: list[str]) -> tuple[int, int]:
    """First and last second; where quarters are all there is, whole ones."""
    gone = pruned_until(connection, PRUNED if query.detailed else USAGE_PRUNED)
    if query.start < gone:
        what = "generations" if query.detailed else "usage"
        warnings.append(f"time_range: {what} before {iso(gone)} was removed, as the settings say")
    if query.detailed:
        return query.start, query.end
    quarter = QUARTER * SECOND
    start, end = query.start // quarter * quarter, -(-query.end // quarter) * quarter
    if (start, end) != (query.start, query.end):
        warnings.append(f"time_range: widened to whole quarters of an hour, {iso(start)} to {iso(end)}")
    return start, end


def _each(connection: Connection, query: Query, start: int, end: int, warnings: list[str]) -> Subquery:
    """What is summed up: a row of `usage` or a generation, with the keys to group it by."""
    table = generations if query.detailed else usage
    second: ColumnElement[int]
    if query.detailed:
        second = generations.c.created_at // SECOND
        within = (generations.c.created_at >= start, generations.c.created_at < end)
        measures = (
            literal(1, BigInteger),
            case((generations.c.status != 200, 1), else_=0),
            case((generations.c.cache_source_id.is_not(None), 1), else_=0),
            *(generations.c[name] for name in Sums._fields[3:]),
        )
    else:
        second = usage.c.bucket
        within = (usage.c.bucket >= start // SECOND, usage.c.bucket < end // SECOND)
        measures = tuple(usage.c[name] for name in Sums._fields)
    columns: dict[str, ColumnElement[Any]] = {
        "model": table.c.model_permaslug,
        "model_slug": table.c.model,
        "provider": table.c.provider_name,
        "api_key_id": table.c.key_id,
        "app": table.c.app_id,
        "workspace": table.c.workspace_id,
        "user": api_keys.c.owner_id,
    }
    if query.detailed:
        columns["generation_id"] = generations.c.id
    keys = [columns[name].label(f"by_{index}") for index, name in enumerate(query.dimensions)]
    if query.granularity is not None:
        keys.append(step_of(second, query.granularity, query.zone, start // SECOND, -(-end // SECOND)).label("step"))
    found = select(
        *keys,
        second.label("second"),
        *(measure.label(name) for measure, name in zip(measures, Sums._fields, strict=True)),
    )
    conditions = [one.condition(connection, columns, warnings) for one in query.filters]
    source = table.outerjoin(api_keys, api_keys.c.id == table.c.key_id)
    return found.select_from(source).where(*within, *conditions).subquery()


_Group = tuple[int | None, tuple[Any, ...], int, Sums]


def _groups(connection: Connection, query: Query, each: Subquery) -> list[_Group]:
    keys = _keys(query, each)
    last = func.max(each.c.second)
    wanted = select(*keys, last, *(func.sum(each.c[name]) for name in Sums._fields)).group_by(*keys)
    most = _MOST_GROUPS
    if "generation_id" in query.dimensions and (query.order is None or query.order.field == "date"):
        # A generation is a group of one: the database sorts, and there is no need for all of them.
        ascending = query.order is not None and query.order.direction == "asc"
        wanted = wanted.order_by(last if ascending else last.desc())
        most = query.limit
    rows = connection.execute(wanted.limit(most + 1)).all()
    if len(rows) > most == _MOST_GROUPS:
        raise _wrong(
            "time_range",
            f"this makes more than {_MOST_GROUPS:,} rows; shorten it, filter, or take a coarser granularity",
        )
    count = len(query.dimensions)
    groups: list[_Group] = []
    for row in rows:
        rest = list(row[count:])
        if rest[-1] is None:  # the sum of nothing
            continue
        step = int(rest.pop(0)) if query.granularity is not None else None
        groups.append((step, tuple(row[:count]), int(rest[0]), Sums(*map(int, rest[1:]))))
    return groups


def _percentiles(
    connection: Connection, query: Query, each: Subquery, percents: Sequence[int]
) -> dict[tuple[int | None, tuple[Any, ...]], dict[int, int]]:
    """The smallest latency that so many percent of a group do not exceed."""
    keys = _keys(query, each)
    ranked = select(
        *keys,
        each.c.latency_us,
        func.row_number().over(partition_by=keys or None, order_by=each.c.latency_us).label("rank"),
        func.count().over(partition_by=keys or None).label("size"),
    ).subquery()
    again = _keys(query, ranked)
    picked = [
        func.max(case((ranked.c.rank == (ranked.c.size * percent + 99) // 100, ranked.c.latency_us)))
        for percent in percents
    ]
    count = len(query.dimensions)
    found = {}
    for row in connection.execute(select(*again, *picked).group_by(*again)):
        step = int(row[count]) if query.granularity is not None else None
        values = row[len(again) :]
        found[step, tuple(row[:count])] = dict(zip(percents, map(int, values), strict=True))
    return found


def _keys(query: Query, of: Subquery) -> list[ColumnElement[Any]]:
    keys: list[ColumnElement[Any]] = [of.c[f"by_{index}"] for index in range(len(query.dimensions))]
    return [*keys, of.c.step] if query.granularity is not None else keys


def _sorted(rows: list[Row], query: Query) -> list[Row]:
    """By what is asked; else by time, then the first metric from its largest. Rows that lack it come last."""

    def named(row: Row) -> list[str]:
        return [str(label[0] if label[0] is not None else "") for label in row.labels] + [str(one) for one in row.ids]

    rows.sort(key=named)
    order = query.order
    if order is None and query.granularity is None and "generation_id" in query.dimensions:
        order = Order("date", "desc")
    if order is None or order.field == "date":
        _by_metric(rows, METRICS[query.metrics[0]], descending=True)
        descending = order is not None and order.direction == "desc"
        rows.sort(key=lambda row: row.step if row.step is not None else row.last, reverse=descending)
        if query.granularity is None and order is None:
            _by_metric(rows, METRICS[query.metrics[0]], descending=True)
        return rows
    rows.sort(key=lambda row: row.step or 0)
    descending = order.direction == "desc"
    if order.field in query.dimensions:
        index = list(query.dimensions).index(order.field)
        rows.sort(key=lambda row: str(row.labels[index][0] or ""), reverse=descending)
        rows.sort(key=lambda row: row.labels[index][0] is None)
    else:
        _by_metric(rows, METRICS[order.field], descending=descending)
    return rows


def _by_metric(rows: list[Row], metric: Metric, *, descending: bool) -> None:
    rows.sort(key=lambda row: row.value(metric) or 0, reverse=descending)
    rows.sort(key=lambda row: row.value(metric) is None)


def _limited(rows: list[Row], query: Query) -> list[Row]:
    if query.group_limit is None or not query.dimensions:
        return rows[: query.limit]
    seen: dict[tuple[Any, ...], int] = {}
    kept = []
    for row in rows:
        seen[row.ids] = seen.get(row.ids, 0) + 1
        if seen[row.ids] <= query.group_limit:
            kept.append(row)
    return kept[: query.limit]


def _known(field: str, given: Sequence[str], known: Sequence[str]) -> None:
    for index, name in enumerate(given):
        if name not in known:
            raise _wrong(f"{field}.{index}", f'there is no "{name}"{nearest(name, known)}')
        if name in given[:index]:
            raise _wrong(f"{field}.{index}", f'"{name}" is named twice')


def _wrong(field: str, what: str) -> InvalidRequestError:
    return InvalidRequestError(f"{field}: {what}", metadata={"field": field})
