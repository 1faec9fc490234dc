from decimal import Decimal

import pytest

from embedrouter.catalog.builtin import ALIASES, PARAMETERS, SLUG, builtin_model
from embedrouter.catalog.catalog import Catalog
from embedrouter.errors import NotFoundError, SettingsError

from .models import endpoint, model

_ONE = model("author/one", endpoint("beta/fp32"))
_TWO = model("author/two", endpoint("alpha/fp16"), endpoint("beta/bf16"))


@pytest.mark.parametrize("name", ["author/one", "Author/ONE", "author/one-20251117", "alias", "ALIAS"])
def test_a_model_is_found_by_slug_canonical_slug_and_alias_in_any_case(name: str) -> None:
    assert Catalog([_ONE, _TWO], {"Alias": "author/one"}).find(name) is _ONE


@pytest.mark.parametrize("name", ["", "one", "author/on", "author/one ", "author/one-2025", "author/one:free"])
def test_anything_else_is_not_found(name: str) -> None:
    with pytest.raises(NotFoundError) as caught:
        Catalog([_ONE, _TWO], {}).find(name)
    assert caught.value.availability == {
        "code": "model_not_found",
        "retryable": False,
        "requested_models": [name],
    }


def test_the_nearest_name_is_suggested_and_a_long_one_is_cut() -> None:
    catalog = Catalog([_ONE], {})
    with pytest.raises(NotFoundError, match='did you mean "author/one"'):
        catalog.find("autor/one")
    with pytest.raises(NotFoundError) as caught:
        catalog.find("x" * 100_000)
    assert len(caught.value.message) < 400


def test_an_alias_of_an_alias_and_of_a_canonical_slug_work() -> None:
    catalog = Catalog([_ONE], {"a": "author/one-20251117", "b": "a"})
    assert catalog.find("b") is _ONE


@pytest.mark.parametrize(
    ("aliases", "told"),
    [({"a": "author/three"}, "unknown model"), ({"author/two": "author/one"}, "already the name of another")],
)
def test_a_wrong_alias_is_refused_at_the_start(aliases: dict[str, str], told: str) -> None:
    with pytest.raises(SettingsError, match=told):
        Catalog([_ONE, _TWO], aliases)


def test_an_alias_may_repeat_its_models_own_name() -> None:
    assert Catalog([_ONE], {"AUTHOR/ONE": "author/one"}).find("author/one") is _ONE


def test_providers_are_listed_once_by_slug() -> None:
    assert [provider.slug for provider in Catalog([_TWO, _ONE], {}).providers] == ["alpha", "beta"]


@pytest.mark.parametrize("quantization", ["fp32", "bf16"])
def test_the_builtin_model_is_the_page_s(quantization: str) -> None:
    built = builtin_model(quantization)
    (only,) = built.endpoints
    assert built.slug == SLUG == "sentence-transformers/all-minilm-l6-v2"
    assert built.canonical_slug == f"{SLUG}-20251117"
    assert (built.dimensions, built.context_length) == (384, 8192)
    assert Decimal(only.price.prompt) / 10**12 * 1_000_000 == Decimal("0.005")
    assert only.price.completion == 0
    assert only.tag == f"builtin/{quantization}"
    assert built.supported_parameters == PARAMETERS
    assert len(PARAMETERS) == 11
    assert built.author == "sentence-transformers"
    assert {alias.lower() for alias in ALIASES} >= {"all-minilm-l6-v2", SLUG}


def test_a_model_takes_what_any_of_its_endpoints_takes() -> None:
    both = model(
        "a/b",
        endpoint("x/1", supported_parameters=("seed", "top_k")),
        endpoint("y/1", supported_parameters=("user", "seed")),
    )
    assert both.supported_parameters == ("seed", "top_k", "user")
