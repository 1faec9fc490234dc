"""Keeps the served catalog true to what files and the database state, while the process runs.

It is made anew when the database's revision, the operator's file or the credentials change, and swapped whole. What
does not hold together is told once in the log, and the catalog before stays.
"""

import logging
import os
import threading
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Final, NamedTuple

from embedrouter.catalog import files
from embedrouter.catalog.catalog import Catalog
from embedrouter.catalog.entries import ProviderEntry, Sheet, Stated, from_body
from embedrouter.catalog.load import Loaded, load
from embedrouter.catalog.models import Model
from embedrouter.errors import CatalogError, SettingsError
from embedrouter.providers.formats import FORMATS
from embedrouter.store import Database
from embedrouter.store.entries import Row, Snapshot, revision, snapshot

log = logging.getLogger(__name__)

# The wire formats that endpoints may name.
WIRES: Final = frozenset({"builtin", *FORMATS})

_IN_DATABASE: Final = "in the database"


class _Seen(NamedTuple):
    """What the catalog was made of, as far as it can be seen at a glance."""

    revision: int
    file: tuple[str, int, int] | None  # path, nanoseconds of its last change, bytes
    ready: frozenset[str]  # providers with a credential


def no_credentials(_slug: str) -> bool:
    """Where no credentials are stored."""
    return False


class CatalogKeeper:
    """Thread-safe. `loaded` and what `watcher` gets are immutable and whole."""

    def __init__(
        self,
        database: Database,
        *,
        builtin: Model,
        aliases: Mapping[str, str],
        file: Path | None,
        data_dir: Path,
        stored: Callable[[str], bool] = no_credentials,
        environ: Mapping[str, str] = os.environ,
        mending: bool = False,
    ) -> None:
        """file: the operator's choice, else catalog.toml in data_dir. stored: whether a provider has a credential.
        mending: what does not hold together is remembered as `broken`, for who is about to change it.

        Raises SettingsError, CatalogError, StoreUnavailableError.
        """
        self._database = database
        self._builtin = builtin
        self._aliases = aliases
        self._file = file
        self._data_dir = data_dir
        self._stored = stored
        self._environ = environ
        self._changing = threading.Lock()
        path = files.chosen(file, data_dir)
        self._stamp = _stamp(path)  # of the file that holds
        self._operators = _read(path)
        self.snapshot: Snapshot = database.read_now(snapshot)
        self.broken: CatalogError | None = None
        try:
            self.loaded: Loaded = self.attempt(self.snapshot.rows)
        except CatalogError as error:
            if not mending:
                raise
            self.broken = error
            self.loaded = self.attempt(())
        self.watcher: Callable[[Catalog], None] = lambda _: None
        self._seen = _Seen(self.snapshot.revision, self._stamp, self._ready_ones())

    def reload(self) -> None:
        """Take in what changed since the last time. Raises StoreUnavailableError."""
        with self._changing:
            path = files.chosen(self._file, self._data_dir)
            seen = _Seen(self._database.read_now(revision), _stamp(path), self._ready_ones())
            if seen == self._seen:
                return
            taken = self._database.read_now(snapshot)
            self._seen = seen._replace(revision=taken.revision)
            try:
                self.loaded = self._renewed(taken.rows, path, seen)
            except CatalogError as error:
                log.error("the catalog stays as it was: %s", error.message)
                return
            self.snapshot = taken
            self._seen = self._seen._replace(ready=self._ready_ones())
            self.watcher(self.loaded.catalog)
            log.info("the catalog has changed: %d models are served", len(self.loaded.catalog.models))

    def _renewed(self, rows: Iterable[Row], path: Path | None, seen: _Seen) -> Loaded:
        """With the operator's file as it is now, or as it was when it last held."""
        if seen.file != self._stamp:
            before = self._operators
            try:
                self._operators = _read(path)
                found = self.attempt(rows)
            except (CatalogError, SettingsError) as error:
                self._operators = before
                log.error("the catalog's file is not taken in: %s", error.message)
            else:
                self._stamp = seen.file
                return found
        return self.attempt(rows)

    def attempt(self, rows: Iterable[Row]) -> Loaded:
        """The catalog that these rows would make. Raises CatalogError."""
        return load(
            [files.shipped(), self._operators, _sheet(rows)],
            builtin=self._builtin,
            wires=WIRES,
            ready=self._ready,
            aliases=self._aliases,
        )

    def judge(self, before: Sequence[Row], after: Sequence[Row]) -> None:
        """Raise CatalogError for what a change breaks. What was broken before may be mended step by step."""
        try:
            self.attempt(after)
        except CatalogError as error:
            known = self._problems(before)
            if fresh := [problem for problem in error.problems if problem not in known]:
                raise CatalogError(fresh) from error

    def _problems(self, rows: Sequence[Row]) -> set[object]:
        try:
            self.attempt(rows)
        except CatalogError as error:
            return set(error.problems)
        return set()

    def _ready(self, provider: ProviderEntry) -> bool:
        variable = provider.credential_env
        return bool(variable and self._environ.get(variable)) or self._stored(provider.slug)

    def _ready_ones(self) -> frozenset[str]:
        return frozenset(provider.slug for provider in self.loaded.providers if self._ready(provider))


def _sheet(rows: Iterable[Row]) -> Sheet:
    read = [from_body(row.kind, row.slug, row.body, _IN_DATABASE) for row in rows]
    stated = tuple(one for one in read if isinstance(one, Stated))
    return Sheet(stated, tuple(one for one in read if not isinstance(one, Stated)))


def _read(path: Path | None) -> Sheet:
    return Sheet() if path is None else files.read(path)


def _stamp(path: Path | None) -> tuple[str, int, int] | None:
    if path is None:
        return None
    try:
        found = path.stat()
    except OSError:
        return str(path), 0, -1
    return str(path), found.st_mtime_ns, found.st_size
