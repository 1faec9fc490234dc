"""Providers as a way into our own network, or as a way to hurt us. The numbers are those of the attack list."""

import asyncio
import socket
import time
from collections.abc import Iterator

import pytest
from aiohttp.abc import AbstractResolver, ResolveResult

from embedrouter.providers.hops import loop, passed_on
from embedrouter.providers.transport import HttpAnswer, Transport
from embedrouter.providers.wire import UpstreamError, WireRequest
from server import PATIENCE
from upstream import METADATA, Upstream, bomb

_UNREACHABLE = "3ffe::1"  # public by its number, and given back to nobody: no host has it


class _Zone(AbstractResolver):
    """A name server of an attacker: its n-th answer is the n-th of the list, and the last for ever."""

    def __init__(self, *answers: list[str]) -> None:
        self.answers = answers
        self.asked: list[str] = []

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_UNSPEC
    ) -> list[ResolveResult]:
        addresses = self.answers[min(len(self.asked), len(self.answers) - 1)]
        self.asked.append(host)
        return [ResolveResult(hostname=host, host=one, port=port, family=family, proto=0, flags=0) for one in addresses]

    async def close(self) -> None:
        pass


@pytest.fixture(scope="module")
def inside() -> Iterator[Upstream]:
    """A server in our own network."""
    with Upstream() as upstream:
        yield upstream


def _sent(
    *urls: str, allow_private: bool = False, resolver: AbstractResolver | None = None, timeout: float = PATIENCE
) -> list[HttpAnswer | UpstreamError]:
    """One after the other, by one transport."""

    async def main() -> list[HttpAnswer | UpstreamError]:
        transport = Transport(resolver=resolver)
        found: list[HttpAnswer | UpstreamError] = []
        for url in urls:
            request = WireRequest("POST", url, {"Authorization": "Bearer sk-a"}, b'{"input":"a"}')
            try:
                found.append(await transport.send(request, timeout=timeout, allow_private=allow_private))
            except UpstreamError as error:
                found.append(error)
        await transport.close()
        return found

    return asyncio.run(main())


def _failures(found: list[HttpAnswer | UpstreamError]) -> list[str]:
    assert all(isinstance(one, UpstreamError) for one in found), found
    return [one.failure for one in found if isinstance(one, UpstreamError)]


@pytest.mark.parametrize(
    "host",
    [
        "127.0.0.1",
        "127.1",
        "127.0.0.1.",
        "2130706433",
        "0x7f000001",
        "0x7f.1",
        "017700000001",
        "0177.0.0.1",
        "①②⑦.⓪.⓪.①",
        "127。0。0。1",
        "0.0.0.0",
        "0",
        "[::1]",
        "[::]",
        "[::ffff:127.0.0.1]",
        "[::ffff:7f00:1]",
        "[0:0:0:0:0:ffff:127.0.0.1]",
        "[64:ff9b::7f00:1]",
        "[::127.0.0.1]",
        "[::1%25lo]",
        "[::1%lo]",
        "localhost",
        "public.example@127.0.0.1",
        "public.example%2f@127.0.0.1",
        "public.example\\@127.0.0.1",
        "public.example#@127.0.0.1",
        "127.0.0.1#.public.example",
        "127.0.0.1%2f.public.example",
        "127.0.0.1\t",
        "127.0.0.1\r\nHost: a",
    ],
)
def test_32_no_spelling_of_this_machine_is_connected_to(inside: Upstream, host: str) -> None:
    """Literal, short, decimal, hex, octal, full width, mapped, with a zone, with tricks of @, # and backslash."""
    before = inside.accepted
    urls = [f"{scheme}://{host}:{inside.port}/v1" for scheme in ("https", "http")]
    assert _failures(_sent(*urls)) == ["refused", "refused"]
    assert inside.accepted == before


@pytest.mark.parametrize(
    "host",
    ["169.254.169.254", "[fd00:ec2::254]", "100.100.100.200", "168.63.129.16", "[::ffff:a9fe:a9fe]", "0xa9fea9fe"],
)
def test_32_a_clouds_metadata_is_refused_even_where_private_hosts_are_allowed(host: str) -> None:
    for allowed in (False, True):
        assert _failures(_sent(f"http://{host}/latest/meta-data/", allow_private=allowed)) == ["refused"]


@pytest.mark.parametrize("url", ["file:///etc/passwd", "ftp://a.example/", "gopher://a.example/", "unix:///run/a.sock"])
def test_32_only_http_is_spoken(url: str) -> None:
    for allowed in (False, True):
        assert _failures(_sent(url, allow_private=allowed)) == ["refused"]


