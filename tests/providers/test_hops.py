import pytest

from embedrouter.providers.hops import MAX_HOPS, hops_of, loop, passed_on


@pytest.mark.parametrize(
    ("header", "hops"),
    [(None, ()), ("", ()), ("a", ("a",)), ("a,b", ("a", "b")), (" a , b,", ("a", "b")), ("no id!", ("no id!",))],
)
def test_a_header_names_the_gateways_before(header: str | None, hops: tuple[str, ...]) -> None:
    assert hops_of(header) == hops


@pytest.mark.parametrize("header", ["me", "a,me", "me,a,b", " me "])
def test_a_request_that_came_back_is_a_loop(header: str) -> None:
    assert "came back" in (loop(header, "me") or "")


def test_a_request_through_too_many_gateways_is_refused() -> None:
    ids = [f"gateway-{number}" for number in range(MAX_HOPS + 1)]
    assert loop(",".join(ids[:MAX_HOPS]), "me") is None
    assert f"{MAX_HOPS + 1} gateways" in (loop(",".join(ids), "me") or "")
    assert loop("?," * 100_000, "me") is not None


@pytest.mark.parametrize(
    ("header", "value"), [(None, "me"), ("a", "a,me"), ("a, b", "a,b,me"), ("x\r\nEvil: 1,a", "a,me"), ("é", "me")]
)
def test_what_is_sent_on_names_this_gateway_last_and_nothing_but_ids(header: str | None, value: str) -> None:
    assert passed_on(header, "me") == value


def test_a_chain_of_gateways_ends() -> None:
    header = None
    served = 0
    while loop(header, f"gateway-{served}") is None:
        header = passed_on(header, f"gateway-{served}")
        served += 1
    assert served == MAX_HOPS + 1
