"""How much of the truth an index finds."""

import numpy as np

from embedrouter.errors import InvalidRequestError
from embedrouter.tasks.best import BLOCK, NOISE, Best, cosines
from embedrouter.tasks.content import Content
from embedrouter.tasks.finding import compare, find
from embedrouter.tasks.rows import ArrayRows, UnitRows

_SEED = 0


def measured_recall(content: Content, sample: int, top_k: int, against: UnitRows | None) -> float:
    """Share of the `top_k` true neighbours found, over `sample` items at random; an item is no neighbour of itself.

    against: the items' true vectors, in the order of the rows not deleted; None: as stored.
    """
    alive = np.flatnonzero(content.ids.alive)
    if sample < 1:
        raise InvalidRequestError(f"sample has to be at least 1, not {sample}")
    if len(alive) < 2:
        return 1.0
    if against is not None and len(against) != len(alive):
        raise InvalidRequestError(f"the index has {len(alive)} items, and there are {len(against)} vectors to compare")
    places = np.sort(np.random.default_rng(_SEED).choice(len(alive), min(sample, len(alive)), replace=False))
    vectors = content.vectors.take(alive[places]) if against is None else against.take(places)
    asked = ArrayRows(vectors, "query")
    k = min(top_k, len(alive) - 1)
    found = find(content, asked, None, k + 1)
    true = Best(len(places), k + 1)
    if against is None:
        compare(content.vectors, asked, alive, true)
    else:
        for numbers, block in against.blocks(BLOCK):
            true.offer(vectors, np.arange(len(places)), block, alive[numbers])
    hits = 0
    for number, place in enumerate(places):
        rows = found.rows[number][found.rows[number] != alive[place]][:k]
        others = np.flatnonzero(true.rows[number] != alive[place])[:k]
        least = true.scores[number][others[-1]]
        kept = content.vectors.take(rows) if against is None else against.take(np.searchsorted(alive, rows))
        hits += int((cosines(kept, vectors[number]) >= least - NOISE).sum())
    return hits / (k * len(places))
