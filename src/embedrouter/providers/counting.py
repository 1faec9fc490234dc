"""Tokens of texts, for limits and bills, where the provider does not say."""

import asyncio
from collections.abc import Sequence
from functools import cache
from typing import Any, Final

from embedrouter.catalog.builtin import SLUG
from embedrouter.minilm import MiniLM
from embedrouter.minilm.windows import LongInput

_FRAME: Final = 8  # tokens that a model may add to a text
_SMALL: Final = 20_000  # bytes that are counted at once, in the event loop


class Counting:
    """Knows the built-in model's tokens exactly, and OpenAI's; of other models it has an estimate by OpenAI's."""

    def __init__(self, model: MiniLM | None) -> None:
        self._model = model

    async def count(self, model: str, texts: Sequence[str]) -> int:
        """All tokens of the texts for the model with this slug. Raises OverloadedError."""
        if model == SLUG and self._model is not None:
            tokenised = await asyncio.wrap_future(self._model.pipeline.tokenise(texts, LongInput.TRUNCATE))
            return tokenised.tokens
        return await self._by_cl100k(texts)

    async def estimate(self, text: str) -> int:
        """Tokens of one text, whichever the model."""
        return await self._by_cl100k([text])

    async def _by_cl100k(self, texts: Sequence[str]) -> int:
        if sum(map(len, texts)) <= _SMALL:
            return _cl100k_tokens(texts)
        return await asyncio.to_thread(_cl100k_tokens, texts)


def bounds(texts: Sequence[str]) -> list[int]:
    """As many tokens as each text can have at most, by any tokenizer that never makes more of a text than bytes."""
    return [len(text.encode()) + _FRAME for text in texts]


def _cl100k_tokens(texts: Sequence[str]) -> int:
    bpe = _cl100k()
    return sum(bpe.count(text.encode()) for text in texts)


@cache
def _cl100k() -> Any:
    from rs_bpe import openai

    return openai.cl100k_base().bpe()
