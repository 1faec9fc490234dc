"""Where a request's time went: ours by part, and the providers'. For the header `Server-Timing` and the metrics."""

from typing import NamedTuple


class Timing(NamedTuple):
    """Seconds."""

    receive: float  # reading, checking and decoding the request
    route: float  # planning, and holding its cost
    provider: float  # not ours
    settle: float  # making the answer and committing its generation

    @property
    def own(self) -> float:
        """What it would not have taken to ask the provider directly."""
        return self.receive + self.route + self.settle

    def header(self) -> str:
        """In milliseconds, as the standard has it."""
        return (
            f"receive;dur={self.receive * 1000:.2f}, route;dur={self.route * 1000:.2f}, "
            f"provider;dur={self.provider * 1000:.2f}, settle;dur={self.settle * 1000:.2f}"
        )
