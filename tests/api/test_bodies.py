"""The request's body: gzip, JSON as one decoder decides it, size and speed."""

import gzip
import json
import time
import zlib
from typing import Any

import numpy as np
import pytest

from server import MODEL, Server, answers, eventually, read_all

_BODY: dict[str, Any] = {"model": MODEL, "input": "hello world"}
_GZIP = {"Content-Encoding": "gzip"}
_MIB = 1_048_576


def _bytes(**fields: Any) -> bytes:
    return json.dumps({**_BODY, **fields}).encode()


def _text(template: str) -> bytes:
    return template.replace("MODEL", MODEL).encode()


def _chunked(*pieces: bytes) -> bytes:
    return b"".join(b"%x\r\n%s\r\n" % (len(piece), piece) for piece in pieces) + b"0\r\n\r\n"


# --- gzip


def test_gzip_is_unpacked(live: Server) -> None:
    answer = live.post(gzip.compress(_bytes(encoding_format="base64")), _GZIP)
    np.testing.assert_array_equal(answer.vectors(), live.post(_BODY).vectors())


@pytest.mark.parametrize("name", ["GZIP", " gzip ", "identity", ""])
def test_encodings_are_named_in_any_case(live: Server, name: str) -> None:
    body = gzip.compress(_bytes()) if "gzip" in name.lower() else _bytes()
    assert live.post(body, {"Content-Encoding": name}).tokens() == 4


def test_several_gzip_members_make_one_body(live: Server) -> None:
    body = _bytes()
    assert live.post(gzip.compress(body[:10]) + gzip.compress(body[10:]), _GZIP).tokens() == 4


def test_gzip_arrives_in_chunks_of_any_size(live: Server) -> None:
    packed = gzip.compress(_bytes())
    head = live.head("Content-Encoding: gzip", "Transfer-Encoding: chunked", "Connection: close")
    (answer,) = live.raw(head + _chunked(*(packed[i : i + 1] for i in range(len(packed)))))
    assert answer.tokens() == 4


@pytest.mark.parametrize("cut", [1, 8, 20])
def test_a_truncated_gzip_body_is_refused(live: Server, cut: int) -> None:
    live.post(gzip.compress(_bytes())[:-cut], _GZIP).error(400, "invalid_request")


@pytest.mark.parametrize(
    "body",
    [
        b"not gzip at all",
        zlib.compress(_bytes()),
        gzip.compress(_bytes()) + b"trailing",
        gzip.compress(_bytes())[:-8] + b"\0" * 8,
        gzip.compress(gzip.compress(_bytes())),
    ],
    ids=["plain", "deflate", "trailing", "wrong checksum", "nested"],
)
def test_what_is_not_one_gzip_of_json_is_refused(live: Server, body: bytes) -> None:
    live.post(body, _GZIP).error(400, "invalid_request")


@pytest.mark.parametrize("encoding", ["br", "deflate", "zstd", "gzip, gzip", "x" * 5000])
def test_other_content_encodings_are_refused_by_name(live: Server, encoding: str) -> None:
    refused = live.post(_bytes(), {"Content-Encoding": encoding}).error(400, "invalid_request")
    assert encoding[:40] in refused["message"]
    assert len(refused["message"]) < 200


def test_the_limit_counts_unpacked_bytes(small: Server) -> None:
    fits = gzip.compress(b" " * (_MIB - len(_bytes())) + _bytes())
    assert small.post(fits, _GZIP).tokens() == 4
    over = gzip.compress(b" " * (_MIB - len(_bytes()) + 1) + _bytes())
    assert len(over) < 5000
    assert "1 MiB" in small.post(over, _GZIP).error(413, "payload_too_large")["message"]


# --- JSON


@pytest.mark.parametrize(
    ("body", "tokens"),
    [
        ('{"model":"MODEL","input":"hello","input":"hello world"}', 4),
        ('{"model":"nope","input":"hello","model":"MODEL"}', 3),
        ('{"model":"MODEL","input":"a","x":1,"x":{"y":[]}}', 3),
        (' \r\n\t{ "model" : "MODEL" , "input" : [ "hello" , "a" ] }\n', 6),
        ('{"model":"MODEL","input":"\\ud83d\\ude00"}', 3),
        ('{"model":"MODEL","input":"\U0001f600"}', 3),
        ('{"\\u006dodel":"MODEL","input":"a"}', 3),
    ],
)
def test_valid_json_is_taken_and_the_last_of_equal_names_wins(live: Server, body: str, tokens: int) -> None:
    assert live.post(_text(body)).tokens() == tokens


def test_the_last_model_wins_also_when_it_is_the_wrong_one(live: Server) -> None:
    live.post(_text('{"model":"MODEL","input":"hello","model":"nope"}')).error(404, "not_found")


@pytest.mark.parametrize(
    "body",
    [
        "",
        "   ",
        "{",
        "[]",
        "null",
        '"x"',
        "1",
        '{"model":"MODEL","input":"a"} x',
        '{"model":"MODEL","input":"a"}{}',
        '{"model":"MODEL","input":"a",}',
        "{'model':'MODEL','input':'a'}",
        '{"model":"MODEL","input":"a" // comment\n}',
        '{"model":"MODEL","input":"a\nb"}',
        '{"model":"MODEL","input":"a","dimensions":NaN}',
        '{"model":"MODEL","input":"a","temperature":Infinity}',
        '{"model":"MODEL","input":"a","trace":{"x":-Infinity}}',
        '{"model":"MODEL","input":"a","x":NaN}',
        '{"model":"MODEL","input":"\\ud800"}',
        '{"model":"MODEL","input":"\\ud800\\ud800"}',
        '{"model":"MODEL","input":"\\udc00\\ud800"}',
        '{"model":"MODEL","input":"\\ud800x"}',
        '{"model":"\\udc00","input":"a"}',
        '{"model":"MODEL","input":"a","user":"\\udfff"}',
        '{"model":"MODEL","input":"\\u12"}',
        '{"model":"MODEL","input":"a","temperature":1e400}',
        "model=x&input=y",
    ],
)
def test_invalid_json_is_refused(live: Server, body: str) -> None:
    live.post(_text(body)).error(400, "invalid_request")


