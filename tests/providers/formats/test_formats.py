"""What holds for every format: a spoiled answer is a failure, and what is told of it is fit to be told."""

import math
import time
from typing import Any

import numpy as np
import orjson
import pytest

from embedrouter.providers.formats import FORMATS
from embedrouter.providers.wire import Failure, UpstreamError, WireAnswer
from providers.formats.shapes import LISTED, SECRET, SHAPES, body, call, listed, packed, target

EVERY = pytest.mark.parametrize("name", FORMATS)
OF_MANY = pytest.mark.parametrize("name", [name for name in FORMATS if name != "bedrock"])  # its answer has one vector
OF_OBJECTS = pytest.mark.parametrize("name", [name for name in FORMATS if name != "tei"])  # its answer is a list
INDEXED = pytest.mark.parametrize("name", LISTED)
JSON = {"content-type": "application/json"}
PAGE = b"<!DOCTYPE html><html><head><title>502 Bad Gateway</title></head><body>nginx</body></html>"


def parsed(name: str, answer: bytes, status: int = 200, headers: dict[str, str] = JSON, **values: Any) -> WireAnswer:
    return FORMATS[name].parse_response(status, headers, answer, target(name, **values), call(name))


def failed(name: str, answer: bytes, status: int = 200, headers: dict[str, str] = JSON, **values: Any) -> UpstreamError:
    with pytest.raises(UpstreamError) as caught:
        parsed(name, answer, status, headers, **values)
    return caught.value


def rows(name: str, *given: Any) -> list[Any]:
    """As many as the format's call has texts."""
    return list(given[: len(call(name).texts)])


@EVERY
def test_a_good_answer_is_read(name: str) -> None:
    answer = parsed(name, body(name, rows(name, [1, 0.5], [-0.25, 2])), dimensions=2)
    assert answer.vectors.tolist() == rows(name, [1.0, 0.5], [-0.25, 2.0])
    assert answer.vectors.dtype == np.float32
    answer.vectors[0, 0] = 3  # it is its owner's
    assert answer.prompt_tokens == (None if name in ("tei", "cloudflare") else 2)


@EVERY
@pytest.mark.parametrize(
    "numbers",
    [[None, 0.5], [True, 0.5], ["1.0", 0.5], [[1.0], 0.5], [], [1e39, 0.5], [-1e300, 0.5], None, {"0": 1}],
    ids=["null", "bool", "text", "nested", "empty", "beyond_float32", "far_beyond", "no_list", "object"],
)
def test_a_vector_of_anything_but_finite_numbers_is_an_invalid_answer(name: str, numbers: Any) -> None:
    both = [[1.0] * 2, numbers] if name != "bedrock" and numbers != [] else [numbers, numbers]
    assert failed(name, body(name, both)).failure == "invalid_answer"


@EVERY
@pytest.mark.parametrize("word", ["NaN", "Infinity", "-Infinity", "1e400", "9" * 400])
def test_numbers_that_are_not_finite_are_an_invalid_answer(name: str, word: str) -> None:
    answer = body(name, rows(name, [1.0, 0.123], [1.0, 0.123])).replace(b"0.123", word.encode())
    assert failed(name, answer).failure == "invalid_answer"


@OF_MANY
@pytest.mark.parametrize("count", [0, 1, 3])
def test_a_wrong_count_is_an_invalid_answer(name: str, count: int) -> None:
    error = failed(name, body(name, [[1.0, 2.0]] * count))
    assert error.failure == "invalid_answer"


@OF_MANY
def test_vectors_of_different_dimensions_are_an_invalid_answer(name: str) -> None:
    error = failed(name, body(name, [[1.0, 2.0], [1.0]]))
    assert (error.failure, error.message) == ("invalid_answer", "vector 1 has 1 dimensions, vector 0 has 2")


@EVERY
def test_vectors_of_a_dimension_that_is_not_the_endpoints_are_an_invalid_answer(name: str) -> None:
    error = failed(name, body(name, rows(name, [1.0, 2.0], [1.0, 2.0])), dimensions=3)
    assert (error.failure, error.message) == ("invalid_answer", "its vectors have 2 dimensions, not 3")