@pytest.mark.parametrize(
    "addresses",
    [["127.0.0.1"], ["10.0.0.1"], ["169.254.169.254"], ["::1"], [_UNREACHABLE, "127.0.0.1"], ["::ffff:127.0.0.1"]],
)
def test_32_a_name_that_leads_inside_is_refused(inside: Upstream, addresses: list[str]) -> None:
    """Also where only one of its addresses does."""
    before = inside.accepted
    (found,) = _sent(f"https://metadata.google.internal:{inside.port}/v1", resolver=_Zone(addresses))
    assert isinstance(found, UpstreamError)
    assert found.failure == "refused"
    assert "metadata.google.internal" in found.message
    assert "administrator" in found.message
    assert not any(address in found.message for address in addresses)
    assert inside.accepted == before


def test_32_a_name_that_changes_its_address_is_judged_by_the_one_connected_to(inside: Upstream) -> None:
    """DNS rebinding: public when it is judged, ours when it is asked again. It is not asked between the two."""
    before = inside.accepted
    zone = _Zone([_UNREACHABLE], ["127.0.0.1"])
    (found,) = _sent(f"https://rebind.example:{inside.port}/v1", resolver=zone, timeout=0.5)
    assert isinstance(found, UpstreamError)
    assert found.failure in {"server", "timeout"}  # of the first address, which nobody has
    assert zone.asked == ["rebind.example"]
    assert inside.accepted == before


def test_32_a_name_that_changed_is_judged_anew(inside: Upstream) -> None:
    before = inside.accepted
    zone = _Zone([_UNREACHABLE], ["127.0.0.1"])
    urls = [f"https://rebind.example:{port}/v1" for port in (inside.port + 1, inside.port)]
    first, second = _failures(_sent(*urls, resolver=zone, timeout=0.5))
    assert first in {"server", "timeout"}
    assert second == "refused"
    assert len(zone.asked) == 2
    assert inside.accepted == before


def test_32_what_was_judged_is_connected_to_whatever_the_name_says_next(inside: Upstream) -> None:
    """The other way round, where the first address is the allowed one: the call arrives, by one lookup."""
    zone = _Zone(["127.0.0.1"], ["169.254.169.254"])
    url = f"http://rebind.example:{inside.port}/v1/embeddings"
    found = _sent(url, url, resolver=zone, allow_private=True)
    assert [one.status for one in found if isinstance(one, HttpAnswer)] == [200, 200]
    assert len(zone.asked) == 1
    assert inside.seen[-1].headers["host"] == f"rebind.example:{inside.port}"


def test_32_a_redirect_leads_nowhere(inside: Upstream) -> None:
    """To the metadata address, and to another server of ours: neither is asked."""
    with Upstream() as other:
        for target in (METADATA, f"{other.url}/embeddings"):
            inside.policy = f"redirect:{target}"
            (found,) = _sent(f"{inside.url}/embeddings", allow_private=True)
            assert isinstance(found, HttpAnswer)
            assert found.status == 302
        assert other.accepted == 0
    inside.policy = "ok"


def test_32_a_provider_that_is_ourselves_is_seen_by_the_hop_header() -> None:
    assert loop(passed_on(None, "us"), "us") is not None
    assert loop(passed_on(passed_on(None, "us"), "them"), "us") is not None
    assert loop(passed_on(None, "us"), "them") is None


@pytest.mark.parametrize(
    ("behaviour", "failure"),
    [
        ("endless", "invalid_answer"),
        ("endless_chunked", "invalid_answer"),
        ("gzip_bomb", "invalid_answer"),
        ("bad_gzip", "invalid_answer"),
        ("huge_header", "invalid_answer"),
        ("many_headers", "invalid_answer"),
        ("garbage", "invalid_answer"),
        ("half", "server"),
        ("reset", "server"),
        ("drip:0.05", "timeout"),
        ("silent", "timeout"),
    ],
)
def test_33_an_answer_that_would_hurt_us_is_a_failure(inside: Upstream, behaviour: str, failure: str) -> None:
    """Endless, ten GiB in a bomb, headers without an end, a byte at a time; the next call is served as ever."""
    bomb()
    inside.policy = behaviour
    started = time.monotonic()
    seconds = 1.0 if failure == "timeout" else PATIENCE
    assert _failures(_sent(f"{inside.url}/embeddings", allow_private=True, timeout=seconds)) == [failure]
    assert time.monotonic() - started < 10
    inside.policy = "ok"
    (found,) = _sent(f"{inside.url}/embeddings", allow_private=True)
    assert isinstance(found, HttpAnswer)
    assert found.status == 200
