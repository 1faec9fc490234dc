"""A key as the dashboard shows it: what it is, what it has spent, what state it is in."""

from collections.abc import Sequence
from typing import Any, Final, Literal, NamedTuple

from embedrouter.accounts.keys import ApiKey, KeyFilter, list_keys
from embedrouter.ledger.spent import NOTHING, Spent, spent_by_keys
from embedrouter.periods import Period

MOST: Final = 10_000  # keys that are looked through
_CHUNK: Final = 5_000  # ids in one query

Status = Literal["active", "disabled", "expired", "used up"]
Sort = Literal["created", "name", "used", "last", "expires", "limit"]
SORTS: Final[tuple[Sort, ...]] = ("created", "name", "used", "last", "expires", "limit")
_EACH: Final[dict[Period, str]] = {"day": "a day", "week": "a week", "month": "a month", "total": "in all"}


class KeyRow(NamedTuple):
    """A key at a time in microseconds."""

    key: ApiKey
    spent: Spent
    at: int

    @property
    def period(self) -> Period:
        """What its limit is for."""
        return self.key.limit_reset or "total"

    @property
    def each(self) -> str:
        """The period in words."""
        return _EACH[self.period]

    @property
    def used_pico(self) -> int:
        """Of its limit's period, as the limit counts it."""
        return self.spent.of(self.period).counted(byok=self.key.include_byok_in_limit).spent_pico

    @property
    def percent(self) -> float | None:
        """Of its limit; what it holds counts. None: it has none."""
        if self.key.limit_pico is None:
            return None
        if self.key.limit_pico == 0:
            return 100.0
        left = self.spent.left(self.key.limit_pico, self.period, byok=self.key.include_byok_in_limit)
        return 100 - left / self.key.limit_pico * 100

    @property
    def tone(self) -> str:
        """Of its meter."""
        percent = self.percent or 0
        return "bad" if percent >= 100 else "warn" if percent >= 80 else ""

    @property
    def status(self) -> Status:
        """Why it does not work, or that it does."""
        if self.key.disabled:
            return "disabled"
        if not self.key.usable(self.at):
            return "expired"
        return "used up" if (self.percent or 0) >= 100 else "active"


class Wanted(NamedTuple):
    """Which keys to show. owner_id: None for everybody's."""

    owner_id: str | None
    query: str = ""
    sort: Sort = "created"
    descending: bool = True
    first: int = 0  # to pass over
    limit: int = 50


class Found(NamedTuple):
    """A page of them."""

    rows: tuple[KeyRow, ...]
    total: int


def key_rows(connection: Any, wanted: Wanted, at: int) -> Found:
    """Those whose name, label or hash has the query in it."""
    filter_ = KeyFilter(wanted.owner_id, include_disabled=True, limit=MOST)
    keys = [key for key in list_keys(connection, filter_) if _matches(key, wanted.query.casefold())]
    by_use = wanted.sort in ("used", "last")
    rows = rows_of(connection, keys, at) if by_use else [KeyRow(key, NOTHING, at) for key in keys]
    page = _sorted(rows, wanted)[wanted.first : wanted.first + wanted.limit]
    return Found(tuple(page if by_use else rows_of(connection, [row.key for row in page], at)), len(keys))


def rows_of(connection: Any, keys: Sequence[ApiKey], at: int) -> list[KeyRow]:
    """Keys with what they have spent, in the same order."""
    spent: dict[int, Spent] = {}
    for start in range(0, len(keys), _CHUNK):
        spent |= spent_by_keys(connection, [key.id for key in keys[start : start + _CHUNK]], at)
    return [KeyRow(key, spent.get(key.id, NOTHING), at) for key in keys]


def _matches(key: ApiKey, query: str) -> bool:
    return query in key.name.casefold() or query in key.label or key.hash.startswith(query)


def _sorted(rows: Sequence[KeyRow], wanted: Wanted) -> list[KeyRow]:
    """Those that lack what is sorted by come last, either way."""

    def value(row: KeyRow) -> Any:
        match wanted.sort:
            case "name":
                return row.key.name.casefold()
            case "used":
                return row.spent.total.spent_pico
            case "last":
                return row.spent.last_at
            case "expires":
                return row.key.expires_at
            case "limit":
                return row.key.limit_pico
        return row.key.id

    there = sorted((row for row in rows if value(row) is not None), key=value, reverse=wanted.descending)
    return there + [row for row in rows if value(row) is None]
