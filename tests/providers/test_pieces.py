import asyncio

import numpy as np
import pytest

from embedrouter.errors import ContextLengthExceededError
from embedrouter.minilm import MiniLM
from embedrouter.minilm.windows import LongInput
from embedrouter.providers.base import EmbedCall
from embedrouter.providers.builtin import BuiltinProvider
from embedrouter.providers.pieces import end_of
from server import sentences


def test_a_call_in_pieces_is_answered_as_the_whole(model: MiniLM) -> None:
    provider = BuiltinProvider(model)
    texts = [*sentences(12, 9), *sentences(2, 400), *sentences(5, 3, 1)]
    sizes = iter([100, 1, 1_000] * len(texts))

    async def both(rule: LongInput) -> None:
        whole = await provider.embed(EmbedCall(texts, rule))
        some = await provider.embed(EmbedCall(texts, rule, lambda: next(sizes)))
        assert np.array_equal(some.vectors, whole.vectors)
        assert some[1:-1] == whole[1:-1]  # tokens, truncations, windows, fingerprint

    asyncio.run(both(LongInput.WINDOWS))
    asyncio.run(both(LongInput.TRUNCATE))
    with pytest.raises(ContextLengthExceededError, match=r"input\[12\]"):
        asyncio.run(provider.embed(EmbedCall(texts, LongInput.REFUSE, lambda: 100)))


def test_a_piece_has_one_input_at_least() -> None:
    assert end_of(["x" * 50, "y", "z"], 0, lambda: 10) == 1
    assert end_of(["x" * 50, "y", "z"], 1, lambda: 10) == 3
    assert end_of([[1] * 2, [1], [1]], 0, lambda: 12) == 2
