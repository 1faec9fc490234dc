"""Retention: what is old is removed in small steps, each a short transaction of the one writer.

Generations and usage go by whole UTC days, and in the transaction that removes the first row of a day the mark is set
by which the doctor knows. What money was spent stays: the ledger's entries, and the totals of keys and workspaces.
"""

import time
from collections.abc import Iterator, Sequence
from typing import Any, Final, NamedTuple

from sqlalchemy import Column, and_, delete, select, tuple_
from sqlalchemy.sql import ColumnElement

from embedrouter.ledger.doctor import PRUNED, SPENDING_PRUNED, USAGE_PRUNED
from embedrouter.ledger.health import MARK
from embedrouter.ledger.rollups import ROLLUPS
from embedrouter.periods import DAY, SECOND
from embedrouter.settings import Settings
from embedrouter.store import Batch, Writer
from embedrouter.store.tables import (
    generation_contents,
    generations,
    health_histograms,
    health_minutes,
    health_pauses,
    invites,
    login_failures,
    marks,
    metadata,
    sessions,
    spending,
    usage_days,
)

STEP: Final = 500  # rows in one transaction: a request that shares it waits a few milliseconds for them
_TURN: Final = 0.2  # seconds of steps at a time; the keeper has other chores
_FIRST: Final = 60.0  # seconds after the start
_EVERY: Final = 3_600.0  # seconds
_KEEP_SPENDING: Final = 400  # days: more than a year of months
_KEEP_HEALTH: Final = 3  # days
_KEEP_LOGINS: Final = 30  # days: what expired or failed longer ago is of no use


class Rule(NamedTuple):
    """What of a table to remove."""

    table: str
    before: int  # microseconds
    mark: str | None = None


class Retention:
    """Applies the settings' rules, a little at each call. One thread."""

    def __init__(self, writer: Writer, settings: Settings) -> None:
        self._writer = writer
        self._settings = settings
        self._due = time.monotonic() + _FIRST

    def turn(self) -> None:
        """If it is due: remove what fits a moment, the rest at the next turns. Raises StoreUnavailableError."""
        if time.monotonic() < self._due:
            return
        if self.prune(time.time_ns() // 1000, _TURN):
            self._due = time.monotonic() + _EVERY

    def prune(self, at: int, seconds: float) -> bool:
        """Remove what is too old at a time in microseconds; whether all of it was done in so many seconds."""
        until = time.monotonic() + seconds
        for rule in rules(self._settings, at):
            while self._writer.submit(remove, rule).result() == STEP:
                if time.monotonic() >= until:
                    return False
        return True


def rules(settings: Settings, at: int) -> Iterator[Rule]:
    """What the settings want removed at a time in microseconds."""
    generations_until = _midnight(at, settings.keep_generations_days)
    prompts_until = max(generations_until, _midnight(at, settings.keep_prompts_days))
    if prompts_until:
        yield Rule("generation_contents", prompts_until)
    if generations_until:
        yield Rule("generations", generations_until, PRUNED)
    if settings.keep_usage_days:
        usage_until = _midnight(at, settings.keep_usage_days)
        yield Rule("usage", usage_until, USAGE_PRUNED)
        for table in dict.fromkeys(rollup.table.name for rollup in ROLLUPS):
            yield Rule(table, usage_until)
    yield Rule("spending", _midnight(at, _KEEP_SPENDING), SPENDING_PRUNED)
    for table in ("sessions", "invites", "login_failures"):
        yield Rule(table, at - _KEEP_LOGINS * DAY * SECOND)
    for table in ("health_minutes", "health_histograms", "health_pauses", "marks"):
        yield Rule(table, at - _KEEP_HEALTH * DAY * SECOND)


def remove(batch: Batch, wanted: Sequence[Rule]) -> Sequence[int]:
    """The writer's handler: removes one step of each rule; answers with how many rows went."""
    return [_removed(batch, rule) for rule in wanted]


def _removed(batch: Batch, rule: Rule) -> int:
    key, old = _old(rule.table, rule.before)
    chosen = select(*key).where(old).limit(STEP)
    one = key[0] if len(key) == 1 else tuple_(*key)
    count = batch.connection.execute(delete(key[0].table).where(one.in_(chosen))).rowcount
    if rule.mark is not None and count:
        added = batch.database.insert(marks).values(name=rule.mark, value=rule.before)
        grown = added.on_conflict_do_update(
            index_elements=[marks.c.name], set_={"value": rule.before}, where=marks.c.value < rule.before
        )
        batch.connection.execute(grown)
    return count


def _midnight(at: int, days: int) -> int:
    """The start of the UTC day so many days ago, in microseconds; 0 for 0 days, which is for ever."""
    day = DAY * SECOND
    return (at // day - days) * day if days else 0


class _Old(NamedTuple):
    """Which rows of a table are old."""

    key: Sequence[Column[Any]]  # its primary key
    when: ColumnElement[bool]


def _old(table: str, before: int) -> _Old:
    match table:
        case "spending":
            began = and_(spending.c.period != "total", spending.c.start < before // SECOND)
            return _Old(list(spending.primary_key), and_(began, spending.c.held_pico == 0))
        case "usage" | "usage_days" | "app_days" | "model_hours" | "model_days":
            sums = metadata.tables[table]
            old = sums.c.bucket < before // SECOND
            if sums is usage_days:  # whose index begins with the split
                old = and_(sums.c.split.in_([rollup.split for rollup in ROLLUPS if rollup.split]), old)
            return _Old(list(sums.primary_key), old)
        case "health_minutes":
            return _Old(list(health_minutes.primary_key), health_minutes.c.minute < before // SECOND)
        case "health_histograms":
            return _Old(list(health_histograms.primary_key), health_histograms.c.minute < before // SECOND)
        case "marks":  # only those of processes that shared their health; their values are times
            return _Old(list(marks.primary_key), and_(marks.c.name.like(f"{MARK}%"), marks.c.value < before))
    time_of = _TIMES[table]
    return _Old(list(time_of.table.primary_key), time_of < before)


_TIMES: Final = {
    "generation_contents": generation_contents.c.created_at,
    "generations": generations.c.created_at,
    "health_pauses": health_pauses.c.updated_at,
    "sessions": sessions.c.expires_at,
    "invites": invites.c.expires_at,
    "login_failures": login_failures.c.updated_at,
}
