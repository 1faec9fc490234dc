"""What files and the database state, merged and checked as a whole."""

import tomllib
from collections.abc import Mapping, Sequence
from typing import Any

import pytest

from embedrouter.catalog.builtin import SLUG, builtin_model
from embedrouter.catalog.entries import ProviderEntry, Sheet, Source, Stated, body_of, from_body, sheet
from embedrouter.catalog.load import Listed, Loaded, load
from embedrouter.errors import CatalogError, CatalogProblem, NotFoundError

WIRES = {"builtin", "openai", "tei"}
PROVIDER = {"slug": "acme", "name": "Acme", "wire": "openai", "base_url": "https://api.acme.example/v1"}
MODEL = {"slug": "acme/one", "context_length": 512, "dimensions": 8, "revision": "r1", "pooling": "cls"}
ENDPOINT = {"model": "acme/one", "provider": "acme", "upstream_model": "one", "price_per_million": "0.02"}


def stated(
    source: Source = "file",
    providers: Sequence[Mapping[str, Any]] = (),
    models: Sequence[Mapping[str, Any]] = (),
    endpoints: Sequence[Mapping[str, Any]] = (),
) -> Sheet:
    document = {"providers": list(providers), "models": list(models), "endpoints": list(endpoints)}
    return sheet(document, source, f"in the {source}")


def whole(source: Source = "shipped") -> Sheet:
    return stated(source, [PROVIDER], [MODEL], [ENDPOINT])


def loaded(*sheets: Sheet, ready: bool = True, aliases: Mapping[str, str] | None = None) -> Loaded:
    return load(sheets, builtin=builtin_model("fp32"), wires=WIRES, ready=lambda _: ready, aliases=aliases or {})


def problems(*sheets: Sheet, aliases: Mapping[str, str] | None = None) -> tuple[CatalogProblem, ...]:
    with pytest.raises(CatalogError) as caught:
        load(sheets, builtin=builtin_model("fp32"), wires=WIRES, ready=lambda _: True, aliases=aliases or {})
    return caught.value.problems


def one(found: Loaded, key: str) -> Listed:
    return next(listed for listed in found.listed if listed.key == key)


def test_a_whole_catalog_is_served_beside_the_builtin_model() -> None:
    found = loaded(whole())
    assert [model.slug for model in found.catalog.models] == [SLUG, "acme/one"]
    model = found.catalog.find("acme/one")
    (endpoint,) = model.endpoints
    assert (endpoint.tag, endpoint.dimensions, endpoint.context_length) == ("acme", 8, 512)
    assert endpoint.price.prompt == 20_000, "USD 0.02 for a million tokens are 20,000 pico-USD a token"
    assert endpoint.data_policy.retains_prompts, "the worst, until it is stated"
    assert endpoint.data_policy.trains_on_prompts
    assert {listed.unserved for listed in found.listed} == {None}


def test_without_a_credential_a_provider_is_listed_and_not_served() -> None:
    found = loaded(whole(), ready=False)
    assert [model.slug for model in found.catalog.models] == [SLUG]
    assert [provider.slug for provider in found.catalog.providers] == ["builtin"]
    assert "no credential" in (one(found, "acme").unserved or "")
    assert "no credential" in (one(found, "acme/one acme").unserved or "")
    assert one(found, "acme/one").unserved == "none of its endpoints is served"


_SHIPPED = stated("shipped", [PROVIDER | {"credential_env": "ACME_KEY"}], [MODEL | {"aliases": ["one"]}], [ENDPOINT])


@pytest.mark.parametrize("name", ["acme/one", "ACME/One", "one"])
def test_a_shipped_model_that_lacks_but_a_credential_says_what_to_set(name: str) -> None:
    with pytest.raises(NotFoundError, match=r"acme/one: Acme has no credential here; set ACME_KEY .*/byok") as caught:
        loaded(_SHIPPED, ready=False).catalog.find(name)
    availability = caught.value.availability or {}
    assert (availability["code"], availability["excluded_by"]) == ("no_endpoints", ["credentials"])
    assert availability["affected_providers"] == ["Acme"]
    assert "ACME_KEY" in availability["constraint"]["detail"]


