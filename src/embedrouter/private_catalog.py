"""The catalog that requests are routed by: the public one, and the private endpoints that workspaces activated."""

import threading
from collections.abc import Callable

from embedrouter.accounts.private_endpoints import PrivateEndpoint, list_private_endpoints, revision
from embedrouter.accounts.validation import endpoint_of
from embedrouter.catalog.catalog import Catalog
from embedrouter.catalog.load import provider_of
from embedrouter.catalog.models import Endpoint
from embedrouter.catalog_keeper import CatalogKeeper
from embedrouter.store import Database


class PrivateCatalog:
    """Thread-safe. One whose model or provider is gone from the catalog waits for it to come back."""

    def __init__(self, database: Database, public: CatalogKeeper, serve: Callable[[Catalog], None]) -> None:
        """serve: what to do with each new catalog."""
        self._database = database
        self._public = public
        self._serve = serve
        self._changing = threading.Lock()
        self._revision = -1
        self._active: list[PrivateEndpoint] = []
        public.watcher = lambda _: self._serve_all()
        self.reload()

    def reload(self) -> None:
        """Take in what changed since the last time, also by other processes. Raises StoreUnavailableError."""
        found = self._database.read_now(revision)
        if found != self._revision:
            every = self._database.read_now(list_private_endpoints)
            self._active = [one for one in every if one.status == "active"]
            self._revision = found
            self._serve_all()

    def _serve_all(self) -> None:
        with self._changing:
            loaded = self._public.loaded
            providers = {one.slug: one for one in loaded.providers}
            added: dict[str, list[Endpoint]] = {}
            for one in self._active:
                model = loaded.catalog.get(one.model_permaslug)
                if model is not None and one.provider_slug in providers:
                    provider = provider_of(providers[one.provider_slug])
                    added.setdefault(model.slug, []).append(endpoint_of(one, provider, model))
            self._serve(loaded.catalog.with_endpoints(added) if added else loaded.catalog)
