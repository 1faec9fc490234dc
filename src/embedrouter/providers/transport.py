"""Sends what a wire format built and brings back what came, whole and within bounds. It decides nothing about either.

Connections are pooled, apart for hosts that may be private and hosts that may not. What ends a call early - an error,
the time, a cancellation - ends its connection, too.
"""

import asyncio
import ssl
from collections.abc import Mapping
from contextvars import ContextVar
from functools import lru_cache
from typing import Any, Final, NamedTuple

from aiohttp import (
    ClientConnectorCertificateError,
    ClientConnectorDNSError,
    ClientConnectorError,
    ClientConnectorSSLError,
    ClientError,
    ClientOSError,
    ClientPayloadError,
    ClientRequest,
    ClientResponse,
    ClientResponseError,
    ClientSession,
    ClientTimeout,
    ConnectionTimeoutError,
    DummyCookieJar,
    ServerDisconnectedError,
    TCPConnector,
)
from aiohttp.abc import AbstractResolver
from aiohttp.connector import Connection
from aiohttp.http_exceptions import ContentEncodingError
from aiohttp.tracing import Trace
from yarl import URL

from embedrouter import __version__
from embedrouter.providers.egress import ForbiddenAddressError, Judge, Lookup, check_url, gate, not_allowed
from embedrouter.providers.wire import Failure, UpstreamError, WireRequest

MAX_ANSWER: Final = 64 * 1024 * 1024  # bytes, decompressed
_CONNECT: Final = 5.0  # seconds, from the name to the end of the TLS handshake
_CONNECTIONS: Final = 1_000
_CONNECTIONS_OF_A_HOST: Final = 256
_KEEPALIVE: Final = 30.0  # seconds; servers close theirs after 60 and more, few after less
_ADDRESSES_KEPT: Final = 10  # seconds
_BUFFER: Final = 256 * 1024  # bytes of an answer that are read ahead
_HEADERS: Final = 100
_HEADER: Final = 8_190  # bytes of one
_SENT: Final = {"Accept-Encoding": "gzip, deflate", "User-Agent": f"embedrouter/{__version__}"}

# What the client raises. uvloop has RuntimeErrors where asyncio has OSErrors; TimeoutError is an OSError.
_FAILURES: Final = (ClientError, OSError, ValueError, RuntimeError)

_CLOSED: Final[tuple[Failure, str]] = ("server", "The provider closed the connection without an answer.")
# The first that fits is meant: the kinds of connection errors are each other's parents.
_MEANINGS: Final[tuple[tuple[type[Exception], Failure, str], ...]] = (
    (ClientConnectorDNSError, "server", "The provider's host name is not known."),
    (ClientConnectorCertificateError, "server", "The provider's TLS certificate is not valid for its host."),
    (ClientConnectorSSLError, "server", "The provider's host does not speak TLS as we do."),
    (ClientConnectorError, "server", "The provider's host cannot be reached."),
    (ClientPayloadError, "server", "The provider broke off in the middle of its answer."),
    (ClientResponseError, "invalid_answer", "The provider's answer is no valid HTTP, or its headers are too long."),
    (ValueError, "refused", "The provider's URL or a header for it holds a character that HTTP does not allow."),
)


class HttpAnswer(NamedTuple):
    """What a provider answered."""

    status: int
    headers: Mapping[str, str]  # lower-case names; the last of several
    body: bytes  # decompressed


class _Line(NamedTuple):
    """The connection that the call under way has."""

    transport: asyncio.Transport | None
    used: bool  # by a call before this one


# Set by the connector, in the task of the call.
_line: ContextVar[_Line | None] = ContextVar("line", default=None)


class _Connector(TCPConnector):
    """Tells the call which connection it got."""

    async def connect(self, req: ClientRequest, traces: list[Trace], timeout: ClientTimeout) -> Connection:  # noqa: ASYNC109 - its name there
        connection = await super().connect(req, traces, timeout)
        protocol: Any = connection.protocol
        used = getattr(protocol, "used", False)
        protocol.used = True
        _line.set(_Line(connection.transport, used))
        return connection


