"""The body of POST /batches, in pieces of any size."""

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from embedrouter.batches.parsing import MOST_OUTSIDE, BodyParser, Outside, Request
from embedrouter.errors import InvalidRequestError, PayloadTooLargeError

_TEXT = st.text(st.characters(codec="utf-8"), max_size=20) | st.sampled_from(
    ['"', "\\", '\\"', "[{", "}]", '"requests":[']
)
_JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-9, 9) | _TEXT,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(_TEXT, inner, max_size=3),
    max_leaves=8,
)
_BODY = st.dictionaries(_TEXT, _JSON, max_size=3)


def _parsed(body: bytes, size: int, most: int = 1 << 20) -> tuple[list[Request], Outside, BodyParser]:
    parser = BodyParser(most)
    found = [one for at in range(0, len(body), size) for one in parser.feed(body[at : at + size])]
    return found, parser.finish(), parser


def _body(requests: list[Any], **outside: Any) -> bytes:
    return json.dumps({"endpoint": "/v1/embeddings", "model": "m", "requests": requests, **outside}).encode()


@given(
    bodies=st.lists(_BODY, max_size=4),
    metadata=st.dictionaries(st.text(min_size=1, max_size=9), _TEXT, max_size=3),
    size=st.integers(1, 40),
    indent=st.sampled_from([None, 2]),
    ascii_=st.booleans(),
)
@settings(max_examples=50, deadline=None)
def test_requests_come_out_as_they_were_sent_however_the_body_is_cut(
    bodies: list[Any], metadata: dict[str, str], size: int, indent: int | None, ascii_: bool
) -> None:
    requests = [{"custom_id": f"r{number}", "body": body} for number, body in enumerate(bodies)]
    whole = {"metadata": metadata, "endpoint": "e", "model": "m", "requests": requests, "callback_url": "c"}
    body = json.dumps(whole, indent=indent, ensure_ascii=ascii_).encode()
    found, outside, parser = _parsed(body, size)
    assert [(one.number, one.custom_id) for one in found] == [(n, f"r{n}") for n in range(len(bodies))]
    assert [json.loads(one.body) for one in found] == bodies
    assert all(one.body in body for one in found)
    assert (outside.endpoint, outside.model, outside.callback_url) == ("e", "m", "c")
    assert outside.metadata == metadata
    assert parser.head is not None
    assert (parser.head.model, parser.head.callback_url) == ("m", None)


@given(body=_JSON, cut=st.integers(1, 60), junk=st.sampled_from(["", "]", "}", "{", ",", '"', "x", "[", "1,"]))
@settings(max_examples=60, deadline=None)
def test_what_json_refuses_is_refused_and_never_anything_else(body: Any, cut: int, junk: str) -> None:
    whole = json.dumps({"requests": [{"custom_id": "a", "body": body}]})
    broken = (whole[: -cut or None] + junk + whole[len(whole) - cut + 1 :]).encode()
    try:
        given_: Any = json.loads(broken)
    except ValueError:
        given_ = None
    try:
        found, _, _ = _parsed(broken, 7)
    except (InvalidRequestError, PayloadTooLargeError):
        return
    assert given_ is not None
    assert [json.loads(one.body) for one in found] == [one["body"] for one in given_.get("requests") or []]


@pytest.mark.parametrize("size", [1, 1000])
@pytest.mark.parametrize(
    ("requests", "told"),
    [
        ('[{"custom_id":"a","body":{}},5]', r"requests\[1\]: expected an object"),
        ('[{"custom_id":"a","body":{}} {"custom_id":"b","body":{}}]', r"requests\[1\]: expected an object"),
        ('[{"custom_id":"a","body":{}},]', r"requests\[1\]: expected an object"),
        ('[,{"custom_id":"a","body":{}}]', r"requests\[0\]: expected an object"),
        ('[{"custom_id":"a","body":{]}}]', r'requests\[0\] \(custom_id "a"\): the body is not valid JSON'),
        ('[{"custom_id":"a"}]', r'requests\[0\] \(custom_id "a"\): body: is required'),
        ('[{"body":{}}]', r"requests\[0\]: custom_id: is required"),
        ('[{"custom_id":"","body":{}}]', r"requests\[0\]: custom_id: expected str of length >= 1"),
        ('[{"custom_id":7,"body":{}}]', r"requests\[0\]: custom_id: expected str, got int"),
        (r'[{"custom_id":"a\u0000","body":{}}]', r"requests\[0\].*: custom_id: must not hold NUL characters"),
        ('[{"custom_id":"a","body":{}}', r"requests\[1\]: the body ends in the middle"),
        ('{"a":[1]}', r"requests: expected array"),
    ],
)
def test_a_wrong_request_is_named(requests: str, told: str, size: int) -> None:
    end = "}" if requests[-1] in "]}" and "middle" not in told else ""
    with pytest.raises(InvalidRequestError, match=told):
        _parsed(b'{"requests":' + requests.encode() + end.encode(), size)


def test_only_the_bodys_own_requests_are_requests() -> None:
    body = b'{"metadata":{"a\\"requests":"[","b":"\\\\"},"endpoint":"e","requests":[]}'
    found, outside, _ = _parsed(body, 3)
    assert not found
    assert outside.metadata == {'a"requests': "[", "b": "\\"}
    with pytest.raises(InvalidRequestError, match="metadata"):
        _parsed(b'{"metadata":{"requests":[{"custom_id":"a","body":{}}]}}', 5)


@pytest.mark.parametrize("size", [17, 1 << 20])
def test_what_is_too_large_is_refused_as_soon_as_it_is_seen(size: int) -> None:
    with pytest.raises(PayloadTooLargeError, match=r"requests\[0\] is larger than 0.0009"):
        _parsed(_body([{"custom_id": "a", "body": {"input": "x" * 2000}}]), size, most=1000)
    with pytest.raises(PayloadTooLargeError, match="outside of `requests` is larger than 64 KiB"):
        _parsed(b'{"metadata":"' + b"x" * MOST_OUTSIDE, size)


def test_a_long_string_in_small_pieces_is_read_once() -> None:
    body = _body([{"custom_id": "a", "body": {"input": 'x\\"y ' * 400_000}}])
    found, _, _ = _parsed(body, 4096, most=8 << 20)
    assert json.loads(found[0].body)["input"] == 'x\\"y ' * 400_000


def test_a_body_that_is_no_object_is_refused() -> None:
    for body in (b"[]", b"7", b'"requests"', b"nope", b'{"requests":[]}}', b'{"requests":[]} 1'):
        with pytest.raises(InvalidRequestError):
            _parsed(body, 2)
    with pytest.raises(InvalidRequestError, match="no body"):
        BodyParser(9).finish()
