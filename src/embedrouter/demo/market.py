"""The demo's providers: the shipped ones, at addresses that do not exist, so that nothing is ever sent to them."""

from collections.abc import Mapping

import msgspec

from embedrouter.accounts.private_endpoints import PrivateEndpoint, list_private_endpoints
from embedrouter.accounts.validation import endpoint_of
from embedrouter.catalog.builtin import ALIASES, SLUG, builtin_model
from embedrouter.catalog.entries import ProviderEntry, Stated, body_of
from embedrouter.catalog.load import provider_of
from embedrouter.catalog.models import Endpoint, Model
from embedrouter.catalog_keeper import CatalogKeeper
from embedrouter.demo.house import Desk
from embedrouter.demo.scene import ADMIN, PLACES, PRIVATE, Place
from embedrouter.demo.weather import Span
from embedrouter.minilm.engines.choose import choose
from embedrouter.settings import Settings
from embedrouter.store import Database
from embedrouter.store.entries import Change, Edit, edit

_QUANTIZATION = {"float32": "fp32", "bfloat16": "bf16", "int8": "int8"}

Market = Mapping[Place, tuple[Model, Endpoint]]
"""What a place of the scene is in the catalog."""


def open_market(desk: Desk, database: Database, settings: Settings, span: Span) -> None:
    """State the providers. Raises EmbedRouterError."""
    keeper = _keeper(database, settings)
    wanted = {place.provider for place in PLACES}
    changes = [_change(one) for one in keeper.loaded.providers if one.slug in wanted]
    desk.write(edit, Edit(tuple(changes), span.start, ADMIN.email, keeper.judge))


def market(database: Database, settings: Settings) -> Market:
    """The places of the scene, as the catalog has them now."""
    keeper = _keeper(database, settings)
    providers = {one.slug: one for one in keeper.loaded.providers}
    private = database.read_now(list_private_endpoints)
    found: dict[Place, tuple[Model, Endpoint]] = {}
    for place in PLACES:
        model = keeper.loaded.catalog.find(place.model)
        if place.provider == PRIVATE:
            found[place] = (model, _private(private[0], providers, model))
        else:
            found[place] = (model, next(one for one in model.endpoints if one.provider.slug == place.provider))
    return found


def _private(private: PrivateEndpoint, providers: Mapping[str, ProviderEntry], model: Model) -> Endpoint:
    return endpoint_of(private, provider_of(providers[private.provider_slug]), model)


def _change(entry: ProviderEntry) -> Change:
    at_home = msgspec.structs.replace(
        entry,
        base_url=f"https://{entry.slug}.demo.example",
        options={name: value for name, value in entry.options.items() if value},
        needs_credential=False,
        credential_env=None,
    )
    return Change("provider", entry.slug, body_of(Stated("provider", entry.slug, "database", "", at_home)))


def _keeper(database: Database, settings: Settings) -> CatalogKeeper:
    """The catalog as a server with these settings would serve it."""
    precision = choose(settings.engine, settings.precision, settings.native_path).precision
    return CatalogKeeper(
        database,
        builtin=builtin_model(_QUANTIZATION[precision]),
        aliases={**dict.fromkeys(ALIASES, SLUG), **settings.model_aliases},
        file=settings.catalog,
        data_dir=settings.data_dir,
    )
