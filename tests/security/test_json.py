"""Abuse of the body. The numbers are those of the attack list."""

import gzip
import json
import zlib
from typing import Any

import numpy as np
import pytest

from server import MODEL, Server

_M = MODEL.encode()
_GZIP = {"Content-Encoding": "gzip"}


def _bomb(mib: int) -> bytes:
    """Gzip of `mib` MiB of blanks, about a thousandth of that."""
    packer = zlib.compressobj(9, zlib.DEFLATED, 31)
    return b"".join([*(packer.compress(b" " * (1 << 20)) for _ in range(mib)), packer.flush()])


def test_08_a_gzip_bomb_is_refused_in_little_memory(live: Server) -> None:
    bomb = _bomb(1024)
    assert len(bomb) < 2 << 20
    held = live.forget_peak()
    live.post(bomb, _GZIP).error(413, "payload_too_large")
    live.post(gzip.compress(bomb), _GZIP).error(400, "invalid_request")  # nested: unpacked once, and no JSON
    assert live.peak_mib() < held + 32 + 64  # the limit, and as much again for copies


def test_08_many_bombs_at_once_do_not_add_up(small: Server) -> None:
    from concurrent.futures import ThreadPoolExecutor

    bomb = _bomb(256)
    held = small.forget_peak()
    with ThreadPoolExecutor(8) as pool:
        for answer in pool.map(lambda _: small.post(bomb, _GZIP), range(32)):
            assert answer.status == 413
    assert small.peak_mib() < held + 100


@pytest.mark.parametrize("encoding", ["br", "zstd", "deflate", "compress", "gzip, br", "gzip,gzip"])
def test_08_no_other_or_nested_encoding_is_unpacked(live: Server, encoding: str) -> None:
    live.post(_bomb(1), {"Content-Encoding": encoding}).error(400, "invalid_request")


@pytest.mark.parametrize("depth", [1_000, 100_000, 1_000_000])
@pytest.mark.parametrize(
    "template",
    [
        b'{"model":"%s","input":OPEN1CLOSE}',
        b'{"model":"%s","input":"a","unknown":OPEN1CLOSE}',
        b'{"model":"%s","input":"a","trace":OPEN1CLOSE}',
        b'{"model":"%s","input":"a","response_format":OPEN1CLOSE}',
        b'{"model":"%s","input":"a","unknown":OPEN',
        b"OPEN",
    ],
)
@pytest.mark.parametrize(("opening", "closing"), [(b"[", b"]"), (b'{"a":', b"}")])
def test_11_deep_nesting_is_refused(live: Server, template: bytes, depth: int, opening: bytes, closing: bytes) -> None:
    body = template.replace(b"%s", _M).replace(b"OPEN", opening * depth).replace(b"CLOSE", closing * depth)
    live.post(body).error(400, "invalid_request")


def test_12_duplicate_names_are_decided_by_the_last(live: Server) -> None:
    twice = b'{"model":"nope","model":"%s","input":"a","input":"hello world"}' % _M
    assert live.post(twice).tokens() == 4
    live.post(b'{"model":"%s","model":"nope","input":"a"}' % _M).error(404, "not_found")


@pytest.mark.parametrize("field", ["dimensions", "max_tokens", "top_k", "seed", "temperature", "top_p", "min_p"])
@pytest.mark.parametrize(
    "number", ["NaN", "Infinity", "-Infinity", "1e400", "-1e400", "0x10", "1.", ".5", "01", "+1", "1_0"]
)
def test_13_numbers_that_are_none_are_refused(live: Server, field: str, number: str) -> None:
    live.post(b'{"model":"%s","input":"a","%s":%s}' % (_M, field.encode(), number.encode())).error(
        400, "invalid_request"
    )


