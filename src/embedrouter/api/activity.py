"""GET /activity: what was used in the last completed days."""

import re
from datetime import date
from functools import partial
from typing import Annotated, Any, Final, Literal

from litestar import Request, Response, get
from litestar.datastructures import State
from litestar.params import QueryParameter

from embedrouter.api.auth import MANAGEMENT
from embedrouter.api.csv import wants_csv
from embedrouter.context import Context
from embedrouter.csv import csv_response
from embedrouter.errors import InvalidRequestError, NotFoundError
from embedrouter.ledger.book import now
from embedrouter.ledger.usage import Activity, Wanted, activity, window
from embedrouter.ledger.zones import zone
from embedrouter.money import usd

AnyRequest = Request[Any, Any, State]
Day = Annotated[str | None, QueryParameter(name="date", description="One day of them, YYYY-MM-DD.", max_length=32)]
Id = Annotated[str | None, QueryParameter(max_length=128)]
TimeZone = Annotated[
    str, QueryParameter(name="timezone", max_length=128, description="IANA name of the days' time zone.")
]
Format = Annotated[Literal["json", "csv"] | None, QueryParameter(name="format", description="Else by Accept.")]

_DATE: Final = re.compile(r"\d{4}-\d{2}-\d{2}", re.ASCII)
_HASH: Final = re.compile(r"[0-9a-f]{64}")
_ID: Final = re.compile(r"[A-Za-z0-9_-]{1,64}")
_COLUMNS: Final = (
    "date",
    "model",
    "model_permaslug",
    "endpoint_id",
    "provider_name",
    "usage",
    "byok_usage_inference",
    "requests",
    "prompt_tokens",
    "completion_tokens",
    "reasoning_tokens",
    "cached_tokens",
)


@get(
    "/activity",
    summary="Usage of the last 30 completed days",
    tags=["Analytics"],
    operation_id="getUserActivity",
    opt=MANAGEMENT,
)
async def get_activity(
    request: AnyRequest,
    context: Context,
    day: Day = None,
    api_key_hash: Id = None,
    user_id: Id = None,
    group_by: Literal["workspace"] | None = None,
    workspace_id: Id = None,
    time_zone: TimeZone = "UTC",
    format_: Format = None,
) -> Response[Any]:
    """By day, model and endpoint, the newest day first; with `group_by=workspace` also by workspace."""
    found_zone = zone(time_zone)
    first, last = window(now(), found_zone, parse_date("date", day))
    if api_key_hash is not None and not _HASH.fullmatch(api_key_hash.lower()):
        raise InvalidRequestError(
            "api_key_hash: must be the 64 hex digits that GET /keys tells", metadata={"field": "api_key_hash"}
        )
    for field, value in (("user_id", user_id), ("workspace_id", workspace_id)):
        if value is not None and not _ID.fullmatch(value):
            raise NotFoundError(f"{field}: there is none with this id", metadata={"field": field})
    wanted = Wanted(
        first,
        last,
        found_zone,
        key_hash=api_key_hash and api_key_hash.lower(),
        user_id=user_id,
        workspace_id=workspace_id,
        by_workspace=group_by is not None,
    )
    rows = await context.database.read(partial(activity, wanted=wanted))
    columns = (*_COLUMNS, "workspace_id") if wanted.by_workspace else _COLUMNS
    values = [_values(row)[: len(columns)] for row in rows]
    if wants_csv(request, format_):
        return csv_response(f"activity-{first}-{last}", columns, values)
    return Response({"data": [dict(zip(columns, row, strict=True)) for row in values]})


def parse_date(field: str, text: str | None) -> date | None:
    """A date as YYYY-MM-DD. Raises InvalidRequestError."""
    if text is None:
        return None
    try:
        if _DATE.fullmatch(text):
            return date.fromisoformat(text)
    except ValueError:
        pass
    raise InvalidRequestError(f"{field}: must be a date like 2026-01-31", metadata={"field": field})


def _values(row: Activity) -> tuple[Any, ...]:
    """In the columns' order. An embedding completes, reasons and caches no tokens."""
    return (
        row.day.isoformat(),
        row.model,
        row.model_permaslug,
        row.endpoint,
        row.provider_name,
        usd(row.cost_pico),
        usd(row.upstream_pico),
        row.requests,
        row.prompt_tokens,
        0,
        0,
        0,
        row.workspace_id,
    )
