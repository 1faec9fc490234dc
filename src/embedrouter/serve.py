"""Running the server: bind, announce, drain."""

import asyncio
import logging
import os
import signal
import socket
import sys
from collections.abc import Callable

import uvloop
from granian.constants import HTTPModes, Interfaces
from granian.http import HTTP1Settings
from granian.server.embed import Server

from embedrouter.accounts.first import FirstKey
from embedrouter.accounts.reception import setup_link
from embedrouter.app import load_model, make_app, make_context, open_store
from embedrouter.catalog.builtin import SLUG
from embedrouter.context import Context
from embedrouter.errors import SettingsError
from embedrouter.minilm import MiniLM
from embedrouter.settings import Settings
from embedrouter.telemetry import logs

log = logging.getLogger(__name__)

_HEADER_BYTES = 65_536
_CONNECTIONS = 8192  # requests granian hands over at once; our own queue refuses long before


def run(settings: Settings, say: Callable[[str], None]) -> None:
    """Serve until SIGTERM or Ctrl-C, then answer what was accepted. Raises SettingsError, WeightsError."""
    logs.set_up(settings.log_format)
    _require_free(settings.host, settings.port)
    store = open_store(settings)
    model = load_model(settings) if settings.builtin else None
    if model is not None:
        _warm_up(model)
    context = make_context(settings, store, model)
    setup_token = setup_link(store.writer)
    uvloop.run(_serve(context, store.first_key, setup_token, say))


async def _serve(context: Context, first_key: FirstKey, setup_token: str | None, say: Callable[[str], None]) -> None:
    settings = context.settings
    server = Server(
        make_app(context),
        address=settings.host,
        port=settings.port,
        interface=Interfaces.ASGI,
        http=HTTPModes.http1,
        http1_settings=HTTP1Settings(
            header_read_timeout=round(settings.idle_timeout_s * 1000),  # hyper counts from the answer before
            max_buffer_size=_HEADER_BYTES,
        ),
        websockets=False,
        backlog=1024,
        backpressure=_CONNECTIONS,
        log_enabled=False,
    )
    loop = asyncio.get_running_loop()
    stopping = asyncio.Event()

    def stop() -> None:
        if stopping.is_set():
            log.warning("stopped a second time: leaving at once")
            _leave()
        log.info("stopping: answering what was accepted, at most %g s", settings.drain_s)
        context.draining = True
        stopping.set()
        server.stop()  # type: ignore[no-untyped-call]

    for name in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(name, stop)
    serving = asyncio.ensure_future(server.serve())
    announcing = asyncio.ensure_future(_announce(context, first_key, setup_token, say))
    stopped = asyncio.ensure_future(stopping.wait())
    await asyncio.wait((serving, stopped), return_when=asyncio.FIRST_COMPLETED)
    announcing.cancel()
    stopped.cancel()
    await asyncio.wait((serving,), timeout=settings.drain_s)
    if not serving.done():
        log.error("some requests did not finish in %g s and were cut off", settings.drain_s)
        _leave()
    await serving


def _leave() -> None:
    """End the process now: threads that compute and connections that are open cannot be unwound."""
    logging.shutdown()
    sys.stdout.flush()
    os._exit(1)


async def _announce(context: Context, first_key: FirstKey, setup_token: str | None, say: Callable[[str], None]) -> None:
    host, port = context.settings.host, context.settings.port
    while not _accepts(host, port):  # noqa: ASYNC110 (granian does not tell when it listens)
        await asyncio.sleep(0.01)
    setup = None if setup_token is None else f"{context.settings.address}/setup?token={setup_token}"
    say(_banner(f"http://{_url_host(host)}:{port}", first_key, setup, context.model))


def _banner(url: str, first_key: FirstKey, setup: str | None, model: MiniLM | None) -> str:
    if first_key.secret is not None:
        key, header = first_key.secret, f"'Authorization: Bearer {first_key.secret}'"
    else:
        key = f"{first_key.label} (shown in full only when it is made; --new-key makes another)"
        header = '"Authorization: Bearer $EMBEDROUTER_API_KEY"'
    first_link = (
        "" if setup is None else f"  setup    {setup}\n           makes the first administrator, within 24 hours\n"
    )
    if model is None:
        serves, engine = "the models of its catalog", "none; the built-in model is switched off"
    else:
        serves, engine = SLUG, f"{model.engine.reason}; {model.engine.workers} worker threads"
    body = f'{{"model": "{SLUG}", "input": "Hello, world"}}'
    return (
        f"\nembedrouter serves {serves}\n"
        f"  engine   {engine}\n"
        f"  address  {url}/api/v1\n"
        f"  docs     {url}/docs\n"
        f"  key      {key}\n"
        f"{first_link}\n"
        f"Try it:\n"
        f"  curl {url}/api/v1/embeddings -H {header} -H 'Content-Type: application/json' -d '{body}'\n"
    )


def _warm_up(model: MiniLM) -> None:
    """Compute the common shapes once, so that no client pays for OpenVINO's set-up of them."""
    model.encode(["warm up", "a sentence of a dozen words or so, as most questions are, to warm up"])


def _require_free(host: str, port: int) -> None:
    try:
        family = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0][0]
        with socket.socket(family, socket.SOCK_STREAM) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind((host, port))
    except OSError as error:
        raise SettingsError(f"cannot listen on {host} port {port}: {error.strerror}; try --port or --host") from error


def _accepts(host: str, port: int) -> bool:
    wildcard = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)  # noqa: S104 (compared, not bound)
    try:
        socket.create_connection((wildcard, port), timeout=0.2).close()
    except OSError:
        return False
    return True


def _url_host(host: str) -> str:
    return f"[{host}]" if ":" in host else host