@EVERY
def test_fewer_dimensions_may_be_given_in_full_or_as_asked_and_in_no_other_number(name: str) -> None:
    wire, at, asked = FORMATS[name], target(name, dimensions=4), call(name, dimensions=2)
    for size in (2, 4):
        answer = wire.parse_response(200, JSON, body(name, rows(name, [1.0] * size, [2.0] * size)), at, asked)
        assert answer.vectors.shape == (len(asked.texts), size)
    with pytest.raises(UpstreamError, match="its vectors have 3 dimensions, not 2"):
        wire.parse_response(200, JSON, body(name, rows(name, [1.0] * 3, [2.0] * 3)), at, asked)


@INDEXED
def test_vectors_are_put_in_the_order_of_their_index(name: str) -> None:
    answer = parsed(name, orjson.dumps(listed([[2.0], [1.0]], [1, 0])))
    assert answer.vectors.tolist() == [[1.0], [2.0]]
    answer = parsed(name, orjson.dumps(listed([packed(2.0), packed(1.0)], [1, 0])))
    assert answer.vectors.tolist() == [[1.0], [2.0]]


@INDEXED
@pytest.mark.parametrize("indices", [[0, 0], [1, 1], [0, 2], [-1, 0], [0, None], [0, "1"], [0, True], [0, 0.5]])
def test_an_index_that_is_double_or_no_place_is_an_invalid_answer(name: str, indices: list[Any]) -> None:
    assert failed(name, orjson.dumps(listed([[1.0], [2.0]], indices))).failure == "invalid_answer"


@INDEXED
def test_a_vector_without_index_is_an_invalid_answer(name: str) -> None:
    answer = listed([[1.0], [2.0]])
    del answer["data"][1]["index"]
    assert failed(name, orjson.dumps(answer)).failure == "invalid_answer"


@INDEXED
@pytest.mark.parametrize(
    "text",
    [
        "",
        "!!!!",
        "AAAA",
        "AACAPw",
        "AACAPw==AACAPw==",
        "é",
        packed(math.nan),
        packed(math.inf),
        packed(1.0, 2.0),
        [1.0],
    ],
    ids=["empty", "letters", "3_bytes", "padding", "two", "not_ascii", "nan", "infinity", "dimensions", "mixed"],
)
def test_base64_that_is_no_vector_is_an_invalid_answer(name: str, text: Any) -> None:
    assert failed(name, orjson.dumps(listed([packed(1.0), text]))).failure == "invalid_answer"


@EVERY
@pytest.mark.parametrize(
    "answer",
    [b"", b"null", b"{}", b"[]", b"{", b"\xff\xfe", PAGE, b"[" * 100_000, b'{"data":' * 100_000, b'"text"', b"[[]]"],
    ids=["empty", "null", "object", "list", "half", "bytes", "page", "deep", "deep_objects", "text", "no_numbers"],
)
def test_what_is_no_answer_is_an_invalid_answer(name: str, answer: bytes) -> None:
    error = failed(name, answer)
    assert (error.failure, error.status) == ("invalid_answer", 200)
    assert "nginx" not in error.message
    assert len(error.message) <= 300


@EVERY
def test_half_an_answer_is_an_invalid_answer(name: str) -> None:
    whole = body(name, rows(name, [1.0, 2.0], [3.0, 4.0]))
    for end in range(1, len(whole)):
        assert failed(name, whole[:end]).failure == "invalid_answer"


@EVERY
def test_an_answer_larger_than_its_vectors_can_be_is_not_read(name: str) -> None:
    answer = body(name, rows(name, [1.0, 2.0], [1.0, 2.0])) + b" " * 2_000_000
    error = failed(name, answer, dimensions=2)
    assert error.failure == "invalid_answer"
    assert "too large" in error.message


