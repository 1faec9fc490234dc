"""The built-in provider: straight into the model's micro-batcher, in this process."""

import asyncio

from embedrouter.minilm import MiniLM
from embedrouter.providers.base import EmbedAnswer, EmbedCall


class BuiltinProvider:
    """all-MiniLM-L6-v2 in this process."""

    def __init__(self, model: MiniLM) -> None:
        self._model = model

    async def embed(self, call: EmbedCall) -> EmbedAnswer:
        """Raises OverloadedError, ContextLengthExceededError, ProviderUnavailableError."""
        answer = await asyncio.wrap_future(self._model.pipeline.submit(call.inputs, call.rule))
        return EmbedAnswer(
            vectors=answer.vectors,
            prompt_tokens=sum(answer.tokens),
            truncated=answer.truncated,
            windows=answer.windows,
            fingerprint=self._model.fingerprint(call.rule),
            tokenize_seconds=answer.tokenize_seconds,
        )
