"""How the parts are put together: settings in, an ASGI application out."""

import gc
import logging
import os
import platform
import secrets
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from typing import NamedTuple

import msgspec
from litestar import Litestar, Router
from litestar.config.app import AppConfig
from litestar.datastructures import State
from litestar.di import Provide
from litestar.exceptions import HTTPException

from embedrouter import __version__
from embedrouter.accounts import first
from embedrouter.accounts.caller import Gatekeeper
from embedrouter.accounts.credential_ring import CredentialRing
from embedrouter.accounts.first import FirstKey
from embedrouter.accounts.passwords import Passwords
from embedrouter.accounts.presets import PresetShelf
from embedrouter.accounts.reception import Reception
from embedrouter.accounts.ring import KeyRing
from embedrouter.accounts.sealing import Sealer
from embedrouter.api import (
    activity,
    analytics,
    budgets,
    byok,
    current_key,
    datasets,
    docs,
    generations,
    guardrail_keys,
    guardrails,
    health,
    keys,
    models,
    presets,
    private_endpoints,
    problems,
    workspaces,
)
from embedrouter.api import catalog as catalog_routes
from embedrouter.api import credits as credit_routes
from embedrouter.api.auth import Guard, check_rules
from embedrouter.api.context import Context
from embedrouter.api.embeddings import embeddings_route
from embedrouter.api.exchange import ClientGone
from embedrouter.api.response_cache import ResponseCache
from embedrouter.api.session import internal_routes
from embedrouter.catalog.builtin import ALIASES, SLUG, builtin_model
from embedrouter.catalog.models import Model
from embedrouter.catalog_keeper import CatalogKeeper
from embedrouter.credentials import Credentials
from embedrouter.entrance import Entrance
from embedrouter.errors import EmbedRouterError
from embedrouter.gateway import Gateway, Ways
from embedrouter.keeper import Chore, Keeper
from embedrouter.ledger.apps import AppBook
from embedrouter.ledger.book import Instance, Ledger, now
from embedrouter.ledger.health import HealthSharing
from embedrouter.ledger.retention import Retention
from embedrouter.minilm import MiniLM
from embedrouter.minilm.batcher import BatchStats
from embedrouter.minilm.weights import TENSORS
from embedrouter.private_catalog import PrivateCatalog
from embedrouter.providers.builtin import BuiltinProvider
from embedrouter.providers.counting import Counting
from embedrouter.providers.formats import FORMATS
from embedrouter.providers.probe import prober
from embedrouter.providers.remote import Remote
from embedrouter.providers.transport import Transport
from embedrouter.providers.vector_cache import VectorCache
from embedrouter.routing.execute import Executor
from embedrouter.routing.health import Health
from embedrouter.settings import Settings
from embedrouter.store import Database, Writer
from embedrouter.store.installation import identify
from embedrouter.store.migrate import migrate
from embedrouter.telemetry.metrics import Metrics
from embedrouter.web.account import web_routes

log = logging.getLogger(__name__)

