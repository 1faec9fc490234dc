"""/dashboard/logs: generations, the newest first, and each in full. A member sees what his own keys did."""

import re
from collections.abc import Mapping
from typing import Any, Final, NamedTuple

import msgspec
from litestar import Request, Response, get

from embedrouter.accounts.keys import ApiKey, KeyFilter, find, hashes_of, list_keys
from embedrouter.accounts.sessions import SignedIn
from embedrouter.accounts.users import User
from embedrouter.context import Context
from embedrouter.entrance import SESSION
from embedrouter.errors import NotFoundError
from embedrouter.fields import bad_field
from embedrouter.ledger import generations
from embedrouter.ledger.attempts import Attempt
from embedrouter.ledger.book import now
from embedrouter.ledger.logs import Cursor, LogDetail, LogFilter, LogPage, log_detail, log_page, reader
from embedrouter.ledger.series import Name, series
from embedrouter.periods import SECOND
from embedrouter.web.dashboard.choices import choice, moment
from embedrouter.web.dashboard.cursors import cursor, told
from embedrouter.web.dashboard.frame import dashboard_page
from embedrouter.web.forms import address
from embedrouter.web.view import Crumb

AnyRequest = Request[Any, Any, Any]

_HERE: Final = "/dashboard/logs"
_HASH: Final = re.compile(r"[0-9a-f]{64}")
_ID: Final = re.compile(r"[!-~]{1,64}")
_NUMBER: Final = re.compile(r"[0-9]{1,9}")
_STATUS: Final = re.compile(r"[1-5][0-9]{2}")
_PAGE: Final = 50
_CHOICES: Final = 200  # keys that there is a choice of
_LONGEST: Final = 200  # characters of a model's name
_FIELDS: Final = ("key", "model", "app", "status", "cached", "since", "until")
_INPUTS: Final = msgspec.json.Decoder(list[str | list[int]])


class Found(NamedTuple):
    """A page of the list, and what there is to choose from."""

    page: LogPage
    keys: tuple[ApiKey, ...]
    hashes: dict[int, str]  # of keys that the page names
    apps: tuple[Name, ...]  # that were used in the last 30 days


class Step(NamedTuple):
    """An attempt beside the whole request; start and width in percent of it."""

    attempt: Attempt
    start: float
    width: float


class Detail(NamedTuple):
    """A generation, and its inputs where they were kept."""

    log: LogDetail
    key_hash: str | None  # None: the key is deleted
    inputs: list[str | list[int]] | None


@get(_HERE, opt=SESSION)
async def logs(request: AnyRequest, context: Context, signed_in: SignedIn) -> Response[str]:
    """The list."""
    query = {name: request.query_params.get(name, "").strip() for name in _FIELDS}
    after = cursor(request.query_params.get("after"))
    found = await _find(context, signed_in.user, query, after)
    following = found.page.following
    model = {
        "title": "Logs",
        "query": query,
        "filtered": any(query.values()),
        "found": found,
        "newest": None if after is None else address(_HERE, **query),
        "older": None if following is None else address(_HERE, **query, after=told(following)),
        "models": sorted({one.canonical_slug for one in context.catalog.loaded.catalog.models} | {query["model"]}),
    }
    return dashboard_page(request, signed_in, "dashboard/logs.html", model)


@get(f"{_HERE}/{{id_:str}}", opt=SESSION)
async def log(request: AnyRequest, context: Context, signed_in: SignedIn, id_: str) -> Response[str]:
    """One generation. What somebody may not see is not there: nobody can find out which ids exist."""
    owner = signed_in.user.sees_only
    found = None
    if _ID.fullmatch(id_):
        found = await context.database.read(lambda connection: _detail(connection, owner, id_))
    if found is None:
        raise NotFoundError("no generation has this id", metadata={"field": "id"})
    model = {
        "title": id_,
        "crumbs": (Crumb("Logs", _HERE), Crumb(id_)),
        "found": found,
        "log": found.log,
        "one": found.log.generation,
        "steps": steps(found.log),
        "keeps": context.settings.store_prompts,
    }
    return dashboard_page(request, signed_in, "dashboard/log.html", model)


def steps(log: LogDetail) -> list[Step]:
    """Attempts follow each other, the last one ends with the request."""
    took = sum(attempt.latency_us for attempt in log.attempts)
    whole = max(log.generation.latency_us, took, 1)
    found, at = [], whole - took
    for attempt in log.attempts:
        found.append(Step(attempt, at / whole * 100, max(attempt.latency_us / whole * 100, 0.5)))
        at += attempt.latency_us
    return found


async def _find(context: Context, me: User, query: Mapping[str, str], after: Cursor | None) -> Found:
    wanted, owner, at = _filter(context, query), me.sees_only, now()
    if query["key"] and not _HASH.fullmatch(query["key"]):
        raise NotFoundError("key: no API key has this hash", metadata={"field": "key"})

    def ask(connection: Any) -> Found:
        key = find(connection, query["key"], owner) if query["key"] else None
        who = reader(connection, owner)
        page = log_page(connection, who, wanted._replace(key_id=None if key is None else key.id), after, _PAGE)
        keys = list_keys(connection, KeyFilter(owner, include_disabled=True, limit=_CHOICES))
        if key is not None and key not in keys:
            keys.append(key)
        apps = series(connection, who, "month", "app", at).names
        hashes = hashes_of(connection, {row.key_id for row in page.rows})
        return Found(page, tuple(keys), hashes, tuple(one for one in apps if one.id))

    return await context.database.read(ask)


def _filter(context: Context, query: Mapping[str, str]) -> LogFilter:
    """Without the key. Raises InvalidRequestError."""
    model, app, status = query["model"], query["app"], query["status"]
    if len(model) > _LONGEST or not model.isprintable():
        raise bad_field("model", f"expected a model's slug of at most {_LONGEST} characters")
    if app and not _NUMBER.fullmatch(app):
        raise bad_field("app", "expected an app's number")
    if status not in ("", "answered", "failed") and not _STATUS.fullmatch(status):
        raise bad_field("status", "expected answered, failed or an HTTP status like 429")
    known = context.catalog.loaded.catalog.get(model) if model else None
    return LogFilter(
        model_permaslug=(known.canonical_slug if known else model) or None,
        app_id=int(app) if app else None,
        status=int(status) if _STATUS.fullmatch(status) else None,
        failed={"answered": False, "failed": True}.get(status),
        cached={"yes": True, "no": False}.get(choice(query, "cached", ("any", "yes", "no"), "any")),
        since=_moment("since", query["since"]),
        until=_moment("until", query["until"]),
    )


def _moment(field: str, text: str) -> int | None:
    """Microseconds."""
    found = moment(field, text)
    return None if found is None else int(found.timestamp()) * SECOND


def _detail(connection: Any, owner: str | None, id_: str) -> Detail | None:
    log = log_detail(connection, reader(connection, owner), id_)
    if log is None:
        return None
    prompt = generations.get_prompt(connection, id_)
    return Detail(
        log,
        hashes_of(connection, [log.generation.key_id]).get(log.generation.key_id),
        None if prompt is None else _INPUTS.decode(prompt),
    )
