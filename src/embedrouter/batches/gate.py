"""How many lines are under way at once: many while nobody else asks, few beside requests that somebody waits for."""

import asyncio
import time
from collections import deque
from collections.abc import Callable
from typing import Final, NamedTuple

from embedrouter.telemetry.metrics import Metrics


class Width(NamedTuple):
    """What may be under way at once. One line may, however big it is."""

    lines: int
    bytes: int
    piece: int = 1 << 40  # characters of a line that are computed together
    rest: float = 0.0  # after a line, as a share of the time that it took


_IDLE: Final = Width(48, 1 << 20)
_BUSY: Final = Width(1, 64 << 10, 256, 1.0)  # so that a worker is left for those who wait
_QUIET_AFTER: Final = 0.5  # seconds without an answered request, after which nobody else asks


def pace(metrics: Metrics) -> Width:
    """As wide as the requests that somebody waits for leave room."""
    busy = metrics.in_flight > 0 or time.monotonic() - metrics.last_answered < _QUIET_AFTER
    return _BUSY if busy else _IDLE


class Gate:
    """Lets lines pass, in order, while its width allows. Belongs to the event loop."""

    def __init__(self, width: Callable[[], Width]) -> None:
        self._width = width
        self._lines = 0
        self._bytes = 0
        self._waiting: deque[tuple[int, asyncio.Future[None]]] = deque()

    async def enter(self, size: int) -> None:
        """Wait for room. size: of the line's body."""
        if not self._waiting and self._has_room(size):
            self._take(size)
            return
        turn = asyncio.get_running_loop().create_future()
        self._waiting.append((size, turn))
        try:
            await turn
        except asyncio.CancelledError:
            if turn.done() and not turn.cancelled():
                self.leave(size)  # it was let in at the same moment
            raise

    def leave(self, size: int) -> None:
        """Make room."""
        self._lines -= 1
        self._bytes -= size
        while self._waiting:
            following, turn = self._waiting[0]
            if not turn.done():
                if not self._has_room(following):
                    return
                self._take(following)
                turn.set_result(None)
            self._waiting.popleft()

    def _has_room(self, size: int) -> bool:
        width = self._width()
        return not self._lines or (self._lines < width.lines and self._bytes + size <= width.bytes)

    def _take(self, size: int) -> None:
        self._lines += 1
        self._bytes += size
