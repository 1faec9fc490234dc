"""Filters of analytics as SQL conditions: expressions and bound parameters, never text."""

import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final, NamedTuple

from sqlalchemy import Connection, and_, false, not_, or_, select
from sqlalchemy.sql import ColumnElement

from embedrouter.errors import InvalidRequestError, nearest
from embedrouter.ledger.measures import DIMENSIONS
from embedrouter.store.tables import api_keys

OPERATORS: Final = {"eq": False, "neq": False, "in": True, "not_in": True, "gt": False, "gte": False, "lt": False,
                    "lte": False}  # fmt: skip
"""Each operator, and whether it takes a list."""

MOST_VALUES: Final = 1_000
LONGEST_VALUE: Final = 512  # characters

_HASH: Final = re.compile(r"[0-9a-f]{64}")
_LARGEST: Final = 2**31 - 1
_COMPARE: Final[Mapping[str, Callable[[Any, Any], Any]]] = {
    "gt": lambda column, value: column > value,
    "gte": lambda column, value: column >= value,
    "lt": lambda column, value: column < value,
    "lte": lambda column, value: column <= value,
}

Value = str | int | float


class Filter(NamedTuple):
    """One condition on a dimension; all of a query's must hold."""

    field: str
    operator: str
    value: Value | Sequence[Value]
    include_unset: bool = False

    def check(self, place: str) -> None:
        """place: what it is called in errors, `filters.0`. Raises InvalidRequestError."""
        if self.field not in DIMENSIONS:
            raise _wrong(f"{place}.field", f'there is no dimension "{self.field}"{nearest(self.field, [*DIMENSIONS])}')
        if self.operator not in OPERATORS:
            raise _wrong(f"{place}.operator", f'"{self.operator}" is none of {", ".join(OPERATORS)}')
        many = not isinstance(self.value, (str, int, float))
        if many != OPERATORS[self.operator]:
            raise _wrong(f"{place}.value", f"{self.operator} takes {'one value' if many else 'a list of values'}")
        if len(self.values) > MOST_VALUES:
            raise _wrong(f"{place}.value", f"at most {MOST_VALUES:,} values")
        if self.include_unset and not OPERATORS[self.operator]:
            raise _wrong(f"{place}.include_unset", "applies to in and not_in only")
        for value in self.values:
            if self.field in ("api_key_id", "app"):
                if _number(value) is None and not (self.field == "api_key_id" and _is_hash(value)):
                    takes = "a key's number or its hash" if self.field == "api_key_id" else "an app's number"
                    raise _wrong(f"{place}.value", f"{self.field} takes {takes}")
            elif not isinstance(value, str) or not value.isprintable() or len(value) > LONGEST_VALUE:
                raise _wrong(
                    f"{place}.value", f"{self.field} takes printable text of at most {LONGEST_VALUE} characters"
                )

    @property
    def values(self) -> Sequence[Value]:
        """The value or values."""
        return [self.value] if isinstance(self.value, (str, int, float)) else self.value

    def condition(
        self, connection: Connection, columns: Mapping[str, ColumnElement[Any]], warnings: list[str]
    ) -> ColumnElement[bool]:
        """What a row must fulfil. columns: by dimension; warnings: grows by what could not be resolved."""
        column = columns[self.field]
        if self.field == "api_key_id":
            found = _keys(connection, self.values, warnings)
        else:
            found = [_number(value) if self.field == "app" else value for value in self.values]
        if self.operator in _COMPARE:
            return _COMPARE[self.operator](column, found[0]) if found else false()
        hit: ColumnElement[bool] = column.in_(found)
        if self.field == "model":  # by its slug, too
            hit = or_(hit, columns["model_slug"].in_(found))
        unset = {"app": column == 0, "user": column.is_(None)}.get(self.field, false())
        match self.operator:
            case "eq":
                return hit
            case "in":
                return or_(hit, unset) if self.include_unset else hit
            case "neq":
                return or_(column.is_(None), not_(hit))
        return or_(unset, not_(hit)) if self.include_unset else and_(not_(unset), not_(hit))


def _keys(connection: Connection, values: Sequence[Value], warnings: list[str]) -> list[Any]:
    """Numbers of keys, also of those named by their hash."""
    numbers = [number for value in values if (number := _number(value)) is not None]
    hashes = [str(value).lower() for value in values if _is_hash(value)]
    query = select(api_keys.c.id, api_keys.c.hash).where(or_(api_keys.c.id.in_(numbers), api_keys.c.hash.in_(hashes)))
    rows = connection.execute(query).all()
    known: dict[Any, int] = {row.hash: row.id for row in rows} | {row.id: row.id for row in rows}
    found = []
    for value in values:
        number = _number(value)
        key = known.get(str(value).lower() if number is None else number)
        if key is None:
            warnings.append(f'api_key_id: there is no key "{value}"; it matches nothing')
        else:
            found.append(key)
    return found


def _is_hash(value: Value) -> bool:
    return isinstance(value, str) and _HASH.fullmatch(value.lower()) is not None


def _number(value: Value) -> int | None:
    """A whole number, also if it is told as a string; None for anything else."""
    if isinstance(value, str):
        number = int(value) if value.isascii() and value.isdecimal() and len(value) <= 10 else -1
    else:
        number = int(value) if value == value // 1 else -1
    return number if 0 <= number <= _LARGEST else None


def _wrong(field: str, what: str) -> InvalidRequestError:
    return InvalidRequestError(f"{field}: {what}", metadata={"field": field})
