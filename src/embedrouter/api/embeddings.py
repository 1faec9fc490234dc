"""POST /embeddings: vectors for one to 2,048 inputs, as floats or base64, in input order."""

import asyncio
from typing import Final

from embedrouter.api.answers import SMALL, Asked, embeddings_json
from embedrouter.api.vectors import Question, route_of
from embedrouter.api.visit import Visit
from embedrouter.requests.embedding import decode_request, embed_request
from embedrouter.requests.schemas import EmbeddingsRequest
from embedrouter.response_cache import Encoded
from embedrouter.work import EmbedResult


class _Embeddings:
    api_type: Final = "embeddings"
    decode = staticmethod(decode_request)

    async def question(self, visit: Visit, wanted: EmbeddingsRequest) -> Question:
        encoding, keep = visit.exchange.header(b"x-token-encoding"), visit.context.settings.store_prompts
        if isinstance(wanted.input, str) or isinstance(wanted.input[0], str):
            request = embed_request(wanted, token_encoding=encoding, keep_prompt=keep)
        else:  # token ids are decoded, which may take long
            request = await asyncio.to_thread(embed_request, wanted, token_encoding=encoding, keep_prompt=keep)
        as_base64 = wanted.encoding_format == "base64"

        def encode(result: EmbedResult, generation_id: str, metadata: str | None) -> Encoded:
            return embeddings_json(result, generation_id, Asked(as_base64, metadata))

        return Question(request, encode, large=len(request.inputs) > SMALL)


EMBEDDINGS: Final = route_of(_Embeddings())
