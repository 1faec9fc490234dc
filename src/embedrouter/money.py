"""Money: integer pico-USD (10^-12 USD) inside, decimal USD outside. Sums are exact."""

import re
from decimal import ROUND_CEILING, Decimal, InvalidOperation
from typing import Final

PICO: Final = 1_000_000_000_000
MOST: Final = 5_000_000 * PICO  # one limit, or all credits together: well inside a signed 64-bit integer

_GROUPED: Final = re.compile(r"[1-9]\d{0,2}(,\d{3})+(\.\d*)?")


def usd(pico: int) -> float:
    """USD for JSON, where amounts are numbers; the nearest double."""
    return float(Decimal(pico) / PICO)


def usd_text(pico: int) -> str:
    """USD as a plain decimal string, exact: "0.000000005"."""
    text = f"{Decimal(pico) / PICO:.12f}".rstrip("0").rstrip(".")
    return text or "0"


def usd_price(pico: int) -> str:
    """USD for a person, exact: "$1,500.00", "$0.000000005"."""
    cents = PICO // 100
    return f"${pico // PICO:,}.{pico % PICO // cents:02}" if pico % cents == 0 else f"${usd_text(pico)}"


def pico_usd(amount: float | str | Decimal) -> int:
    """Pico-USD of an amount in USD; a fraction of a pico-USD is rounded up. Raises ValueError for what is no amount."""
    try:
        exact = Decimal(str(amount))
    except InvalidOperation as error:
        raise ValueError(f"{amount!r} is not an amount in USD") from error
    if not exact.is_finite() or abs(exact) * PICO > MOST:
        raise ValueError(f"an amount must be at most {MOST // PICO:,} USD")
    return int((exact * PICO).to_integral_value(ROUND_CEILING))


def typed_usd(text: str) -> str:
    """What a person typed as `pico_usd` reads it: "$1,234.50" is "1234.50"; "1,5" stays, and is no amount."""
    amount = text.strip().removeprefix("$")
    return amount.replace(",", "") if _GROUPED.fullmatch(amount) else amount
