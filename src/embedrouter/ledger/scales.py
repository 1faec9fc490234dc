"""Logarithmic buckets that latencies and throughputs are counted in."""

import math
from collections.abc import Mapping, Sequence
from typing import Final, NamedTuple

GROWTH: Final = 1.1  # from one bucket of a histogram to the next


class Scale(NamedTuple):
    """Buckets of a histogram: each ends where the next begins, GROWTH times as far."""

    lowest: float
    buckets: int

    def bucket(self, value: float) -> int:
        """Which one a positive value falls into; what is beyond the ends, into the last one there."""
        if value <= self.lowest:
            return 0
        return min(int(math.log(value / self.lowest) * _PER_LOG), self.buckets - 1)

    def middle(self, bucket: int) -> float:
        """The value that stands for a bucket."""
        return float(self.lowest * GROWTH ** (bucket + 0.5))


_PER_LOG: Final = 1.0 / math.log(GROWTH)
LATENCY: Final = Scale(1e-4, 170)  # seconds, up to 1,000
THROUGHPUT: Final = Scale(0.1, 220)  # tokens a second, up to 10^8


def percentiles(
    counts: Mapping[int, int], scale: Scale, percents: Sequence[int], *, falling: bool = False
) -> tuple[float, ...] | None:
    """Of values counted by bucket; None where there are none. falling: what so many percent reach at least."""
    order = sorted(counts, reverse=falling)
    total = sum(counts.values())
    if total <= 0:
        return None
    found = []
    for percent in percents:
        rank, reached = max(1, -(-total * percent // 100)), 0
        for bucket in order:
            reached += counts[bucket]
            if reached >= rank:
                found.append(scale.middle(bucket))
                break
    return tuple(found)
