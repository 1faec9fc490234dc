"""All opened credentials in memory, and which of them a request may use, in the order to try them."""

import logging
import threading
from collections.abc import Iterable, Mapping
from typing import Final

from sqlalchemy import Connection

from embedrouter.accounts import credentials
from embedrouter.accounts.credentials import Sealed, Snapshot, StoredCredential, masked
from embedrouter.accounts.sealing import Sealer, Secret
from embedrouter.errors import EmbedRouterError
from embedrouter.store import Database

log = logging.getLogger(__name__)

_ENVIRONMENT: Final = "environment:"


class Credential(StoredCredential, frozen=True, kw_only=True):
    """One that is open. Its repr shows no secret."""

    secret: Secret

    @property
    def shared(self) -> bool:
        """Whether it is the operator's own, from the environment, and not one that somebody brought."""
        return self.id.startswith(_ENVIRONMENT)


class CredentialRing:
    """Knows every credential. Thread-safe: readers see whole tuples, and loading comes one at a time."""

    def __init__(self, database: Database, sealer: Sealer, environment: Mapping[str, str] | None = None) -> None:
        """environment: as for `share`."""
        self.sealer = sealer
        self._database = database
        self.share(environment or {})
        self._by_provider: dict[str, tuple[Credential, ...]] = {}
        self._state: tuple[int, int] | None = None  # revision, rows
        self._closed: dict[str, str] = {}  # of those that do not open: their providers, by id
        self._loading = threading.Lock()

    def load(self) -> None:
        """Take in what changed since the last time, also by other processes. Raises StoreUnavailableError."""
        with self._loading:
            found = self._database.read_now(self._changes)
            if found is not None:
                self._by_provider = self._opened(found)
                self._state = (found.revision, len(found.rows))

    def share(self, environment: Mapping[str, str]) -> None:
        """Shared capacity from now on: secrets of the environment by provider slug."""
        self._shared = {slug: (_of_environment(slug, secret),) for slug, secret in environment.items()}

    @property
    def revision(self) -> int:
        """Of what is in memory."""
        return self._state[0] if self._state else 0

    def find(self, id_: str) -> Credential | None:
        """One by its id, disabled or not."""
        known = (*self._by_provider.values(), *self._shared.values())
        return next((one for group in known for one in group if one.id == id_), None)

    def shared(self, slug: str) -> Credential | None:
        """The operator's own for a provider."""
        return next(iter(self._shared.get(slug, ())), None)

    def has(self, slug: str) -> bool:
        """Whether anybody has a credential for a provider that is not disabled."""
        return slug in self._shared or any(not one.disabled for one in self._by_provider.get(slug, ()))

    def stored(self, slug: str) -> bool:
        """Whether the database holds credentials for a provider, usable or not."""
        return slug in self._by_provider or self.closed(slug)

    def closed(self, slug: str) -> bool:
        """Whether there are credentials for a provider that do not open."""
        return slug in self._closed.values()

    def for_workspace(self, slug: str, *, workspace_id: str, model: str) -> tuple[Credential, ...]:
        """As `for_provider`, whichever key or user they are for."""
        return tuple(
            one
            for one in (*self._by_provider.get(slug, ()), *self._shared.get(slug, ()))
            if not one.disabled
            and one.workspace_id in (None, workspace_id)
            and (one.allowed_models is None or model in one.allowed_models)
        )

    def for_provider(
        self, slug: str, *, workspace_id: str, key_hash: str, owner_id: str | None, model: str
    ) -> tuple[Credential, ...]:
        """Those this request may use, in the order to try: the workspace's own, shared capacity, fallbacks.

        model: slug. A credential that is required for the model, or is for BYOK only, leaves no shared capacity.
        """
        asked = [
            one
            for one in self._by_provider.get(slug, ())
            if not one.disabled
            and one.workspace_id in (None, workspace_id)
            and (one.allowed_api_key_hashes is None or key_hash in one.allowed_api_key_hashes)
            and (one.allowed_user_ids is None or owner_id in one.allowed_user_ids)
        ]
        usable = [one for one in asked if one.allowed_models is None or model in one.allowed_models]
        alone = any(one.is_byok_only for one in asked) or any(one.is_required for one in usable)
        own = [one for one in usable if not one.is_fallback]
        fallbacks = [one for one in usable if one.is_fallback]
        return (*own, *(() if alone else self._shared.get(slug, ())), *fallbacks)

    def _changes(self, connection: Connection) -> Snapshot | None:
        """None: nothing. What did not open is tried again, for its key may have been put back."""
        state = (credentials.revision(connection), credentials.total(connection))
        return None if state == self._state and not self._closed else credentials.snapshot(connection)

    def _opened(self, found: Snapshot) -> dict[str, tuple[Credential, ...]]:
        opened: list[Credential] = []
        closed: dict[str, str] = {}
        for row in found.rows:
            try:
                opened.append(_open(self.sealer, row))
            except EmbedRouterError as error:
                closed[row.stored.id] = row.stored.provider
                if row.stored.id not in self._closed:
                    log.error("%s", error.message)
        self._closed = closed
        return _grouped(opened)


def _open(sealer: Sealer, row: Sealed) -> Credential:
    values = {name: getattr(row.stored, name) for name in StoredCredential.__struct_fields__}
    return Credential(**values, secret=sealer.open(row.sealed, row.subject))


def _grouped(opened: Iterable[Credential]) -> dict[str, tuple[Credential, ...]]:
    found: dict[str, list[Credential]] = {}
    for one in sorted(opened, key=lambda one: (one.sort_order, one.id)):
        found.setdefault(one.provider, []).append(one)
    return {slug: tuple(group) for slug, group in found.items()}


def _of_environment(slug: str, secret: str) -> Credential:
    return Credential(
        id=_ENVIRONMENT + slug,
        provider=slug,
        name="From the environment",
        label=masked(secret),
        disabled=False,
        is_fallback=False,
        is_required=False,
        is_byok_only=False,
        sort_order=0,
        workspace_id=None,
        allowed_models=None,
        allowed_api_key_hashes=None,
        allowed_user_ids=None,
        declared_region=None,
        declared_zdr=None,
        created_by="environment",
        created_at=0,
        updated_at=0,
        secret=Secret(secret),
    )
