"""What the routes share: one object a process, made by the app."""

import asyncio
from dataclasses import dataclass, field

from embedrouter.accounts.caller import Gatekeeper
from embedrouter.accounts.credential_ring import CredentialRing
from embedrouter.accounts.presets import PresetShelf
from embedrouter.accounts.ring import KeyRing
from embedrouter.accounts.webhooks import WebhookSigner
from embedrouter.catalog_keeper import CatalogKeeper
from embedrouter.errors import OverloadedError
from embedrouter.gateway import Gateway
from embedrouter.ledger.apps import AppBook
from embedrouter.ledger.book import Ledger
from embedrouter.ledger.examining import Examiner
from embedrouter.ledger.health import HealthSharing
from embedrouter.ledger.performance import PerformanceHour
from embedrouter.lru import LruCache
from embedrouter.minilm import MiniLM
from embedrouter.private_catalog import PrivateCatalog
from embedrouter.providers.probe import Prober, no_probe
from embedrouter.response_cache import ResponseCache
from embedrouter.settings import Settings
from embedrouter.store import Database, Writer
from embedrouter.telemetry.metrics import Metrics


@dataclass(slots=True)
class Context:
    """Everything a route may need; `draining` is the only thing that changes."""

    settings: Settings
    database: Database
    writer: Writer
    ring: KeyRing
    gatekeeper: Gatekeeper
    ledger: Ledger
    apps: AppBook
    model: MiniLM | None  # None: the built-in one is switched off
    gateway: Gateway
    private: PrivateCatalog  # what requests are routed by
    catalog: CatalogKeeper
    sharing: HealthSharing
    metrics: Metrics
    responses: ResponseCache | None  # None: the cache is off
    presets: PresetShelf
    credentials: CredentialRing
    webhooks: WebhookSigner
    probe: Prober = field(default=no_probe)
    examiner: Examiner = field(default_factory=Examiner)
    past_hours: LruCache[tuple[tuple[str, ...], int], tuple[PerformanceHour, ...]] = field(
        default_factory=lambda: LruCache(1 << 20)
    )
    draining: bool = field(default=False)

    async def refresh(self) -> None:
        """Take in what was just changed: here at once, where other processes look every half second."""
        await asyncio.to_thread(self.ring.load)
        await asyncio.to_thread(self.presets.load)

    def refuse_if_draining(self) -> None:
        """Raise OverloadedError once the server shuts down: what was accepted is answered, nothing new is taken."""
        if self.draining:
            raise OverloadedError("the server is shutting down; try again", retry_after=5)
