"""What a serving process does beside its requests: one thread, one list of chores."""

import logging
import threading
import time
from collections.abc import Callable, Sequence
from typing import NamedTuple

from embedrouter.errors import EmbedRouterError

log = logging.getLogger(__name__)


class Chore(NamedTuple):
    """Something to do again and again."""

    name: str
    every: float  # seconds
    do: Callable[[], object]


class Keeper:
    """Runs chores, each when it is due. One that fails is tried again when it is due next."""

    def __init__(self, chores: Sequence[Chore]) -> None:
        self._chores = chores
        self._stop = threading.Event()
        self._failing: set[str] = set()
        self._thread = threading.Thread(target=self._run, name="embedrouter-keeper", daemon=True)

    def start(self) -> None:
        """Begin; nothing is due before its first interval is over."""
        self._thread.start()

    def close(self, timeout: float | None = None) -> None:
        """Stop after the chore that runs."""
        self._stop.set()
        self._thread.join(timeout)

    def _run(self) -> None:
        due = {chore.name: time.monotonic() + chore.every for chore in self._chores}
        while not self._stop.wait(max(0.0, min(due.values()) - time.monotonic())):
            for chore in self._chores:
                if due[chore.name] <= time.monotonic():
                    self._do(chore)
                    due[chore.name] = time.monotonic() + chore.every

    def _do(self, chore: Chore) -> None:
        try:
            chore.do()
        except EmbedRouterError as error:
            if chore.name not in self._failing:
                log.warning("%s: %s", chore.name, error.message)
            self._failing.add(chore.name)
        except Exception:
            log.exception("%s failed", chore.name)
        else:
            self._failing.discard(chore.name)
