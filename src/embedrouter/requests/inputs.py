"""The five forms of `input`, brought to two: texts, or ids of the model's own vocabulary.

Token ids follow OpenAI's convention: they are `cl100k_base` and are decoded to text, because that is what OpenAI's and
LangChain's clients send. With the header `X-Token-Encoding: model` they are the model's own and pass untouched.
"""

from collections.abc import Iterator, Sequence
from functools import cache
from typing import Any, Final, cast

from embedrouter.errors import InvalidRequestError
from embedrouter.requests.schemas import MAX_ITEMS, ContentInput, Input

_LARGEST_CL100K: Final = 100_255  # its special tokens stand for no text, and rs-bpe panics on them
_REPEATED: Final = 40  # characters of a caller's word that an error repeats


def normalise(given: Input, token_encoding: str | None) -> list[str] | list[list[int]]:
    """1 to 2,048 non-empty texts, or lists of model ids. Raises InvalidRequestError naming the index.

    token_encoding: the header `X-Token-Encoding`: cl100k_base (the default) or model.
    """
    encoding = (token_encoding or "cl100k_base").strip().lower()
    if encoding not in ("cl100k_base", "model"):
        raise InvalidRequestError(
            f'X-Token-Encoding "{encoding[:_REPEATED]}" is not known; send cl100k_base or model',
            metadata={"field": "X-Token-Encoding"},
        )
    items: Sequence[Any] = [given] if isinstance(given, str) else given
    kind = _kind(items[0])
    for index, item in enumerate(items):
        if _kind(item) is not kind:
            raise _bad(index, "all items must be of one kind: texts, token ids, lists of token ids or objects")
    if kind is int:
        items = [items]  # one input as a flat list of ids
    if len(items) > MAX_ITEMS:
        raise InvalidRequestError(
            f"input has {len(items):,} items, the limit is {MAX_ITEMS:,}; send them in several requests",
            metadata={"field": "input", "items": len(items), "limit": MAX_ITEMS},
        )
    if kind is str:
        texts = cast("list[str]", list(items))
    elif kind is ContentInput:
        texts = [_text_of(item, index) for index, item in enumerate(items)]
    else:
        lists = [_whole(ids, index) for index, ids in enumerate(items)]
        if encoding == "model":
            return lists
        texts = [_decoded(ids, index) for index, ids in enumerate(lists)]
    for index, text in enumerate(texts):
        if not text:
            raise _bad(index, "is empty; every input must have at least one character")
    return texts


def _kind(item: Any) -> type:
    return int if isinstance(item, float) else type(item)


def _whole(ids: list[int | float], index: int) -> list[int]:
    """Token ids as integers, also those that came as 15339.0."""
    if all(type(one) is int for one in ids):
        return cast("list[int]", ids)
    if not all(float(one).is_integer() for one in ids):
        raise _bad(index, "has a token id that is not a whole number")
    return [int(one) for one in ids]


def _text_of(item: ContentInput, index: int) -> str:
    texts = []
    for part in item.content:
        if part.type != "text":
            raise InvalidRequestError(
                f'input[{index}] has a part of type "{part.type[:_REPEATED]}"; this model embeds text only',
                metadata={"index": index, "modality": part.type[:_REPEATED]},
            )
        if not part.text:
            raise _bad(index, "has a text part without text")
        texts.append(part.text)
    return "\n".join(texts)


def _decoded(ids: list[int], index: int) -> str:
    if min(ids) < 0 or max(ids) > _LARGEST_CL100K:
        raise _bad(
            index,
            f"has a token id outside 0 to {_LARGEST_CL100K}, the cl100k_base vocabulary; "
            f"for this model's own ids send the header X-Token-Encoding: model",
        )
    # A client may have cut its ids in the middle of a character.
    return b"".join(_bytes_of(ids)).decode("utf-8", "replace")


def _bytes_of(ids: list[int]) -> Iterator[bytes]:
    # In pieces: the decoder holds the GIL, and the event loop must not wait for a million ids.
    decoder = _cl100k()
    for start in range(0, len(ids), 8192):
        yield decoder.decode_tokens(ids[start : start + 8192])


@cache
def _cl100k() -> Any:
    from rs_bpe import openai

    return openai.cl100k_base().bpe()


def _bad(index: int, what: str) -> InvalidRequestError:
    return InvalidRequestError(f"input[{index}]: {what}", metadata={"field": "input", "index": index})
