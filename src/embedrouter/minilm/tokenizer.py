"""Text to the model's WordPiece ids, by Hugging Face `tokenizers`; the file's own padding and truncation are off.

Very long texts are taken a piece at a time and only as far as their rule needs, so that a text of megabytes costs
neither the memory nor the time of tokenising all of it. Pieces end after whitespace, where WordPiece always breaks,
so the ids are those of the whole text.
"""

import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final, NamedTuple

import numpy as np
from tokenizers import Tokenizer as HuggingFaceTokenizer

from embedrouter.errors import InvalidRequestError
from embedrouter.minilm.facts import CLS, SEP, VOCABULARY
from embedrouter.minilm.windows import Ids

LONG_TEXT: Final = 32_768  # characters; above, a text is taken in pieces
_PIECE: Final = 16_384
_SPACE: Final = re.compile(r"[ \t\n\r]")


class Content(NamedTuple):
    """One input's ids without special tokens; `exact` is False if reading stopped before the text's end."""

    ids: Ids
    exact: bool = True


class Tokenizer:
    """Thread-safe: the underlying tokenizer is immutable after construction and releases the GIL."""

    def __init__(self, path: Path) -> None:
        self._tokenizer = HuggingFaceTokenizer.from_file(str(path))
        self._tokenizer.no_padding()
        self._tokenizer.no_truncation()

    def contents(self, texts: Sequence[str], enough: int) -> list[Content]:
        """Ids of each text, without [CLS] and [SEP].

        enough: tokens after which reading a very long text may stop; its `Content` then says so.
        """
        short = [i for i, text in enumerate(texts) if len(text) <= LONG_TEXT]
        encodings = self._tokenizer.encode_batch_fast([texts[i] for i in short], add_special_tokens=False)
        found: dict[int, Content] = {
            i: Content(np.array(encoding.ids, np.int32)) for i, encoding in zip(short, encodings, strict=True)
        }
        return [found[i] if i in found else self._long(text, enough) for i, text in enumerate(texts)]

    def _long(self, text: str, enough: int) -> Content:
        parts: list[Ids] = []
        count = 0
        for piece, is_last in _pieces(text):
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


def _pieces(text: str) -> Iterator[tuple[str, bool]]:
    start = 0
    while len(text) - start > _PIECE:
        space = _SPACE.search(text, start + _PIECE)
        if space is None:
            break
        yield text[start : space.end()], False
        start = space.end()
    yield text[start:], True
