"""Stretches of time that pages tell of: the last day, week or month, and the same time before."""

from typing import Final, Literal, NamedTuple

from embedrouter.periods import DAY, HOUR, SECOND, start_of

Length = Literal["day", "week", "month"]
LENGTHS: Final[dict[Length, int]] = {"day": 1, "week": 7, "month": 30}  # days


class Span(NamedTuple):
    """Seconds, UTC."""

    start: int
    end: int  # its first second no more

    @property
    def before(self) -> "Span":
        """As long, right before it."""
        return Span(2 * self.start - self.end, self.start)


def hours(count: int, at: int) -> Span:
    """The last so many clock hours at a time in microseconds; the running one is the last of them."""
    end = (at // SECOND // HOUR + 1) * HOUR
    return Span(end - count * HOUR, end)


def days(count: int, at: int) -> Span:
    """The last so many UTC days; today, as far as it has come, is the last of them."""
    end = (at // SECOND // DAY + 1) * DAY
    return Span(end - count * DAY, end)


def weeks(count: int, at: int) -> Span:
    """The last so many weeks from Monday, UTC; this one is the last of them."""
    end = start_of("week", at) + 7 * DAY
    return Span(end - count * 7 * DAY, end)
