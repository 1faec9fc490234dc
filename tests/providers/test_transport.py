import asyncio
import datetime as dt
import ipaddress
import json
import socket
import ssl
import time
import tracemalloc
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import TypeVar

import numpy as np
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from embedrouter.providers.transport import HttpAnswer, Transport
from embedrouter.providers.wire import UpstreamError, WireRequest
from server import PATIENCE, eventually, free_port, read_all
from upstream import METADATA, Upstream, bomb, vector_of

_SECRET = "sk-very-secret"
_MIB = 1024 * 1024
T = TypeVar("T")


@pytest.fixture(scope="module")
def running() -> Iterator[Upstream]:
    with Upstream() as upstream:
        yield upstream


@pytest.fixture
def upstream(running: Upstream) -> Upstream:
    """As new."""
    running.hang_up()
    eventually(lambda: running.connections == 0)
    running.policy, running.seen, running.accepted, running.sent = "ok", [], 0, 0
    return running


def _request(url: str, body: bytes = b'{"model":"m","input":["one","two words"]}') -> WireRequest:
    headers = {"Content-Type": "application/json", "Authorization": f"Bearer {_SECRET}"}
    return WireRequest("POST", f"{url}/embeddings", headers, body)


def _with(work: Callable[[Transport], Awaitable[T]], transport: Callable[[], Transport] = Transport) -> T:
    async def main() -> T:
        made = transport()
        try:
            return await work(made)
        finally:
            await made.close()

    return asyncio.run(main())


def _sent(upstream: Upstream, *, timeout: float = PATIENCE, limit: int | None = None) -> HttpAnswer:
    request = _request(upstream.url)
    return _with(lambda transport: transport.send(request, timeout=timeout, allow_private=True, limit=limit))


def _failure(upstream: Upstream, *, timeout: float = PATIENCE, limit: int | None = None) -> UpstreamError:
    """What it fails with, which tells neither the credential nor where the provider is."""
    with pytest.raises(UpstreamError) as caught:
        _sent(upstream, timeout=timeout, limit=limit)
    told = f"{caught.value} {caught.value!r} {caught.value.__cause__!r}"
    assert _SECRET not in told
    assert "127.0.0.1" not in told
    return caught.value


def test_what_is_built_is_sent_and_what_comes_is_given_whole(upstream: Upstream) -> None:
    answer = _sent(upstream)
    assert answer.status == 200
    assert answer.headers["content-type"] == "application/json"
    vectors = [one["embedding"] for one in json.loads(answer.body)["data"]]
    assert np.array_equal(np.array(vectors, np.float32), [vector_of("one", 384), vector_of("two words", 384)])
    (seen,) = upstream.seen
    assert (seen.path, seen.key, seen.asked["model"]) == ("/v1/embeddings", _SECRET, "m")
    assert seen.headers["accept-encoding"] == "gzip, deflate"


def test_a_compressed_answer_is_unpacked(upstream: Upstream) -> None:
    plain = _sent(upstream).body
    upstream.policy = "gzip"
    assert _sent(upstream).body == plain


@pytest.mark.parametrize(
    ("behaviour", "status", "headers"),
    [
        ("429:7", 429, {"retry-after": "7"}),
        ("500", 500, {}),
        ("503", 503, {}),
        ("401", 401, {}),
        ("redirect", 302, {"location": METADATA}),
        ("html", 200, {"content-type": "text/html"}),
        ("empty", 200, {}),
    ],
)
def test_every_status_is_given_as_it_came_and_no_redirect_is_followed(
    upstream: Upstream, behaviour: str, status: int, headers: dict[str, str]
) -> None:
    upstream.policy = behaviour
    answer = _sent(upstream)
    assert answer.status == status
    assert headers.items() <= answer.headers.items()
    assert upstream.requests == 1


@pytest.mark.parametrize(
    ("behaviour", "failure"),
    [
        ("reset", "server"),
        ("close", "server"),
        ("half", "server"),
        ("half_chunked", "server"),
        ("garbage", "invalid_answer"),
        ("bad_gzip", "invalid_answer"),
        ("gzip_bomb", "invalid_answer"),
        ("endless", "invalid_answer"),
        ("endless_chunked", "invalid_answer"),
        ("huge_header", "invalid_answer"),
        ("many_headers", "invalid_answer"),
    ],
)
def test_a_fault_of_the_connection_is_named_at_once(upstream: Upstream, behaviour: str, failure: str) -> None:
    upstream.policy = behaviour
    bomb()  # made before the time is taken
    started = time.monotonic()
    assert _failure(upstream).failure == failure
    assert time.monotonic() - started < 10
    assert upstream.requests == 1, "a new connection that fails is not asked again"
    eventually(lambda: upstream.connections == 0)


@pytest.mark.parametrize("behaviour", ["silent", "drip:0.05", "slow:30"])
def test_who_takes_too_long_is_left(upstream: Upstream, behaviour: str) -> None:
    upstream.policy = behaviour
    started = time.monotonic()
    error = _failure(upstream, timeout=0.3)
    assert time.monotonic() - started < 5
    assert (error.failure, error.message) == ("timeout", "The provider did not answer within 0.3 s.")
    eventually(lambda: upstream.connections == 0)


