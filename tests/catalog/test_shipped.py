"""The shipped catalog: it loads, and nothing in it is absurd."""

import re

import pytest

from embedrouter.catalog.builtin import ALIASES, SLUG, builtin_model
from embedrouter.catalog.entries import EndpointEntry, ModelEntry, ProviderEntry
from embedrouter.catalog.files import shipped
from embedrouter.catalog.load import Loaded, load
from embedrouter.catalog.models import Model
from embedrouter.catalog_keeper import WIRES


def loaded(*, ready: bool) -> Loaded:
    return load(
        [shipped()],
        builtin=builtin_model("fp32"),
        wires=WIRES,
        ready=lambda _: ready,
        aliases=dict.fromkeys(ALIASES, SLUG),
    )


@pytest.fixture(scope="module")
def everything() -> tuple[Model, ...]:
    return loaded(ready=True).catalog.models


def test_without_credentials_only_the_builtin_model_is_served() -> None:
    (model,) = loaded(ready=False).catalog.models
    assert model.slug == SLUG
    assert [endpoint.provider.slug for endpoint in model.endpoints] == ["builtin"]


def test_every_provider_of_the_list_is_there() -> None:
    slugs = {provider.slug for provider in loaded(ready=False).providers}
    assert slugs == {
        "openai", "azure", "cohere", "voyage", "jina", "mistral", "gemini", "together", "deepinfra", "fireworks",
        "nomic", "cloudflare", "bedrock", "openrouter", "tei", "ollama", "vllm", "llama-cpp", "infinity", "embedrouter",
    }  # fmt: skip


def test_who_has_an_address_needs_a_credential_and_who_runs_here_needs_an_address() -> None:
    for provider in loaded(ready=False).providers:
        assert provider.needs_credential == (provider.base_url is not None) == (provider.credential_env is not None)
        assert not provider.allow_private


def test_facts_are_in_bounds(everything: tuple[Model, ...]) -> None:
    assert len(everything) >= 25
    for model in everything:
        assert 256 <= model.context_length <= 131_072
        assert 384 <= model.dimensions <= 4_096
        for endpoint in model.endpoints:
            if endpoint.provider.slug != "builtin":
                assert 4_000 <= endpoint.price.prompt <= 250_000, "USD 0.004 to 0.25 for a million tokens"
                assert endpoint.context_length <= model.context_length
                assert endpoint.upstream_model
    assert all(entry.entry is not None for entry in loaded(ready=False).listed)


def test_models_by_several_providers_are_one_space(everything: tuple[Model, ...]) -> None:
    providers = {model.slug: [endpoint.provider.slug for endpoint in model.endpoints] for model in everything}
    assert providers[SLUG] == ["builtin", "deepinfra", "openrouter"]
    assert providers["openai/text-embedding-3-small"] == ["openai", "openrouter"]
    assert "deepinfra" in providers["baai/bge-m3"]


def test_what_is_not_ready_with_a_credential_alone_says_what_it_needs() -> None:
    reasons = {one.key: one.unserved for one in loaded(ready=True).listed if one.kind == "provider" and one.unserved}
    assert reasons.pop("azure") == "options.resource is empty"
    assert reasons.pop("cloudflare") == "options.account_id is empty"
    assert set(reasons) == {"tei", "ollama", "vllm", "llama-cpp", "infinity", "embedrouter"}
    assert set(reasons.values()) == {"it has no base_url"}


def test_every_entry_is_of_use() -> None:
    entries = [stated.entry for stated in shipped().stated]
    used = {entry.model for entry in entries if isinstance(entry, EndpointEntry)}
    assert {entry.slug for entry in entries if isinstance(entry, ModelEntry)} == used - {SLUG}
    for entry in entries:
        if isinstance(entry, ProviderEntry):
            assert re.fullmatch(r"[A-Z][A-Z0-9_]+", entry.credential_env or "X_Y")
