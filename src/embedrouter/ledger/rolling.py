"""How rollups come to be: the mark moves on over quarters that are over, and what is late for it is added at once.

A quarter is summed up when it has been over for 15 minutes. Then hardly anything comes late, and only what is older
than a minute has to look for the mark: so a settlement pays nothing for rollups, though clocks differ by some minutes.
"""

import time
from collections.abc import Sequence
from functools import cache
from typing import Any, Final

from sqlalchemy import BigInteger, Connection, bindparam, func, select
from sqlalchemy.dialects import postgresql, sqlite

from embedrouter.ledger.rollups import MARK, ROLLUPS, Rollup, mark
from embedrouter.periods import QUARTER, SECOND
from embedrouter.store import Batch, Statement, Writer
from embedrouter.store.statement import Into
from embedrouter.store.tables import marks, usage

STEP: Final = 500  # rows of `usage` in one transaction, or one quarter's: a request that shares it waits for them
_OVER: Final = 900  # seconds
_LATE: Final = 60  # seconds
_LOOK: Final = 60.0  # seconds
_TURN: Final = 0.2  # seconds of steps at a time; the keeper has other chores
_KNOWN: Final = "rolled_up"  # of a connection: the mark, and until when (time.monotonic()) nobody looks for it again


class Rolling:
    """Moves the mark, a little at each call. One thread; other processes may do the same."""

    def __init__(self, writer: Writer) -> None:
        self._writer = writer
        self._due = 0  # microseconds

    def turn(self) -> None:
        """Once a quarter: sum up what fits a moment, the rest at the next turns. Raises StoreUnavailableError."""
        at = time.time_ns() // 1000
        if at >= self._due and self.catch_up(at, _TURN):
            self._due = (at // SECOND // QUARTER + 1) * QUARTER * SECOND

    def catch_up(self, at: int, seconds: float) -> bool:
        """Sum up what is over at a time in microseconds; whether all of it was done in so many seconds."""
        until = time.monotonic() + seconds
        while not self._writer.submit(roll_up, at).result():
            if time.monotonic() >= until:
                return False
        return True


def roll_up(batch: Batch, times: Sequence[int]) -> Sequence[bool]:
    """The writer's handler: moves the mark on by a step; whether it is as far as it may at a time in microseconds."""
    return [_moved(batch, at) for at in times]


def grow_late(batch: Batch, rows: Sequence[tuple[Any, ...]], oldest: int) -> None:
    """Add rows that `usage` was just grown by, where they are before the mark.

    rows: column by column. oldest: the time of the first of the generations in them, in microseconds.
    """
    if oldest // SECOND >= _surely_after(batch):
        return
    until = _looked_up(batch)
    late = [row for row in rows if row[_BUCKET] < until]
    for rollup in ROLLUPS if late else ():
        added = [_rolled(rollup, row) for row in late if not rollup.of_apps or (row[_PUBLIC] and row[_APP])]
        if added:
            _GROW[rollup].add(batch, added)


def _surely_after(batch: Batch) -> int:
    """A second that no mark has reached: what began then or later is not late."""
    known: int
    known, until = batch.connection.info.get(_KNOWN, (0, 0.0))
    if time.monotonic() >= until:  # a clock that was set back may be behind the mark
        known = _looked_up(batch)
        batch.connection.info[_KNOWN] = (known, time.monotonic() + _LOOK)
    return max(known, int(time.time()) - _LATE)


def _looked_up(batch: Batch) -> int:
    found = _READ.row(batch, {})
    return 0 if found is None else int(found[0])


def _moved(batch: Batch, at: int) -> bool:
    connection = batch.connection
    since = mark(connection)
    at = min(at, batch.database.now(connection))  # on which all processes agree
    over = (at // SECOND - _OVER) // QUARTER * QUARTER
    if since >= over:
        return True
    until = _step(connection, since, over)
    for rollup in ROLLUPS:
        adding = _adding(rollup, is_sqlite=batch.database.is_sqlite)
        connection.execute(adding, {"since": since, "until": until})
    added = batch.database.insert(marks).values(name=MARK, value=until)
    connection.execute(added.on_conflict_do_update(index_elements=[marks.c.name], set_={"value": until}))
    return until == over


def _step(connection: Connection, since: int, over: int) -> int:
    """Where the mark goes: as far as it may, or over whole quarters that have a step's rows together."""
    ahead = select(usage.c.bucket).where(usage.c.bucket >= since, usage.c.bucket < over).order_by(usage.c.bucket)
    beyond = connection.execute(ahead.offset(STEP).limit(1)).scalar_one_or_none()
    if beyond is None:
        return over
    first = connection.execute(ahead.limit(1)).scalar_one()
    return int(max(beyond, first + QUARTER))


@cache
def _adding(rollup: Rollup, *, is_sqlite: bool) -> Any:
    """The statement that sums up what is from second `since` until before `until`: to make it takes longer than it."""
    live = rollup.live
    inside = (usage.c.bucket >= _SINCE, usage.c.bucket < _UNTIL, *rollup.within)
    each = select(*(column.label(name) for name, column in live.items())).where(*inside).subquery()
    keys, sums = rollup.keys, rollup.sums
    columns = [
        each.c[name] if name in keys else func.sum(each.c[name]) if name in sums else func.max(each.c[name])
        for name in live
    ]
    made = select(*columns).group_by(*(each.c[name] for name in keys))
    into: Into = sqlite.insert if is_sqlite else postgresql.insert
    return _growing(rollup, into(rollup.table).from_select(list(live), made))


def _growing(rollup: Rollup, added: Any) -> Any:
    table = rollup.table
    return added.on_conflict_do_update(
        index_elements=list(rollup.keys), set_={name: table.c[name] + added.excluded[name] for name in rollup.sums}
    )


def _rolled(rollup: Rollup, row: tuple[Any, ...]) -> tuple[Any, ...]:
    """A row of `usage` as one of a rollup."""
    return tuple(_of(rollup, name, row) for name in _NAMES[rollup])


def _of(rollup: Rollup, name: str, row: tuple[Any, ...]) -> Any:
    match name:
        case "split":
            return rollup.split
        case "key_id" if rollup.of_all:
            return 0
        case "bucket":
            return row[_BUCKET] - row[_BUCKET] % rollup.step
        case "of":
            return str(row[_AT[str(rollup.of)]])
    return row[_AT[name]]


def _statement(rollup: Rollup) -> Statement:
    def grow(into: Into) -> Any:
        return _growing(rollup, into(rollup.table))

    return Statement(grow)


_SINCE: Final = bindparam("since", type_=BigInteger)
_UNTIL: Final = bindparam("until", type_=BigInteger)
_AT: Final = {name: index for index, name in enumerate(usage.c.keys())}
_BUCKET: Final = _AT["bucket"]
_PUBLIC: Final = _AT["public"]
_APP: Final = _AT["app_id"]
_NAMES: Final = {rollup: tuple(rollup.table.c.keys()) for rollup in ROLLUPS}
_GROW: Final = {rollup: _statement(rollup) for rollup in ROLLUPS}
_READ: Final = Statement(lambda _: select(marks.c.value).where(marks.c.name == MARK))