@pytest.mark.parametrize("text", [b"\xff", b"\xc3", b"\xed\xa0\x80", b"\xf4\x90\x80\x80", b"\xc0\xaf"])
def test_invalid_utf8_in_a_text_is_refused(live: Server, text: bytes) -> None:
    live.post(b'{"model":"%s","input":"%s"}' % (MODEL.encode(), text)).error(400, "invalid_request")


@pytest.mark.parametrize("encoding", ["utf-16", "utf-8-sig"])
def test_only_plain_utf8_is_taken(live: Server, encoding: str) -> None:
    live.post(json.dumps(_BODY).encode(encoding)).error(400, "invalid_request")


@pytest.mark.parametrize(
    "media_type", ["text/plain", "application/json; charset=utf-8", "application/octet-stream", "x"]
)
def test_the_content_type_does_not_matter(live: Server, media_type: str) -> None:
    """Many small clients send none or a wrong one; the body decides."""
    assert live.post(_bytes(), {"Content-Type": media_type}).tokens() == 4


@pytest.mark.parametrize("body", [{"preferred_max_latency": {"p51": 1}}, {"max_price": {"prompt": []}}, {"only": [1]}])
def test_a_nested_refusal_names_the_whole_path(live: Server, body: dict[str, Any]) -> None:
    refused = live.embed("a", provider=body).error(400, "invalid_request")
    assert refused["metadata"]["field"].startswith(f"provider.{next(iter(body))}")
    assert "`" not in refused["message"]
    assert "$" not in refused["message"]


# --- size


def test_a_declared_length_over_the_limit_is_refused_before_the_body(small: Server) -> None:
    (answer,) = small.raw(small.head(f"Content-Length: {_MIB + 1}"))
    refused = answer.error(413, "payload_too_large")
    assert refused["metadata"]["limit_bytes"] == _MIB


@pytest.mark.parametrize("length", [2**31, 2**63 - 1])
def test_absurd_lengths_are_refused(small: Server, length: int) -> None:
    (answer,) = small.raw(small.head(f"Content-Length: {length}"))
    answer.error(413, "payload_too_large")


def test_chunks_over_the_limit_are_refused_without_a_length(small: Server) -> None:
    pieces = [b"x" * 65_536] * 17
    (answer, *_) = small.raw(small.head("Transfer-Encoding: chunked", "Connection: close") + _chunked(*pieces))
    answer.error(413, "payload_too_large")


def test_a_body_of_exactly_the_limit_is_taken(small: Server) -> None:
    padding = b" " * (_MIB - len(_bytes()))
    assert small.post(padding + _bytes()).tokens() == 4
    small.post(padding + _bytes() + b" ").error(413, "payload_too_large")


def test_the_default_limit_is_32_mib(live: Server) -> None:
    (answer,) = live.raw(live.head(f"Content-Length: {32 * _MIB + 1}"))
    assert "32 MiB" in answer.error(413, "payload_too_large")["message"]
    padding = b" " * (11 * _MIB)  # more than a framework's own limit might be
    assert live.post(padding + _bytes()).tokens() == 4


# --- speed


def test_a_body_that_stops_coming_is_timed_out(small: Server) -> None:
    before = small.metrics()
    with small.connect() as connection:
        connection.sendall(small.head("Content-Length: 100") + b'{"model"')
        started = time.monotonic()
        (answer,) = answers(read_all(connection))
    assert time.monotonic() - started > 0.9
    assert "slow" in answer.error(408, "timeout")["message"]
    after = small.metrics()
    for series in ('embedrouter_requests_total{status="408"}', 'embedrouter_rejects_total{reason="timeout"}'):
        assert after[series] == before[series] + 1


def test_a_dripping_body_is_timed_out_however_steadily_it_drips(small: Server) -> None:
    with small.connect() as connection:
        connection.sendall(small.head("Content-Length: 1000"))
        gone: list[bool] = []

        def drip() -> bool:
            try:
                connection.sendall(b" ")
            except OSError:
                gone.append(True)
            return bool(gone)

        started = time.monotonic()
        eventually(drip, patience=20)
        assert time.monotonic() - started > 0.9
        answers(read_all(connection))[0].error(408, "timeout")


def test_a_body_that_comes_in_time_in_pieces_is_served(small: Server) -> None:
    body = _bytes()
    with small.connect() as connection:
        connection.sendall(small.head(f"Content-Length: {len(body)}", "Connection: close") + body[:5])
        time.sleep(0.2)
        connection.sendall(body[5:20])
        time.sleep(0.2)
        connection.sendall(body[20:])
        (answer,) = answers(read_all(connection))
    assert answer.tokens() == 4


@pytest.mark.parametrize("chunks", [b"zz\r\nabc\r\n0\r\n\r\n", b"ffffffffffffffffff\r\nabc", b"-1\r\nabc\r\n"])
def test_malformed_chunks_are_told_so(live: Server, chunks: bytes) -> None:
    """The client is still there: it gets an answer that its library can read."""
    (answer,) = live.raw(live.head("Transfer-Encoding: chunked", "Connection: close") + chunks)
    assert "ended before" in answer.error(400, "invalid_request")["message"]