@pytest.mark.parametrize(
    "operators",
    [
        stated("file", endpoints=[ENDPOINT | {"disabled": True}]),
        stated("file", [PROVIDER | {"credential_env": "OURS", "disabled": True}]),
        stated("file", [PROVIDER | {"credential_env": "OURS"}]),
        stated("file", [{"slug": "acme", "removed": True}]),
        stated("file", models=[MODEL]),
    ],
)
def test_what_the_operator_disabled_or_states_himself_is_simply_unknown(operators: Sheet) -> None:
    with pytest.raises(NotFoundError, match="not a valid model ID") as caught:
        loaded(_SHIPPED, operators, ready=False).catalog.find("acme/one")
    assert "ACME_KEY" not in caught.value.message
    assert "OURS" not in caught.value.message


def test_a_served_model_knows_which_providers_lack_but_a_credential() -> None:
    found = loaded(_SHIPPED, stated("shipped", endpoints=[ENDPOINT | {"model": SLUG}]), ready=False)
    assert [provider.slug for provider in found.catalog.find(SLUG).waiting] == ["acme"]


def test_a_provider_that_needs_no_credential_is_served_without() -> None:
    found = loaded(stated("file", [PROVIDER | {"needs_credential": False}], [MODEL], [ENDPOINT]), ready=False)
    assert found.catalog.find("acme/one").endpoints


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"base_url": None}, "it has no base_url"),
        ({"base_url": "https://{account}.acme.example", "options": {"account": ""}}, "options.account is empty"),
        ({"disabled": True}, "it is disabled"),
    ],
)
def test_a_shipped_provider_that_is_not_ready_says_why(changes: dict[str, Any], why: str) -> None:
    found = loaded(stated("shipped", [PROVIDER | changes], [MODEL], [ENDPOINT]))
    assert one(found, "acme").unserved == why
    assert one(found, "acme/one acme").unserved == f"its provider is not ready: {why}"


def test_a_disabled_endpoint_is_not_served_and_its_model_is_by_others() -> None:
    other = ENDPOINT | {"tag": "acme/slow", "disabled": True}
    found = loaded(stated("file", [PROVIDER], [MODEL], [ENDPOINT, other]))
    assert [endpoint.tag for endpoint in found.catalog.find("acme/one").endpoints] == ["acme"]
    assert one(found, "acme/one acme/slow").unserved == "it is disabled"


# --- precedence


def test_the_database_replaces_the_file_and_the_file_what_is_shipped() -> None:
    dearer, dearest = (ENDPOINT | {"price_per_million": price} for price in ("0.5", "0.75"))
    by_file = loaded(whole(), stated("file", endpoints=[dearer]))
    by_database = loaded(whole(), stated("file", endpoints=[dearer]), stated("database", endpoints=[dearest]))
    assert by_file.catalog.find("acme/one").endpoints[0].price.prompt == 500_000
    assert by_database.catalog.find("acme/one").endpoints[0].price.prompt == 750_000
    listed = one(by_database, "acme/one acme")
    assert (listed.source, listed.replaces) == ("database", ("shipped", "file"))


def test_an_entry_is_replaced_whole() -> None:
    shipped = stated("shipped", [PROVIDER], [MODEL], [ENDPOINT | {"region": "eu", "retains_prompts": False}])
    (endpoint,) = loaded(shipped, stated("file", endpoints=[ENDPOINT])).catalog.find("acme/one").endpoints
    assert (endpoint.region, endpoint.data_policy.retains_prompts) == (None, True)


@pytest.mark.parametrize(
    "removal",
    [
        stated("database", providers=[{"slug": "acme", "removed": True}]),
        stated("database", models=[{"slug": "acme/one", "removed": True}]),
        stated("file", endpoints=[{"model": "acme/one", "tag": "acme", "removed": True}]),
    ],
)
def test_what_is_removed_is_hidden_with_all_that_needs_it(removal: Sheet) -> None:
    found = loaded(whole(), removal)
    assert [model.slug for model in found.catalog.models] == [SLUG]
    assert "hidden" in (one(found, "acme/one acme").unserved or "")


def test_an_endpoint_of_something_hidden_beside_it_is_an_error() -> None:
    removal = stated("file", providers=[{"slug": "acme", "removed": True}], endpoints=[ENDPOINT])
    (problem,) = problems(whole(), removal)
    assert (problem.field, problem.message) == ("provider", 'there is no provider "acme"')


def test_hiding_what_is_not_there_is_an_error() -> None:
    (problem,) = problems(whole(), stated("database", providers=[{"slug": "acmee", "removed": True}]))
    assert "hides nothing" in problem.message


# --- one vector space


