"""Abuse of HTTP itself. The numbers are those of the attack list: one test a line of it at least."""

import time
from pathlib import Path

import pytest

from embedrouter.settings import Settings
from server import EMBEDDINGS, KEY, MODEL, PATIENCE, Answer, Server, answers, eventually, read_all, shared

_BODY = b'{"model":"%s","input":"hello"}' % MODEL.encode()
_CHUNKED = b"%x\r\n%s\r\n0\r\n\r\n" % (len(_BODY), _BODY)
_SMUGGLED = b"GET /health HTTP/1.1\r\nHost: test\r\nConnection: close\r\n\r\n"
_HEALTH = b"GET /health HTTP/1.1\r\nHost: test\r\n"


def _is_alive(server: Server) -> None:
    assert server.embed("hello").status == 200


@pytest.fixture(scope="module")
def impatient() -> Server:
    """A server that closes a connection after 3 s without a request."""
    return shared(idle_timeout_s=3)


def test_01_slow_headers_are_closed_and_others_are_served(impatient: Server) -> None:
    """A byte a second, for ever: the server closes, and meanwhile nobody else waits."""
    with impatient.connect() as connection:
        connection.sendall(b"GET /health HT")
        connection.settimeout(1)
        received = None
        deadline = time.monotonic() + PATIENCE
        while received is None and time.monotonic() < deadline:
            try:
                received = connection.recv(1000)
            except TimeoutError:
                _is_alive(impatient)
                connection.sendall(b"T")
            except ConnectionResetError:
                received = b""
    assert received is not None, "still open"
    assert received == b"" or b" 408 " in received


def test_an_idle_connection_is_closed_when_its_time_is_over(impatient: Server) -> None:
    with impatient.connect() as connection:
        connection.settimeout(PATIENCE)
        asked = time.monotonic()
        connection.sendall(_HEALTH + b"\r\n")
        assert connection.recv(1000).startswith(b"HTTP/1.1 200")
        while connection.recv(1000):
            pass
        assert time.monotonic() - asked > 2.9


def test_a_connection_is_kept_longer_than_clients_keep_it(tmp_path: Path) -> None:
    """aiohttp's 15 s are the longest of the usual clients' own; the attack list wants slow headers closed within 30."""
    assert 20 <= Settings(data_dir=tmp_path).idle_timeout_s < 30


def test_02_many_idle_connections_leave_room(live: Server) -> None:
    connections = [live.connect() for _ in range(1000)]
    try:
        _is_alive(live)
        assert live.get("/ready").status == 200
    finally:
        for connection in connections:
            connection.close()
    _is_alive(live)


@pytest.mark.parametrize(
    "headers",
    [
        b"X-A: " + b"a" * 200_000 + b"\r\n",
        b"".join(b"X-%d: a\r\n" % number for number in range(1000)),
        b"a" * 200_000 + b": x\r\n",
        b"".join(b"X-%d: %s\r\n" % (number, b"a" * 5000) for number in range(90)),
    ],
    ids=["one long", "many", "long name", "many long"],
)
def test_03_headers_beyond_bounds_are_refused(live: Server, headers: bytes) -> None:
    found = live.raw(_HEALTH + headers + b"Connection: close\r\n\r\n")
    assert all(answer.status in (400, 431) for answer in found)
    _is_alive(live)


def test_03_headers_within_bounds_are_taken(live: Server) -> None:
    headers = b"".join(b"X-%d: %s\r\n" % (number, b"a" * 400) for number in range(80))
    (answer,) = live.raw(_HEALTH + headers + b"Connection: close\r\n\r\n")
    assert answer.status == 200


@pytest.mark.parametrize("target", [b"/" + b"a" * 70_000, b"/api/v1/models?q=" + b"a" * 70_000])
def test_03_a_target_beyond_bounds_is_refused(live: Server, target: bytes) -> None:
    (answer,) = live.raw(b"GET %s HTTP/1.1\r\nHost: test\r\nConnection: close\r\n\r\n" % target)
    assert answer.status in (400, 414, 431)


