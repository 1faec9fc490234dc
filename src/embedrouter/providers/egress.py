"""Where we may connect to: a provider's URL must not reach into the network we stand in.

A host is judged by its addresses, never by its name. A name is looked up once for a connection, every address it
stands for is judged, and those very addresses are connected to: an answer that changes afterwards changes nothing.
An administrator can allow a provider's host to be private; what a machine's own cloud serves there stays shut.
"""

import asyncio
import ipaddress
import re
import socket
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import lru_cache
from typing import Final
from urllib.parse import urlsplit

from aiohttp import AddrInfoType
from aiohttp.abc import AbstractResolver, ResolveResult
from yarl import URL

from embedrouter.providers.wire import UpstreamError

Address = ipaddress.IPv4Address | ipaddress.IPv6Address
_Network = ipaddress.IPv4Network | ipaddress.IPv6Network

# What no administrator's permission covers: first come the addresses at which clouds hand out a machine's credentials.
_NEVER: Final[tuple[tuple[_Network, str], ...]] = tuple(
    (ipaddress.ip_network(network), reason)
    for network, reason in (
        ("169.254.0.0/16", "link-local"),
        ("100.100.100.200", "a cloud's metadata"),
        ("168.63.129.16", "a cloud's metadata"),
        ("fd00:ec2::254", "a cloud's metadata"),
        ("fd20:ce::254", "a cloud's metadata"),
        ("255.255.255.255", "broadcast"),
        ("0.0.0.0/8", "unspecified"),
        ("192.0.0.0/24", "reserved"),
        ("192.0.2.0/24", "reserved"),
        ("192.88.99.0/24", "reserved"),
        ("198.18.0.0/15", "reserved"),
        ("198.51.100.0/24", "reserved"),
        ("203.0.113.0/24", "reserved"),
        ("224.0.0.0/4", "multicast"),
        ("240.0.0.0/4", "reserved"),
        ("fe80::/10", "link-local"),
        ("ff00::/8", "multicast"),
        ("2001::/32", "Teredo"),
        ("2001::/23", "reserved"),
        ("2001:db8::/32", "reserved"),
        ("2002::/16", "6to4"),
        ("3fff::/20", "reserved"),
    )
)
_PRIVATE: Final[tuple[tuple[_Network, str], ...]] = tuple(
    (ipaddress.ip_network(network), reason)
    for network, reason in (
        ("127.0.0.0/8", "loopback"),
        ("10.0.0.0/8", "private"),
        ("172.16.0.0/12", "private"),
        ("192.168.0.0/16", "private"),
        ("100.64.0.0/10", "shared"),
        ("::1", "loopback"),
        ("fc00::/7", "private"),
        ("fec0::/10", "private"),
    )
)
_GLOBAL: Final = ipaddress.IPv6Network("2000::/3")  # the only part of IPv6 that is in public use
# What carries an IPv4 address in its last 32 bits and may reach it.
_CARRIERS: Final = (ipaddress.IPv6Network("::ffff:0:0/96"), ipaddress.IPv6Network("64:ff9b::/96"))

_LABEL: Final = re.compile(r"[a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9_])?")
_NUMBER: Final = re.compile(r"[0-9]+|0x[0-9a-f]*")
_UNPRINTABLE: Final = re.compile(r"[\x00-\x20\x7f-\xa0\\\u2028\u2029]")
_LONGEST_NAME: Final = 253  # characters of a host name
_LOOKUPS: Final = 8  # at once


class ForbiddenAddressError(OSError):
    """An address we do not connect to. An OSError, so that it comes through the HTTP client as a failed connection."""


def forbidden(address: Address, *, allow_private: bool = False) -> str | None:
    """Why we do not connect to an address; None: we do."""
    address = _carried(address)
    for network, reason in _NEVER:
        if address in network:
            return reason
    for network, reason in _PRIVATE:
        if address in network:
            return None if allow_private else reason
    return "reserved" if address.version == 6 and address not in _GLOBAL else None


def _carried(address: Address) -> Address:
    if isinstance(address, ipaddress.IPv6Address) and any(address in network for network in _CARRIERS):
        return ipaddress.IPv4Address(int(address) & 0xFFFF_FFFF)
    return address