@EVERY
@pytest.mark.parametrize(
    ("given", "failure"),
    [
        ({"error": {"message": "it broke"}}, "server"),
        ({"error": "it broke"}, "server"),
        ({"error": {"message": "it broke", "code": 429}}, "rate_limited"),
        ({"error": {"message": "it broke", "code": "503"}}, "overloaded"),
        ({"error": {"message": "it broke", "code": "insufficient_quota"}}, "payment"),
        ({"object": "error", "message": "it broke"}, "server"),
        ({"message": "it broke"}, "server"),
        ({"detail": "it broke"}, "server"),
        ({"success": False, "errors": [{"message": "it broke"}]}, "server"),
    ],
)
def test_an_error_in_an_answer_of_200_is_an_error(name: str, given: dict[str, Any], failure: Failure) -> None:
    error = failed(name, orjson.dumps(given))
    assert (error.failure, error.message, error.status) == (failure, "it broke", 200)


@OF_OBJECTS
def test_vectors_beside_an_error_are_not_taken(name: str) -> None:
    answer = {**SHAPES[name](rows(name, [1.0], [2.0])), "error": {"message": "half of it failed"}}
    assert failed(name, orjson.dumps(answer)).failure == "server"
    answer["error"] = None
    assert parsed(name, orjson.dumps(answer)).vectors.shape[1] == 1


@EVERY
@pytest.mark.parametrize(
    ("status", "failure"),
    [
        (301, "invalid_answer"),
        (307, "invalid_answer"),
        (400, "invalid_request"),
        (401, "unauthorized"),
        (402, "payment"),
        (403, "unauthorized"),
        (404, "not_found"),
        (408, "timeout"),
        (413, "too_long"),
        (422, "invalid_request"),
        (429, "rate_limited"),
        (500, "server"),
        (502, "server"),
        (503, "overloaded"),
        (504, "server"),
        (529, "overloaded"),
        (418, "server"),
        (999, "server"),
    ],
)
def test_a_status_means_the_same_in_every_format(name: str, status: int, failure: Failure) -> None:
    for answer in (b"", orjson.dumps({"error": {"message": "told why"}}), b"told why"):
        error = failed(name, answer, status, {"retry-after": "7"})
        assert (error.failure, error.status) == (failure, status)
        if status >= 400:
            assert error.retry_after == 7
            assert error.message == ("told why" if answer else f"answered HTTP {status} without a reason")


@EVERY
def test_a_page_is_never_shown_nor_blamed_on_the_caller(name: str) -> None:
    for status, failure in ((400, "invalid_answer"), (404, "not_found"), (502, "server"), (503, "overloaded")):
        for headers in ({"content-type": "text/html"}, {}):
            error = failed(name, PAGE, status, headers)
            assert (error.failure, error.message) == (failure, f"answered HTTP {status} without a reason")
        wrapped = failed(name, orjson.dumps({"error": {"message": PAGE.decode()}}), status)
        assert wrapped.message == f"answered HTTP {status} without a reason"


