"""The query parameters of lists."""

from typing import Annotated

from litestar.params import Parameter

# The None is inside: Litestar reads no constraints of an Annotated that is part of a union.
Offset = Annotated[int | None, Parameter(ge=0, le=1_000_000_000, description="Entries to pass over.")]
Limit = Annotated[int, Parameter(ge=1, le=100, description="Entries to return at most.")]
