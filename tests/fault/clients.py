"""Clients that hammer a server, some of which leave early, and remember what they were told."""

import contextlib
import http.client
import json
import random
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator

from embedrouter.money import pico_usd
from fault.bank import POOR_KEY
from server import EMBEDDINGS, MODEL, Server, sentences

_RETRIED = {429, 503}


class Clients:
    """What all of them were told: costs by generation id, statuses, and how long the slowest answer took."""

    def __init__(self, ports: Callable[[], int], key: str, *, rude: bool = True) -> None:
        """ports: the port to ask next. rude: some leave before they are answered."""
        self.told: dict[str, int] = {}  # pico-USD
        self.statuses: Counter[int] = Counter()
        self.slowest = 0.0  # seconds
        self.bad: list[str] = []  # answers that must never be
        self.broken = 0  # connections, mostly of a server that was killed
        self.left = 0
        self._ports, self._key, self._rude = ports, key, rude
        self._stop = threading.Event()
        self._lock = threading.Lock()

    @contextlib.contextmanager
    def hammering(self, count: int, seed: int) -> Iterator[None]:
        """So many clients at once, until the block is left."""
        self._stop.clear()
        threads = [threading.Thread(target=self._run, args=(seed * 1000 + number,)) for number in range(count)]
        for thread in threads:
            thread.start()
        try:
            yield
        finally:
            self._stop.set()
            for thread in threads:
                thread.join(60)
                assert not thread.is_alive(), "a request hangs"

    def _run(self, seed: int) -> None:
        chance = random.Random(seed)
        number = 0
        while not self._stop.is_set():
            number += 1
            draw = chance.random()
            size = 1 if draw < 0.92 else 8 if draw < 0.995 else 250
            texts = sentences(size, 6 if size == 1 else 20, seed=seed * 100_000 + number)
            poor = chance.random() < 0.15
            patience = chance.random() * 0.03 if self._rude and chance.random() < 0.1 else None
            self._ask(texts, POOR_KEY if poor else self._key, patience)

    def _ask(self, texts: list[str], key: str, patience: float | None) -> None:
        started = time.monotonic()
        body = json.dumps({"model": MODEL, "input": texts, "encoding_format": "base64"})
        headers = {"Authorization": f"Bearer {key}", "Content-Type": "application/json"}
        connection = http.client.HTTPConnection("127.0.0.1", self._ports(), timeout=patience or 30.0)
        try:
            connection.request("POST", EMBEDDINGS, body, headers)
            response = connection.getresponse()
            content = response.read()
        except (OSError, http.client.HTTPException) as error:
            with self._lock:
                if patience is not None:
                    self.left += 1
                elif isinstance(error, TimeoutError):
                    self.bad.append("no answer in 30 s")
                else:
                    self.broken += 1
            if patience is None:
                time.sleep(0.01)
            return
        finally:
            connection.close()
        with self._lock:
            self._remember(response, content, time.monotonic() - started)
        if response.status != 200:
            time.sleep(0.01)

    def _remember(self, response: http.client.HTTPResponse, content: bytes, seconds: float) -> None:
        self.statuses[response.status] += 1
        self.slowest = max(self.slowest, seconds)
        text = content.decode()
        name = response.headers["X-Generation-Id"]
        if response.status == 200:
            if name in self.told:
                self.bad.append(f"{name} twice")
            self.told[name] = pico_usd(str(json.loads(content)["usage"]["cost"]))
        elif response.status in _RETRIED and "Retry-After" not in response.headers:
            self.bad.append(f"{response.status} without Retry-After: {text[:200]}")
        elif response.status not in {402, 429, 503, 504}:
            self.bad.append(f"{response.status}: {text[:200]}")
        if any(word in text for word in ("Traceback", "sqlite", "psycopg", "SELECT", "INSERT", "UPDATE", "locked")):
            self.bad.append(f"tells too much: {text[:300]}")


def of(server: Server, *, rude: bool = True) -> Clients:
    """Clients of one server."""
    return Clients(lambda: server.port, server.key, rude=rude)
