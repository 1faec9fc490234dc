"""The words for what a text is for: ours, and those of every provider, brought to ours."""

from collections.abc import Mapping
from typing import Final

from embedrouter.providers.wire import InputType, UpstreamError

_MEANT: Final[Mapping[str, InputType]] = {
    "query": "query",
    "search_query": "query",
    "retrieval.query": "query",
    "retrieval_query": "query",
    "document": "document",
    "passage": "document",
    "search_document": "document",
    "retrieval.passage": "document",
    "retrieval_document": "document",
    "classification": "classification",
    "clustering": "clustering",
    "separation": "clustering",
    "similarity": "similarity",
    "semantic_similarity": "similarity",
    "text-matching": "similarity",
}
_REPEATED: Final = 40  # characters of a caller's word that an error repeats


def provider_word(
    given: str | None, words: Mapping[InputType, str], *, others: frozenset[str] = frozenset(), free: bool = False
) -> str | None:
    """A provider's word for an input type; None for None. others: words of its own that we have none for.

    free: it takes any word. Raises UpstreamError (invalid_request).
    """
    if given is None or given in others:
        return given
    meant = _MEANT.get(given.lower())
    if meant is not None and meant in words:
        return words[meant]
    if free:
        return given
    shown = "".join(character for character in given[:_REPEATED] if character.isprintable())
    known = ", ".join([*words, *sorted(others)])
    raise UpstreamError("invalid_request", f'input_type: "{shown}" is not known to this provider; send one of {known}')