_API = (
    models.list_models,
    models.list_embedding_models,
    models.count_models,
    models.get_model,
    models.list_endpoints,
    models.list_providers,
    catalog_routes.get_catalog,
    catalog_routes.validate_catalog,
    catalog_routes.get_provider,
    catalog_routes.put_provider,
    catalog_routes.delete_provider,
    catalog_routes.get_model,
    catalog_routes.put_model,
    catalog_routes.delete_model,
    catalog_routes.get_endpoint,
    catalog_routes.put_endpoint,
    catalog_routes.delete_endpoint,
    keys.list_keys,
    keys.create_key,
    keys.get_key,
    keys.update_key,
    keys.delete_key,
    current_key.get_current_key,
    current_key.get_auth_key,
    credit_routes.get_credits,
    credit_routes.add_credits,
    credit_routes.list_ledger,
    generations.get_generation,
    generations.get_content,
    activity.get_activity,
    analytics.get_analytics_meta,
    analytics.query_analytics,
    datasets.get_rankings_daily,
    datasets.get_app_rankings,
    byok.list_byok,
    byok.create_byok,
    byok.get_byok,
    byok.update_byok,
    byok.delete_byok,
    private_endpoints.list_items,
    private_endpoints.create_item,
    private_endpoints.get_item,
    private_endpoints.update_item,
    private_endpoints.delete_item,
    private_endpoints.validate_item,
    private_endpoints.activate_item,
    private_endpoints.disable_item,
    private_endpoints.enable_item,
    private_endpoints.update_pricing,
    models.list_user_models,
    models.list_zdr_endpoints,
    workspaces.list_workspaces,
    workspaces.create_workspace,
    workspaces.get_workspace,
    workspaces.update_workspace,
    workspaces.delete_workspace,
    workspaces.list_members,
    workspaces.add_members,
    workspaces.remove_members,
    budgets.list_budgets,
    budgets.get_budget,
    budgets.set_budget,
    budgets.delete_budget,
    guardrails.list_guardrails,
    guardrails.create_guardrail,
    guardrails.get_guardrail,
    guardrails.update_guardrail,
    guardrails.delete_guardrail,
    guardrail_keys.list_all_keys,
    guardrail_keys.list_keys,
    guardrail_keys.assign_keys,
    guardrail_keys.unassign_keys,
    guardrail_keys.list_all_members,
    guardrail_keys.list_members,
    guardrail_keys.assign_members,
    presets.list_presets,
    presets.get_preset,
    presets.list_versions,
    presets.get_version,
    presets.create_preset,
    presets.delete_preset,
)
_QUANTIZATION = {"float32": "fp32", "bfloat16": "bf16", "int8": "int8"}


def load_model(settings: Settings) -> MiniLM:
    """The built-in model as the settings want it. Raises WeightsError, SettingsError."""
    return MiniLM(
        settings.model_dir,
        engine=settings.engine,
        precision=settings.precision,
        threads=settings.threads,
        native_path=settings.native_path,
        cache_dir=settings.cache_dir,
        offline=settings.offline,
        max_queued_tokens=settings.max_queued_tokens,
        max_wait=settings.max_wait_s,
        report=log.info,
    )


class Store(NamedTuple):
    """The opened database and what is kept in memory of it."""

    database: Database
    writer: Writer
    ring: KeyRing
    presets: PresetShelf
    first_key: FirstKey

    def close(self) -> None:
        """Write what waits, and close."""
        self.writer.close()
        self.database.close()


def open_store(settings: Settings) -> Store:
    """Open, migrate and fill the database. Raises SettingsError, StoreError, StoreUnavailableError."""
    database = Database(settings.database, durability=settings.durability)
    migrate(database)
    writer = Writer(database)
    wanted = first.Wanted(settings.api_key, settings.management_key, settings.new_key, settings.data_dir)
    first_key = first.prepare(writer, wanted)
    ring = KeyRing(database)
    ring.load()
    shelf = PresetShelf(database)
    shelf.load()
    return Store(database, writer, ring, shelf, first_key)


def _builtin_model(model: MiniLM | None) -> Model:
    """Without this process among its endpoints, where the model is switched off."""
    if model is None:
        return msgspec.structs.replace(builtin_model("fp32"), endpoints=())
    return builtin_model(_QUANTIZATION[model.engine.precision])


def _from_environment(catalog: CatalogKeeper) -> dict[str, str]:
    """The installation's own credentials, by provider slug."""
    return {
        one.slug: os.environ[one.credential_env]
        for one in catalog.loaded.providers
        if one.credential_env and os.environ.get(one.credential_env)
    }


def _take_in_catalog(context: Context) -> None:
    context.catalog.reload()
    context.credentials.share(_from_environment(context.catalog))