def test_an_answer_may_be_as_large_as_the_limit_and_no_larger(upstream: Upstream) -> None:
    size = len(_sent(upstream).body)
    assert len(_sent(upstream, limit=size).body) == size
    for upstream.policy in ("ok", "gzip"):
        error = _failure(upstream, limit=size - 1)
        assert error.failure == "invalid_answer"
        assert f"{size - 1:,} bytes" in error.message


@pytest.mark.parametrize("behaviour", ["gzip_bomb", "endless", "endless_chunked"])
def test_an_answer_without_an_end_takes_little_memory(upstream: Upstream, behaviour: str) -> None:
    """The bomb's ten MiB, of which this process is the sender, too, unpack to ten GiB."""
    upstream.policy = behaviour
    bomb()
    tracemalloc.start()
    try:
        assert _failure(upstream, limit=_MIB).failure == "invalid_answer"
        assert tracemalloc.get_traced_memory()[1] < 40 * _MIB
    finally:
        tracemalloc.stop()
    assert upstream.sent < 40 * _MIB


def test_calls_one_after_the_other_share_a_connection(upstream: Upstream) -> None:
    async def work(transport: Transport) -> None:
        for _ in range(20):
            await transport.send(_request(upstream.url), timeout=PATIENCE, allow_private=True)

    _with(work)
    assert (upstream.requests, upstream.accepted) == (20, 1)


def _two_calls(upstream: Upstream) -> HttpAnswer:
    """The second one's answer."""

    async def work(transport: Transport) -> HttpAnswer:
        await transport.send(_request(upstream.url), timeout=PATIENCE, allow_private=True)
        return await transport.send(_request(upstream.url), timeout=PATIENCE, allow_private=True)

    return _with(work)


@pytest.mark.parametrize("fault", ["close", "reset"])
def test_a_kept_connection_that_the_server_closes_is_made_up_for_once(upstream: Upstream, fault: str) -> None:
    upstream.policy = lambda number: ("ok", fault, "ok")[number]
    assert _two_calls(upstream).status == 200
    assert (upstream.requests, upstream.accepted) == (3, 2)


@pytest.mark.parametrize(("fault", "requests"), [("close", 3), ("half", 2), ("garbage", 2)])
def test_a_call_is_repeated_no_more_than_that(upstream: Upstream, fault: str, requests: int) -> None:
    upstream.policy = lambda number: "ok" if number == 0 else fault
    with pytest.raises(UpstreamError):
        _two_calls(upstream)
    assert upstream.requests == requests


def test_the_repeated_call_gets_a_connection_of_its_own(upstream: Upstream) -> None:
    """The others of the pool were left by the same server at the same time."""
    upstream.policy = lambda number: ("slow:0.3", "slow:0.3", "close", "ok")[number]

    async def work(transport: Transport) -> HttpAnswer:
        request = _request(upstream.url)
        calls = [transport.send(request, timeout=PATIENCE, allow_private=True) for _ in range(2)]
        await asyncio.gather(*calls)
        assert upstream.accepted == 2
        return await transport.send(request, timeout=PATIENCE, allow_private=True)

    assert _with(work).status == 200
    assert (upstream.requests, upstream.accepted) == (4, 3)


def test_the_repeated_call_has_only_the_time_that_is_left(upstream: Upstream) -> None:
    def policy(number: int) -> str:
        if number == 1:
            time.sleep(1.5)
        return ("ok", "close", "silent")[number]

    upstream.policy = policy

    async def work(transport: Transport) -> tuple[UpstreamError, float]:
        await transport.send(_request(upstream.url), timeout=PATIENCE, allow_private=True)
        started = time.monotonic()
        with pytest.raises(UpstreamError) as caught:
            await transport.send(_request(upstream.url), timeout=1.8, allow_private=True)
        return caught.value, time.monotonic() - started

    error, seconds = _with(work)
    assert (error.failure, error.message) == ("timeout", "The provider did not answer within 1.8 s.")
    assert seconds < 3.2


def test_an_answer_that_came_whole_but_too_large_costs_no_other_call_its_connection(upstream: Upstream) -> None:
    async def work(transport: Transport) -> None:
        request = _request(upstream.url)
        with pytest.raises(UpstreamError, match="larger than 9 bytes"):
            await transport.send(request, timeout=PATIENCE, allow_private=True, limit=9)
        await transport.send(request, timeout=PATIENCE, allow_private=True)

    _with(work)
    assert (upstream.requests, upstream.accepted) == (2, 1)


def test_a_provider_that_was_down_is_reached_again(upstream: Upstream) -> None:
    async def work(transport: Transport) -> None:
        request = _request(upstream.url)
        await transport.send(request, timeout=PATIENCE, allow_private=True)
        await asyncio.to_thread(upstream.stop)
        with pytest.raises(UpstreamError, match="cannot be reached") as caught:
            await transport.send(request, timeout=PATIENCE, allow_private=True)
        assert caught.value.failure == "server"
        await asyncio.to_thread(upstream.start)
        assert (await transport.send(request, timeout=PATIENCE, allow_private=True)).status == 200

    _with(work)