def test_the_builtin_model_has_further_endpoints_of_its_own_space() -> None:
    space = {"dimensions": 384, "pooling": "mean"}
    found = loaded(stated("file", [PROVIDER], [], [ENDPOINT | {"model": SLUG, "space": space}]))
    assert [endpoint.tag for endpoint in found.catalog.find(SLUG).endpoints] == ["builtin/fp32", "acme"]
    assert found.catalog.find(SLUG).endpoints[1].dimensions == 384


@pytest.mark.parametrize("space", [{"revision": "r2"}, {"dimensions": 16}, {"pooling": "mean"}])
def test_an_endpoint_of_another_space_is_refused(space: dict[str, Any]) -> None:
    (problem,) = problems(stated("file", [PROVIDER], [MODEL], [ENDPOINT | {"space": space}]))
    assert problem.field == f"space.{next(iter(space))}"
    assert "vectors of different spaces never stand in for each other" in problem.message
    assert "needs a model slug of its own" in problem.message


def test_an_endpoint_of_the_same_space_is_taken() -> None:
    space = {"revision": "r1", "dimensions": 8, "pooling": "cls"}
    found = loaded(stated("file", [PROVIDER], [MODEL], [ENDPOINT | {"space": space}]))
    assert one(found, "acme/one acme").unserved is None


# --- every rule


def _without(entry: Mapping[str, Any], name: str) -> dict[str, Any]:
    return {field: value for field, value in entry.items() if field != name}


@pytest.mark.parametrize(
    ("changes", "field", "told"),
    [
        ({"slug": "Acme"}, "slug", "lower-case"),
        ({"slug": "acme\n"}, "slug", "lower-case"),
        ({"slug": "a" * 41}, "slug", "1 to 40"),
        ({"name": " Acme"}, "name", "spaces around"),
        ({"wire": "opneai"}, "wire", 'did you mean "openai"'),
        ({"base_url": None}, "base_url", "is missing"),
        ({"base_url": "https://{region}.acme.example"}, "base_url", "options.region"),
        ({"base_url": "ftp://acme.example"}, "base_url", "https://host/path"),
        ({"base_url": "https://user:secret@acme.example"}, "base_url", "no password"),
        ({"base_url": "https://acme.example/?key=x"}, "base_url", "https://host/path"),
        ({"base_url": "http://acme.example"}, "base_url", "allow_private"),
        ({"base_url": "https://{r}.x", "options": {"r": "evil.example/"}}, "options.r", "must be letters"),
        ({"options": {"A b": "x"}}, "options.A b", "its name must be"),
        ({"options": {"a": 1}}, "options[...]", "expected str"),
        ({"credential_env": "lower"}, "credential_env", "OPENAI_API_KEY"),
        ({"credential_env": "EMBEDROUTER_DATABASE_URL"}, "credential_env", "none of embedrouter's own"),
        ({"headquarters": "Germany"}, "headquarters", "two capital letters"),
        ({"datacenters": ["US", "de"]}, "datacenters", "two capital letters"),
        ({"status_page_url": "javascript:alert(1)"}, "status_page_url", "https://"),
        ({"bas_url": "x"}, "bas_url", 'did you mean "base_url"'),
        ({"needs_credential": "no"}, "needs_credential", "expected bool"),
        ({"slug": "builtin"}, "slug", "the program's own"),
        ({"wire": "builtin"}, "slug", "the program's own"),
        ({"name": "Builtin"}, "name", "is what provider builtin is called"),
    ],
)
def test_a_wrong_provider_is_refused_by_field(changes: dict[str, Any], field: str, told: str) -> None:
    entry = PROVIDER | changes
    endpoint = ENDPOINT | {"provider": entry["slug"], "tag": ""}
    found = problems(stated("file", [entry], [MODEL], [endpoint]))
    assert any(problem.field == field and told in problem.message for problem in found), found
    assert all("in the file" in problem.entry for problem in found)


