"""GET /analytics/meta and POST /analytics/query: sums of any metrics by dimensions and time."""

import time
from datetime import datetime
from functools import partial
from typing import Annotated, Any, Final

import msgspec
from litestar import Request, Response, get, post
from litestar.datastructures import State

from embedrouter.api.activity import Format
from embedrouter.api.auth import MANAGEMENT
from embedrouter.api.body import read_small
from embedrouter.api.csv import wants_csv
from embedrouter.context import Context
from embedrouter.csv import csv_response
from embedrouter.errors import InvalidRequestError
from embedrouter.ledger import analytics
from embedrouter.ledger.analytics import Found, Order, Query
from embedrouter.ledger.book import now
from embedrouter.ledger.filters import OPERATORS, Filter
from embedrouter.ledger.measures import DIMENSIONS, METRICS
from embedrouter.ledger.zones import GRANULARITIES, told, zone
from embedrouter.periods import DAY, SECOND

AnyRequest = Request[Any, Any, State]
Moment = Annotated[datetime, msgspec.Meta(tz=True)]
Text = Annotated[str, msgspec.Meta(max_length=512)]
Names = Annotated[list[Text], msgspec.Meta(max_length=32)]
Scalar = Text | int | float

_DEFAULT_DAYS: Final = 30
_DEFAULT_MINUTES: Final = 60


class TimeRange(msgspec.Struct):
    """From its start until before its end."""

    start: Moment
    end: Moment


class FilterBody(msgspec.Struct):
    """A condition on a dimension."""

    field: Text
    operator: Text
    value: Scalar | list[Scalar]
    include_unset: bool = False


class OrderBody(msgspec.Struct):
    """What to sort by."""

    field: Text
    direction: Text


class QueryBody(msgspec.Struct):
    """The body of POST /analytics/query."""

    metrics: Names
    dimensions: Names | None = None
    granularity: Text | None = None
    time_range: TimeRange | None = None
    filters: list[FilterBody] | None = None
    order_by: OrderBody | None = None
    limit: int | None = None
    group_limit: int | None = None
    timezone: Text | None = None
    classifier_dimensions: Any = None
    classifier_filters: Any = None


_DECODER: Final = msgspec.json.Decoder(QueryBody)


@get(
    "/analytics/meta",
    summary="What analytics can tell",
    tags=["Analytics"],
    operation_id="getAnalyticsMeta",
    opt=MANAGEMENT,
)
async def get_analytics_meta() -> Response[Any]:
    """Metrics, dimensions, granularities and operators."""
    return Response(
        {
            "data": {
                "metrics": [
                    {
                        "name": metric.name,
                        "display_label": metric.label,
                        "display_format": metric.format,
                        "is_rate": metric.is_rate,
                    }
                    for metric in METRICS.values()
                ],
                "dimensions": [{"name": one.name, "display_label": one.label} for one in DIMENSIONS.values()],
                "granularities": [{"name": name, "display_label": name.capitalize()} for name in GRANULARITIES],
                "operators": [
                    {"name": name, "value_type": "array" if many else "scalar"} for name, many in OPERATORS.items()
                ],
            }
        }
    )


@post(
    "/analytics/query",
    summary="Query analytics",
    tags=["Analytics"],
    operation_id="queryAnalytics",
    opt=MANAGEMENT,
    status_code=200,
)
async def query_analytics(request: AnyRequest, context: Context, format_: Format = None) -> Response[Any]:
    """Metrics by up to two dimensions and by time, from the sums or, for details, from the generations."""
    query = _query(await read_small(request, _DECODER, context.settings.body_timeout_s))
    query.check()
    started = time.perf_counter()
    found = await context.database.read(partial(analytics.run, query=query))
    columns = _columns(query)
    rows = _rows(found, query)
    if wants_csv(request, format_):
        return csv_response("analytics", columns, rows)
    answer: dict[str, Any] = {
        "data": [dict(zip(columns, row, strict=True)) for row in rows],
        "metadata": {
            "query_time_ms": round((time.perf_counter() - started) * 1000, 3),
            "row_count": len(rows),
            "truncated": found.truncated,
        },
    }
    if found.warnings:
        answer["warnings"] = list(found.warnings)
    return Response({"data": answer})


def _query(body: QueryBody) -> Query:
    for field in ("classifier_dimensions", "classifier_filters"):
        if getattr(body, field) is not None:
            raise InvalidRequestError(f"{field}: there are no classifiers here", metadata={"field": field})
    if body.time_range is not None:
        start, end = _microseconds(body.time_range.start), _microseconds(body.time_range.end)
    else:
        end = now()
        minutes = body.granularity == "minute"
        start = end - SECOND * (_DEFAULT_MINUTES * 60 if minutes else _DEFAULT_DAYS * DAY)
    return Query(
        metrics=body.metrics,
        start=start,
        end=end,
        dimensions=body.dimensions or (),
        granularity=body.granularity,  # type: ignore[arg-type]  # checked with the query
        zone=zone(body.timezone or "UTC"),
        filters=[Filter(one.field, one.operator, one.value, one.include_unset) for one in body.filters or ()],
        order=None if body.order_by is None else Order(body.order_by.field, body.order_by.direction),  # type: ignore[arg-type]  # as well
        limit=1_000 if body.limit is None else body.limit,
        group_limit=body.group_limit,
    )


def _columns(query: Query) -> list[str]:
    """Names of an answer's columns: the time, the dimensions, the metrics."""
    names = [column for name in query.dimensions for column in DIMENSIONS[name].columns]
    if query.granularity is not None:
        kind = "created_at" if query.granularity in ("minute", "hour") else "date"
        names.insert(0, f"{kind}__{query.granularity}")
    return [*names, *query.metrics]


def _rows(found: Found, query: Query) -> list[list[Any]]:
    rows = []
    for row in found.rows:
        values: list[Any] = [cell for label in row.labels for cell in label]
        if query.granularity is not None and row.step is not None:
            values.insert(0, told(row.step, query.granularity, query.zone))
        rows.append(values + [row.value(METRICS[name]) for name in query.metrics])
    return rows


def _microseconds(moment: datetime) -> int:
    return int(moment.timestamp()) * SECOND + moment.microsecond
