"""Rankings of models and apps by tokens. Only public usage counts: no private keys, no workspaces that opted out."""

from collections.abc import Iterator
from datetime import UTC, date, timedelta
from typing import Final, Literal, NamedTuple

from sqlalchemy import Connection, func, select

from embedrouter.errors import InvalidRequestError
from embedrouter.ledger.zones import day_of, midnight, step_of, today
from embedrouter.store.tables import apps, usage

FLOOR: Final = date(2025, 1, 1)  # OpenRouter's datasets begin here
LONGEST: Final = 366  # days of a window
DAYS: Final = 30  # of a window, where nothing else is said
OTHER: Final = "other"
_TOP: Final = 50
_BEFORE: Final = 3  # windows that `trending` compares with

Grain = Literal["day", "week", "month"]
Sort = Literal["popular", "trending"]

CATEGORIES: Final = {
    "coding": ("cli-agent", "ide-extension", "cloud-agent", "programming-app", "native-app-builder"),
    "creative": ("creative-writing", "video-gen", "image-gen", "audio-gen"),
    "productivity": ("writing-assistant", "general-chat", "personal-agent", "legal"),
    "entertainment": ("roleplay", "game"),
}
SUBCATEGORIES: Final = tuple(name for group in CATEGORIES.values() for name in group)


class Window(NamedTuple):
    """UTC days, both included."""

    first: date
    last: date

    @property
    def start(self) -> int:
        """Its first second."""
        return midnight(self.first, UTC)

    @property
    def end(self) -> int:
        """The second after its last."""
        return midnight(self.last, UTC) + 86_400


class ModelRank(NamedTuple):
    """Tokens of a model, or of all others, in a period."""

    day: date  # the period's first
    model_permaslug: str
    tokens: int


class AppRank(NamedTuple):
    """An app's place."""

    rank: int
    app_id: int
    name: str
    url: str
    tokens: int
    requests: int


class AppFilter(NamedTuple):
    """Which apps to rank, and how."""

    sort: Sort = "popular"
    category: str | None = None
    subcategory: str | None = None
    limit: int = 50
    offset: int = 0


def window(at: int, first: date | None, last: date | None) -> Window:
    """What is asked for, or the last completed days at a time in microseconds. Raises InvalidRequestError."""
    end = last or today(at, UTC) - timedelta(days=1)
    if end < FLOOR:
        raise _wrong("end_date", f"the datasets begin on {FLOOR}")
    if end > today(at, UTC):
        raise _wrong("end_date", f"{end} is in the future")
    start = max(first or end - timedelta(days=DAYS - 1), FLOOR)
    if start > end:
        raise _wrong("start_date", f"{start} is after end_date, {end}")
    if (end - start).days >= LONGEST:
        raise _wrong("start_date", f"at most {LONGEST} days; {start} to {end} are {(end - start).days + 1}")
    return Window(start, end)


def models(connection: Connection, within: Window, grain: Grain = "day") -> list[ModelRank]:
    """The first 50 models of each period and the sum of all others. Models without tokens are left out."""
    each = select(
        step_of(usage.c.bucket, grain, UTC, within.start, within.end).label("step"),
        usage.c.model_permaslug,
        usage.c.prompt_tokens,
    ).where(usage.c.bucket >= within.start, usage.c.bucket < within.end, usage.c.public).subquery()  # fmt: skip
    tokens = func.sum(each.c.prompt_tokens)
    rows = connection.execute(
        select(each.c.step, each.c.model_permaslug, tokens)
        .group_by(each.c.step, each.c.model_permaslug)
        .having(tokens > 0)
    )
    by_step: dict[int, list[tuple[int, str]]] = {}
    for step, model, count in rows:
        by_step.setdefault(int(step), []).append((-int(count), model))
    return [rank for step in sorted(by_step) for rank in _first(day_of(step), sorted(by_step[step]))]


def app_ranks(connection: Connection, within: Window, wanted: AppFilter) -> list[AppRank]:
    """Apps by their tokens in the window, or by how much they grew. Raises InvalidRequestError."""
    known = _apps(connection, wanted)
    now = _by_app(connection, within.start, within.end)
    if wanted.sort == "popular":
        score = {app: tokens for app, (tokens, _) in now.items()}
    else:
        before = _by_app(connection, within.start - _BEFORE * (within.end - within.start), within.start)
        # Its tokens less the average of the windows before, times their number: whole.
        score = {app: _BEFORE * tokens - before.get(app, (0, 0))[0] for app, (tokens, _) in now.items()}
    order = sorted((-score[app], known[app][0], app) for app in score if score[app] > 0 and app in known)
    return [
        AppRank(place, app, *known[app], *now[app])
        for place, (_, _, app) in enumerate(order, 1)
        if wanted.offset < place <= wanted.offset + wanted.limit
    ]


def _first(day: date, ranked: list[tuple[int, str]]) -> Iterator[ModelRank]:
    yield from (ModelRank(day, model, -tokens) for tokens, model in ranked[:_TOP])
    if len(ranked) > _TOP:
        yield ModelRank(day, OTHER, -sum(tokens for tokens, _ in ranked[_TOP:]))


def _by_app(connection: Connection, start: int, end: int) -> dict[int, tuple[int, int]]:
    rows = connection.execute(
        select(usage.c.app_id, func.sum(usage.c.prompt_tokens), func.sum(usage.c.requests))
        .where(usage.c.bucket >= start, usage.c.bucket < end, usage.c.public, usage.c.app_id != 0)
        .group_by(usage.c.app_id)
    )
    return {app: (int(tokens), int(requests)) for app, tokens, requests in rows}


def _apps(connection: Connection, wanted: AppFilter) -> dict[int, tuple[str, str]]:
    """Name and URL by id, of the apps in the category."""
    names = _subcategories(wanted)
    return {
        row.id: (row.title or row.url.partition("://")[2], row.url)
        for row in connection.execute(select(apps.c.id, apps.c.title, apps.c.url, apps.c.categories))
        if names is None or names & set(row.categories.split(","))
    }


def _subcategories(wanted: AppFilter) -> set[str] | None:
    """Of which an app must have one; None: any app."""
    category, subcategory = wanted.category, wanted.subcategory
    if category is not None and category not in CATEGORIES:
        raise _wrong("category", f"one of {', '.join(CATEGORIES)}")
    if subcategory is None:
        return None if category is None else set(CATEGORIES[category])
    if subcategory not in SUBCATEGORIES:
        raise _wrong("subcategory", f"one of {', '.join(SUBCATEGORIES)}")
    if category is not None and subcategory not in CATEGORIES[category]:
        raise _wrong("subcategory", f"{category} has {', '.join(CATEGORIES[category])}")
    return {subcategory}


def _wrong(field: str, what: str) -> InvalidRequestError:
    return InvalidRequestError(f"{field}: {what}", metadata={"field": field})
