"""How much models are used, in public: their last week, their days, their places, their shares of the market.

Only public usage counts, as in rankings. All of it comes from sums by model.
"""

from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, date, timedelta
from typing import Any, Final, Literal, NamedTuple

from sqlalchemy import Connection, func, select

from embedrouter.ledger.rankings import OTHER
from embedrouter.ledger.rollups import MODEL_DAYS, Columns, rows, rows_of_models
from embedrouter.ledger.spans import LENGTHS, Length, Span, days, hours, weeks
from embedrouter.ledger.zones import day_of, step_of, today

By = Literal["model", "author"]
Grain = Literal["day", "week"]
_DAYS: Final = 30
_TOP: Final = 9  # names that have a colour of their own


class ModelTokens(NamedTuple):
    """What was asked of a model."""

    model_permaslug: str
    model: str  # slug
    tokens: int
    requests: int


class ModelDay(NamedTuple):
    """A UTC day of a model at one provider."""

    day: date
    provider_name: str
    endpoint: str  # tag
    tokens: int
    requests: int


class DayTotal(NamedTuple):
    """A UTC day."""

    day: date
    tokens: int
    requests: int


class Standing(NamedTuple):
    """A place among models or authors."""

    rank: int
    name: str  # a model's canonical slug, or an author
    tokens: int
    requests: int
    tokens_before: int  # in the time before, as long
    rank_before: int | None  # None: it was not used then


class Share(NamedTuple):
    """Tokens of a model or author, or of all others, in a day or week."""

    start: date
    name: str
    tokens: int


def weekly_tokens(connection: Connection, at: int) -> tuple[ModelTokens, ...]:
    """Of the last 168 clock hours, every model that was used; most tokens first. at: now, in microseconds."""
    return _models(connection, hours(7 * 24, at))


def model_days(connection: Connection, model_permaslug: str, at: int, count: int = _DAYS) -> tuple[ModelDay, ...]:
    """One model's last UTC days, the oldest first, of those in which it was used. Today is the last one."""
    keys = ("bucket", "provider_name", "endpoint")
    each = rows(
        connection, MODEL_DAYS, days(count, at), (*keys, "prompt_tokens", "requests"),
        lambda of: [of["public"], of["model_permaslug"] == model_permaslug],
    )  # fmt: skip
    by = [each.c[name] for name in keys]
    sums = (func.sum(each.c.prompt_tokens), func.sum(each.c.requests))
    found = connection.execute(select(*by, *sums).group_by(*by).order_by(*by))
    return tuple(ModelDay(day_of(int(row[0])), row[1], row[2], int(row[3]), int(row[4])) for row in found)


def day_totals(rows: Iterable[ModelDay], at: int, count: int = _DAYS) -> tuple[DayTotal, ...]:
    """All providers of each day together; days without use are there with zeros."""
    sums: dict[date, list[int]] = {}
    for row in rows:
        of = sums.setdefault(row.day, [0, 0])
        of[0] += row.tokens
        of[1] += row.requests
    last = today(at, UTC)
    every = [last - timedelta(days=back) for back in reversed(range(count))]
    return tuple(DayTotal(day, *sums.get(day, (0, 0))) for day in every)


def standings(connection: Connection, length: Length, at: int, by: By = "model") -> tuple[Standing, ...]:
    """Models or authors by tokens, of the last 24, 168 or 720 clock hours, beside the same time before."""
    span = hours(LENGTHS[length] * 24, at)
    return ranked(_named(_models(connection, span), by), _named(_models(connection, span.before), by))


def ranked(now: Mapping[str, tuple[int, int]], before: Mapping[str, tuple[int, int]]) -> tuple[Standing, ...]:
    """Places by tokens; tokens and requests by name, now and before. Who has no tokens has no place."""
    places = _places(before)
    return tuple(
        Standing(rank, name, *now[name], before.get(name, (0, 0))[0], places.get(name))
        for name, rank in _places(now).items()
    )


def market_share(
    connection: Connection, at: int, by: By = "model", grain: Grain = "day", count: int = _DAYS, top: int = _TOP
) -> tuple[Share, ...]:
    """Tokens of each of the last UTC days, or weeks from Monday: of the first `top` over all of them and of all others
    (`other`). What was not used in a day or week is not there; the running one is the last."""
    span = days(count, at) if grain == "day" else weeks(count, at)
    days_of = rows(connection, MODEL_DAYS, span, ("bucket", "model_permaslug", "prompt_tokens"), _public).c
    each = select(
        step_of(days_of.bucket, grain, UTC, *span).label("step"), days_of.model_permaslug, days_of.prompt_tokens
    ).subquery()
    tokens = func.sum(each.c.prompt_tokens)
    sums = connection.execute(
        select(each.c.step, each.c.model_permaslug, tokens)
        .group_by(each.c.step, each.c.model_permaslug)
        .having(tokens > 0)
    )
    return shares([Share(day_of(int(step)), _name(model, by), int(count)) for step, model, count in sums], top)


def shares(steps: Sequence[Share], top: int) -> tuple[Share, ...]:
    """The same with everything but the first `top` names put together; in each step the largest first, then others."""
    totals: dict[str, int] = {}
    for row in steps:
        totals[row.name] = totals.get(row.name, 0) + row.tokens
    kept = set(sorted(totals, key=lambda name: (-totals[name], name))[:top])
    sums: dict[tuple[date, str], int] = {}
    for row in steps:
        key = (row.start, row.name if row.name in kept else OTHER)
        sums[key] = sums.get(key, 0) + row.tokens
    found = [Share(start, name, tokens) for (start, name), tokens in sums.items()]
    return tuple(sorted(found, key=lambda one: (one.start, one.name == OTHER, -totals.get(one.name, 0), one.name)))


def _models(connection: Connection, span: Span) -> tuple[ModelTokens, ...]:
    each = rows_of_models(connection, span, ("model_permaslug", "model", "prompt_tokens", "requests"), _public).c
    tokens, requests = func.sum(each.prompt_tokens), func.sum(each.requests)
    sums = connection.execute(
        select(each.model_permaslug, func.max(each.model), tokens, requests).group_by(each.model_permaslug)
    )
    found = [ModelTokens(row[0], row[1], int(row[2]), int(row[3])) for row in sums]
    return tuple(sorted(found, key=lambda one: (-one.tokens, one.model_permaslug)))


def _public(of: Columns) -> tuple[Any, ...]:
    return (of["public"],)


def _named(rows: Iterable[ModelTokens], by: By) -> dict[str, tuple[int, int]]:
    sums: dict[str, tuple[int, int]] = {}
    for row in rows:
        name = _name(row.model_permaslug, by)
        tokens, requests = sums.get(name, (0, 0))
        sums[name] = (tokens + row.tokens, requests + row.requests)
    return sums


def _name(model_permaslug: str, by: By) -> str:
    return model_permaslug if by == "model" else model_permaslug.partition("/")[0]


def _places(sums: Mapping[str, tuple[int, int]]) -> dict[str, int]:
    order = sorted((name for name in sums if sums[name][0] > 0), key=lambda name: (-sums[name][0], name))
    return {name: rank for rank, name in enumerate(order, 1)}
