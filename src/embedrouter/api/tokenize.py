"""POST /tokenize: the tokens of texts, counted as /embeddings bills them, and what they are."""

import asyncio
from collections.abc import Sequence
from typing import Annotated, Final

import msgspec
from msgspec import Meta

from embedrouter.accounts.caller import Caller
from embedrouter.api.exchange import Answer
from embedrouter.api.tokens import count_of, tokenizer_of
from embedrouter.api.visit import Route, Visit, origin_of, receive
from embedrouter.errors import InvalidRequestError
from embedrouter.fields import bad_field, decode
from embedrouter.minilm.facts import CLS, MAX_INPUT, SEP
from embedrouter.minilm.tokenizer import LONG_TEXT, Piece, Tokenizer
from embedrouter.minilm.windows import LongInput
from embedrouter.requests.embedding import NO_PREFERENCES, rule_of
from embedrouter.requests.schemas import MAX_ITEMS, ModelRequest
from embedrouter.work import EmbedRequest

MOST_CHARACTERS: Final = 1 << 20  # counted in one request


class TokenizeRequest(ModelRequest, frozen=True, kw_only=True):
    """The body of POST /tokenize."""

    input: str | Annotated[list[str], Meta(min_length=1, max_length=MAX_ITEMS)]
    pieces: bool | None = None  # False: the counts alone, of longer texts; else the pieces, too


class TextPiece(msgspec.Struct, frozen=True):
    """One WordPiece of a text. start, end: in characters."""

    id: int
    text: str
    start: int
    end: int


class TokenizedText(msgspec.Struct, frozen=True, omit_defaults=True):
    """One text's tokens. exact: false where reading a text that is too long stopped before its end."""

    index: int
    exact: bool
    tokens: int  # billed, with [CLS] and [SEP]
    windows: int
    too_long: bool
    ids: list[int] | None = None  # with [CLS] and [SEP]
    pieces: list[TextPiece] | None = None  # without


class NoUsage(msgspec.Struct, frozen=True):
    """What it costs."""

    prompt_tokens: int = 0
    total_tokens: int = 0
    cost: float = 0.0


class TokenizeAnswer(msgspec.Struct, frozen=True):
    """What POST /tokenize answers."""

    object: str
    data: list[TokenizedText]
    model: str
    total_tokens: int  # of all texts
    usage: NoUsage = NoUsage()


_DECODER: Final = msgspec.json.Decoder(TokenizeRequest)


async def _serve(visit: Visit, caller: Caller) -> Answer:
    wanted, _, _ = await receive(visit, caller, lambda body: decode(body, _DECODER))
    texts = [wanted.input] if isinstance(wanted.input, str) else wanted.input
    pieces = wanted.pieces is not False
    _check(texts, LONG_TEXT if pieces else MOST_CHARACTERS, pieces=pieces)
    model, _ = visit.context.gateway.model(wanted.model)
    tokenizer = tokenizer_of(visit.context, model)
    request = EmbedRequest(
        model=wanted.model,
        inputs=texts,
        rule=rule_of(wanted.truncate),
        dimensions=None,
        preferences=wanted.provider or NO_PREFERENCES,
        parameters=frozenset(),
        api_type="tokenize",
    )
    async with visit.context.gateway.free(request, await origin_of(visit, wanted, caller)):
        found = _pieces if pieces else _counts

        def made() -> bytes:
            data = found(tokenizer, texts, request.rule)
            return msgspec.json.encode(TokenizeAnswer("list", data, model.slug, sum(one.tokens for one in data)))

        return Answer(200, await asyncio.to_thread(made), visit.headers)


def _check(texts: Sequence[str], most: int, *, pieces: bool) -> None:
    """Raises InvalidRequestError."""
    for index, text in enumerate(texts):
        if not text:
            raise InvalidRequestError(
                f"input[{index}] is empty; every input must have at least one character",
                metadata={"field": "input", "index": index},
            )
    if (characters := sum(map(len, texts))) > most:
        advice = f'send fewer, or "pieces": false to count up to {MOST_CHARACTERS:,}' if pieces else "send fewer"
        raise bad_field("input", f"has {characters:,} characters in all, the limit is {most:,}; {advice}")


def _counts(tokenizer: Tokenizer, texts: Sequence[str], rule: LongInput) -> list[TokenizedText]:
    contents = tokenizer.contents(texts, enough=MAX_INPUT)
    return [
        TokenizedText(index, one.exact or rule is LongInput.TRUNCATE, *count_of(len(one.ids), rule))
        for index, one in enumerate(contents)
    ]


def _pieces(tokenizer: Tokenizer, texts: Sequence[str], rule: LongInput) -> list[TokenizedText]:
    return [_piece_by_piece(index, tokenizer.pieces(text), rule) for index, text in enumerate(texts)]


def _piece_by_piece(index: int, pieces: Sequence[Piece], rule: LongInput) -> TokenizedText:
    ids = [CLS, *(piece.id for piece in pieces), SEP]
    told = [TextPiece(*piece) for piece in pieces]
    return TokenizedText(index, True, *count_of(len(pieces), rule), ids, told)


TOKENIZE: Final = Route("tokenize", _serve, leaves_generation=False)
