"""Who wants CSV."""

from typing import Any

from litestar import Request
from litestar.datastructures import State


def wants_csv(request: Request[Any, Any, State], chosen: str | None) -> bool:
    """Whether to answer in CSV: `?format=` says so, else the Accept header, which may prefer JSON."""
    if chosen is not None:
        return chosen == "csv"
    types = [part.partition(";")[0].strip().lower() for part in request.headers.get("accept", "").split(",")]
    return "text/csv" in types and "application/json" not in types[: types.index("text/csv")]
