import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from embedrouter.errors import ContextLengthExceededError
from embedrouter.minilm.facts import CLS, SEP
from embedrouter.minilm.windows import Ids, LongInput, Vectors, combine, plan, shorten


def content(tokens: int) -> Ids:
    """Distinct ids, so that a lost or doubled one shows. tokens: with [CLS] and [SEP]."""
    return np.arange(1000, 1000 + tokens - 2, dtype=np.int32)


def random_units(count: int, seed: int) -> Vectors:
    raw = np.random.default_rng(seed).standard_normal((count, 384))
    units: Vectors = (raw / np.linalg.norm(raw, axis=1, keepdims=True)).astype(np.float32)
    return units


@pytest.mark.parametrize(
    ("tokens", "lengths"),
    [
        (2, [2]),
        (3, [3]),
        (254, [254]),
        (255, [255]),
        (256, [256]),
        (257, [256, 3]),
        (509, [256, 255]),
        (510, [256, 256]),
        (511, [256, 256, 3]),
        (512, [256, 256, 4]),
        (513, [256, 256, 5]),
        (8192, [256] * 32 + [64]),
    ],
)
def test_windows_are_cut_at_254_content_tokens(tokens: int, lengths: list[int]) -> None:
    found = plan(content(tokens), LongInput.WINDOWS, 0)
    assert [len(one) for one in found.sequences] == lengths
    assert found.tokens == tokens
    assert found.truncated is False


@given(st.integers(2, 8192))
def test_windows_lose_double_and_move_nothing(tokens: int) -> None:
    ids = content(tokens)
    found = plan(ids, LongInput.WINDOWS, 0)
    assert all(one[0] == CLS and one[-1] == SEP and 2 <= len(one) <= 256 for one in found.sequences)
    assert all(len(one) == 256 for one in found.sequences[:-1])
    assert all(one.dtype == np.int32 for one in found.sequences)
    np.testing.assert_array_equal(np.concatenate([one[1:-1] for one in found.sequences]), ids)
    assert found.tokens == sum(len(one) - 2 for one in found.sequences) + 2


@given(st.integers(2, 20_000), st.booleans())
def test_truncation_keeps_the_beginning_and_bills_no_more(tokens: int, exact: bool) -> None:
    ids = content(tokens)
    found = plan(ids, LongInput.TRUNCATE, 0, exact=exact)
    (only,) = found.sequences
    assert found.tokens == len(only) == min(tokens, 256)
    assert found.truncated is (tokens > 256)
    np.testing.assert_array_equal(only[1:-1], ids[:254])


@given(st.integers(2, 256), st.sampled_from(LongInput))
def test_up_to_256_tokens_every_rule_gives_the_same(tokens: int, rule: LongInput) -> None:
    (only,) = plan(content(tokens), rule, 0).sequences
    np.testing.assert_array_equal(only, [CLS, *content(tokens), SEP])


@pytest.mark.parametrize(
    ("rule", "tokens", "limit"),
    [
        (LongInput.REFUSE, 257, 256),
        (LongInput.REFUSE, 9000, 256),
        (LongInput.WINDOWS, 8193, 8192),
        (LongInput.WINDOWS, 100_000, 8192),
    ],
)
def test_what_is_too_long_is_refused_with_index_count_and_limit(rule: LongInput, tokens: int, limit: int) -> None:
    with pytest.raises(ContextLengthExceededError) as caught:
        plan(content(tokens), rule, 7)
    assert caught.value.metadata == {"index": 7, "tokens": tokens, "tokens_exact": True, "limit": limit}
    for fact in ("input[7]", f"{tokens:,} tokens", f"{limit:,}", '"truncate": true'):
        assert fact in caught.value.message
    assert caught.value.status == 400
    assert caught.value.error_type == "context_length_exceeded"


def test_a_count_that_was_not_finished_is_a_lower_bound() -> None:
    with pytest.raises(ContextLengthExceededError, match="more than 9,000 tokens") as caught:
        plan(content(9000), LongInput.WINDOWS, 0, exact=False)
    assert caught.value.metadata["tokens_exact"] is False


@pytest.mark.parametrize(
    ("truncate", "rule"), [(None, LongInput.WINDOWS), (True, LongInput.TRUNCATE), (False, LongInput.REFUSE)]
)
def test_the_apis_truncate_names_a_rule(truncate: bool | None, rule: LongInput) -> None:
    assert LongInput.of(truncate) is rule


@given(st.lists(st.integers(2, 256), min_size=2, max_size=33), st.integers(0, 1 << 32))
def test_windows_are_averaged_by_length_to_a_unit_vector(lengths: list[int], seed: int) -> None:
    units = random_units(len(lengths), seed)
    merged = combine(units, np.array(lengths, np.int64))
    assert merged.dtype == np.float32
    assert merged.shape == (384,)
    expected = np.average(units.astype(np.float64), axis=0, weights=lengths)
    expected /= np.linalg.norm(expected)
    np.testing.assert_allclose(merged, expected, rtol=0, atol=1e-7)
    assert abs(float(np.linalg.norm(merged.astype(np.float64))) - 1) < 1e-6


def test_one_window_is_its_own_vector_to_the_last_bit() -> None:
    (unit,) = units = random_units(1, 1)
    np.testing.assert_array_equal(combine(units, np.array([256], np.int64)), unit)


@given(st.integers(1, 384), st.integers(0, 8), st.integers(0, 1 << 32))
def test_shortening_cuts_and_normalises_again(dimensions: int, count: int, seed: int) -> None:
    units = random_units(count, seed)
    cut = shorten(units, dimensions)
    assert cut.shape == (count, dimensions)
    assert cut.dtype == np.float32
    norms: NDArray[np.float64] = np.linalg.norm(cut.astype(np.float64), axis=1)
    np.testing.assert_allclose(norms, 1, rtol=0, atol=1e-6)
    expected = units[:, :dimensions] / np.linalg.norm(units[:, :dimensions], axis=1, keepdims=True)
    np.testing.assert_allclose(cut, expected, rtol=0, atol=1e-6)


def test_shortening_to_all_dimensions_changes_no_bit() -> None:
    units = random_units(3, 2)
    np.testing.assert_array_equal(shorten(units, 384), units)


def test_shortening_a_vector_that_begins_with_zeros_is_finite() -> None:
    unit = np.zeros((1, 384), np.float32)
    unit[0, -1] = 1
    assert np.isfinite(shorten(unit, 10)).all()
