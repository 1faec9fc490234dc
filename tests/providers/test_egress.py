import asyncio
import ipaddress
import socket

import pytest
from aiohttp.abc import AbstractResolver, ResolveResult
from hypothesis import given
from hypothesis import strategies as st

from embedrouter.providers.egress import ForbiddenAddressError, Judge, Lookup, check_url, forbidden, gate
from embedrouter.providers.wire import UpstreamError

_PRIVATE = [
    "127.0.0.1",
    "127.255.255.254",
    "10.0.0.1",
    "172.16.0.1",
    "172.31.255.255",
    "192.168.1.1",
    "100.64.0.1",
    "100.127.255.255",
    "::1",
    "fc00::1",
    "fd12:3456::1",
    "fec0::1",
    "::ffff:127.0.0.1",
    "::ffff:10.0.0.1",
    "64:ff9b::10.0.0.1",
    "64:ff9b::127.0.0.1",
]
_NEVER = [
    "169.254.169.254",
    "169.254.0.1",
    "100.100.100.200",
    "168.63.129.16",
    "0.0.0.0",
    "0.1.2.3",
    "192.0.0.192",
    "192.0.2.1",
    "192.88.99.1",
    "198.18.0.1",
    "198.51.100.1",
    "203.0.113.1",
    "224.0.0.1",
    "239.255.255.255",
    "240.0.0.1",
    "255.255.255.255",
    "::",
    "::127.0.0.1",
    "::ffff:169.254.169.254",
    "::ffff:0:10.0.0.1",
    "64:ff9b::169.254.169.254",
    "64:ff9b:1::1",
    "100::1",
    "2001::1",
    "2001:0:a00:1::",
    "2001:2::1",
    "2001:10::1",
    "2001:db8::1",
    "2002:a00:1::",
    "2002:7f00:1::1",
    "3fff::1",
    "5f00::1",
    "fd00:ec2::254",
    "fd20:ce::254",
    "fe80::1",
    "ff02::1",
]
_PUBLIC = [
    "1.1.1.1",
    "9.255.255.255",
    "11.0.0.0",
    "100.63.255.255",
    "100.128.0.0",
    "172.15.255.255",
    "172.32.0.0",
    "193.0.0.1",
    "223.255.255.255",
    "2606:4700::1111",
    "2a00:1450::1",
    "::ffff:1.1.1.1",
    "64:ff9b::1.1.1.1",
]


@pytest.mark.parametrize("address", _PRIVATE)
def test_private_addresses_need_an_administrator(address: str) -> None:
    assert forbidden(ipaddress.ip_address(address)) is not None
    assert forbidden(ipaddress.ip_address(address), allow_private=True) is None


@pytest.mark.parametrize("address", _NEVER)
def test_what_is_no_providers_address_is_refused_to_everybody(address: str) -> None:
    assert forbidden(ipaddress.ip_address(address)) is not None
    assert forbidden(ipaddress.ip_address(address), allow_private=True) is not None


@pytest.mark.parametrize("address", _PUBLIC)
def test_public_addresses_are_free(address: str) -> None:
    assert forbidden(ipaddress.ip_address(address)) is None


@given(st.ip_addresses())
def test_what_python_calls_other_than_global_is_never_free(
    address: ipaddress.IPv4Address | ipaddress.IPv6Address,
) -> None:
    carried = getattr(address, "ipv4_mapped", None) or address
    if not carried.is_global or carried.is_multicast:
        reason = forbidden(address)
        assert reason is not None or address in ipaddress.ip_network("64:ff9b::/96")


@pytest.mark.parametrize(
    ("url", "host"),
    [
        ("https://api.example.com/v1", "api.example.com"),
        ("https://API.Example.com:8443/v1", "api.example.com"),
        ("https://bücher.example/v1", "xn--bcher-kva.example"),
        ("https://my_host-1.example./v1", "my_host-1.example."),
        ("https://1.1.1.1/v1/models/a@001:embed", "1.1.1.1"),
        ("https://[2606:4700::1111]:443/v1", "2606:4700::1111"),
        ("https://16843009/v1", "1.1.1.1"),
    ],
)
def test_public_urls_pass_with_their_host_in_one_form(url: str, host: str) -> None:
    assert check_url(url, allow_private=False).raw_host == host


@pytest.mark.parametrize(
    ("url", "host"),
    [
        ("http://localhost:11434/api", "localhost"),
        ("http://127.0.0.1:8080", "127.0.0.1"),
        ("http://127.1:8080", "127.0.0.1"),
        ("http://[::1]:8080", "::1"),
        ("https://10.0.0.5", "10.0.0.5"),
    ],
)
def test_an_administrator_may_allow_private_hosts(url: str, host: str) -> None:
    assert check_url(url, allow_private=True).raw_host == host
    with pytest.raises(UpstreamError):
        check_url(url, allow_private=False)


