"""What providers served lately, in public, and how their attempts went in the last 24 clock hours."""

from typing import Any, NamedTuple

from sqlalchemy import Connection, func, select

from embedrouter.ledger.rollups import MODEL_HOURS, Columns, rows, rows_of_models
from embedrouter.ledger.spans import hours
from embedrouter.ledger.uptime import uptime
from embedrouter.store.tables import health_minutes

_HOURS = 24
_WEEK = 7 * 24


class ProviderModel(NamedTuple):
    """One model at one endpoint of a provider."""

    provider_name: str
    model: str  # slug
    model_permaslug: str
    endpoint: str  # tag
    tokens: int
    requests: int
    attempts: int  # that succeeded or failed by the provider's fault, of all requests, not only public ones
    uptime: float | None  # percent of them; None without any


class ProviderTokens(NamedTuple):
    """All that a provider served."""

    provider_name: str
    tokens: int
    requests: int


def provider_tokens(connection: Connection, at: int, count: int = _WEEK) -> tuple[ProviderTokens, ...]:
    """Of each provider that was used in the last clock hours, most tokens first. at: now, in microseconds."""
    names = ("provider_name", "prompt_tokens", "requests")
    each = rows_of_models(connection, hours(count, at), names, lambda of: [of["public"]]).c
    query = select(each.provider_name, func.sum(each.prompt_tokens), func.sum(each.requests)).group_by(
        each.provider_name
    )
    found = [ProviderTokens(row[0], int(row[1]), int(row[2])) for row in connection.execute(query)]
    return tuple(sorted(found, key=lambda one: (-one.tokens, one.provider_name)))


def provider_models(connection: Connection, at: int, provider_name: str | None = None) -> tuple[ProviderModel, ...]:
    """Of one provider, or of all: what was asked of them lately, most tokens first. at: now, in microseconds."""
    span = hours(_HOURS, at)

    def wanted(of: Columns) -> list[Any]:
        one = [] if provider_name is None else [of["provider_name"] == provider_name]
        return [of["public"], *one]

    names = ("model_permaslug", "endpoint", "model", "provider_name", "prompt_tokens", "requests")
    each = rows(connection, MODEL_HOURS, span, names, wanted).c
    query = (
        select(each.model_permaslug, each.endpoint, func.max(each.model).label("model"),
               func.max(each.provider_name).label("provider"), func.sum(each.prompt_tokens).label("tokens"),
               func.sum(each.requests).label("requests"))
        .group_by(each.model_permaslug, each.endpoint)
    )  # fmt: skip
    sums = connection.execute(query).all()
    attempts = _attempts(connection, [f"{row.model} {row.endpoint}" for row in sums], span.start)
    found = [
        ProviderModel(row.provider, row.model, row.model_permaslug, row.endpoint, int(row.tokens), int(row.requests),
                      sum(counts), uptime(*counts))
        for row in sums
        for counts in [attempts.get(f"{row.model} {row.endpoint}", (0, 0))]
    ]  # fmt: skip
    return tuple(sorted(found, key=lambda one: (-one.tokens, one.model_permaslug, one.endpoint)))


def _attempts(connection: Connection, endpoints: list[str], since: int) -> dict[str, tuple[int, int]]:
    """Successes and failures by endpoint's id."""
    table = health_minutes.c
    sums = connection.execute(
        select(table.endpoint, func.sum(table.successes), func.sum(table.failures))
        .where(table.endpoint.in_(endpoints), table.minute >= since)
        .group_by(table.endpoint)
    )
    return {endpoint: (int(successes), int(failures)) for endpoint, successes, failures in sums}