@EVERY
@pytest.mark.parametrize("size", [301, 5_000, 3_000_000])
def test_a_huge_message_is_cut(name: str, size: int) -> None:
    error = failed(name, orjson.dumps({"error": {"message": "ab " * (size // 3)}}), 500)
    assert len(error.message) <= 300
    assert error.message.startswith(("ab ab ", "answered HTTP 500"))


@EVERY
def test_a_message_is_printable_and_on_one_line(name: str) -> None:
    said = "a\r\nSet-Cookie: x\x1b[31m red\x00\u202e end"
    for answer in (orjson.dumps({"error": said}), orjson.dumps({"message": said})):
        message = failed(name, answer, 500).message
        assert message == "a Set-Cookie: x [31m red end"


@EVERY
@pytest.mark.parametrize(
    "said",
    [
        SECRET,
        f"bad key {SECRET}",
        f"bad key '{SECRET}'.",
        f"key={SECRET.upper()}&x=1",
        f"Authorization: Bearer {SECRET}",
        f"bad key {SECRET[:9]}...",
        f"bad key {SECRET[-8:]}",
        f"bad key ab{SECRET[3:14]}cd",
        "x" * 4_080 + " " + SECRET,
        "x " * 145 + SECRET,
    ],
)
def test_a_credential_is_never_told(name: str, said: str) -> None:
    for shape in ({"error": {"message": said}}, {"detail": said}, {"message": said}, {"errors": [{"message": said}]}):
        for status in (200, 400, 401, 500):
            message = failed(name, orjson.dumps(shape), status).message.lower()
            assert not any(SECRET[at : at + 8] in message for at in range(len(SECRET) - 7))


@EVERY
@pytest.mark.parametrize(
    "other",
    ["sk-proj-Abc123Def456", "AIzaSyA-1234567890abcdef", "sk-ab***********wxyz", "abcd...wxyz", "0a1b2c3d" * 4],
)
def test_what_looks_like_a_credential_is_never_told(name: str, other: str) -> None:
    message = failed(name, orjson.dumps({"error": {"message": f"no such key: {other}"}}), 401).message
    assert message == "no such key: [removed]"


@pytest.mark.parametrize("part", ["x", "9", "<", "< ", "<" + " " * 4_000, "sk-", "*", "a.", "a...", "bearer ", "eyJ."])
def test_long_words_are_looked_at_in_no_time(part: str) -> None:
    answer = orjson.dumps({"error": {"message": (part * 4_096)[:4_096]}})
    started = time.process_time()
    for _ in range(20):
        failed("openai", answer, 400)
    assert time.process_time() - started < 0.5


@EVERY
def test_words_that_are_no_credential_are_told(name: str) -> None:
    said = "text-embedding-3-small (BAAI/bge-base-en-v1.5, id 3f2504e0-4f89-11d3-9a0c-0305e82c3301) takes 8192 tokens"
    assert failed(name, orjson.dumps({"error": {"message": said}}), 500).message == said


@EVERY
@pytest.mark.parametrize("count", [-1, 0, 1.5, "7", None, True, 10**9, 2**70, [], {}])
def test_tokens_that_cannot_be_are_not_taken(name: str, count: Any) -> None:
    answer = body(name, rows(name, [1.0], [2.0])).decode()
    spoiled = answer.replace('_tokens":2', f'_tokens":{_json(count)}').replace('Count":2', f'Count":{_json(count)}')
    spoiled = spoiled.replace('_count":2', f'_count":{_json(count)}')
    assert parsed(name, spoiled.encode()).prompt_tokens is None


def _json(value: Any) -> str:
    return str(value) if isinstance(value, int) and not isinstance(value, bool) else orjson.dumps(value).decode()


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({"retry-after": "3"}, 3.0),
        ({"retry-after": "0.5"}, 0.5),
        ({"retry-after": "3", "retry-after-ms": "250"}, 0.25),
        ({"retry-after": "Wed, 21 Oct 2026 07:28:30 GMT", "date": "Wed, 21 Oct 2026 07:28:00 GMT"}, 30.0),
        ({"retry-after": "Wed, 21 Oct 2026 07:27:00 GMT", "date": "Wed, 21 Oct 2026 07:28:00 GMT"}, 0.0),
        ({"retry-after": "Wed, 21 Oct 2026 07:28:30 GMT"}, None),
        ({"retry-after": "Wed, 21 Oct 2026 07:28:30", "date": "Wed, 21 Oct 2026 07:28:00 GMT"}, None),
        ({"retry-after": "999999999"}, 86_400.0),
        ({"retry-after": "-1"}, None),
        ({"retry-after": "nan"}, None),
        ({"retry-after": "1e9"}, None),
        ({"retry-after": "٣"}, None),
        ({"retry-after": "soon"}, None),
        ({"retry-after": ""}, None),
        ({}, None),
    ],
)
def test_how_long_to_wait(headers: dict[str, str], seconds: float | None) -> None:
    assert failed("openai", b"", 429, headers).retry_after == seconds
