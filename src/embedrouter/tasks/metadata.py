"""Which rows of an index a search may find, by their metadata."""

import threading
from collections.abc import Callable, Hashable, Iterator, Mapping
from typing import Any, Final, TypeAlias

import numpy as np
from numpy.typing import NDArray

from embedrouter.errors import InvalidRequestError
from embedrouter.tasks.records import Metadata, Records

Where: TypeAlias = Mapping[str, Any] | Callable[[Metadata], bool]
"""A field and its value, or the list of values it may have, all of which have to hold; or a function of the metadata.

A row without the field has the value None. A value that is itself a list or an object is left to a function."""

_AT_ONCE: Final = 16_384  # records decoded at a time
_NESTED: Final = -1


class Fields:
    """The values of the fields that were ever asked for, so that a second search need not read the records again."""

    def __init__(self, records: Records) -> None:
        self._records = records
        self._fields: dict[str, _Field] = {}
        self._reading = threading.Lock()

    def allowed(self, where: Where, alive: NDArray[np.bool_]) -> NDArray[np.bool_]:
        """Which rows `where` lets through: (rows,). A function is asked about those alive, for which alone it counts.

        Raises InvalidRequestError, and what a function raises.
        """
        if not isinstance(where, Mapping):
            if not callable(where):
                raise InvalidRequestError("where is a mapping of fields to values, or a function of the metadata")
            pairs = zip(alive.tolist(), self._metadata(0), strict=True)
            found = (live and bool(where(metadata)) for live, metadata in pairs)
            return np.fromiter(found, np.bool_, len(self._records))
        mask = np.ones(len(self._records), np.bool_)
        for name, wanted in where.items():
            values = wanted if isinstance(wanted, list | tuple | set | frozenset) else (wanted,)
            mask &= self._field(name).having([_key(value, name) for value in values])
        return mask

    def _metadata(self, start: int) -> Iterator[Metadata]:
        for first in range(start, len(self._records), _AT_ONCE):
            for record in self._records.between(first, min(first + _AT_ONCE, len(self._records))):
                yield record.metadata or {}

    def _field(self, name: str) -> "_Field":
        with self._reading:
            field = self._fields.setdefault(name, _Field())
            known = len(field.codes)
            if known < len(self._records):
                added = (field.code(metadata.get(name)) for metadata in self._metadata(known))
                new = np.fromiter(added, np.int32, len(self._records) - known)
                field.codes = np.concatenate((field.codes, new))
        return field


class _Field:
    """One field's value in each row, as the number of the value."""

    def __init__(self) -> None:
        self.codes: NDArray[np.int32] = np.empty(0, np.int32)
        self._numbers: dict[Hashable, int] = {}

    def code(self, value: object) -> int:
        if isinstance(value, list | dict):
            return _NESTED
        return self._numbers.setdefault(_plain(value), len(self._numbers))

    def having(self, keys: list[Hashable]) -> NDArray[np.bool_]:
        wanted = [self._numbers[key] for key in keys if key in self._numbers]
        return self.codes == wanted[0] if len(wanted) == 1 else np.isin(self.codes, wanted)


def _key(value: object, name: str) -> Hashable:
    if value is not None and not isinstance(value, str | int | float | np.generic):
        what = type(value).__name__
        raise InvalidRequestError(f'where: "{name}" is compared with texts, numbers, true, false and null, not {what}')
    return _plain(value.item() if isinstance(value, np.generic) else value)


def _plain(value: object) -> Hashable:
    """Python holds True and 1 to be equal."""
    return ("truth", value) if isinstance(value, bool) else value
