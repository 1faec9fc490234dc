"""A request in pieces that fit an endpoint's limits. Pure functions."""

from collections.abc import Sequence

from embedrouter.catalog.models import Limits


def shards(tokens: Sequence[int], limits: Limits) -> list[range]:
    """Consecutive places whose number and tokens fit; an input that alone is too large is a shard by itself.

    tokens: of each input, at most.
    """
    if len(tokens) <= limits.items and (limits.tokens is None or sum(tokens) <= limits.tokens):
        return [range(len(tokens))]
    found: list[range] = []
    start = total = 0
    for place, count in enumerate(tokens):
        full = place - start == limits.items or (limits.tokens is not None and total + count > limits.tokens)
        if full and place > start:
            found.append(range(start, place))
            start, total = place, 0
        total += count
    found.append(range(start, len(tokens)))
    return found
