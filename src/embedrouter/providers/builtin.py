"""The built-in provider: straight into the model's micro-batcher, in this process."""

import asyncio
from collections.abc import Sequence
from typing import Final, NamedTuple, cast

from embedrouter.errors import ContextLengthExceededError, InvalidRequestError
from embedrouter.minilm import MiniLM
from embedrouter.minilm.pipeline import Embedded, Tokenised
from embedrouter.minilm.windows import LongInput
from embedrouter.providers.base import Counted, EmbedAnswer, EmbedCall
from embedrouter.providers.pieces import in_pieces
from embedrouter.providers.vector_cache import Sought, VectorCache

_NAMES_ITS_PLACE: Final = (InvalidRequestError, ContextLengthExceededError)  # in what was asked


class CountedPart(NamedTuple):
    """A call of which the cache knows some texts; the others are counted."""

    sought: Sought
    missing: Tokenised | None  # None: it knows all
    tokens: int


class BuiltinProvider:
    """all-MiniLM-L6-v2 in this process."""

    computes_for_free = True

    def __init__(self, model: MiniLM, cache: VectorCache | None = None) -> None:
        self._model = model
        self._cache = cache

    async def count(self, call: EmbedCall) -> Counted:
        """Raises OverloadedError, InvalidRequestError, ContextLengthExceededError."""
        if self._cache is None or not isinstance(call.inputs[0], str):
            return await self._tokenised(call)
        sought = await self._seek(call, self._cache)
        missing = sought.missing
        if not missing:
            return CountedPart(sought, None, sought.tokens([]))
        try:
            tokenised = await self._tokenised(_part(call, missing))
        except _NAMES_ITS_PLACE:
            return await self._tokenised(call)  # so that the error names the text's place in the whole
        return CountedPart(sought, tokenised, sought.tokens([plan.tokens for plan in tokenised.plans]))

    async def embed_counted(self, counted: Counted, rule: LongInput) -> EmbedAnswer:
        """Raises OverloadedError, ProviderUnavailableError."""
        if isinstance(counted, CountedPart):
            assert self._cache is not None
            computed = None if counted.missing is None else await self._computed(counted.missing)
            return await self._cache.complete(counted.sought, computed, self._model.fingerprint(rule))
        assert isinstance(counted, Tokenised)
        return self._answer(await self._computed(counted), rule)

    async def embed(self, call: EmbedCall) -> EmbedAnswer:
        """Raises OverloadedError, InvalidRequestError, ContextLengthExceededError, ProviderUnavailableError."""
        return await in_pieces(call, self._embed)

    async def _embed(self, call: EmbedCall) -> EmbedAnswer:
        if self._cache is None or not isinstance(call.inputs[0], str):
            return self._answer(await self._embedded(call), call.rule)
        sought = await self._seek(call, self._cache)
        missing = sought.missing
        try:
            computed = await self._embedded(_part(call, missing)) if missing else None
        except _NAMES_ITS_PLACE:
            return self._answer(await self._embedded(call), call.rule)  # as in `count`
        return await self._cache.complete(sought, computed, self._model.fingerprint(call.rule))

    async def _seek(self, call: EmbedCall, cache: VectorCache) -> Sought:
        return await cache.seek(cast("Sequence[str]", call.inputs), self._model.fingerprint(call.rule))

    async def _tokenised(self, call: EmbedCall) -> Tokenised:
        return await asyncio.wrap_future(self._model.pipeline.tokenise(call.inputs, call.rule))

    async def _computed(self, tokenised: Tokenised) -> Embedded:
        return await asyncio.wrap_future(self._model.pipeline.compute(tokenised))

    async def _embedded(self, call: EmbedCall) -> Embedded:
        return await asyncio.wrap_future(self._model.pipeline.submit(call.inputs, call.rule))

    def _answer(self, answer: Embedded, rule: LongInput) -> EmbedAnswer:
        return EmbedAnswer(
            vectors=answer.vectors,
            prompt_tokens=sum(answer.tokens),
            truncated=answer.truncated,
            windows=answer.windows,
            fingerprint=self._model.fingerprint(rule),
            tokenize_seconds=answer.tokenize_seconds,
        )


def _part(call: EmbedCall, places: Sequence[int]) -> EmbedCall:
    if len(places) == len(call.inputs):
        return call
    texts = cast("Sequence[str]", call.inputs)
    return call._replace(inputs=[texts[place] for place in places])
