"""Hypothesis over POST /embeddings: never a 500, never a hang; what is valid is answered, what is not is refused."""

import json
from typing import Any

import numpy as np
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from server import MODEL, Server

_QUICK = settings(
    max_examples=200, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture]
)
# What a JSON text can hold: no lone surrogates.
_texts = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=200)
_ids = st.lists(st.integers(0, 100_255), min_size=1, max_size=50)
_parts = st.fixed_dictionaries(
    {"content": st.lists(st.fixed_dictionaries({"type": st.just("text"), "text": _texts}), min_size=1, max_size=3)}
)
_inputs = st.one_of(
    _texts,
    st.lists(_texts, min_size=1, max_size=20),
    _ids,
    st.lists(_ids, min_size=1, max_size=10),
    st.lists(_parts, min_size=1, max_size=5),
)
_slugs = st.lists(st.sampled_from(["other", "builtin", "Builtin"]), max_size=3)
_optional: dict[str, st.SearchStrategy[Any]] = {
    "encoding_format": st.sampled_from(["float", "base64", None]),
    "dimensions": st.none() | st.integers(1, 384),
    "truncate": st.sampled_from([True, None, "end"]),
    "user": st.none() | st.text(st.characters(exclude_categories=["Cs"]), max_size=20),
    "session_id": st.none() | st.text("abc", max_size=256),
    "input_type": st.none() | st.text("abc", max_size=20),
    "trace": st.none() | st.dictionaries(st.text("abc"), st.integers() | st.text("abc"), max_size=3),
    "max_tokens": st.none() | st.integers(1, 2**40),
    "temperature": st.none() | st.floats(0, 2),
    "top_p": st.none() | st.floats(0, 1),
    "stop": st.none() | st.text("abc") | st.lists(st.text("abc"), max_size=3),
    "frequency_penalty": st.none() | st.floats(-2, 2),
    "presence_penalty": st.none() | st.floats(-2, 2),
    "repetition_penalty": st.none() | st.floats(0, 2),
    "top_k": st.none() | st.integers(0, 2**40),
    "seed": st.none() | st.integers(-(2**63), 2**63),
    "min_p": st.none() | st.floats(0, 1),
    "response_format": st.none() | st.just({"type": "text"}),
    "provider": st.none()
    | st.fixed_dictionaries(
        {},
        optional={
            "order": _slugs,
            "ignore": st.just(["other"]),
            "zdr": st.booleans(),
            "data_collection": st.sampled_from(["allow", "deny"]),
            "sort": st.sampled_from(["price", "latency", "throughput", "exacto", None]),
            "max_price": st.fixed_dictionaries({}, optional={"prompt": st.floats(0.005, 1e6), "image": st.just(0)}),
        },
    ),
    "unknown": st.none() | st.booleans() | st.lists(st.integers(), max_size=3),
}
_valid = st.fixed_dictionaries({"input": _inputs}, optional=_optional)
_json = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | _texts | st.just(""),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text("abcdef", max_size=5), inner, max_size=4),
    max_leaves=10,
)
_prices = st.fixed_dictionaries({}, optional={"prompt": _json, "completion": _json})
_mixed = st.fixed_dictionaries(
    {},
    optional={
        "model": st.just(MODEL) | _json,
        "input": _inputs | _json | st.lists(_json, max_size=4),
        **{name: strategy | _json for name, strategy in _optional.items()},
        "provider": st.dictionaries(st.sampled_from(["only", "order", "sort", "quantizations", "max_price"]), _json)
        | st.fixed_dictionaries({"max_price": _prices}),
    },
)


def _count(given_input: Any) -> int:
    return 1 if isinstance(given_input, str) or isinstance(given_input[0], int | float) else len(given_input)


@_QUICK
@given(_valid)
@example({"input": "\0"})
@example({"input": ["\u2028", "\ufeff", "\U0010ffff", "\ufffe", " "]})
def test_what_is_valid_is_answered_in_full(live: Server, fields: dict[str, Any]) -> None:
    answer = live.post({"model": MODEL, **fields})
    vectors = answer.vectors()
    assert vectors.shape == (_count(fields["input"]), fields.get("dimensions") or 384)
    assert np.isfinite(vectors).all()
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-4)
    assert answer.tokens() >= 2 * len(vectors)


@_QUICK
@given(_mixed)
@example({"model": MODEL, "input": [100_256]})
@example({"model": MODEL, "input": "a", "provider": {"max_price": {"prompt": "1e999999"}}})
def test_what_is_anything_is_answered_or_refused_but_never_failed(live: Server, body: dict[str, Any]) -> None:
    answer = live.post(json.dumps(body))
    if answer.status == 200:
        assert len(answer.vectors()) == _count(body["input"])
    else:
        assert answer.status in (400, 404)
        assert answer.json()["error"]["code"] == answer.status


@_QUICK
@given(st.binary(max_size=200) | st.text(max_size=100).map(lambda text: json.dumps(text).encode()))
def test_bytes_that_are_no_request_are_refused(live: Server, body: bytes) -> None:
    live.post(body).error(400, "invalid_request")


@_QUICK
@given(_valid, st.data())
def test_one_wrong_byte_never_fails_the_server(live: Server, fields: dict[str, Any], data: st.DataObject) -> None:
    body = bytearray(json.dumps({"model": MODEL, **fields}).encode())
    place = data.draw(st.integers(0, len(body) - 1))
    body[place] = data.draw(st.integers(0, 255))
    assert live.post(bytes(body)).status in (200, 400, 404)


@settings(_QUICK, max_examples=60)
@given(st.lists(_texts, min_size=1, max_size=8), st.randoms())
def test_order_and_company_change_no_vector(live: Server, texts: list[str], random: Any) -> None:
    order = list(range(len(texts)))
    random.shuffle(order)
    straight = live.embed(texts).vectors()
    shuffled = live.embed([texts[i] for i in order]).vectors()
    assert np.sum(straight[order] * shuffled, axis=1).min() > 0.9999


@settings(_QUICK, max_examples=60)
@given(st.dictionaries(st.sampled_from(["offset", "limit", "context", "q", "sort", "zdr", "min_price", "x"]), _texts))
def test_any_query_is_answered_or_refused(live: Server, query: dict[str, str]) -> None:
    from urllib.parse import urlencode

    assert live.get(f"/api/v1/models?{urlencode(query)}").status in (200, 400)


@settings(_QUICK, max_examples=60)
@given(_texts, _texts)
def test_any_name_in_a_path_is_answered_or_not_found(live: Server, author: str, slug: str) -> None:
    from urllib.parse import quote

    assert live.get(f"/api/v1/model/{quote(author, safe='')}/{quote(slug, safe='')}").status in (200, 404)
