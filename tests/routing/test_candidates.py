from collections.abc import Mapping, Sequence

import msgspec
import pytest

from embedrouter.catalog.models import DataPolicy, Endpoint, Price, Provider
from embedrouter.routing.candidates import Access, candidates, retains


def endpoint(slug: str, *, needs_credential: bool = True, credential_id: str | None = None) -> Endpoint:
    return Endpoint(
        tag=slug,
        provider=Provider(slug=slug, name=slug.title(), needs_credential=needs_credential),
        price=Price(prompt=1),
        context_length=8192,
        dimensions=4,
        quantization="fp32",
        data_policy=DataPolicy(retains_prompts=False, trains_on_prompts=False),
        credential_id=credential_id,
    )


INSTALLED = Access("environment", "secret-e", byok=False)
OWN, SPARE = Access("own", "secret-o"), Access("spare", "secret-s", is_fallback=True)
ONLY = Access("only", "secret-x", only=True)


def order(endpoints: Sequence[Endpoint], accesses: Mapping[str, Sequence[Access]]) -> list[tuple[str, str | None]]:
    found = candidates(endpoints, lambda one: accesses.get(one.provider.slug, ()))
    return [(one.endpoint.tag, one.access.id if one.access else None) for one in found]


def test_own_credentials_come_first_even_before_the_plans_first_endpoint() -> None:
    planned = [endpoint("a"), endpoint("b")]
    accesses = {"a": [INSTALLED], "b": [OWN, INSTALLED]}
    assert order(planned, accesses) == [("b", "own"), ("a", "environment"), ("b", "environment")]


def test_own_credentials_for_fallback_come_last() -> None:
    planned = [endpoint("a"), endpoint("b")]
    accesses = {"a": [SPARE, INSTALLED], "b": [INSTALLED]}
    assert order(planned, accesses) == [("a", "environment"), ("b", "environment"), ("a", "spare")]


def test_where_only_own_credentials_may_be_used_the_installations_is_not() -> None:
    assert order([endpoint("a")], {"a": [ONLY, INSTALLED]}) == [("a", "only")]


def test_who_needs_a_credential_and_has_none_is_left_out() -> None:
    assert order([endpoint("a"), endpoint("free", needs_credential=False)], {}) == [("free", None)]


def test_a_private_endpoint_takes_its_own_credential_and_no_other() -> None:
    planned = [endpoint("a", credential_id="own")]
    assert order(planned, {"a": [Access("other", "x"), OWN, INSTALLED]}) == [("a", "own")]
    assert order(planned, {"a": [INSTALLED]}) == []


def test_a_secret_is_not_shown() -> None:
    assert "secret-o" not in repr(OWN) + str(candidates([endpoint("a")], lambda _: [OWN]))


KEEPING = DataPolicy(retains_prompts=True, trains_on_prompts=False)
FORGETS, KEEPS = Access("forgets", "secret-f", zdr=True), Access("keeps", "secret-k", zdr=False)


@pytest.mark.parametrize(
    ("retained", "accesses", "asked"),
    [
        (True, [OWN, FORGETS, KEEPS, INSTALLED], ["forgets"]),
        (False, [OWN, FORGETS, KEEPS, INSTALLED], ["own", "forgets", "environment"]),
        (True, [OWN, INSTALLED], []),
        (False, [KEEPS], []),
        (False, [KEEPS._replace(only=True), INSTALLED], []),
    ],
)
def test_without_retention_only_credentials_are_used_that_declare_none_or_the_endpoint_does(
    *, retained: bool, accesses: list[Access], asked: list[str]
) -> None:
    one = endpoint("a")
    if retained:
        one = msgspec.structs.replace(one, data_policy=KEEPING)
    found = candidates([one], lambda _: accesses, zdr=True)
    assert [way.access.id for way in found if way.access] == asked
    assert retains(one, accesses) is (not asked)
    assert len(candidates([one], lambda _: accesses)) >= len(found)


def test_a_private_endpoint_that_keeps_prompts_does_so_whatever_its_credential_declares() -> None:
    private = msgspec.structs.replace(endpoint("a", credential_id="forgets"), private_to="w", data_policy=KEEPING)
    assert retains(private, [FORGETS])
    assert candidates([private], lambda _: [FORGETS], zdr=True) == []
    forgetting = msgspec.structs.replace(endpoint("a", credential_id="keeps"), private_to="w")
    assert retains(forgetting, [KEEPS])


def test_who_needs_no_credential_keeps_what_the_catalog_says() -> None:
    free = endpoint("a", needs_credential=False)
    assert not retains(free, [])
    assert not retains(free, [KEEPS])
    assert candidates([free], lambda _: [KEEPS], zdr=True) == [(free, None)]
    assert retains(msgspec.structs.replace(free, data_policy=KEEPING), [])
