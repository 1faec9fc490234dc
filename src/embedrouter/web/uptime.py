"""Strips of uptime, a bar for each hour or day: macros/uptime.html draws them, with a table behind."""

from collections.abc import Sequence
from typing import Final, Literal

import msgspec

from embedrouter.web.formats import NOTHING, percent

Level = Literal["good", "fair", "poor", "none"]

GOOD: Final = 95.0  # percent, at least
FAIR: Final = 85.0
WORDS: Final[dict[Level, str]] = {
    "good": "at least 95%",
    "fair": "85% to 95%",
    "poor": "below 85%",
    "none": "nothing asked",
}
HEIGHT: Final = 24
_HEIGHTS: Final[dict[Level, int]] = {"good": 24, "fair": 17, "poor": 10, "none": 2}  # so that colour is not needed
_WIDTH: Final = 5
_GAP: Final = 2


class Bar(msgspec.Struct, frozen=True, kw_only=True):
    """An hour or a day."""

    label: str
    key: str  # the same for programs: 2026-11-23, or with an hour
    value: float | None  # percent; None: nothing was asked

    @property
    def level(self) -> Level:
        """How good it is."""
        return level(self.value)

    @property
    def told(self) -> str:
        """The value in words."""
        return WORDS["none"] if self.value is None else percent(self.value, 2)


class Rect(msgspec.Struct, frozen=True, kw_only=True):
    """A bar as SVG draws it."""

    x: int
    y: int
    width: int
    height: int
    bar: Bar


class Strip(msgspec.Struct, frozen=True, kw_only=True):
    """Bars side by side, the oldest first."""

    name: str  # whose uptime it is
    x_title: str  # Day, Hour
    bars: Sequence[Bar]
    total: float | None  # percent over all of them; by requests, so not the average of the bars

    @property
    def is_empty(self) -> bool:
        """Whether nothing was asked in any of them."""
        return all(bar.value is None for bar in self.bars)

    @property
    def width(self) -> int:
        """Of the drawing."""
        return max(1, len(self.bars) * (_WIDTH + _GAP) - _GAP)

    @property
    def height(self) -> int:
        """Of the drawing."""
        return HEIGHT

    @property
    def rects(self) -> list[Rect]:
        """All bars."""
        return [
            Rect(x=number * (_WIDTH + _GAP), y=HEIGHT - _HEIGHTS[bar.level], width=_WIDTH,
                 height=_HEIGHTS[bar.level], bar=bar)
            for number, bar in enumerate(self.bars)
        ]  # fmt: skip

    @property
    def summary(self) -> str:
        """For ears."""
        asked = [bar for bar in self.bars if bar.value is not None]
        worse = [bar for bar in asked if bar.level != "good"]
        told = "none was below 95%" if not worse else f"{len(worse)} of {len(asked)} were below 95%"
        total = NOTHING if self.total is None else percent(self.total, 2)
        return f"Uptime of {self.name}: {total} over {len(self.bars)} {self.x_title.lower()}s; {told}"


def level(value: float | None) -> Level:
    """Of a percentage."""
    if value is None:
        return "none"
    return "good" if value >= GOOD else "fair" if value >= FAIR else "poor"