@pytest.mark.parametrize(
    ("changes", "field", "told"),
    [
        ({"slug": "one"}, "slug", "author/name"),
        ({"slug": "acme/One"}, "slug", "lower-case"),
        ({"slug": "acme/one:free"}, "slug", "author/name"),
        ({"slug": "acme/one/two"}, "slug", "author/name"),
        ({"slug": SLUG}, "slug", "the built-in model's"),
        ({"canonical_slug": "x"}, "canonical_slug", "author/name"),
        ({"canonical_slug": SLUG}, "canonical_slug", "already"),
        ({"dimensions": 0}, "dimensions", ">= 1"),
        ({"dimensions": 70_000}, "dimensions", "<= 65536"),
        ({"dimensions": "8"}, "dimensions", "expected int"),
        ({"context_length": 0}, "context_length", ">= 1"),
        ({"aliases": ["a b"]}, "aliases", "without a space"),
        ({"aliases": [SLUG.upper()]}, "aliases", "already"),
        ({"created": "yesterday"}, "created", "invalid"),
        ({"description": "a\0b"}, "description", "control characters"),
        ({"dimension": 8}, "dimension", 'did you mean "dimensions"'),
    ],
)
def test_a_wrong_model_is_refused_by_field(changes: dict[str, Any], field: str, told: str) -> None:
    entry = MODEL | changes
    found = problems(stated("file", [PROVIDER], [entry], [ENDPOINT | {"model": entry["slug"]}]))
    assert any(
        problem.field == field and told in problem.message.lower() or told in problem.message for problem in found
    )
    assert any(problem.field == field for problem in found), found


@pytest.mark.parametrize(
    ("changes", "field", "told"),
    [
        ({"provider": "acne"}, "provider", 'did you mean "acme"'),
        ({"provider": "builtin"}, "provider", "the program's own"),
        ({"model": "acme/two"}, "model", 'did you mean "acme/one"'),
        ({"tag": "other"}, "tag", '"acme/variant"'),
        ({"tag": "acme/"}, "tag", '"acme/variant"'),
        ({"tag": "acme/Fast"}, "tag", "lower case"),
        ({"tag": "acme/a/b"}, "tag", '"acme/variant"'),
        ({"upstream_model": ""}, "upstream_model", "what the provider calls"),
        ({"price_per_million": "-0.02"}, "price_per_million", "0 or more"),
        ({"price_per_million": "0.0000001"}, "price_per_million", "6 decimals"),
        ({"price_per_million": "1e3"}, "price_per_million", "6 decimals"),
        ({"price_per_million": "NaN"}, "price_per_million", "6 decimals"),
        ({"price_per_million": "1000"}, "price_per_million", "less than 1000"),
        ({"price_per_million": 0.02}, "price_per_million", "in quotes"),
        ({"context_length": 0}, "context_length", ">= 1"),
        ({"quantization": "q4_k_m"}, "quantization", "q4_k_m"),
        ({"limits": {"items": 0}}, "limits.items", ">= 1"),
        ({"limits": {"size": 1}}, "limits.size", "is no field"),
        ({"supported_parameters": ["A"]}, "supported_parameters", "names of parameters"),
    ],
)
def test_a_wrong_endpoint_is_refused_by_field(changes: dict[str, Any], field: str, told: str) -> None:
    found = problems(stated("file", [PROVIDER], [MODEL], [ENDPOINT | changes]))
    assert any(problem.field == field and told in problem.message for problem in found), found


@pytest.mark.parametrize("name", ["slug", "wire"])
def test_a_provider_must_say_what_it_needs(name: str) -> None:
    found = problems(stated("file", [_without(PROVIDER, name)]))
    assert (found[0].field, found[0].message) == (name, "is required")


def test_a_tag_is_there_once_among_its_models_endpoints() -> None:
    (problem,) = problems(stated("file", [PROVIDER], [MODEL], [ENDPOINT, ENDPOINT | {"tag": "acme"}]))
    assert (problem.field, problem.message) == ("tag", "is stated twice; each must be there once")
    assert problem.entry == 'endpoint "acme/one acme" in the file'


def test_everything_that_is_wrong_is_told_at_once() -> None:
    wrong = stated("file", [PROVIDER | {"wire": "x"}], [MODEL | {"dimensions": 0}], [ENDPOINT | {"tag": "y"}])
    assert {problem.field for problem in problems(wrong)} == {"wire", "dimensions", "tag", "model"}


@pytest.mark.parametrize(
    ("document", "told"),
    [
        ({"provider": []}, 'did you mean "providers"'),
        ({"providers": {}}, "[[providers]]"),
        ({"models": [1]}, "must be a table"),
        ({"models": [{"slug": "acme/one", "removed": False}]}, "must be true"),
        ({"models": [{"slug": "acme/one", "removed": True, "dimensions": 8}]}, "nothing but slug"),
        ({"endpoints": [{"model": "acme/one", "removed": True}]}, "nothing but model and tag"),
    ],
)
def test_what_is_no_catalog_is_refused(document: dict[str, Any], told: str) -> None:
    assert told in str(problems(whole(), sheet(document, "file", "in x.toml"))[0])