@pytest.mark.parametrize(
    "framing",
    [
        f"Content-Length: {len(_BODY)}\r\nContent-Length: 5",
        f"Content-Length: 5\r\nContent-Length: {len(_BODY)}",
        f"Content-Length: {len(_BODY)}, 5",
        f"Content-Length: +{len(_BODY)}",
        f"Content-Length: -{len(_BODY)}",
        f"Content-Length: 0x{len(_BODY):x}",
        "Content-Length: 99999999999999999999999",
        "Content-Length: ",
        "Transfer-Encoding: xchunked",
        "Transfer-Encoding: chunked, identity",
        "Transfer-Encoding: chunked\r\nTransfer-Encoding: identity",
        "Transfer-Encoding : chunked",
        "Transfer-Encoding: \x0bchunked",
        f"X-A: a\r\n b\r\nContent-Length: {len(_BODY)}",
        f"X-A: a\0b\r\nContent-Length: {len(_BODY)}",
        f"X-A: a\rb\r\nContent-Length: {len(_BODY)}",
        f"X A: a\r\nContent-Length: {len(_BODY)}",
        f": a\r\nContent-Length: {len(_BODY)}",
    ],
)
def test_04_ambiguous_framing_is_refused_and_closed(live: Server, framing: str) -> None:
    """Nothing after such a head may be read as a request of its own: that is how requests are smuggled."""
    found = live.raw(live.head(framing) + _BODY + _SMUGGLED)
    assert [answer.status for answer in found] in ([400], [413])
    assert b"ok" not in found[0].body


@pytest.mark.parametrize(
    "framing",
    [
        f"Content-Length: {len(_BODY)}\r\nTransfer-Encoding: chunked",
        "Transfer-Encoding: chunked\r\nContent-Length: 4",
    ],
)
def test_04_length_beside_chunks_ends_the_connection(live: Server, framing: str) -> None:
    """RFC 9112 6.1: chunks win, and the connection closes, so that nothing can follow."""
    found = live.raw(live.head(framing) + _CHUNKED + _SMUGGLED)
    assert len(found) == 1
    assert found[0].status == 400 or found[0].vectors().shape == (1, 384)
    assert found[0].headers["connection"] == "close"


@pytest.mark.parametrize("chunks", [b"5;" + b"a" * 100_000 + b"\r\n", b"0\r\n" + b"X-A: a\r\n" * 100_000 + b"\r\n"])
def test_04_chunk_extensions_and_trailers_are_bounded(live: Server, chunks: bytes) -> None:
    found = live.raw(live.head("Transfer-Encoding: chunked", "Connection: close") + chunks)
    assert all(400 <= answer.status < 500 for answer in found)
    _is_alive(live)


@pytest.mark.parametrize("name", ["X-Title", "HTTP-Referer", "User-Agent", "X-Request-Id", "X-Token-Encoding"])
def test_05_header_values_never_reach_the_log_raw(small: Server, name: str) -> None:
    """Line breaks cannot be sent in a header; escapes of a terminal can."""
    value = f"\x1b[31mforged-{name} %0d%0a status=200"
    assert small.embed("hello", {name: value}).status in (200, 400)
    log = small.output()
    assert "embeddings" in log, "the access log is off: this test proves nothing"
    assert "\x1b" not in log
    assert f"forged-{name}" not in log


def test_06_the_host_header_is_used_for_nothing(live: Server) -> None:
    for path in (
        "/api/v1/models?limit=1&offset=0",
        "/docs",
        "/openapi.json",
        "/docs/quickstart",
        "/docs/api.md",
        "/llms.txt",
        "/nope",
    ):
        headers = {"Host": "evil.example", "X-Forwarded-Host": "evil.example", "X-Forwarded-Proto": "evil"}
        answer = live.request("GET", path, headers=headers)
        assert b"evil" not in answer.body
        assert "evil" not in str(answer.headers)


def test_07_a_body_over_the_limit_is_refused_before_it_is_held(live: Server) -> None:
    held = live.forget_peak()
    (answer,) = live.raw(live.head(f"Content-Length: {1 << 40}"))
    answer.error(413, "payload_too_large")
    with live.connect() as connection:
        connection.sendall(live.head("Transfer-Encoding: chunked"))
        chunk = b"100000\r\n" + b" " * (1 << 20) + b"\r\n"
        sent = 0
        try:
            while sent < 200:
                connection.sendall(chunk)
                sent += 1
        except OSError:
            pass
        answers(read_all(connection))[0].error(413, "payload_too_large")
    assert sent < 100, "it read far beyond its limit"
    assert live.peak_mib() < held + 100


def test_09_a_client_that_leaves_at_any_point_leaves_nothing_behind(live: Server) -> None:
    whole = live.head(f"Content-Length: {len(_BODY)}") + _BODY
    for cut in range(0, len(whole) + 1, 16):
        with live.connect() as connection:
            connection.sendall(whole[:cut])
    eventually(lambda: live.metrics()["embedrouter_requests_in_flight"] == 0)
    eventually(lambda: live.queued_tokens() == 0)
    _is_alive(live)