class Transport:
    """One a process; it belongs to the event loop."""

    def __init__(
        self,
        *,
        max_answer: int = MAX_ANSWER,
        resolver: AbstractResolver | None = None,
        context: ssl.SSLContext | None = None,
    ) -> None:
        """max_answer: bytes. resolver: closed by `close`; None: the system's. context: None: the system's trust."""
        self._max_answer = max_answer
        self._resolver = resolver or Lookup()
        self._context = context
        self._sessions: dict[tuple[bool, bool], ClientSession] = {}
        self._closed = False

    async def send(
        self,
        request: WireRequest,
        *,
        timeout: float,  # noqa: ASYNC109 - the client has its own timer
        allow_private: bool,
        limit: int | None = None,
    ) -> HttpAnswer:
        """The answer, whatever its status: a redirect is not followed. timeout: seconds. limit: bytes, decompressed.

        Raises UpstreamError: refused; timeout; server, where the connection failed; invalid_answer, where it is too
        large or no HTTP.
        """
        url = check_url(request.url, allow_private=allow_private)
        most = self._max_answer if limit is None else min(limit, self._max_answer)
        now = asyncio.get_running_loop().time
        deadline = now() + timeout
        _line.set(None)
        try:
            return await self._exchange(self._session(allow_private, False), request, url, _timeouts(timeout), most)
        except _FAILURES as error:
            left = deadline - now()
            if left <= 0 or not _was_stale(error, _line.get()):
                raise _failure(error, url, timeout) from None
        # Embedding changes nothing at the provider, so that this may be asked again: once, and by a connection of its
        # own, as the others of the pool may be as stale.
        try:
            return await self._exchange(self._session(allow_private, True), request, url, _timeouts(left), most)
        except _FAILURES as error:
            raise _failure(error, url, timeout) from None

    async def close(self) -> None:
        """For when no call is under way: one that is ends as a broken connection."""
        self._closed = True
        sessions, self._sessions = self._sessions, {}
        for session in sessions.values():
            await session.close()
        await self._resolver.close()

    async def _exchange(
        self, session: ClientSession, request: WireRequest, url: URL, timeouts: ClientTimeout, limit: int
    ) -> HttpAnswer:
        try:
            response = await session.request(
                request.method,
                url,
                data=request.body or None,
                headers=request.headers,
                allow_redirects=False,
                timeout=timeouts,
            )
        except BaseException:
            _abort(_line.get())
            raise
        try:
            body = await _body(response, limit)
        except BaseException:
            if response.connection is not None:  # else all has come, and the connection may be another call's by now
                _abort(_line.get())
            response.close()
            raise
        return HttpAnswer(response.status, {name.lower(): value for name, value in response.headers.items()}, body)

    def _session(self, allow_private: bool, alone: bool) -> ClientSession:
        """alone: its connections serve one call each."""
        session = self._sessions.get((allow_private, alone))
        if session is None:
            if self._closed:
                raise UpstreamError("server", "The gateway is stopping.")
            connector = _Connector(
                resolver=Judge(self._resolver, allow_private=allow_private),
                socket_factory=gate(allow_private),
                ssl=self._context or True,
                ttl_dns_cache=_ADDRESSES_KEPT,
                limit=_CONNECTIONS,
                limit_per_host=_CONNECTIONS_OF_A_HOST,
                force_close=alone,
                keepalive_timeout=None if alone else _KEEPALIVE,
            )
            session = self._sessions[allow_private, alone] = ClientSession(
                connector=connector,
                headers=_SENT,
                cookie_jar=DummyCookieJar(),
                trust_env=False,
                read_bufsize=_BUFFER,
                max_line_size=_HEADER,
                max_field_size=_HEADER,
                max_headers=_HEADERS,
            )
        return session


async def _body(response: ClientResponse, limit: int) -> bytes:
    """Raises UpstreamError (invalid_answer) as soon as it is too large."""
    if response.status < 200:
        raise UpstreamError("invalid_answer", "The provider changed the protocol instead of answering.")
    size = response.content_length or 0
    if size > limit:
        raise _too_large(limit)
    read = response.content.readany
    first = await read()
    if response.content.at_eof():
        if len(first) > limit:
            raise _too_large(limit)
        return first
    parts = [first]
    size = len(first)
    while size <= limit:
        part = await read()
        if not part:
            return b"".join(parts)
        parts.append(part)
        size += len(part)
    raise _too_large(limit)


def _too_large(limit: int) -> UpstreamError:
    return UpstreamError("invalid_answer", f"The provider's answer is larger than {limit:,} bytes.")


def _abort(line: _Line | None) -> None:
    """Close the connection now: otherwise it would wait for a peer that does not read what is still unsent."""
    if line is not None and line.transport is not None:
        line.transport.abort()


def _was_stale(error: Exception, line: _Line | None) -> bool:
    """Whether the server closed a kept connection just as it was used again, before it answered anything."""
    if line is None or not line.used:
        return False
    if isinstance(error, ServerDisconnectedError):
        return isinstance(error.message, str)  # else it is the half of an answer
    return isinstance(error, ClientOSError)


@lru_cache(256)
def _timeouts(timeout: float) -> ClientTimeout:
    return ClientTimeout(total=timeout, connect=min(_CONNECT, timeout), ceil_threshold=60)


def _failure(error: Exception, url: URL, timeout: float) -> UpstreamError:
    """What a failed call means. The client's own messages are not told: they name addresses."""
    if isinstance(error, TimeoutError):
        what = "take a connection" if isinstance(error, ConnectionTimeoutError) else "answer"
        seconds = min(_CONNECT, timeout) if isinstance(error, ConnectionTimeoutError) else timeout
        return UpstreamError("timeout", f"The provider did not {what} within {seconds:.3g} s.")
    if isinstance(error, ClientConnectorError) and isinstance(error.os_error, ForbiddenAddressError):
        return not_allowed(url.raw_host or "")
    if isinstance(error, ClientPayloadError) and isinstance(error.__cause__, ContentEncodingError):
        return UpstreamError("invalid_answer", "The provider's answer is compressed in a way that cannot be read.")
    failure, message = next((meaning[1:] for meaning in _MEANINGS if isinstance(error, meaning[0])), _CLOSED)
    return UpstreamError(failure, message)
