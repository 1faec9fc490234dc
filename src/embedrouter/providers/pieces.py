"""A call in pieces, one after the other, so that requests that somebody waits for find a free worker between them."""

from collections.abc import Awaitable, Callable, Sequence
from typing import Final, cast

import numpy as np

from embedrouter.errors import ContextLengthExceededError, InvalidRequestError
from embedrouter.providers.base import EmbedAnswer, EmbedCall, Piece

_CHARACTERS: Final = 4  # of a token, about
_NAMES_ITS_PLACE: Final = (InvalidRequestError, ContextLengthExceededError)  # in what was asked


async def in_pieces(call: EmbedCall, embed: Callable[[EmbedCall], Awaitable[EmbedAnswer]]) -> EmbedAnswer:
    """What `embed` answers for all of it: the same vectors, whatever the pieces. Raises what it raises."""
    if call.piece is None:
        return await embed(call)
    whole = call._replace(piece=None)
    answers: list[EmbedAnswer] = []
    start, count = 0, len(call.inputs)
    while start < count:
        stop = end_of(call.inputs, start, call.piece)
        if (start, stop) == (0, count):
            return await embed(whole)
        part = cast("Sequence[str]", call.inputs[start:stop])
        try:
            answers.append(await embed(whole._replace(inputs=part)))
        except _NAMES_ITS_PLACE:
            return await embed(whole)  # so that the error names the input's place in the whole
        start = stop
    return EmbedAnswer(
        np.concatenate([answer.vectors for answer in answers]),
        sum(answer.prompt_tokens for answer in answers),
        sum(answer.truncated for answer in answers),
        sum(answer.windows for answer in answers),
        answers[0].fingerprint,
        sum(answer.tokenize_seconds for answer in answers),
    )


def end_of(inputs: Sequence[str] | Sequence[Sequence[int]], start: int, piece: Piece) -> int:
    """Where the piece that begins at `start` ends: at least one input, and no more than may be computed now."""
    left, stop = piece(), start
    while stop < len(inputs):
        one = inputs[stop]
        left -= len(one) if isinstance(one, str) else len(one) * _CHARACTERS
        if left < 0 and stop > start:
            break
        stop += 1
    return stop
