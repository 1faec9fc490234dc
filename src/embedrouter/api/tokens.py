"""Tokens of a text as the built-in model reads and bills it."""

from typing import NamedTuple

from embedrouter.catalog.builtin import SLUG
from embedrouter.catalog.models import Model
from embedrouter.context import Context
from embedrouter.errors import NotFoundError
from embedrouter.minilm.facts import MAX_INPUT, MAX_LENGTH, WINDOW
from embedrouter.minilm.tokenizer import Piece, Tokenizer
from embedrouter.minilm.windows import LongInput


class Count(NamedTuple):
    """What a text comes to."""

    tokens: int  # billed, with [CLS] and [SEP]
    windows: int
    too_long: bool  # to be embedded by the rule


class Tokens(NamedTuple):
    """One text's: pieces are [id, piece, start, end], without [CLS] and [SEP]; windows as it is embedded."""

    tokens: int
    windows: int
    too_long: bool
    pieces: list[Piece]


def tokenizer_of(context: Context, model: Model) -> Tokenizer:
    """The built-in model's. Raises NotFoundError for another."""
    if context.model is None or model.slug != SLUG:
        raise NotFoundError(
            f"the tokenizer of {model.slug} is not here; its answers say how many tokens there were",
            metadata={"field": "model"},
        )
    return context.model.tokenizer


def count_of(content: int, rule: LongInput = LongInput.WINDOWS) -> Count:
    """content: tokens without [CLS] and [SEP]."""
    tokens = content + 2
    if rule is LongInput.TRUNCATE or tokens <= MAX_LENGTH:
        return Count(min(tokens, MAX_LENGTH), 1, too_long=False)
    return Count(tokens, -(-content // WINDOW), tokens > (MAX_INPUT if rule is LongInput.WINDOWS else MAX_LENGTH))


def of_pieces(pieces: list[Piece]) -> Tokens:
    """Of a text whose pieces these are."""
    return Tokens(*count_of(len(pieces)), pieces)
