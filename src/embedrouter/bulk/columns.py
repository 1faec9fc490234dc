"""Deciding which column holds the texts, and which rows can be embedded. Pure functions."""

from collections.abc import Sequence
from typing import Literal

import msgspec

from embedrouter.errors import InvalidRequestError, nearest

OnEmpty = Literal["error", "skip"]
DEFAULT_COLUMN = "text"
_LISTED = 20  # columns named in a message


class Column(msgspec.Struct, frozen=True):
    """A column of the input, and whether it holds texts."""

    name: str
    is_text: bool


def pick_column(columns: Sequence[Column], wanted: str | None, file: str) -> str:
    """The column to embed: `wanted`, else "text", else the only column of texts.

    Raises InvalidRequestError naming the columns there are. A wanted column is taken whatever it holds: the rows are
    looked at one by one later.
    """
    names = [column.name for column in columns]
    if wanted is not None:
        if wanted in names:
            return wanted
        raise InvalidRequestError(
            f'{file} has no column "{wanted}"{nearest(wanted, names)}; its columns are {listed(names)}'
        )
    texts = [column.name for column in columns if column.is_text]
    if DEFAULT_COLUMN in texts:
        return DEFAULT_COLUMN
    if len(texts) == 1:
        return texts[0]
    if not texts:
        raise InvalidRequestError(f"{file} has no column of texts; its columns are {listed(names)}")
    raise InvalidRequestError(f"{file} has {len(texts)} columns of texts: name one with --column: {listed(texts)}")


def check_columns(names: Sequence[str], vector_column: str | None, file: str) -> None:
    """Refuse names that appear twice, and one that the vectors need. vector_column None: the columns are not kept."""
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise InvalidRequestError(f"{file} has more than one column named {listed(twice)}: rename them")
    if vector_column is not None and vector_column in names:
        raise InvalidRequestError(taken(vector_column, file))


def taken(vector_column: str, where: str) -> str:
    """What to say when the input already has a column of the vectors' name."""
    return (
        f'{where} already has a column "{vector_column}": '
        "choose another name for the vectors with --vector-column, or write .npy"
    )


def screen(values: Sequence[object], numbers: Sequence[int], *, unit: str, on_empty: OnEmpty, where: str) -> list[int]:
    """Indices of the values that are texts with something in them.

    numbers: the 1-based row or line (`unit` says which) of each value. where: the file and column, for messages.
    Raises InvalidRequestError at the first other value, unless on_empty is "skip".
    """
    kept = []
    for index, value in enumerate(values):
        fault = _fault(value)
        if fault is None:
            kept.append(index)
        elif on_empty == "error":
            raise InvalidRequestError(
                f"{where}: {unit} {numbers[index]} {fault}; mend it, or leave such rows out with --on-empty skip"
            )
    return kept


def listed(names: Sequence[str]) -> str:
    """Names for a message: quoted, and at most so many."""
    more = f" and {len(names) - _LISTED} more" if len(names) > _LISTED else ""
    return ", ".join(f'"{name}"' for name in names[:_LISTED]) + more if names else "none"


def _fault(value: object) -> str | None:
    if isinstance(value, str):
        return None if value and not value.isspace() else "is empty"
    if value is None:
        return "has no text (null or missing)"
    return f"holds {json_kind(value)}, not a text"


def json_kind(value: object) -> str:
    """What JSON calls a decoded value, with its article."""
    kinds: dict[type, str] = {bool: "a boolean", int: "a number", float: "a number", list: "a list", dict: "an object"}
    kinds |= {str: "a text", type(None): "null"}
    return kinds.get(type(value), f"a {type(value).__name__}")
