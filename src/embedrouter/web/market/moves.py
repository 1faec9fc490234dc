"""How a place and what led to it changed since the time before, in words."""

from typing import Final, Literal, NamedTuple

_TIMES: Final = 10  # from so many times as much on, "×12" is easier to read than "+1,100%"
_MOST: Final = 999  # times; what is more says only that there was hardly anything before


class Move(NamedTuple):
    """Beside the time before, as long."""

    text: str  # "+12%", "new", "±0%", "×14"
    tone: Literal["good", "bad", ""]
    places: int | None  # up, or below zero down; None: it had no place


def move(tokens: int, before: int, rank: int, rank_before: int | None) -> Move:
    """Of tokens and of a rank, now and before."""
    places = None if rank_before is None else rank_before - rank
    if before <= 0:
        return Move("new", "", places)
    if tokens >= _TIMES * before:
        times = tokens / before
        return Move(f"×{times:.0f}" if times <= _MOST else f"over ×{_MOST}", "good", places)
    percent = 100 * (tokens - before) / before
    rounded = round(percent) or 0
    if rounded == 0:
        return Move("±0%", "", places)
    return Move(f"{rounded:+d}%".replace("-", "−"), "good" if rounded > 0 else "bad", places)