@pytest.mark.parametrize("number", [2**63, 2**64, 2**1000, 10**4000, -(2**63) - 1, -(2**1000)])
@pytest.mark.parametrize("field", ["dimensions", "top_k", "max_tokens", "seed", "input", "provider"])
def test_13_numbers_of_any_size_never_fail_the_server(live: Server, field: str, number: int) -> None:
    value: Any = {"input": [number], "provider": {"max_price": {"prompt": number}}}.get(field, number)
    body = {"model": MODEL, "input": "a", field: value}
    assert live.post(json.dumps(body)).status in (200, 400)


@pytest.mark.parametrize("number", ["-0", "-0.0", "1.0", "1e2", "384.0", "1E0"])
def test_13_dimensions_are_a_plain_whole_number(live: Server, number: str) -> None:
    live.post(b'{"model":"%s","input":"a","dimensions":%s}' % (_M, number.encode())).error(400, "invalid_request")


@pytest.mark.parametrize(
    ("text", "tokens"),
    [
        (b"\\u0000", 2),
        (b"a\\u0000b", 3),
        ("\U0001f600".encode(), 3),
        (b"\\ud83d\\ude00", 3),
        ("\u202eabc\u202c".encode(), 3),
        ("\u200d\u200b\ufeff".encode(), 2),
        ("e\u0301".encode(), 3),
        (b"\\b\\f\\t\\/", None),
        ("\U0010ffff\ufdd0".encode(), None),
    ],
)
def test_14_strange_text_is_embedded_and_counted(live: Server, text: bytes, tokens: int | None) -> None:
    answer = live.post(b'{"model":"%s","input":"%s"}' % (_M, text))
    found = answer.vectors()
    assert found.shape == (1, 384)
    assert np.linalg.norm(found) == pytest.approx(1, abs=1e-4)
    assert tokens is None or answer.tokens() == tokens


@pytest.mark.parametrize(
    "text", [b"\xff", b"\xc3\x28", b"\xed\xa0\x80", b"\\ud800", b"\\udfff\\ud800", b"\\ud800a", b"\0"]
)
@pytest.mark.parametrize("field", [b"input", b"model", b"user"])
def test_14_text_that_is_none_is_refused(live: Server, field: bytes, text: bytes) -> None:
    fields = {b"model": _M, b"input": b"a"} | {field: text}
    body = b"{%s}" % b",".join(b'"%s":"%s"' % item for item in fields.items())
    live.post(body).error(400, "invalid_request")


def test_14_a_byte_order_mark_is_refused(live: Server) -> None:
    live.post(b"\xef\xbb\xbf" + b'{"model":"%s","input":"a"}' % _M).error(400, "invalid_request")


def test_14_a_million_combining_marks_are_one_short_text(live: Server) -> None:
    assert live.embed("a" + "\u0301" * 1_000_000).tokens() <= 4


@pytest.mark.parametrize("value", [None, True, False, 0, -1, 1.5, "", "x", [], [None], {}, {"a": 1}, [[]], [{}]])
@pytest.mark.parametrize(
    "field",
    [
        "model", "input", "encoding_format", "dimensions", "truncate", "provider", "input_type", "user", "session_id",
        "trace", "max_tokens", "temperature", "top_p", "stop", "frequency_penalty", "presence_penalty",
        "repetition_penalty", "top_k", "seed", "min_p", "response_format",
    ],
)  # fmt: skip
def test_15_wrong_types_anywhere_never_fail_the_server(live: Server, field: str, value: object) -> None:
    answer = live.post({"model": MODEL, "input": "a", field: value})
    assert answer.status in (200, 400, 404)
    assert answer.status == 200 or answer.json()["error"]["code"] == answer.status


@pytest.mark.parametrize(
    ("given", "status"),
    [("", 400), ([], 400), (["a", ""], 400), (["a"] * 2049, 400), (["a"] * 100_000, 400), (" ", 200), ("\n\t", 200)],
)
def test_16_empty_and_too_many_inputs(live: Server, given: object, status: int) -> None:
    assert live.embed(given, encoding_format="base64").status == status


