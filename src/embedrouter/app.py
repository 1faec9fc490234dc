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

from embedrouter import __version__, observing
from embedrouter.accounts import first
from embedrouter.accounts.caller import Gatekeeper
from embedrouter.accounts.credential_ring import CredentialRing
from embedrouter.accounts.first import FirstKey
from embedrouter.accounts.passwords import Passwords
from embedrouter.accounts.presets import PresetShelf
from embedrouter.accounts.reception import Reception
from embedrouter.accounts.ring import KeyRing
from embedrouter.accounts.sealing import Sealer
from embedrouter.accounts.webhooks import WebhookSigner
from embedrouter.api import docs, health, problems
from embedrouter.api.auth import Guard, check_rules
from embedrouter.api.batches import BATCHES
from embedrouter.api.exchange import ClientGone
from embedrouter.api.inference import inference_routes
from embedrouter.api.line_calls import line_reader
from embedrouter.api.routes import API
from embedrouter.api.session import internal_routes
from embedrouter.batches.callbacks import Callbacks
from embedrouter.batches.filler import Filler
from embedrouter.batches.runner import Runner
from embedrouter.batches.tidying import Tidying
from embedrouter.catalog.builtin import ALIASES, SLUG, builtin_model
from embedrouter.catalog.models import Model
from embedrouter.catalog_keeper import CatalogKeeper
from embedrouter.context import Context
from embedrouter.credentials import Credentials
from embedrouter.entrance import Entrance
from embedrouter.errors import EmbedRouterError
from embedrouter.gateway import Gateway, Ways
from embedrouter.keeper import Chore, Keeper
from embedrouter.ledger.apps import AppBook
from embedrouter.ledger.book import Instance, Ledger, now
from embedrouter.ledger.health import HealthSharing
from embedrouter.ledger.retention import Retention
from embedrouter.ledger.rolling import Rolling
from embedrouter.minilm import MiniLM
from embedrouter.minilm.weights import TENSORS
from embedrouter.private_catalog import PrivateCatalog
from embedrouter.providers.builtin import BuiltinProvider
from embedrouter.providers.counting import Counting
from embedrouter.providers.formats import FORMATS
from embedrouter.providers.probe import prober
from embedrouter.providers.remote import Remote
from embedrouter.providers.transport import Transport
from embedrouter.providers.vector_cache import VectorCache
from embedrouter.response_cache import ResponseCache
from embedrouter.routing.execute import Executor
from embedrouter.routing.health import Health
from embedrouter.settings import Settings
from embedrouter.store import Database, Writer
from embedrouter.store.demo import is_demo
from embedrouter.store.installation import identify
from embedrouter.store.migrate import migrate
from embedrouter.telemetry.metrics import Metrics
from embedrouter.web.problems import or_page
from embedrouter.web.routes import web_routes

log = logging.getLogger(__name__)

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
    sealer = Sealer.of(settings)
    credentials = CredentialRing(store.database, sealer)
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
        observing.model(model, metrics)
    observing.writer(store.writer, metrics)
    responses = ResponseCache(settings.response_cache_mib << 20) if settings.response_cache_mib else None
    observing.cache("response", "answer", responses, metrics)
    observing.cache("vector", "vector", vectors, metrics)
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
        webhooks=WebhookSigner(sealer),
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
        Chore("summing up what is over", 1.0, Rolling(context.writer).turn),
        Chore("removing old batches and files", 1.0, Tidying(context.writer, context.settings).turn),
        Chore("removing what is old", 1.0, Retention(context.writer, context.settings).turn),
    ]
    if context.responses is not None:
        chores.append(Chore("forgetting answers that expired", 1.0, context.responses.drop_expired))
    return Keeper(chores)


def make_app(context: Context) -> Litestar:
    """The ASGI application. Its shutdown finishes what the model has taken."""
    reception = Reception(context.database, context.writer, Passwords())
    callbacks = Callbacks(
        context.database, context.writer, context.webhooks, Transport(), private=context.settings.private_callbacks
    )
    entrance = Entrance(context.settings, reception)

    filler = Filler(context.database, context.writer, context.gateway)

    @asynccontextmanager
    async def lifespan(_: Litestar) -> AsyncIterator[None]:
        context.ledger.beat()
        keeper = make_keeper(context, reception)
        keeper.start()
        runner = Runner(context, line_reader(context))
        runner.start()
        callbacks.start()
        filler.start()
        gc.collect()
        gc.freeze()  # what lives for ever is not walked again by every collection
        gc.enable()  # `embedrouter serve` starts without it
        try:
            yield
        finally:
            await runner.close()
            if context.model is not None:
                context.model.close(context.settings.drain_s)
            await callbacks.close()
            await filler.close()
            await context.gateway.close()
            keeper.close(5.0)
            reception.close()
            with suppress(EmbedRouterError):  # then others find this process dead, and release what it held
                context.sharing.close()
                context.ledger.close()
            context.writer.close(context.settings.drain_s)
            context.database.close()

    asking = inference_routes(context)
    # All but those that ask a model, which are no handlers of Litestar's and check their caller themselves.
    guarded = Router(
        "/",
        route_handlers=[
            # OpenRouter's base, and the one that OpenAI's clients are used to.
            Router("/api/v1", route_handlers=API),
            Router("/v1", route_handlers=API, include_in_schema=False),
            Router("/api/beta", route_handlers=BATCHES, include_in_schema=False),  # as OpenRouter's guide has it
            health.health,
            health.ready,
            health.health_head,
            health.ready_head,
            health.metrics,
            docs.openapi,
        ],
        guards=[Guard(context.gatekeeper)],
    )
    app = Litestar.from_config(
        AppConfig(
            route_handlers=[
                Router("/api/v1", route_handlers=asking),
                Router("/v1", route_handlers=asking),
                guarded,
                internal_routes(),
                web_routes(),
            ],
            dependencies={
                "context": Provide(lambda: context, sync_to_thread=False, use_cache=True),
                "filler": Provide(lambda: filler, sync_to_thread=False, use_cache=True),
                "entrance": Provide(lambda: entrance, sync_to_thread=False, use_cache=True),
            },
            exception_handlers={
                EmbedRouterError: problems.on_known,
                HTTPException: or_page(problems.on_http),
                ClientGone: problems.on_gone,
                Exception: or_page(problems.on_any),
            },
            lifespan=[lifespan],
            state=State({"entrance": entrance, "is_demo": context.database.read_now(is_demo)}),
            openapi_config=docs.CONFIG,
            logging_config=None,
        )
    )
    app.state.openapi = lambda: docs.document(app)
    check_rules(app)
    return app
