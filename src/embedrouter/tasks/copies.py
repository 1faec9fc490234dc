"""Which rows have the same codes."""

import hashlib
import zipfile
from pathlib import Path
from typing import BinaryIO

import numpy as np
from numpy.typing import NDArray

from embedrouter.errors import InvalidRequestError
from embedrouter.tasks.rows import Numbers
from embedrouter.tasks.storage import Codes


class Copies:
    """Rows 0..n-1; the first with its codes stands for those that follow."""

    def __init__(self) -> None:
        self._count = 0
        self._digests: NDArray[np.uint64] = np.empty(0, np.uint64)  # of the codes, ascending
        self._firsts: Numbers = np.empty(0, np.int64)  # the first row of each
        self._others: dict[int, list[int]] = {}  # the other rows, by the first

    def __len__(self) -> int:
        return self._count

    @property
    def distinct(self) -> int:
        """How many codes there are."""
        return len(self._firsts)

    @property
    def nbytes(self) -> int:
        return self._digests.nbytes + self._firsts.nbytes + 40 * (self._count - self.distinct)

    def append(self, codes: Codes) -> NDArray[np.intp]:
        """The next rows (n, dimensions). Returns which of them are the first with their codes, ascending."""
        digests, places, inverse = np.unique(_digests(codes), return_index=True, return_inverse=True)
        at = np.searchsorted(self._digests, digests)
        known = np.zeros(len(digests), np.bool_)
        inside = at < len(self._digests)
        known[inside] = self._digests[at[inside]] == digests[inside]
        firsts = places + self._count
        firsts[known] = self._firsts[at[known]]
        of_row = firsts[inverse]
        rows = np.arange(self._count, self._count + len(codes))
        for row in np.flatnonzero(of_row != rows).tolist():
            self._others.setdefault(int(of_row[row]), []).append(self._count + row)
        self._digests = np.insert(self._digests, at[~known], digests[~known])
        self._firsts = np.insert(self._firsts, at[~known], firsts[~known])
        self._count += len(codes)
        return np.sort(places[~known])

    def with_copies(self, firsts: Numbers) -> Numbers:
        """These rows and those with the same codes, ascending."""
        if not self._others:
            return np.sort(firsts)
        others = [row for first in firsts.tolist() for row in self._others.get(first, ())]
        return np.sort(np.concatenate((firsts, np.array(others, np.int64))))

    def save(self, file: BinaryIO) -> None:
        """Write it as an .npz file."""
        lengths = {first: len(rows) for first, rows in self._others.items()}
        np.savez(
            file,
            count=np.int64(self._count),
            digests=self._digests,
            firsts=self._firsts,
            copied=np.repeat(np.fromiter(lengths, np.int64, len(lengths)), list(lengths.values())),
            copies=np.array([row for rows in self._others.values() for row in rows], np.int64),
        )

    @classmethod
    def load(cls, path: Path) -> "Copies":
        """Read what `save` wrote. Raises InvalidRequestError."""
        copies = cls()
        try:
            with np.load(path, allow_pickle=False) as kept:
                copies._count = int(kept["count"])
                copies._digests, copies._firsts = kept["digests"], kept["firsts"]
                for first, row in zip(kept["copied"].tolist(), kept["copies"].tolist(), strict=True):
                    copies._others.setdefault(first, []).append(row)
        except (ValueError, OSError, EOFError, KeyError, zipfile.BadZipFile) as error:
            raise InvalidRequestError(f"{path} cannot be read: {error}") from error
        return copies


def _digests(codes: Codes) -> NDArray[np.uint64]:
    """A number for each row of codes, the same for the same ones; by chance for others once in 2**64."""
    found = b"".join(hashlib.blake2b(row.tobytes(), digest_size=8).digest() for row in codes)
    return np.frombuffer(found, np.uint64)