def make_context(settings: Settings, store: Store, model: MiniLM | None) -> Context:
    """Everything the routes share. Raises CatalogError, SettingsError for a wrong catalog or alias."""
    instance = Instance(secrets.token_hex(8), platform.node()[:255], os.getpid(), now())
    ledger = Ledger(store.database, store.writer, instance)
    credentials = CredentialRing(store.database, Sealer.of(settings))
    credentials.load()
    catalog = CatalogKeeper(
        store.database,
        builtin=_builtin_model(model),
        aliases={**dict.fromkeys(ALIASES, SLUG), **settings.model_aliases},
        file=settings.catalog,
        data_dir=settings.data_dir,
        stored=credentials.has,
    )
    credentials.share(_from_environment(catalog))
    apps = AppBook(store.database, store.writer)
    apps.load()
    vectors = VectorCache(settings.vector_cache_mib << 20) if settings.vector_cache_mib else None
    counting = Counting(model)
    remote = Remote(Transport(), FORMATS)
    health = Health()
    sharing = HealthSharing(store.database, store.writer, health, instance.id)
    sharing.load()
    executor = Executor(remote, health, counting.count, attempt_timeout=settings.attempt_timeout_s)
    builtin = None if model is None else BuiltinProvider(model, vectors)
    ways = Ways(builtin, executor, Credentials(credentials).of, counting, store.writer.submit(identify, None).result())
    gateway = Gateway(catalog.loaded.catalog, ways, ledger, timeout=settings.request_timeout_s)
    private = PrivateCatalog(store.database, catalog, gateway.serve_from)
    metrics = Metrics(
        {
            "version": __version__,
            "engine": model.engine.name if model else "none",
            "precision": model.engine.precision if model else "none",
            "weights": TENSORS.sha256[:16],
        }
    )
    if model is not None:
        _observe(model, metrics)
    _observe_writer(store.writer, metrics)
    responses = ResponseCache(settings.response_cache_mib << 20) if settings.response_cache_mib else None
    _observe_cache("response", "answer", responses, metrics)
    _observe_cache("vector", "vector", vectors, metrics)
    return Context(
        settings=settings,
        database=store.database,
        writer=store.writer,
        ring=store.ring,
        gatekeeper=Gatekeeper(store.ring, settings.billing),
        ledger=ledger,
        apps=apps,
        model=model,
        gateway=gateway,
        catalog=catalog,
        private=private,
        sharing=sharing,
        metrics=metrics,
        responses=responses,
        credentials=credentials,
        probe=prober(remote, settings.attempt_timeout_s),
        presets=store.presets,
    )


def make_keeper(context: Context, reception: Reception) -> Keeper:
    """What the process does beside its requests."""
    chores = [
        Chore("taking in changed keys", 0.5, context.ring.load),
        Chore("taking in changed credentials", 0.5, context.credentials.load),
        Chore("taking in a changed catalog", 0.5, lambda: _take_in_catalog(context)),
        Chore("taking in changed private endpoints", 0.5, context.private.reload),
        Chore("sharing endpoints' health", 2.0, context.sharing.turn),
        Chore("taking in changed presets", 0.5, context.presets.load),
        Chore("showing that this process lives", 1.0, context.ledger.beat),
        Chore("moving SQLite's WAL into its file", 1.0, context.database.checkpoint),
        Chore("forgetting ended sessions", 600.0, reception.tidy),
        Chore("removing what is old", 1.0, Retention(context.writer, context.settings).turn),
    ]
    if context.responses is not None:
        chores.append(Chore("forgetting answers that expired", 1.0, context.responses.drop_expired))
    return Keeper(chores)


