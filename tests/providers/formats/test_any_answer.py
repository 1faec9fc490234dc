"""Whatever a provider answers: exactly one finite vector for each text, or an UpstreamError, and nothing else."""

import json
from typing import Any

import numpy as np
import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from embedrouter.providers.formats import FORMATS
from embedrouter.providers.wire import UpstreamError, WireAnswer
from providers.formats.shapes import SECRET, SHAPES, call, packed, target

NUMBERS = st.floats(width=64) | st.integers() | st.sampled_from([0, 1e39, 3.5e38, -0.0])
LEAVES = (
    st.none()
    | st.booleans()
    | NUMBERS
    | st.text(max_size=8)
    | st.sampled_from([SECRET, f"Bearer {SECRET}", packed(1.0), packed(1.0, 2.0), "<html>", "429", 503])
)
NAMES = st.sampled_from(
    ["error", "errors", "message", "detail", "code", "data", "embedding", "embeddings", "float", "index", "values"]
    + ["result", "success", "usage", "prompt_tokens", "meta", "loc", "msg", "details", "retryDelay", "object", "type"]
)
TREES = st.recursive(
    LEAVES,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(NAMES, inner, max_size=4),
    max_leaves=12,
)
ROWS = st.lists(st.lists(st.floats(-2, 2, width=32), min_size=2, max_size=2), min_size=1, max_size=2)
STATUSES = st.sampled_from([200, 200, 200, 201, 204, 302, 400, 401, 413, 422, 429, 500, 503]) | st.integers(100, 999)
HEADERS = st.dictionaries(
    st.sampled_from(["retry-after", "retry-after-ms", "date", "content-type", "x-amzn-errortype", "x-compute-tokens"]),
    st.text(max_size=40) | st.sampled_from(["Wed, 21 Oct 2026 07:28:00 GMT", "3", "text/html", "٣", "²"]),
    max_size=4,
)


def json_of(tree: Any) -> bytes:
    return json.dumps(tree).encode()  # unlike orjson, it writes NaN, Infinity and large integers


def spoiled(shape: Any, draw: st.DrawFn) -> Any:
    """A copy in which one place, chosen by `draw`, has something else."""
    if isinstance(shape, dict) and shape and draw(st.integers(0, 5)):
        name = draw(st.sampled_from(sorted(shape)))
        return {**shape, name: spoiled(shape[name], draw)}
    if isinstance(shape, list) and shape and draw(st.integers(0, 5)):
        place = draw(st.integers(0, len(shape) - 1))
        return [*shape[:place], spoiled(shape[place], draw), *shape[place + 1 :]]
    return draw(TREES)


@st.composite
def bodies(draw: st.DrawFn, name: str) -> bytes:
    """Any bytes, any JSON, a good answer, or one with a spoiled place."""
    kind = draw(st.integers(0, 5))
    if kind == 0:
        return draw(st.binary(max_size=64))
    if kind == 1:
        return json_of(draw(TREES))
    shape = SHAPES[name](draw(ROWS))
    return json_of(shape if kind == 2 else spoiled(shape, draw))


@pytest.mark.parametrize("name", FORMATS)
@settings(max_examples=120, deadline=None)
@given(data=st.data(), status=STATUSES, headers=HEADERS, dimensions=st.sampled_from([0, 2]))
def test_an_answer_is_vectors_or_an_upstream_error(
    name: str, data: st.DataObject, status: int, headers: dict[str, str], dimensions: int
) -> None:
    body = data.draw(bodies(name))
    at, asked = target(name, dimensions=dimensions), call(name)
    outcome: WireAnswer | UpstreamError
    try:
        outcome = FORMATS[name].parse_response(status, headers, body, at, asked)
    except UpstreamError as error:
        outcome = error
    if isinstance(outcome, UpstreamError):
        check_error(outcome)
    else:
        assert 200 <= status < 300
        check_answer(outcome, len(asked.texts), dimensions)


def check_error(error: UpstreamError) -> None:
    assert 0 < len(error.message) <= 300
    assert error.message.isprintable()
    assert SECRET not in error.message
    assert error.retry_after is None or 0 <= error.retry_after <= 86_400


def check_answer(answer: WireAnswer, count: int, dimensions: int) -> None:
    """dimensions: 0 if any will do."""
    assert answer.vectors.dtype == np.float32
    assert answer.vectors.ndim == 2
    assert len(answer.vectors) == count
    assert answer.vectors.shape[1] == dimensions or (not dimensions and answer.vectors.shape[1] > 0)
    assert np.isfinite(answer.vectors).all()
    assert answer.prompt_tokens is None or answer.prompt_tokens > 0


@pytest.mark.parametrize("name", FORMATS)
@settings(max_examples=10, deadline=None)
@given(rows=ROWS)
def test_a_good_answer_of_the_right_size_is_always_taken(name: str, rows: list[list[float]]) -> None:
    asked = call(name, texts=["a text"] * (1 if name == "bedrock" else len(rows)))
    answer = FORMATS[name].parse_response(200, {}, orjson.dumps(SHAPES[name](rows)), target(name), asked)
    np.testing.assert_array_equal(answer.vectors, np.array(rows, np.float32)[: len(asked.texts)])
