"""Reading, computing and writing at the same time, in order."""

import queue
import threading
from collections.abc import Callable, Generator, Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

T = TypeVar("T")
R = TypeVar("R")


def overlapped(
    source: Iterable[T], compute: Callable[[T], R], *, at_once: int = 2, ahead: int = 3
) -> Generator[tuple[T, R]]:
    """Each item with what `compute` makes of it, in order, while later ones are read and computed in other threads.

    at_once: items that are computed at the same time: while the last texts of one are still with the engine, the next
    keeps the other cores busy. ahead: items that are read and not yet taken, at most.
    Raises what `source` or `compute` raises, once everything before it was taken. Close it, and the threads end.
    """
    ready: queue.Queue[Future[tuple[T, R]] | None] = queue.Queue(ahead)
    stopped = threading.Event()
    with ThreadPoolExecutor(at_once, thread_name_prefix="embedrouter-bulk") as pool:

        def put(future: "Future[tuple[T, R]] | None") -> bool:
            while not stopped.is_set():
                try:
                    ready.put(future, timeout=0.1)
                except queue.Full:
                    continue
                return True
            return False

        def computed(item: T) -> tuple[T, R]:
            return item, compute(item)

        def read() -> None:
            try:
                for item in source:
                    if not put(pool.submit(computed, item)):
                        return
            except BaseException as error:  # it belongs to who takes the items
                failed: Future[tuple[T, R]] = Future()
                failed.set_exception(error)
                put(failed)
            put(None)

        reader = threading.Thread(target=read, name="embedrouter-bulk-reader", daemon=True)
        reader.start()
        try:
            while (future := ready.get()) is not None:
                yield future.result()
                del future  # and with it megabytes of vectors
        finally:
            stopped.set()
            reader.join()
            pool.shutdown(cancel_futures=True)
