"""Text to the model's WordPiece ids, by Hugging Face `tokenizers`; the file's own padding and truncation are off.

Very long texts are taken a piece at a time and only as far as their rule needs, so that a text of megabytes costs
neither the memory nor the time of tokenising all of it. Pieces end where WordPiece always breaks, so the ids are those
of the whole text.
"""

import os
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final, NamedTuple

import numpy as np
from tokenizers import Tokenizer as HuggingFaceTokenizer

from embedrouter.errors import InvalidRequestError
from embedrouter.minilm.facts import CLS, SEP, VOCABULARY
from embedrouter.minilm.windows import Ids

# Its own threads would compete with the engine's for the same cores: measured under load, a call of a few texts took
# milliseconds for the scheduler alone. One thread tokenises far more than OpenVINO computes.
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")

LONG_TEXT: Final = 32_768  # characters; above, a text is taken in pieces
_PIECE: Final = 16_384
_BATCH: Final = 1 << 20  # characters of the texts that are tokenised in one call
_SURROGATE: Final = re.compile(r"[\ud800-\udfff]")
# After these, or before a bracket, WordPiece breaks whatever follows, and no special token like [MASK] is cut.
_BREAK: Final = re.compile(r"[ \t\n\r!-/:-@\\-`{-~\u4e00-\u9fff]|.(?=\[)", re.DOTALL)

# A word of more than 100 characters is one [UNK] however long it is, and combining accents are taken off. Runs of
# either are shortened: a tokenizer that reads megabytes of them needs seconds and gigabytes. An ideograph is a word.
_IDEOGRAPHS: Final = "\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U0002fa1f"
_RUN: Final = re.compile(rf"[^\W_{_IDEOGRAPHS}]{{102,}}|[\u0300-\u036f]{{102,}}")
_KEPT: Final = 101


class Content(NamedTuple):
    """One input's ids without special tokens; `exact` is False if reading stopped before the text's end."""

    ids: Ids
    exact: bool = True


class Piece(NamedTuple):
    """One WordPiece of a text."""

    id: int
    text: str  # as the vocabulary has it: "##ing" goes on with the word
    start: int  # where in the text it comes from, in characters
    end: int


class Tokenizer:
    """Thread-safe: the underlying tokenizer is immutable after construction and releases the GIL."""

    def __init__(self, path: Path) -> None:
        self._tokenizer = HuggingFaceTokenizer.from_file(str(path))
        self._tokenizer.no_padding()
        self._tokenizer.no_truncation()

    def contents(self, texts: Sequence[str], enough: int, first: int = 0) -> list[Content]:
        """Ids of each text, without [CLS] and [SEP].

        enough: tokens after which reading a very long text may stop; its `Content` then says so. first: the index
        that errors give to texts[0]. Raises InvalidRequestError for a text that is not Unicode.
        """
        found: dict[int, Content] = {}
        try:
            for some in _batches(texts):
                encodings = self._tokenizer.encode_batch_fast([texts[i] for i in some], add_special_tokens=False)
                found |= {i: Content(np.array(one.ids, np.int32)) for i, one in zip(some, encodings, strict=True)}
            return [found[i] if i in found else self._long(text, enough) for i, text in enumerate(texts)]
        except TypeError as error:
            for index, text in enumerate(texts, first):
                if _SURROGATE.search(text):
                    message = f"input[{index}] holds a lone surrogate, which is not a character"
                    raise InvalidRequestError(message, metadata={"index": index}) from error
            raise

    def pieces(self, text: str) -> list[Piece]:
        """A text's WordPieces without [CLS] and [SEP], to look at; of at most LONG_TEXT characters."""
        one = self._tokenizer.encode(text[:LONG_TEXT], add_special_tokens=False)
        found = zip(one.ids, one.tokens, one.offsets, strict=True)
        return [Piece(id_, piece, start, end) for id_, piece, (start, end) in found]

    def _long(self, text: str, enough: int) -> Content:
        parts: list[Ids] = []
        count = 0
        for piece, is_last in _pieces(_shortened(text)):
            ids = np.array(self._tokenizer.encode(piece, add_special_tokens=False).ids, np.int32)
            parts.append(ids)
            count += len(ids)
            if count > enough and not is_last:
                return Content(np.concatenate(parts), exact=False)
        return Content(np.concatenate(parts))


def content_of_ids(ids: Sequence[int], index: int) -> Content:
    """Model token ids sent by a caller, range-checked; a leading [CLS] and a trailing [SEP] are taken off."""
    try:
        array = np.array(ids, np.int64)
    except OverflowError:
        array = np.array([VOCABULARY])
    if len(array) and (array.min() < 0 or array.max() >= VOCABULARY):
        raise InvalidRequestError(
            f"input[{index}] has a token id outside 0 to {VOCABULARY - 1}, the vocabulary of this model",
            metadata={"index": index},
        )
    start = 1 if len(array) and array[0] == CLS else 0
    stop = len(array) - (1 if len(array) > start and array[-1] == SEP else 0)
    return Content(array[start:stop].astype(np.int32))


def _batches(texts: Sequence[str]) -> Iterator[list[int]]:
    """Places of the texts that are not long, some at a time: the tokenizer needs about 500 bytes a token."""
    some: list[int] = []
    characters = 0
    for i, text in enumerate(texts):
        if len(text) > LONG_TEXT:
            continue
        if some and characters + len(text) > _BATCH:
            yield some
            some, characters = [], 0
        some.append(i)
        characters += len(text)
    if some:
        yield some


def _shortened(text: str) -> str:
    # In pieces: a regular expression holds the GIL while it runs. A run across two pieces is shortened in each.
    pieces = (text[start : start + _PIECE] for start in range(0, len(text), _PIECE))
    return "".join(_RUN.sub(lambda run: run[0][:_KEPT], piece) for piece in pieces)


def _pieces(text: str) -> Iterator[tuple[str, bool]]:
    start = 0
    while len(text) - start > _PIECE:
        end = _BREAK.search(text, start + _PIECE)
        if end is None:
            break
        yield text[start : end.end()], False
        start = end.end()
    yield text[start:], True