# --- names


def test_aliases_find_their_model_in_any_case() -> None:
    found = loaded(
        stated("file", [PROVIDER], [MODEL | {"aliases": ["One"]}], [ENDPOINT]), aliases={"two": "one", "three": "two"}
    )
    for name in ("one", "ONE", "two", "three", "acme/one"):
        assert found.catalog.find(name).slug == "acme/one"


def test_an_alias_of_a_model_that_is_not_served_waits() -> None:
    assert loaded(whole(), ready=False, aliases={"two": "acme/one"}).catalog.models[0].slug == SLUG
    assert loaded(whole(), aliases={"two": "acme/one"}).catalog.find("two").slug == "acme/one"


def test_an_alias_takes_the_name_of_a_shipped_model_and_says_so() -> None:
    found = loaded(whole(), aliases={"Acme/One": SLUG})
    assert found.catalog.find("acme/one").slug == SLUG
    assert one(found, "acme/one").unserved == f'its name is an alias of "{SLUG}"'


def test_an_alias_never_takes_the_name_of_an_operators_or_the_builtin_model() -> None:
    (problem,) = problems(whole("file"), aliases={"acme/one": SLUG})
    assert "is already the name of another model" in problem.message
    (problem,) = problems(whole("file"), aliases={SLUG: "acme/one"})
    assert "is already the name of another model" in problem.message


@pytest.mark.parametrize("aliases", [{"a": "acme/on"}, {"a": "b", "b": "a"}, {"a": "a"}])
def test_an_alias_of_nothing_is_refused(aliases: dict[str, str]) -> None:
    assert all("names an unknown model" in problem.message for problem in problems(whole(), aliases=aliases))


# --- credentials of the environment


def test_the_database_cannot_send_a_variable_elsewhere() -> None:
    mine = PROVIDER | {"credential_env": "ACME_API_KEY"}
    shipped = stated("shipped", [mine], [MODEL], [ENDPOINT])
    for changes in ({"base_url": "https://evil.example"}, {"wire": "tei"}, {"options": {"x": "y"}}):
        (problem,) = problems(shipped, stated("database", [mine | changes]))
        assert problem.field == "credential_env"
    (problem,) = problems(shipped, stated("database", [mine | {"credential_env": "OTHER_KEY"}]))
    assert problem.field == "credential_env"
    (problem,) = problems(stated("database", [mine]))
    assert problem.field == "credential_env"
    assert loaded(shipped, stated("database", [mine | {"name": "Renamed"}]))
    assert loaded(shipped, stated("file", [mine | {"base_url": "https://eu.acme.example"}]))


# --- as rows keep it


@pytest.mark.parametrize(
    "entry",
    [*whole("database").stated, stated("database", models=[{"slug": "acme/one", "removed": True}]).stated[0]],
)
def test_a_row_says_what_was_stated(entry: Stated) -> None:
    assert from_body(entry.kind, entry.key, body_of(entry), entry.where) == entry


@pytest.mark.parametrize(
    ("kind", "key", "body"),
    [
        ("provider", "acme", "{"),
        ("provider", "acme", "[]"),
        ("provider", "other", '{"slug": "acme", "wire": "openai"}'),
        ("author", "acme", "{}"),
    ],
)
def test_a_damaged_row_is_a_problem_and_not_a_crash(kind: str, key: str, body: str) -> None:
    assert isinstance(from_body(kind, key, body, "in the database"), CatalogProblem)


def test_a_date_is_read_from_toml_and_json() -> None:
    text = '[[models]]\nslug = "acme/one"\ncreated = 2024-01-25\ncontext_length = 1\ndimensions = 1\n'
    (entry,) = sheet(tomllib.loads(text), "file", "").stated
    read = from_body("model", "acme/one", body_of(entry), "")
    assert isinstance(read, Stated)
    assert read.entry == entry.entry


def test_ready_is_asked_for_each_provider_that_needs_a_credential() -> None:
    asked: list[str] = []

    def ready(provider: ProviderEntry) -> bool:
        asked.append(provider.slug)
        return False

    free = PROVIDER | {"slug": "free", "name": "Free", "needs_credential": False}
    load([stated("file", [PROVIDER, free])], builtin=builtin_model("fp32"), wires=WIRES, ready=ready, aliases={})
    assert asked == ["acme"]