def test_10_http_1_0_is_answered_and_closed(live: Server) -> None:
    (answer,) = live.raw(live.head(f"Content-Length: {len(_BODY)}").replace(b"HTTP/1.1", b"HTTP/1.0") + _BODY)
    assert answer.vectors().shape == (1, 384)


def test_10_pipelined_requests_are_answered_in_order(live: Server) -> None:
    health = _HEALTH + b"\r\n"
    embed = live.head(f"Content-Length: {len(_BODY)}") + _BODY
    found = live.raw(health + embed + health + embed + _SMUGGLED)
    assert [answer.status for answer in found] == [200] * 5
    assert [b'"status"' in answer.body for answer in found] == [True, False, True, False, True]


def test_10_expect_continue_is_only_continued_for_who_may_send(live: Server) -> None:
    lines = ("Expect: 100-continue", "Connection: close")
    with live.connect() as connection:
        connection.sendall(live.head(f"Content-Length: {len(_BODY)}", *lines))
        assert connection.recv(1000).startswith(b"HTTP/1.1 100")
        connection.sendall(_BODY)
        assert answers(read_all(connection))[0].vectors().shape == (1, 384)
    with live.connect() as connection:
        head = live.head(f"Content-Length: {len(_BODY)}", *lines)
        connection.sendall(head.replace(KEY.encode(), b"wrong"))
        assert connection.recv(1000).startswith(b"HTTP/1.1 401")
    with live.connect() as connection:
        connection.sendall(live.head("Content-Length: 999999999", *lines))
        assert connection.recv(1000).startswith(b"HTTP/1.1 413")


@pytest.mark.parametrize("method", ["HEAD", "OPTIONS", "TRACE", "CONNECT", "PROPFIND"])
@pytest.mark.parametrize("path", [EMBEDDINGS, "/api/v1/models", "/health", "/metrics"])
def test_10_other_methods_run_nothing_and_echo_nothing(live: Server, method: str, path: str) -> None:
    before = live.metrics()["embedrouter_inputs_total"]
    request = f"{method} {path} HTTP/1.1\r\nHost: test\r\nX-Secret: canary\r\nConnection: close\r\n\r\n"
    stream = b""
    with live.connect() as connection:
        connection.sendall(request.encode())
        stream = read_all(connection)
    assert int(stream.split(b" ")[1]) in (200, 204, 404, 405)
    assert b"canary" not in stream
    if method == "HEAD":
        assert stream.endswith(b"\r\n\r\n"), "HEAD has no body"
    assert live.metrics()["embedrouter_inputs_total"] == before


@pytest.mark.parametrize(
    "data",
    [
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + b"\0" * 500,
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        b"GET /health\r\n\r\n",
        b"GET /health HTTP/9.9\r\n\r\n",
        b"\0" * 10_000,
        b"\r\n" * 100_000,
        b"GET http://user:pass@evil/health HTTP/1.1\r\nHost: test\r\nConnection: close\r\n\r\n",
    ],
    ids=["TLS", "HTTP/2", "HTTP/0.9", "HTTP/9.9", "NUL", "blank lines", "absolute"],
)
def test_10_other_protocols_do_no_harm(live: Server, data: bytes) -> None:
    with live.connect() as connection:
        connection.settimeout(PATIENCE)
        try:
            connection.sendall(data)
            connection.shutdown(1)
        except OSError:
            pass
        stream = read_all(connection)
    assert stream == b"" or stream.startswith(b"HTTP/1.")
    _is_alive(live)


def test_48_the_server_listens_on_loopback_only(live: Server) -> None:
    """Its address as the kernel has it: 127.0.0.1 is 0100007F."""
    rows = [line.split() for line in Path("/proc/net/tcp").read_text(encoding="ascii").splitlines()[1:]]
    bound = {row[1].split(":")[0] for row in rows if row[3] == "0A" and int(row[1].split(":")[1], 16) == live.port}
    assert bound == {"0100007F"}


def test_answers_are_not_sniffed_into_something_else(live: Server) -> None:
    """A JSON answer that repeats a caller's text is JSON to every browser."""
    answer: Answer = live.embed("a", model="<script>alert(1)</script>")
    assert answer.headers["content-type"] == "application/json"
