"""GET /datasets/rankings-daily and /datasets/app-rankings: who used how many tokens, in public."""

from datetime import UTC, datetime
from functools import partial
from typing import Annotated, Any, Final, Literal

from litestar import get
from litestar.params import Parameter

from embedrouter.api.activity import parse_date
from embedrouter.api.auth import ANY_KEY
from embedrouter.context import Context
from embedrouter.errors import InvalidRequestError
from embedrouter.ledger.book import now
from embedrouter.ledger.rankings import AppFilter, Grain, Sort, Window, app_ranks, models, window

Day = Annotated[str | None, Parameter(max_length=32, description="A UTC date, YYYY-MM-DD.")]
Limit = Annotated[int, Parameter(ge=1, le=100)]
Offset = Annotated[int | None, Parameter(ge=0, le=100)]
Name = Annotated[str | None, Parameter(max_length=64)]
# OpenRouter's surfaces by what goes in or comes out; embeddings are ours.
Modality = Literal["embeddings", "text", "image", "image_output", "audio", "tool_calling"]

_SERVED: Final[tuple[Modality, ...]] = ("embeddings",)


@get(
    "/datasets/rankings-daily",
    summary="Tokens of the first 50 models by day",
    tags=["Datasets"],
    operation_id="getRankingsDaily",
    opt=ANY_KEY,
)
async def get_rankings_daily(
    context: Context,
    start_date: Day = None,
    end_date: Day = None,
    period: Grain = "day",
    modality: Modality | None = None,
    context_bucket: Name = None,
    category: Name = None,
    language_type: Name = None,
) -> dict[str, Any]:
    """With one row `other` for all models beyond; the last 30 completed UTC days if nothing else is said."""
    for field, value in (
        ("context_bucket", context_bucket),
        ("category", category),
        ("language_type", language_type),
    ):
        if value is not None:
            raise InvalidRequestError(
                f"{field}: requests are not sorted by it here; leave it out", metadata={"field": field}
            )
    within = window(now(), parse_date("start_date", start_date), parse_date("end_date", end_date))
    served = modality is None or modality in _SERVED
    ranked = await context.database.read(partial(models, within=within, grain=period)) if served else []
    return {
        "data": [
            {"date": row.day.isoformat(), "model_permaslug": row.model_permaslug, "total_tokens": str(row.tokens)}
            for row in ranked
        ],
        "meta": _meta(within),
    }


@get(
    "/datasets/app-rankings",
    summary="Apps by tokens",
    tags=["Datasets"],
    operation_id="getAppRankings",
    opt=ANY_KEY,
)
async def get_app_rankings(
    context: Context,
    category: Name = None,
    subcategory: Name = None,
    sort: Sort = "popular",
    start_date: Day = None,
    end_date: Day = None,
    limit: Limit = 50,
    offset: Offset = 0,
) -> dict[str, Any]:
    """The apps with the most tokens, or those that grew most over the three windows before."""
    within = window(now(), parse_date("start_date", start_date), parse_date("end_date", end_date))
    wanted = AppFilter(sort, category, subcategory, limit, offset or 0)
    ranked = await context.database.read(partial(app_ranks, within=within, wanted=wanted))
    return {
        "data": [
            {
                "rank": row.rank,
                "app_id": row.app_id,
                "app_name": row.name,
                "app_url": row.url,
                "total_tokens": str(row.tokens),
                "total_requests": row.requests,
            }
            for row in ranked
        ],
        "meta": _meta(within),
    }


def _meta(within: Window) -> dict[str, Any]:
    return {
        "as_of": datetime.now(UTC).isoformat(timespec="seconds").removesuffix("+00:00") + "Z",
        "version": "v1",
        "start_date": within.first.isoformat(),
        "end_date": within.last.isoformat(),
    }
