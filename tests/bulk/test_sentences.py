"""Sentences, and windows of them that fit the model."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from embedrouter.bulk.documents import token_count
from embedrouter.bulk.passage_windows import TokenCount, WindowOptions, windows
from embedrouter.bulk.sentences import sentences
from embedrouter.errors import InvalidRequestError
from embedrouter.minilm.tokenizer import Tokenizer
from embedrouter.minilm.weights import Weights

_CASES = {
    "titles": ["Dr. Smith met Prof. Jones in St. Louis.", "They talked."],
    "initials": ["J. R. R. Tolkien wrote it.", "He was born in 1892."],
    "decimals": ["It costs $3.50, up from 2.75.", "That is 27 % more."],
    "hours": ["We met at 5 p.m. on Jan. 3.", "Then we left."],
    "latin": ["Use a fruit, e.g. An apple, i.e. Malus.", "See Smith et al. (2020), cf. Fig. 3 and No. 5."],
    "states": ["He lives in the U.S.", "The U.S. Army does, too."],
    "companies": ["Acme Inc. Paris was sold.", "No one wept."],
    "addresses": ["See https://example.com/a.b?c=d. or www.python.org.", "Then read on."],
    "quotes": ['"Stop!" he said.', '"Go on."', "(She did.)", "Why?", "Because!"],
    "dots": ["She waited... and left.", "He stayed…", "Nobody knows."],
    "versions": ["Python 3.11.4 is out.", "3.12 comes next."],
    "answers": ["I said no.", "Then I went."],
    "spanish": ["¿Qué pasa?", "¡Nada!", "Bueno."],
    "chinese": ["这是第一句。", "第二句！", "「第三句？」", "最后一句"],
}


@pytest.mark.parametrize("parts", _CASES.values(), ids=_CASES)
def test_sentences_end_where_a_reader_ends_them(parts: list[str]) -> None:
    text = ("" if parts[0][0] == "这" else " ").join(parts)
    assert [text[span.start : span.end] for span in sentences(text)] == parts


def test_a_small_letter_goes_on() -> None:
    assert len(sentences("One sentence ends. the other does not begin")) == 1


def test_lines_that_a_width_broke_are_one_sentence_and_items_are_not() -> None:
    text = (
        "A title\n\nThis sentence was broken by\nthe width of the page. More\nof it.\n- an item\n2. an item\n> a quote"
    )
    assert [text[span.start : span.end] for span in sentences(text)] == [
        "A title",
        "This sentence was broken by\nthe width of the page.",
        "More\nof it.",
        "- an item",
        "2. an item",
        "> a quote",
    ]


def test_lines_that_are_shorter_than_the_width_end_by_themselves() -> None:
    parts = ["Milk", "Bread and butter", "A dozen apples, red ones, if there are any"]
    text = "\n".join(parts)
    assert [text[span.start : span.end] for span in sentences(text)] == parts


@given(st.text(st.sampled_from("aB1 .!?\n。\"'-)#…Dr\u3000"), max_size=200))
def test_sentences_hold_all_of_a_text_but_white_space_in_order(text: str) -> None:
    spans = sentences(text)
    outside = text
    for span in reversed(spans):
        assert text[span.start : span.end] == text[span.start : span.end].strip() != ""
        outside = outside[: span.start] + outside[span.end :]
    assert not outside.strip()
    assert all(left.end <= right.start for left, right in zip(spans, spans[1:], strict=False))


@pytest.fixture(scope="module")
def count(weights: Weights) -> TokenCount:
    return token_count(Tokenizer(weights.tokenizer))


_STORY = " ".join(f"Sentence number {n} tells of a river, a boat and {n * 7} fish." for n in range(60))


@pytest.mark.parametrize(("tokens", "overlap"), [(64, 0), (64, 1), (128, 3), (256, 1), (32, 9)])
def test_windows_fit_overlap_and_leave_nothing_out(count: TokenCount, tokens: int, overlap: int) -> None:
    spans = windows(_STORY, count, WindowOptions(tokens, overlap))
    texts = [_STORY[span.start : span.end] for span in spans]
    assert max(count(texts)) + 2 <= tokens
    assert min(count(texts[:-1])) + 2 > tokens // 2
    known = [span.start for span in sentences(_STORY)]
    assert spans[0].start == 0
    assert spans[-1].end == len(_STORY)
    for left, right in zip(spans, spans[1:], strict=False):
        shared = sum(right.start <= start < left.end for start in known)
        room = (tokens - 2) // max(count([_STORY[: known[1]]])[0], 1) - 1
        assert shared == overlap if overlap <= room - 1 else shared < overlap
        assert left.start < right.start
        assert left.end < right.end


@pytest.mark.parametrize(
    "text", ["word " * 500, "很长" * 300, "a,b;" * 300, "x" * 5000], ids=["words", "cjk", "list", "blob"]
)
def test_what_has_no_sentences_is_cut_to_fit(count: TokenCount, text: str) -> None:
    spans = windows(text, count, WindowOptions(64, 1))
    assert all(tokens + 2 <= 64 for tokens in count([text[span.start : span.end] for span in spans]))
    covered = sum(
        span.end - max(span.start, before) for span, before in zip(spans, [0, *[s.end for s in spans]], strict=False)
    )
    assert covered >= len(text.strip()) - text.strip().count(" ")


def test_a_text_without_words_has_no_windows(count: TokenCount) -> None:
    assert windows(" \n\n ", count, WindowOptions()) == []


@pytest.mark.parametrize("options", [WindowOptions(tokens=4), WindowOptions(tokens=9000), WindowOptions(overlap=-1)])
def test_a_window_that_cannot_be_is_refused(count: TokenCount, options: WindowOptions) -> None:
    with pytest.raises(InvalidRequestError, match="window"):
        windows("A text.", count, options)
