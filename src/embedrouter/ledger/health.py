"""Health as all processes know it: each adds what it saw to the same rows, and reads what the others added.

What a process has of a row is remembered, from itself and from the others. So whatever is more in the row was added by
others since, and nobody counts anything twice.
"""

import time
from collections.abc import Sequence
from typing import Any, Final, NamedTuple

from sqlalchemy import Connection, func, or_, select

from embedrouter.errors import EmbedRouterError, StoreUnavailableError
from embedrouter.ledger.observed import MINUTE, MinuteCounts, Observed, Observer, Pause, Reason, Tally
from embedrouter.periods import DAY, SECOND
from embedrouter.store import Batch, Database, Statement, Writer
from embedrouter.store.statement import Into
from embedrouter.store.tables import health_histograms, health_minutes, health_pauses, marks

MARK: Final = "health:"  # in `marks`, before a process's id: the last of its shares that was added, microseconds
_RUNNING: Final = 2 * MINUTE  # seconds that every look reads
_BACK: Final = 5 * MINUTE  # seconds that a wide look reads, with histograms
_FAR_BACK: Final = 60 * MINUTE  # seconds that wide looks read after the database was away
_WIDE_EVERY: Final = MINUTE
_RECENT: Final = 32 * MINUTE  # seconds of which the start reads histograms by minute; before, by half hour
_HALF_HOUR: Final = 1_800
_FRESH: Final = 10.0  # seconds between two looks, at most, for what is new to have happened just now
_LONGEST_ID: Final = 200  # characters of an endpoint's id that a row holds


class Share(NamedTuple):
    """What one process adds, once however often it is tried."""

    process: str
    number: int  # grows with each share; microseconds, so that retention knows its age
    seen: Observed  # its pauses' `until`: seconds from now


class _Counts(NamedTuple):
    successes: int = 0
    failures: int = 0
    rate_limited: int = 0
    prompt_tokens: int = 0


class _PauseRow(NamedTuple):
    subject: str
    left: float  # seconds
    strikes: int
    reason: Reason
    updated_at: int  # microseconds


class _Look(NamedTuple):
    """What a look found."""

    minutes: list[MinuteCounts]  # whole rows
    tallies: list[Tally]  # whole rows, or sums of half hours
    pauses: list[_PauseRow]


