from collections.abc import Mapping, Sequence

from embedrouter.catalog.models import DataPolicy, Endpoint, Price, Provider
from embedrouter.routing.candidates import Access, candidates


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
