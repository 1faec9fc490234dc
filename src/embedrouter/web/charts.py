"""Charts as plain data: templates draw them with `{{ chart(spec) }}` of macros/chart.html."""

from collections.abc import Iterator, Sequence
from typing import Literal

import msgspec

from embedrouter.web.formats import Unit, measured

Kind = Literal["bars", "lines", "area", "heatmap", "scatter"]


class Series(msgspec.Struct, frozen=True, kw_only=True):
    """One line, one colour of bars, one row of a heatmap, or one group of points."""

    name: str
    values: Sequence[float | None] = ()  # as many as the chart's x; None is a gap
    points: Sequence[tuple[float, float]] = ()  # of a scatter
    labels: Sequence[str] = ()  # of the points
    colour: str | None = None  # a token's name ("good", "series-3"); else the next of the palette


class Chart(msgspec.Struct, frozen=True, kw_only=True):
    """What islands/chart.ts draws, and what stands in the table behind it."""

    kind: Kind
    caption: str  # what it shows: the figure's caption, and the table's
    unit: Unit  # of the values; percent is 0 to 100, usd is USD
    x: Sequence[str] = ()  # the labels along the axis; of a heatmap its columns
    series: Sequence[Series] = ()
    x_title: str = "Day"  # the head of the table's first column
    stacked: bool = False
    low: float | None = None  # where the value axis begins and ends, if not by the data
    high: float | None = None

    @property
    def is_empty(self) -> bool:
        """Whether there is nothing to draw; a page says then why."""
        return not any(one.points or any(value is not None for value in one.values) for one in self.series)

    @property
    def head(self) -> list[str]:
        """Of the table."""
        if self.kind == "scatter":
            return ["Group", "Label", "x", "y"]
        return [self.x_title, *(one.name for one in self.series)]

    @property
    def rows(self) -> Iterator[list[str]]:
        """Of the table: for each x what the series have there; of a scatter one for each point."""
        if self.kind == "scatter":
            for one in self.series:
                for number, (x, y) in enumerate(one.points):
                    yield [one.name, one.labels[number] if number < len(one.labels) else "", f"{x:.3g}", f"{y:.3g}"]
            return
        for number, label in enumerate(self.x):
            yield [label, *(measured(one.values[number], self.unit) for one in self.series)]
