"""/dashboard/activity: spend, tokens and requests over time, by model, key, app or provider; the same as CSV."""

import re
from collections.abc import Mapping
from datetime import tzinfo
from typing import Any, Final, NamedTuple

from litestar import Request, Response, get

from embedrouter.accounts.keys import ApiKey, KeyFilter, find, hashes_of, list_keys
from embedrouter.accounts.sessions import SignedIn
from embedrouter.accounts.users import User
from embedrouter.context import Context
from embedrouter.csv import csv_response
from embedrouter.entrance import SESSION
from embedrouter.errors import NotFoundError
from embedrouter.fields import bad_field
from embedrouter.ledger.book import now
from embedrouter.ledger.logs import Reader, reader
from embedrouter.ledger.series import Name, Scope, Series, Split, Stretch, Totals, series
from embedrouter.ledger.zones import told, zone
from embedrouter.money import usd
from embedrouter.web.dashboard.choices import choice
from embedrouter.web.dashboard.frame import dashboard_page
from embedrouter.web.dashboard.stacks import Measure, change, stack
from embedrouter.web.forms import address
from embedrouter.web.layout import HEADERS
from embedrouter.web.view import Tab

AnyRequest = Request[Any, Any, Any]

_HERE: Final = "/dashboard/activity"
_HASH: Final = re.compile(r"[0-9a-f]{64}")
_LONGEST: Final = 200  # characters of a model's name
_KEYS: Final = 200  # that there is a choice of
_LINES: Final = 200  # of the table
_HASHES: Final = 5_000  # keys that are told by their hash
_RANGES: Final[dict[Stretch, str]] = {
    "hour": "Last hour", "day": "Last 24 hours", "week": "Last 7 days", "month": "Last 30 days",
    "year": "Last 365 days",
}  # fmt: skip
_SPLITS: Final[dict[Split, str]] = {"model": "Model", "key": "Key", "app": "App", "provider": "Provider"}
_UNNAMED: Final[dict[Split, str]] = {
    "model": "No model", "key": "A key that is gone", "app": "No app", "provider": "No provider",
}  # fmt: skip
_COLUMNS: Final = ("requests", "errors", "cache_hits", "inputs", "tokens", "usage")


class Asked(NamedTuple):
    """What the address asks for."""

    range: Stretch
    by: Split
    key: str | None  # hash
    model: str | None  # canonical slug
    timezone: str
    zone: tzinfo

    def href(self, path: str = _HERE, **changes: Any) -> str:
        """This page's address, with changes."""
        return address(path, **{**self.query, **changes})

    @property
    def query(self) -> dict[str, Any]:
        """As it stands in an address."""
        return {
            "range": self.range,
            "by": self.by,
            "key": self.key,
            "model": self.model,
            "timezone": None if self.timezone == "UTC" else self.timezone,
        }


class Line(NamedTuple):
    """All of one model, key, app or provider."""

    name: Name
    label: str
    totals: Totals
    share: float | None  # of the spend, or of tokens where nothing was spent; 0 to 100
    logs: str | None  # where its requests are


class Found(NamedTuple):
    """What there is."""

    usage: Series
    key: ApiKey | None
    keys: tuple[ApiKey, ...]  # to choose from
    hashes: Mapping[int, str]  # of the keys that `usage` names


@get(_HERE, opt=SESSION)
async def activity(request: AnyRequest, context: Context, signed_in: SignedIn) -> Response[str]:
    """The page."""
    asked = _asked(request.query_params)
    found = await _find(context, signed_in.user, asked)
    usage = found.usage

    def drawn(measure: Measure, caption: str) -> Any:
        title = f"{caption} by {_SPLITS[asked.by].lower()}, {_RANGES[asked.range].lower()}"
        return stack(usage, measure, title, _UNNAMED[asked.by], asked.zone)

    model = {
        "title": "Activity",
        "asked": asked,
        "found": found,
        "ranges": [Tab(one, title, asked.href(range=one)) for one, title in _RANGES.items()],
        "splits": [Tab(one, title, asked.href(by=one)) for one, title in _SPLITS.items()],
        "by": _SPLITS[asked.by],
        "charts": [drawn("spend", "Spend"), drawn("tokens", "Tokens"), drawn("requests", "Requests")],
        "lines": _lines(usage, asked.by, found.hashes),
        "spend": change(usage, "spend"),
        "tokens": change(usage, "tokens"),
        "requests": change(usage, "requests"),
        "errors": change(usage, "errors"),
        "csv": asked.href(f"{_HERE}.csv"),
        "models": sorted({one.canonical_slug for one in context.catalog.loaded.catalog.models} | {asked.model or ""}),
    }
    return dashboard_page(request, signed_in, "dashboard/activity.html", model)


