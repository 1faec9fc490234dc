"""Numbers, money and times for people. Filters of the templates, and plain functions."""

from collections.abc import Callable
from datetime import UTC, datetime
from decimal import Decimal
from math import ceil
from typing import Any, Final, Literal
from urllib.parse import urlsplit

from embedrouter.money import PICO, usd_text
from embedrouter.periods import SECOND

Unit = Literal["tokens", "ms", "percent", "usd", "count"]

NOTHING: Final = "–"

_STEPS: Final = ((10**12, "T"), (10**9, "B"), (10**6, "M"), (10**3, "K"))


def when(at: int) -> str:
    """A time in microseconds: "2026-11-23 13:45 UTC"."""
    return datetime.fromtimestamp(at / SECOND, UTC).strftime("%Y-%m-%d %H:%M UTC")


def machine_time(at: int) -> str:
    """A time in microseconds for `datetime` of <time>."""
    return datetime.fromtimestamp(at / SECOND, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def day(seconds: int) -> str:
    """A time in Unix seconds: "23 Nov 2026"."""
    found = datetime.fromtimestamp(seconds, UTC)
    return f"{found.day} {found:%b %Y}"


def whole(value: float | None) -> str:
    """1234567 as "1,234,567"."""
    return NOTHING if value is None else f"{value:,.0f}"


def compact(value: float | None) -> str:
    """60812345 as "60.8M"; below 10,000 it is whole."""
    if value is None:
        return NOTHING
    if abs(value) < 10_000:
        return f"{value:,.0f}" if float(value).is_integer() else f"{value:,.1f}"
    for step, letter in _STEPS:
        if abs(value) >= step * 0.99995:
            return f"{value / step:.1f}".removesuffix(".0") + letter
    return f"{value:,.0f}"


def percent(value: float | None, digits: int = 1) -> str:
    """0 to 100, as "99.1%". Never rounded up to 100."""
    if value is None:
        return NOTHING
    text = f"{value:.{digits}f}"
    if value < 100 and float(text) >= 100:
        text = f"{100 - 10**-digits:.{digits}f}"
    return text.removesuffix(f".{'0' * digits}") + "%"


def money(pico: int | None) -> str:
    """An amount in pico-USD: cents, or three digits of what is less than a dollar."""
    if pico is None:
        return NOTHING
    if pico == 0:
        return "$0"
    sign, size = ("-" if pico < 0 else ""), abs(pico)
    if size >= PICO:
        return f"{sign}${Decimal(size) / PICO:,.2f}"
    return f"{sign}${Decimal(f'{Decimal(size) / PICO:.3g}'):f}"


def price(pico_per_token: int) -> str:
    """A price in pico-USD a token, exact, by the million tokens: "$0.005"; 0 is "Free"."""
    return "Free" if pico_per_token == 0 else f"${usd_text(pico_per_token * 1_000_000)}"


def milliseconds(value: float | None) -> str:
    """ "12 ms", "1.4 ms", "12.3 s"."""
    if value is None:
        return NOTHING
    if value >= 10_000:
        return f"{value / 1000:,.1f} s"
    return f"{value:,.0f} ms" if value >= 100 else f"{value:.1f}".removesuffix(".0") + " ms"


def duration(seconds: float) -> str:
    """Rounded up: "40 s", "12 min", "3 h"."""
    if seconds < 100:
        return f"{ceil(seconds)} s"
    return f"{ceil(seconds / 60)} min" if seconds < 6000 else f"{ceil(seconds / 3600)} h"


def measured(value: float | None, unit: Unit) -> str:
    """A value of a chart: percent is 0 to 100, usd is USD."""
    if value is None:
        return NOTHING
    match unit:
        case "ms":
            return milliseconds(value)
        case "percent":
            return percent(value)
        case "usd":
            return money(round(value * PICO))
        case _:
            return compact(value)


def outside(url: str | None) -> str | None:
    """A URL that may be linked to: http(s) with a host. None for anything else."""
    try:
        parts = urlsplit(url or "")
    except ValueError:
        return None
    return url if parts.scheme in ("http", "https") and parts.netloc else None


FILTERS: Final[dict[str, Callable[..., Any]]] = {
    "when": when,
    "machine_time": machine_time,
    "day": day,
    "whole": whole,
    "compact": compact,
    "percent": percent,
    "money": money,
    "price": price,
    "milliseconds": milliseconds,
    "duration": duration,
    "measured": measured,
    "outside": outside,
}