def test_16_a_text_of_300_000_tokens_is_refused_with_its_index(live: Server) -> None:
    refused = live.embed(["a", "a " * 300_000]).error(400, "context_length_exceeded")
    assert refused["metadata"]["index"] == 1
    assert refused["metadata"]["tokens"] > 8192
    assert live.embed("a " * 300_000, truncate=True).tokens() == 256


def test_16_megabytes_of_blanks_are_refused_or_cheap(small: Server, live: Server) -> None:
    small.embed(" " * (2 << 20)).error(413, "payload_too_large")
    assert live.embed(" " * (8 << 20)).tokens() == 2


@pytest.mark.parametrize(
    ("unit", "status"), [("a", 200), ("中", 400), ("a.", 400), ("́", 200)], ids=["word", "CJK", "dots", "marks"]
)
def test_16_a_long_text_without_blanks_is_read_in_pieces(live: Server, unit: str, status: int) -> None:
    """Whatever reads it stops early where it is too long, memory stays small, and all others are answered meanwhile."""
    from concurrent.futures import ThreadPoolExecutor

    held = live.forget_peak()
    with ThreadPoolExecutor(1) as pool:
        large = pool.submit(live.embed, unit * (4_000_000 // len(unit.encode())))
        while not large.done():
            assert live.embed("hello").status == 200
    if status == 200:
        assert large.result().status == 200
    else:
        refused = large.result().error(400, "context_length_exceeded")
        assert refused["metadata"]["tokens_exact"] is False
        assert refused["metadata"]["tokens"] < 140_000  # of more than a million
    assert live.peak_mib() < held + 300


@pytest.mark.parametrize(
    "given",
    [
        [-1], [100_277], [2**31], [2**64], [True], [False, 1], [0.5], [None], [1, "a"], ["a", 1], [[1], 1],
        [1, [1]], [[1], ["a"]], [[1], []], [[[1]]], [{}], [[{}]],
    ],
)  # fmt: skip
@pytest.mark.parametrize("encoding", ["cl100k_base", "model"])
def test_17_token_ids_that_are_none_are_refused(live: Server, given: object, encoding: str) -> None:
    live.embed(given, {"X-Token-Encoding": encoding}).error(400, "invalid_request")


@pytest.mark.parametrize("given", [100_256, 100_257, 100_260, 100_270, 100_276])
def test_17_ids_that_the_decoder_does_not_know_never_fail_the_server(live: Server, given: int) -> None:
    for ids in ([given], [[1], [given]], [1] * 10_000 + [given]):
        assert live.embed(ids).status in (200, 400)


def test_17_a_million_ids_are_refused_by_their_number(live: Server) -> None:
    refused = live.embed([1037] * 1_000_000, {"X-Token-Encoding": "model"}).error(400, "context_length_exceeded")
    assert refused["metadata"]["tokens"] == 1_000_002
    assert live.embed([264] * 1_000_000, truncate=True).tokens() == 256  # " a" in cl100k_base


def test_17_ragged_lists_are_as_many_inputs(live: Server) -> None:
    ragged = [[1] * size for size in range(1, 20)]
    assert live.embed(ragged).vectors().shape == (19, 384)


@pytest.mark.parametrize("value", ["", "BASE64", "Float", "json", 0, [], {}])
def test_18_encoding_formats(live: Server, value: object) -> None:
    live.embed("a", encoding_format=value).error(400, "invalid_request")
    assert live.embed("a", encoding_format=None).vectors().shape == (1, 384)


@pytest.mark.parametrize("value", [0, -1, 10**9, "384", "", [384], True])
def test_18_dimensions(live: Server, value: object) -> None:
    live.embed("a", dimensions=value).error(400, "invalid_request")


def test_18_a_wrong_value_is_repeated_in_part_only(live: Server) -> None:
    told = live.embed("a", encoding_format="x" * 5000).error(400, "invalid_request")
    assert told["metadata"]["field"] == "encoding_format"
    assert 40 < len(told["message"]) < 150