@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("http://api.example.com", "https://"),
        ("ftp://api.example.com", "https://"),
        ("file:///etc/passwd", "needs a host"),
        ("gopher://api.example.com", "https://"),
        ("unix:///run/docker.sock", "needs a host"),
        ("api.example.com", "needs a host"),
        ("https:///v1", "needs a host"),
        ("https:api.example.com", "needs a host"),
        ("", "needs a host"),
        ("https://user:secret@api.example.com", "user"),
        ("https://@api.example.com", "user"),
        ("https://api.example.com@127.0.0.1", "user"),
        ("https://api.example.com/v1#", "fragment"),
        ("https://api.example.com#@127.0.0.1", "fragment"),
        ("https://api.example.com\\@127.0.0.1", "backslash"),
        ("https://api.exam\nple.com", "control"),
        ("https://api.exam\tple.com", "control"),
        ("https://api.example.com/a b", "space"),
        ("https://api.example.com\x00", "control"),
        (" https://api.example.com", "space"),
        ("https://api.example.com:0", "port"),
        ("https://api.example.com:65536", "valid URL"),
        ("https://api.example.com:a", "valid URL"),
        ("https://[::1", "valid URL"),
        ("https://[127.0.0.1]", "valid URL"),
        ("https://[fe80::1%25eth0]", "IPv6"),
        ("https://[fe80::1%eth0]", "zone"),
        ("https://256.1.1.1", "IPv4"),
        ("https://1.2.3.4.5", "IPv4"),
        ("https://0x", "IPv4"),
        ("https://a..example.com", "host name"),
        ("https://.example.com", "host name"),
        ("https://-a.example.com", "host name"),
        ("https://a%2f.example.com", "host name"),
        ("https://" + "a" * 64 + ".example.com", "host name"),
        ("https://" + ".".join(["a" * 60] * 5) + ".example", "host name"),
    ],
)
def test_urls_that_are_not_plain_are_refused_with_what_is_wrong(url: str, said: str) -> None:
    with pytest.raises(UpstreamError) as caught:
        check_url(url, allow_private=False)
    assert caught.value.failure == "refused"
    assert said in caught.value.message
    assert "secret" not in caught.value.message


@st.composite
def _spellings(draw: st.DrawFn) -> str:
    """A forbidden IPv4 address as the C library would read it: octal, hex, with fewer parts, in full width."""
    parts = ipaddress.ip_address(draw(st.sampled_from([*_PRIVATE, *_NEVER]).filter(lambda one: ":" not in one))).packed
    count = draw(st.integers(1, 4))
    numbers = [*parts[: count - 1], int.from_bytes(parts[count - 1 :], "big")]
    written = ".".join(draw(st.sampled_from(["{}", "0{:o}", "0x{:x}", "0X{:X}", "00{:o}"])).format(n) for n in numbers)
    if draw(st.booleans()):
        written = written.translate({ord(one): ord(one) - ord("0") + ord("０") for one in "0123456789"})
    return written + draw(st.sampled_from(["", "."]))


@given(_spellings())
def test_no_spelling_of_a_forbidden_address_passes(host: str) -> None:
    with pytest.raises(UpstreamError):
        check_url(f"https://{host}/v1", allow_private=False)


class _Fixed(AbstractResolver):
    """A resolver whose zone is one list."""

    def __init__(self, *addresses: str) -> None:
        self.addresses = addresses

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_UNSPEC
    ) -> list[ResolveResult]:
        return [
            ResolveResult(hostname=host, host=one, port=port, family=family, proto=0, flags=0) for one in self.addresses
        ]

    async def close(self) -> None:
        pass


def test_a_name_is_refused_for_any_of_its_addresses() -> None:
    judge = Judge(_Fixed("1.1.1.1", "2606:4700::1111", "10.0.0.1"), allow_private=False)
    with pytest.raises(ForbiddenAddressError):
        asyncio.run(judge.resolve("a.example", 443))


def test_a_name_gives_the_addresses_that_were_judged() -> None:
    judge = Judge(_Fixed("1.1.1.1", "2606:4700::1111"), allow_private=False)
    found = asyncio.run(judge.resolve("a.example", 443))
    assert [(one["host"], one["port"]) for one in found] == [("1.1.1.1", 443), ("2606:4700::1111", 443)]


def test_the_systems_resolver_knows_this_machine() -> None:
    async def found() -> list[ResolveResult]:
        resolver = Lookup()
        try:
            return await resolver.resolve("localhost", 80)
        finally:
            await resolver.close()

    addresses = {one["host"] for one in asyncio.run(found())}
    assert addresses
    assert addresses <= {"127.0.0.1", "::1"}


def test_a_socket_is_made_only_for_what_may_be_reached() -> None:
    place = (socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP, "", ("127.0.0.1", 80))
    with pytest.raises(ForbiddenAddressError):
        gate(False)(place)
    gate(True)(place).close()
