from hypothesis import given
from hypothesis import strategies as st

from embedrouter.catalog.models import Limits
from embedrouter.routing.shards import shards


def test_what_fits_is_one_shard() -> None:
    assert shards([1, 2, 3], Limits(items=3, tokens=6)) == [range(3)]


def test_a_shard_has_no_more_items_than_allowed() -> None:
    assert shards([1] * 5, Limits(items=2)) == [range(2), range(2, 4), range(4, 5)]


def test_a_shard_has_no_more_tokens_than_allowed() -> None:
    assert shards([3, 3, 3], Limits(tokens=6)) == [range(2), range(2, 3)]


def test_an_input_that_alone_is_too_large_goes_alone() -> None:
    assert shards([1, 9, 1], Limits(tokens=5)) == [range(1), range(1, 2), range(2, 3)]


@given(
    st.lists(st.integers(0, 50), min_size=1, max_size=60),
    st.integers(1, 20),
    st.none() | st.integers(1, 60),
)
def test_every_input_is_in_exactly_one_shard_in_order(tokens: list[int], items: int, most: int | None) -> None:
    found = shards(tokens, Limits(items=items, tokens=most))
    assert [place for shard in found for place in shard] == list(range(len(tokens)))
    for shard in found:
        assert 1 <= len(shard) <= items
        assert most is None or len(shard) == 1 or sum(tokens[place] for place in shard) <= most