@get(f"{_HERE}.csv", opt=SESSION)
async def activity_csv(request: AnyRequest, context: Context, signed_in: SignedIn) -> Response[bytes]:
    """The numbers of the charts, one line a step and name."""
    asked = _asked(request.query_params)
    found = await _find(context, signed_in.user, asked)
    usage = found.usage
    names = {name.id: name.label or "" for name in usage.names}
    rows = [
        (
            told(point.start, usage.step, asked.zone),
            names[point.id],
            found.hashes.get(int(point.id), "") if asked.by == "key" else point.id,
            *point.totals[:-1],
            usd(point.totals.cost_pico),
        )
        for point in usage.points
    ]
    answer = csv_response(
        f"activity-{asked.range}-by-{asked.by}", (usage.step, asked.by, f"{asked.by}_id", *_COLUMNS), rows
    )
    answer.headers.update({name: value for name, value in HEADERS.items() if name not in answer.headers})
    return answer


def _asked(query: Mapping[str, str]) -> Asked:
    key, model = query.get("key") or None, (query.get("model") or "").strip() or None
    if key is not None and not _HASH.fullmatch(key):
        raise NotFoundError("key: no API key has this hash", metadata={"field": "key"})
    if model is not None and (len(model) > _LONGEST or not model.isprintable()):
        raise bad_field("model", f"expected a model's slug of at most {_LONGEST} characters")
    name = query.get("timezone") or "UTC"
    return Asked(
        choice(query, "range", tuple(_RANGES), "month"),
        choice(query, "by", tuple(_SPLITS), "model"),
        key,
        model,
        name,
        zone(name),
    )


async def _find(context: Context, me: User, asked: Asked) -> Found:
    model = None if asked.model is None else context.catalog.loaded.catalog.get(asked.model)
    scope = Scope(asked.model if model is None else model.canonical_slug, asked.zone)
    owner, at = me.sees_only, now()

    def query(connection: Any) -> Found:
        key = None if asked.key is None else find(connection, asked.key, owner)
        who = reader(connection, owner) if key is None else Reader((key.id,))
        keys = list_keys(connection, KeyFilter(owner, include_disabled=True, limit=_KEYS))
        if key is not None and key not in keys:
            keys.append(key)
        usage = series(connection, who, asked.range, asked.by, at, scope)
        named = [int(one.id) for one in usage.names[:_HASHES]] if asked.by == "key" else []
        return Found(usage, key, tuple(keys), hashes_of(connection, named))

    return await context.database.read(query)


def _lines(usage: Series, by: Split, hashes: Mapping[int, str]) -> list[Line]:
    found = []
    for name in usage.names[:_LINES]:
        totals = Totals(*map(sum, zip(*(point.totals for point in usage.points if point.id == name.id), strict=True)))
        part, whole = totals.cost_pico, usage.totals.cost_pico
        if not whole:
            part, whole = totals.tokens, usage.totals.tokens
        share = part / whole * 100 if whole else None
        found.append(Line(name, name.label or _UNNAMED[by], totals, share, _logs(name, by, hashes)))
    return found


def _logs(name: Name, by: Split, hashes: Mapping[int, str]) -> str | None:
    match by:
        case "model":
            return address("/dashboard/logs", model=name.id)
        case "app":
            return address("/dashboard/logs", app=name.id)
        case "key":
            hash_ = hashes.get(int(name.id))
            return None if hash_ is None else address("/dashboard/logs", key=hash_)
    return None
