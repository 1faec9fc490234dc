"""The built-in provider: straight into the model's micro-batcher, in this process."""

import asyncio

from embedrouter.minilm import MiniLM
from embedrouter.minilm.pipeline import Embedded, Tokenised
from embedrouter.minilm.windows import LongInput
from embedrouter.providers.base import Counted, EmbedAnswer, EmbedCall


class BuiltinProvider:
    """all-MiniLM-L6-v2 in this process."""

    def __init__(self, model: MiniLM) -> None:
        self._model = model

    async def count(self, call: EmbedCall) -> Counted:
        """Raises OverloadedError, ContextLengthExceededError."""
        return await asyncio.wrap_future(self._model.pipeline.tokenise(call.inputs, call.rule))

    async def embed_counted(self, counted: Counted, rule: LongInput) -> EmbedAnswer:
        """Raises OverloadedError, ProviderUnavailableError."""
        assert isinstance(counted, Tokenised)
        return self._answer(await asyncio.wrap_future(self._model.pipeline.compute(counted)), rule)

    async def embed(self, call: EmbedCall) -> EmbedAnswer:
        """Raises OverloadedError, ContextLengthExceededError, ProviderUnavailableError."""
        return self._answer(await asyncio.wrap_future(self._model.pipeline.submit(call.inputs, call.rule)), call.rule)

    def _answer(self, answer: Embedded, rule: LongInput) -> EmbedAnswer:
        return EmbedAnswer(
            vectors=answer.vectors,
            prompt_tokens=sum(answer.tokens),
            truncated=answer.truncated,
            windows=answer.windows,
            fingerprint=self._model.fingerprint(rule),
            tokenize_seconds=answer.tokenize_seconds,
        )