class HealthSharing:
    """One a process. All but the constructor belongs to one thread at a time."""

    def __init__(self, database: Database, writer: Writer, observer: Observer, process: str) -> None:
        """process: its id, as in `instances`."""
        self._database = database
        self._writer = writer
        self._observer = observer
        self._process = process
        self._number = 0
        self._untold: Observed | None = None  # taken from the observer, and maybe written, maybe not
        self._minutes: dict[tuple[str, int], _Counts] = {}  # what the observer has of the rows of the last hour
        self._tallies: dict[tuple[str, int, str, int], int] = {}
        self._pauses: dict[str, int] = {}  # updated_at of the rows that the observer was told of
        self._loaded = False
        self._looked_at = 0.0  # time.monotonic()
        self._wide_at = 0.0  # time.monotonic() of the last wide look
        self._away_at: float | None = None  # time.monotonic() when the database was last found away

    def load(self) -> None:
        """Take in the last day, of all processes. Raises StoreUnavailableError; then the first turn does it."""
        now = self._observer.now()
        found = self._database.read_now(lambda connection: _everything(connection, self._database, int(now)))
        self._take_in(found, now, fresh=False)
        self._loaded = True

    def turn(self) -> None:
        """Tell what this process saw, and take in what the others did. Raises StoreUnavailableError."""
        try:
            if not self._loaded:
                self.load()
            self._tell(everything=False)
            self._look()
        except StoreUnavailableError:
            self._away_at = time.monotonic()
            raise

    def close(self) -> None:
        """Tell all that is left. Raises StoreUnavailableError."""
        self._tell(everything=True)  # what an earlier turn could not tell
        self._tell(everything=True)

    # --- telling

    def _tell(self, *, everything: bool) -> None:
        if self._untold is None:
            taken = self._observer.take(everything=everything)
            taken = taken._replace(
                minutes=[one for one in taken.minutes if len(one.endpoint) <= _LONGEST_ID],
                tallies=[one for one in taken.tallies if len(one.endpoint) <= _LONGEST_ID],
            )
            if not (taken.minutes or taken.tallies or taken.pauses):
                return
            self._untold = taken
            self._number = max(self._number + 1, time.time_ns() // 1000)
        told = self._untold
        now = self._observer.now()
        left = [pause._replace(until=max(0.0, pause.until - now)) for pause in told.pauses]
        try:
            self._writer.submit(add, Share(self._process, self._number, told._replace(pauses=left))).result()
        except StoreUnavailableError:
            raise
        except EmbedRouterError as error:  # overloaded, or closing
            raise StoreUnavailableError(error.message) from error
        except Exception:
            self._untold = None  # the next would fail as well
            raise
        self._untold = None
        for one in told.minutes:
            self._know(one)
        for tally in told.tallies:
            self._know_tally(tally)

    # --- looking

    def _look(self) -> None:
        now, at = self._observer.now(), time.monotonic()
        wide = at - self._wide_at >= _WIDE_EVERY
        was_away = self._away_at is not None and at - self._away_at < 3 * _WIDE_EVERY
        since = int(now) - ((_FAR_BACK if was_away else _BACK) if wide else _RUNNING)
        tallies_since = int(now) - _BACK if wide else None
        found = self._database.read_now(lambda connection: _rows(connection, self._database, since, tallies_since))
        fresh = at - self._looked_at <= _FRESH
        self._looked_at = at
        if wide:
            self._wide_at = at
        self._take_in(found, now, fresh=fresh)

    def _take_in(self, found: _Look, now: float, *, fresh: bool) -> None:
        minutes = [new for one in found.minutes if any((new := self._news(one))[2:])]
        tallies = [more for tally in found.tallies if (more := self._tally_news(tally)).values]
        pauses = [row for row in found.pauses if self._pauses.get(row.subject, 0) < row.updated_at]
        for one in found.minutes:
            self._minutes[one.endpoint, one.minute] = _Counts(*one[2:])
        for tally in found.tallies:
            self._tallies[tally[:4]] = tally.values
        self._pauses = {row.subject: row.updated_at for row in found.pauses}
        self._forget(int(now))
        if minutes or tallies or pauses:
            told = [Pause(row.subject, now + row.left, row.strikes, row.reason) for row in pauses]
            running = int(now) - _RUNNING
            self._absorb([one for one in minutes if one.minute > running], told, tallies, fresh=fresh)
            self._absorb([one for one in minutes if one.minute <= running], [], [], fresh=False)

    def _absorb(self, minutes: list[MinuteCounts], pauses: list[Pause], tallies: list[Tally], *, fresh: bool) -> None:
        self._observer.absorb(Observed(minutes, tallies, pauses), fresh=fresh)

    def _news(self, row: MinuteCounts) -> MinuteCounts:
        known = self._minutes.get((row.endpoint, row.minute), _Counts())
        return MinuteCounts(row.endpoint, row.minute, *(total - had for total, had in zip(row[2:], known, strict=True)))

    def _tally_news(self, row: Tally) -> Tally:
        return row._replace(values=row.values - self._tallies.get(row[:4], 0))

    def _know(self, one: MinuteCounts) -> None:
        known = self._minutes.get((one.endpoint, one.minute), _Counts())
        self._minutes[one.endpoint, one.minute] = _Counts(*(a + b for a, b in zip(known, one[2:], strict=True)))

    def _know_tally(self, tally: Tally) -> None:
        self._tallies[tally[:4]] = self._tallies.get(tally[:4], 0) + tally.values

    def _forget(self, now: int) -> None:
        """Of rows that no look will read any more."""
        if time.monotonic() - self._wide_at < 1.0:
            last, last_tallies = now - _FAR_BACK - MINUTE, now - _BACK - MINUTE
            self._minutes = {key: known for key, known in self._minutes.items() if key[1] > last}
            self._tallies = {key: known for key, known in self._tallies.items() if key[1] > last_tallies}


def add(batch: Batch, shares: Sequence[Share]) -> Sequence[None]:
    """The writer's handler: adds each share, unless an earlier try did."""
    for share in shares:
        mark = MARK + share.process
        last = batch.connection.execute(select(marks.c.value).where(marks.c.name == mark)).scalar_one_or_none()
        if last is None or last < share.number:
            _ADD_MARK.run(batch, [{"name": mark, "value": share.number}])
            _add_seen(batch, share.seen)
    return [None] * len(shares)


def _add_seen(batch: Batch, seen: Observed) -> None:
    if seen.minutes:
        _ADD_MINUTES.add(batch, sorted(seen.minutes))
    if seen.tallies:
        _ADD_TALLIES.add(batch, sorted(seen.tallies))
    if seen.pauses:
        at = batch.database.now(batch.connection)
        rows = [
            {
                "subject": pause.subject,
                "until": at + int(pause.until * SECOND),
                "failures": pause.strikes,
                "reason": pause.reason,
                "updated_at": at,
            }
            for pause in seen.pauses
        ]
        _ADD_PAUSES.run(batch, rows)


def _mark(into: Into) -> Any:
    added = into(marks)
    return added.on_conflict_do_update(index_elements=[marks.c.name], set_={"value": added.excluded.value})


def _grow_minutes(into: Into) -> Any:
    added, table = into(health_minutes), health_minutes.c
    return added.on_conflict_do_update(
        index_elements=[table.endpoint, table.minute],
        set_={name: table[name] + added.excluded[name] for name in _Counts._fields},
    )


def _grow_tallies(into: Into) -> Any:
    added, table = into(health_histograms), health_histograms.c
    return added.on_conflict_do_update(
        index_elements=[table.endpoint, table.minute, table.measure, table.bucket],
        set_={"count": table.count + added.excluded.count},
    )


def _longer(into: Into) -> Any:
    """The pause that lasts longer stays, but for one that is lifted."""
    added, table = into(health_pauses), health_pauses.c
    new = added.excluded
    return added.on_conflict_do_update(
        index_elements=[table.subject],
        set_={name: new[name] for name in ("until", "failures", "reason", "updated_at")},
        where=or_(new.until > table.until, new.failures < 1),
    )


_ADD_MARK: Final = Statement(_mark)
_ADD_MINUTES: Final = Statement(_grow_minutes)
_ADD_TALLIES: Final = Statement(_grow_tallies)
_ADD_PAUSES: Final = Statement(_longer)


def _rows(connection: Connection, database: Database, since: int, tallies_since: int | None) -> _Look:
    """Since so many seconds."""
    minutes = connection.execute(select(health_minutes).where(health_minutes.c.minute >= since))
    found = _Look([MinuteCounts(*row) for row in minutes], [], _pauses(connection, database))
    if tallies_since is not None:
        tallies = connection.execute(select(health_histograms).where(health_histograms.c.minute >= tallies_since))
        found.tallies.extend(Tally(*row) for row in tallies)
    return found


def _everything(connection: Connection, database: Database, now: int) -> _Look:
    """Of the last day."""
    recent = now // MINUTE * MINUTE - _RECENT
    found = _rows(connection, database, now - DAY, recent)
    table = health_histograms.c
    half_hour = table.minute - table.minute % _HALF_HOUR
    query = (
        select(table.endpoint, half_hour, table.measure, table.bucket, func.sum(table.count))
        .where(table.minute >= now - DAY, table.minute < recent)
        .group_by(table.endpoint, half_hour, table.measure, table.bucket)
    )
    found.tallies.extend(Tally(*row[:4], int(row[4])) for row in connection.execute(query))
    return found


def _pauses(connection: Connection, database: Database) -> list[_PauseRow]:
    """That run, or were lifted."""
    at = database.now(connection)
    query = select(health_pauses).where(or_(health_pauses.c.until > at, health_pauses.c.failures == 0))
    return [
        _PauseRow(row.subject, max(0, row.until - at) / SECOND, row.failures, row.reason, row.updated_at)
        for row in connection.execute(query)
    ]