@lru_cache(4096)
def check_url(url: str, *, allow_private: bool) -> URL:
    """The URL to ask, its host in the one form that we judge. Raises UpstreamError (refused)."""
    parsed = _parsed(url)
    if parsed.scheme != "https" and not (allow_private and parsed.scheme == "http"):
        raise _refused("must begin with https://; http:// is for hosts that an administrator allowed to be private")
    host = parsed.raw_host or ""
    address = _address_of(host)
    if address is not None:
        if forbidden(address, allow_private=allow_private):
            raise not_allowed(host)
        return parsed if str(address) == host else parsed.with_host(str(address))
    labels = host.removesuffix(".").split(".")
    if len(host) > _LONGEST_NAME or not all(_LABEL.fullmatch(label) for label in labels):
        raise _refused("has no valid host name")
    return parsed


def not_allowed(host: str) -> UpstreamError:
    """The refusal of a host for its addresses, which are not told: they would show what is in our network."""
    return UpstreamError(
        "refused",
        f"The provider's host {host[:_LONGEST_NAME]} is not at a public address. An administrator may allow it.",
    )


def _refused(what: str) -> UpstreamError:
    return UpstreamError("refused", f"The provider's URL {what}.")


def _parsed(url: str) -> URL:
    if _UNPRINTABLE.search(url):
        raise _refused("holds a space, a backslash or a control character")
    try:
        parsed, authority = URL(url), urlsplit(url).netloc
    except ValueError:  # UnicodeError is one
        raise _refused("is not a valid URL") from None
    if "@" in authority or parsed.raw_user is not None:
        raise _refused("must not name a user: credentials are kept apart from it")
    if "#" in url:
        raise _refused("must not have a fragment (#)")
    if not parsed.raw_host or parsed.port == 0:
        raise _refused("needs a host, and a port between 1 and 65535 if it names one")
    return parsed


def _address_of(host: str) -> Address | None:
    """The address that a host is, in whatever spelling the system would take; None: it is a name."""
    if ":" in host:
        try:
            address = ipaddress.IPv6Address(host)
        except ValueError:
            raise _refused("has an invalid IPv6 address") from None
        if address.scope_id is not None:
            raise _refused("has an IPv6 address with a zone")
        return address
    if not _NUMBER.fullmatch(host.removesuffix(".").rpartition(".")[2]):
        return None
    try:
        return ipaddress.IPv4Address(socket.inet_aton(host.removesuffix(".")))  # takes 127.1, 0x7f.1, 2130706433, too
    except OSError:
        raise _refused("has an invalid IPv4 address") from None


class Lookup(AbstractResolver):
    """The system's resolver, in threads of its own: names that nobody answers for hold up nothing but each other."""

    def __init__(self) -> None:
        self._threads = ThreadPoolExecutor(_LOOKUPS, "embedrouter-dns")

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_UNSPEC
    ) -> list[ResolveResult]:
        """Raises OSError."""
        loop = asyncio.get_running_loop()
        found = await loop.run_in_executor(self._threads, _look_up, host, port, family)
        return [
            ResolveResult(hostname=host, host=address, port=port, family=kind, proto=0, flags=socket.AI_NUMERICHOST)
            for kind, address in found
        ]

    async def close(self) -> None:
        """Waits for no lookup."""
        self._threads.shutdown(wait=False, cancel_futures=True)


def _look_up(host: str, port: int, family: int) -> list[tuple[socket.AddressFamily, str]]:
    found = socket.getaddrinfo(host, port, family=family, type=socket.SOCK_STREAM)
    return [(socket.AddressFamily(kind), str(place[0])) for kind, _, _, _, place in found]


class Judge(AbstractResolver):
    """A resolver that gives nothing if any of a name's addresses is forbidden.

    What it gives is what is connected to. A literal address never comes to a resolver: `check_url` and `gate` see it.
    """

    def __init__(self, resolver: AbstractResolver, *, allow_private: bool) -> None:
        self._resolver = resolver  # closed by who made it
        self._allow_private = allow_private

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_UNSPEC
    ) -> list[ResolveResult]:
        """Raises OSError, of which ForbiddenAddressError is one."""
        found = await self._resolver.resolve(host, port, family)
        for one in found:
            _judge(one["host"], allow_private=self._allow_private)
        return found

    async def close(self) -> None:
        """Nothing of its own is open."""


def gate(allow_private: bool) -> Callable[[AddrInfoType], socket.socket]:
    """What makes the client's sockets: the last to see an address, and the only one that cannot be gone round."""

    def make(place: AddrInfoType) -> socket.socket:
        """Raises ForbiddenAddressError."""
        family, kind, protocol, _, address = place
        _judge(str(address[0]), allow_private=allow_private)
        return socket.socket(family, kind, protocol)

    return make


def _judge(address: str, *, allow_private: bool) -> None:
    reason = forbidden(ipaddress.ip_address(address), allow_private=allow_private)
    if reason is not None:
        raise ForbiddenAddressError(reason)