def make_app(context: Context) -> Litestar:
    """The ASGI application. Its shutdown finishes what the model has taken."""
    reception = Reception(context.database, context.writer, Passwords())
    entrance = Entrance(context.settings, reception)

    @asynccontextmanager
    async def lifespan(_: Litestar) -> AsyncIterator[None]:
        context.ledger.beat()
        keeper = make_keeper(context, reception)
        keeper.start()
        gc.collect()
        gc.freeze()  # what lives for ever is not walked again by every collection
        try:
            yield
        finally:
            if context.model is not None:
                context.model.close(context.settings.drain_s)
            await context.gateway.close()
            keeper.close(5.0)
            reception.close()
            with suppress(EmbedRouterError):  # then others find this process dead, and release what it held
                context.sharing.close()
                context.ledger.close()
            context.writer.close(context.settings.drain_s)
            context.database.close()

    embed = embeddings_route(context)
    # All but the embeddings, which is no handler of Litestar's and checks its caller itself.
    guarded = Router(
        "/",
        route_handlers=[
            # OpenRouter's base, and the one that OpenAI's clients are used to.
            Router("/api/v1", route_handlers=_API),
            Router("/v1", route_handlers=_API, include_in_schema=False),
            health.health,
            health.ready,
            health.health_head,
            health.ready_head,
            health.metrics,
            docs.openapi,
            docs.docs,
            docs.docs_asset,
        ],
        guards=[Guard(context.gatekeeper)],
    )
    app = Litestar.from_config(
        AppConfig(
            route_handlers=[
                Router("/api/v1", route_handlers=[embed]),
                Router("/v1", route_handlers=[embed]),
                guarded,
                internal_routes(),
                web_routes(),
            ],
            dependencies={
                "context": Provide(lambda: context, sync_to_thread=False, use_cache=True),
                "entrance": Provide(lambda: entrance, sync_to_thread=False, use_cache=True),
            },
            exception_handlers={
                EmbedRouterError: problems.on_known,
                HTTPException: problems.on_http,
                ClientGone: problems.on_gone,
                Exception: problems.on_any,
            },
            lifespan=[lifespan],
            state=State({"entrance": entrance}),
            openapi_config=docs.CONFIG,
            logging_config=None,
        )
    )
    check_rules(app)
    return app


def _observe(model: MiniLM, metrics: Metrics) -> None:
    batcher = model.pipeline.batcher
    metrics.watch("queued_tokens", "Tokens that wait for the model.", lambda: batcher.queued_tokens)
    metrics.watch("workers_live", "Model worker threads that run.", lambda: batcher.live_workers)
    metrics.watch("worker_restarts", "Model workers that died and were replaced.", lambda: batcher.restarts)

    def on_batch(stats: BatchStats) -> None:
        if stats.failed:
            metrics.batch_failures.inc()
        metrics.batch_size.observe(stats.sequences)
        metrics.batch_tokens.observe(stats.tokens)
        metrics.stages["queue"].observe(stats.queued_seconds)
        metrics.stages["compute"].observe(stats.compute_seconds)

    batcher.watcher = on_batch


def _observe_writer(writer: Writer, metrics: Metrics) -> None:
    metrics.watch("writes_waiting", "Writes that wait for the database.", lambda: writer.waiting)
    metrics.watch("database_failing", "1 while the database cannot be written.", lambda: writer.failing)

    def on_commit(works: int, seconds: float) -> None:
        metrics.commit_seconds.observe(seconds)
        metrics.commit_works.observe(works)

    writer.watcher = on_commit


def _observe_cache(name: str, what: str, cache: ResponseCache | VectorCache | None, metrics: Metrics) -> None:
    """Also of a cache that is off, so that every series exists from the start."""
    count, size = metrics.watch_count, metrics.watch
    count(f"{name}_cache_hits", f"Times a wanted {what} was found.", lambda: cache.hits if cache else 0)
    count(f"{name}_cache_misses", f"Times a wanted {what} was not found.", lambda: cache.misses if cache else 0)
    size(f"{name}_cache_entries", f"How many {what}s are kept.", lambda: len(cache.entries) if cache else 0)
    size(f"{name}_cache_bytes", f"Bytes that the {what}s take.", lambda: cache.entries.size if cache else 0)
