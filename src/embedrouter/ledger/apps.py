"""Apps that send requests: one row by URL, all of them in memory, so that a known app costs a request no query."""

import asyncio
import logging
import time
from collections.abc import Sequence
from typing import Final, NamedTuple

from sqlalchemy import Connection, func, insert, select, update

from embedrouter.errors import EmbedRouterError
from embedrouter.ledger.book import now
from embedrouter.store import Batch, Database, Writer
from embedrouter.store.tables import apps

log = logging.getLogger(__name__)

MOST: Final = 10_000
MOST_CATEGORIES: Final = 10  # of one app
_PATIENCE: Final = 1.0  # seconds a request waits for its app to be written
_PAUSE: Final = 60.0  # seconds between writes of one app, and after the table was found full or away


class AppClaim(NamedTuple):
    """What a request says about the app that sent it."""

    url: str  # normalised: it is the app
    title: str | None = None
    categories: tuple[str, ...] = ()
    at: int | None = None  # microseconds; None: now


class App(NamedTuple):
    """A row of `apps`."""

    id: int
    url: str
    title: str | None
    categories: tuple[str, ...]


class AppBook:
    """Knows every app. Belongs to the event loop, but for `load`."""

    def __init__(self, database: Database, writer: Writer) -> None:
        self._database = database
        self._writer = writer
        self._known: dict[str, App] = {}
        self._asked: dict[str, asyncio.Future[App | None]] = {}
        self._written: dict[str, float] = {}  # when a known app's row was last changed, monotonic
        self._paused_until = 0.0

    def load(self) -> None:
        """Take in all apps. Raises StoreUnavailableError."""
        self._known = {app.url: app for app in self._database.read_now(all_apps)}

    def known(self, claim: AppClaim) -> int | None:
        """A known app's id, without waiting; None for one that `find` must ask for."""
        app = self._known.get(claim.url)
        if app is None:
            return None if time.monotonic() >= self._paused_until else 0
        if _says_more(app, claim) and time.monotonic() - self._written.get(claim.url, -_PAUSE) >= _PAUSE:
            self._written[claim.url] = time.monotonic()
            self._ask(claim)  # nobody waits for it
        return app.id

    async def find(self, claim: AppClaim) -> int:
        """An app's id, of a new row if need be; 0 where there can be none. Never fails."""
        known = self.known(claim)
        if known is not None:
            return known
        asked = self._asked.get(claim.url) or self._ask(claim)
        if asked is None:
            return 0
        try:
            async with asyncio.timeout(_PATIENCE):
                app = await asyncio.shield(asked)
        except Exception:  # told by `_learn`; what an app is called must not stop its request
            return 0
        return 0 if app is None else app.id

    def _ask(self, claim: AppClaim) -> "asyncio.Future[App | None] | None":
        if self._writer.failing:
            return None
        try:
            asked: asyncio.Future[App | None] = self._writer.write(note, claim)
        except EmbedRouterError:
            self._paused_until = time.monotonic() + 1.0
            return None
        self._asked[claim.url] = asked
        asked.add_done_callback(lambda done: self._learn(claim, done))
        return asked

    def _learn(self, claim: AppClaim, done: "asyncio.Future[App | None]") -> None:
        self._asked.pop(claim.url, None)
        error = None if done.cancelled() else done.exception()
        if done.cancelled() or error is not None:
            self._paused_until = time.monotonic() + 1.0
            if error is not None and not isinstance(error, EmbedRouterError):
                log.error("an app could not be kept: %s", type(error).__name__)
            return
        app = done.result()
        if app is None:
            if claim.url not in self._known:
                self._paused_until = time.monotonic() + _PAUSE
        else:
            self._known[app.url] = app
            self._written[app.url] = time.monotonic()


def all_apps(connection: Connection) -> list[App]:
    """Every app there is; at most `MOST`."""
    return [_app(row) for row in connection.execute(select(apps).order_by(apps.c.id))]


def note(batch: Batch, claims: Sequence[AppClaim]) -> Sequence[App | None]:
    """The writer's handler: makes apps, and takes over what is new about them; None if there are too many."""
    return [_note(batch, claim) for claim in claims]


def _note(batch: Batch, claim: AppClaim) -> App | None:
    connection = batch.connection
    row = connection.execute(select(apps).where(apps.c.url == claim.url)).one_or_none()
    if row is None:
        if connection.execute(select(func.count()).select_from(apps)).scalar_one() >= MOST:
            return None
        at = now() if claim.at is None else claim.at
        values = {"url": claim.url, "title": claim.title, "categories": ",".join(claim.categories), "created_at": at}
        return _app(connection.execute(insert(apps).values(values).returning(apps)).one())
    app = _app(row)
    if not _says_more(app, claim):
        return app
    app = app._replace(title=claim.title or app.title, categories=_merged(app, claim))
    connection.execute(
        update(apps).where(apps.c.id == app.id).values(title=app.title, categories=",".join(app.categories))
    )
    return app


def _says_more(app: App, claim: AppClaim) -> bool:
    return (claim.title is not None and claim.title != app.title) or _merged(app, claim) != app.categories


def _merged(app: App, claim: AppClaim) -> tuple[str, ...]:
    return tuple(dict.fromkeys((*app.categories, *claim.categories)))[:MOST_CATEGORIES]


def _app(row: object) -> App:
    categories = tuple(filter(None, row.categories.split(",")))  # type: ignore[attr-defined]
    return App(row.id, row.url, row.title, categories)  # type: ignore[attr-defined]
