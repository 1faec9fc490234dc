"""Telling a person how far it has come: a bar on a terminal, a line now and then elsewhere."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Protocol, TextIO

from rich.console import Console
from rich.progress import BarColumn, Progress, SpinnerColumn, TaskProgressColumn, TextColumn, TimeRemainingColumn

LINE_EVERY = 10.0  # seconds


class Meter(Protocol):
    """Hears of every batch."""

    def advance(self, rows: int, position: int) -> None:
        """rows: read since the last call. position: how far reading has come, towards the total."""


@contextmanager
def meter(stream: TextIO, total: int | None, *, quiet: bool, before: int = 0) -> Iterator[Meter]:
    """The meter that suits the stream. total: the position at the end, None where there is no telling.

    before: the position that an earlier run reached.
    """
    if quiet:
        yield SilentMeter()
    elif stream.isatty():
        with _bar(stream) as progress:
            yield BarMeter(progress, total, before)
    else:
        yield LineMeter(stream, total, before=before)


class SilentMeter:
    """Says nothing."""

    def advance(self, rows: int, position: int) -> None:
        pass


class LineMeter:
    """A plain line every LINE_EVERY seconds, for logs."""

    def __init__(
        self, stream: TextIO, total: int | None, clock: Callable[[], float] = time.monotonic, *, before: int = 0
    ) -> None:
        self._stream = stream
        self._before = before
        self._total = total
        self._clock = clock
        self._started = self._told = clock()
        self._rows = 0

    def advance(self, rows: int, position: int) -> None:
        self._rows += rows
        now = self._clock()
        if now - self._told >= LINE_EVERY:
            self._told = now
            print(
                line(self._rows, now - self._started, position, self._total, self._before),
                file=self._stream,
                flush=True,
            )


class BarMeter:
    """Rich's bar: the share of the input that was read, rows, rows per second and the time left."""

    def __init__(self, progress: Progress, total: int | None, before: int = 0) -> None:
        self._progress = progress
        self._started = time.monotonic()
        self._rows = 0
        self._task = progress.add_task("embedding", total=total, completed=before, speed="")

    def advance(self, rows: int, position: int) -> None:
        self._rows += rows
        seconds = time.monotonic() - self._started
        self._progress.update(self._task, completed=position, speed=_speed(self._rows, seconds))


def line(rows: int, seconds: float, position: int, total: int | None, before: int = 0) -> str:
    """One line of progress: rows, rows per second, and where the total is known the share and the time left.

    before: the position at the beginning, which counts for the share and not for the speed.
    """
    text = f"embedding: {_speed(rows, seconds)}"
    if total and position > before:
        left = seconds * (total - position) / (position - before)
        text += f", {min(100, 100 * position // total)} %, about {_duration(left)} left"
    return text


def _bar(stream: TextIO) -> Progress:
    columns = (
        SpinnerColumn(),
        TextColumn("{task.description}"),
        BarColumn(),
        TaskProgressColumn(),
        TextColumn("{task.fields[speed]}"),
        TimeRemainingColumn(),
    )
    return Progress(*columns, console=Console(file=stream), transient=True)


def _speed(rows: int, seconds: float) -> str:
    return f"{rows:,} rows, {rows / max(seconds, 1e-9):,.0f} rows/s"


def _duration(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}"