def test_a_cancelled_call_closes_its_connection(upstream: Upstream) -> None:
    upstream.policy = "silent"

    async def work(transport: Transport) -> None:
        call = asyncio.create_task(transport.send(_request(upstream.url), timeout=PATIENCE, allow_private=True))
        await asyncio.to_thread(eventually, lambda: upstream.requests == 1)
        call.cancel()
        with pytest.raises(asyncio.CancelledError):
            await call
        await asyncio.to_thread(eventually, lambda: upstream.connections == 0)

    _with(work)


def test_a_peer_that_never_reads_is_not_waited_for() -> None:
    """What it was still to be sent is dropped with the connection, not kept for it."""
    size = 64 * _MIB
    with socket.create_server(("127.0.0.1", 0)) as listener:
        url = f"http://127.0.0.1:{listener.getsockname()[1]}/v1"

        async def work(transport: Transport) -> None:
            call = asyncio.create_task(transport.send(_request(url, bytes(size)), timeout=0.5, allow_private=True))
            connection, _ = await asyncio.to_thread(listener.accept)
            with pytest.raises(UpstreamError) as caught:
                await call
            assert caught.value.failure == "timeout"
            with connection:
                connection.settimeout(PATIENCE)
                assert len(await asyncio.to_thread(read_all, connection)) < size

        _with(work)


def test_a_credential_cannot_add_a_header(upstream: Upstream) -> None:
    request = _request(upstream.url)
    request = request._replace(headers={**request.headers, "Authorization": f"Bearer {_SECRET}\r\nX-Evil: 1"})
    with pytest.raises(UpstreamError) as caught:
        _with(lambda transport: transport.send(request, timeout=PATIENCE, allow_private=True))
    assert caught.value.failure == "refused"
    assert _SECRET not in f"{caught.value!r} {caught.value.__cause__!r}"
    assert upstream.requests == 0


def test_cookies_are_not_kept(upstream: Upstream) -> None:
    upstream.policy = "cookie"
    request = _request(upstream.url.replace("127.0.0.1", "localhost"))  # no jar keeps those of an address

    async def work(transport: Transport) -> None:
        for _ in range(2):
            answer = await transport.send(request, timeout=PATIENCE, allow_private=True)
            assert "set-cookie" in answer.headers

    _with(work)
    assert [seen.headers.get("cookie") for seen in upstream.seen] == [None, None]


def test_a_proxy_in_the_environment_is_not_used(upstream: Upstream, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY"):
        monkeypatch.setenv(name, f"http://127.0.0.1:{free_port()}")
    monkeypatch.setenv("NO_PROXY", "")
    assert _sent(upstream).status == 200


def test_nothing_is_sent_after_the_end(upstream: Upstream) -> None:
    async def work(transport: Transport) -> None:
        await transport.close()
        await transport.send(_request(upstream.url), timeout=PATIENCE, allow_private=True)

    with pytest.raises(UpstreamError, match="stopping"):
        _with(work)


def _certificate(folder: Path, name: x509.GeneralName) -> Path:
    """A file with a self-signed certificate and its key."""
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "test")])
    now = dt.datetime.now(dt.UTC)
    certificate = (
        x509.CertificateBuilder(subject, subject, key.public_key(), x509.random_serial_number())
        .not_valid_before(now - dt.timedelta(days=1))
        .not_valid_after(now + dt.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([name]), critical=False)
        .sign(key, hashes.SHA256())
    )
    path = folder / "certificate.pem"
    pem, plain = serialization.Encoding.PEM, serialization.NoEncryption()
    path.write_bytes(certificate.public_bytes(pem) + key.private_bytes(pem, serialization.PrivateFormat.PKCS8, plain))
    return path


def _served_by(certificate: Path) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    return context


def test_a_certificate_is_checked_with_the_host_it_is_for(tmp_path: Path) -> None:
    right = _certificate(tmp_path, x509.IPAddress(ipaddress.ip_address("127.0.0.1")))
    with Upstream(tls=_served_by(right)) as upstream:
        request = _request(upstream.url)
        trusting = ssl.create_default_context(cafile=right)
        assert (
            _with(
                lambda transport: transport.send(request, timeout=PATIENCE, allow_private=True),
                lambda: Transport(context=trusting),
            ).status
            == 200
        )
        error = _failure(upstream)
        assert (error.failure, "certificate" in error.message) == ("server", True)
        assert upstream.requests == 1
    wrong = _certificate(tmp_path, x509.DNSName("elsewhere.example"))
    with Upstream(tls=_served_by(wrong)) as upstream:
        request = _request(upstream.url)
        trusting = ssl.create_default_context(cafile=wrong)
        with pytest.raises(UpstreamError, match="certificate"):
            _with(
                lambda transport: transport.send(request, timeout=PATIENCE, allow_private=True),
                lambda: Transport(context=trusting),
            )
        assert upstream.requests == 0
