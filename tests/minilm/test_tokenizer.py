from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from tokenizers import Tokenizer as HuggingFaceTokenizer

from embedrouter.errors import InvalidRequestError
from embedrouter.minilm import tokenizer as module
from embedrouter.minilm.facts import VOCABULARY
from embedrouter.minilm.tokenizer import Tokenizer, content_of_ids
from embedrouter.minilm.weights import Weights

from .golden import golden

# What the normaliser and the pre-tokenizer treat specially, and what has no business beside a boundary.
FRAGMENTS = (
    *(" ", "  ", "\t", "\n", "\r\n", "\u00a0", "\u3000", "\u2028", "\x85"),
    *("a", "word", "Unbelievable", "é", "e\u0301", "\u0301", " \u0301", "\u0323\u0302", "\u3099", "\u20dd", "\u093f"),
    *("狐", "東京", "\u4e00", "\u9fff", "\u3400", "𠀀", "か", "ﾊﾟ", "한", "\u1112\u1161\u11ab", "สวัสดี", "नमस्ते"),
    *("[MASK]", "[CLS]", "[SEP]", "[PAD]", "[UNK]", "[MASK", "MASK]", "[", "]", "[[", "[mask]", "##", "##ing"),
    *("!", ".", ",", "'", "-", "_", "`", "\\", "^", "~", "@", "…", "。", "«", "\u2260", "=\u0338", "<\u0338"),
    *(
        "\x00",
        "\u200b",
        "\ufeff",
        "\u200d",
        "\ufe0f",
        "\ufffd",
        "😀",
        "👨‍👩‍👧",
        "1",
        "½",
        "x" * 101,
        "İ",
        "ΑΣ",
        "ß",
        "ﬁ",
    ),
)
TEXTS = st.one_of(
    st.text(st.characters(exclude_categories=["Cs"]), max_size=60),
    st.lists(st.sampled_from(FRAGMENTS), max_size=40).map("".join),
    st.lists(st.one_of(st.sampled_from(FRAGMENTS), st.characters(exclude_categories=["Cs"])), max_size=40).map("".join),
)
SHORT_PIECES = st.integers(1, 12)


@pytest.fixture(scope="module")
def ours(weights: Weights) -> Tokenizer:
    return Tokenizer(weights.tokenizer)


@pytest.fixture(scope="module")
def theirs(weights: Weights) -> HuggingFaceTokenizer:
    raw = HuggingFaceTokenizer.from_file(str(weights.tokenizer))
    raw.no_padding()
    raw.no_truncation()
    return raw


def ids_of(tokenizer: Tokenizer, texts: Sequence[str], enough: int = 1_000_000) -> list[list[int]]:
    contents = tokenizer.contents(texts, enough)
    assert all(content.exact for content in contents)
    assert all(content.ids.dtype == np.int32 for content in contents)
    return [content.ids.tolist() for content in contents]


def raw_ids(tokenizer: HuggingFaceTokenizer, text: str) -> list[int]:
    found: list[int] = tokenizer.encode(text, add_special_tokens=False).ids
    return found


def test_the_golden_texts_have_the_reference_counts(ours: Tokenizer) -> None:
    assert [len(ids) + 2 for ids in ids_of(ours, golden().texts)] == golden().tokens


@settings(max_examples=300)
@given(st.lists(TEXTS, max_size=5))
def test_ids_are_the_hugging_face_tokenizers_without_padding_or_truncation(
    ours: Tokenizer, theirs: HuggingFaceTokenizer, texts: list[str]
) -> None:
    assert ids_of(ours, texts) == [raw_ids(theirs, text) for text in texts]


def test_ids_are_without_special_tokens_and_not_cut_at_128(ours: Tokenizer) -> None:
    (ids,) = ids_of(ours, ["word " * 1000])
    assert ids == [2773] * 1000


@settings(max_examples=1500)
@given(TEXTS, SHORT_PIECES)
@example("a [MASK] b [SEP]", 3)
@example("aaaa[MASK]bbbb", 4)
@example("x \u0301y", 1)
@example("狐\u3099狐\u0301", 1)
@example("狐狸狐狸", 1)
@example("un-believ-able!!\u0338", 2)
@example("[[[[MASK]]]]", 1)
@example("x" * 150 + "!" + "y" * 150, 5)
def test_a_text_read_in_pieces_has_the_ids_of_the_whole(
    ours: Tokenizer, theirs: HuggingFaceTokenizer, text: str, piece: int
) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "LONG_TEXT", 0)
        patch.setattr(module, "_PIECE", piece)
        assert ids_of(ours, [text]) == [raw_ids(theirs, text)]


@pytest.mark.parametrize("unit", ["word ", "狐", "!", "a,", "[", "[MASK]", "line\n", "a\u0301 "])
def test_a_long_text_is_really_read_in_pieces(ours: Tokenizer, theirs: HuggingFaceTokenizer, unit: str) -> None:
    text = unit * 40_000
    (content,) = ours.contents([text], 1000)
    assert not content.exact
    assert 1000 < len(content.ids) < 30_000
    assert content.ids.tolist() == raw_ids(theirs, unit * 20_000)[: len(content.ids)]


@given(st.lists(st.text("ab !狐[", max_size=30), max_size=12), st.integers(0, 40), st.integers(1, 60))
def test_texts_taken_some_at_a_time_keep_their_places(
    ours: Tokenizer, theirs: HuggingFaceTokenizer, texts: list[str], long_text: int, batch: int
) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "LONG_TEXT", long_text)
        patch.setattr(module, "_PIECE", 8)
        patch.setattr(module, "_BATCH", batch)
        assert ids_of(ours, texts) == [raw_ids(theirs, text) for text in texts]


@given(st.integers(0, 50), st.integers(1, 12))
def test_reading_stops_after_enough_and_says_so(ours: Tokenizer, enough: int, piece: int) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "LONG_TEXT", 0)
        patch.setattr(module, "_PIECE", piece)
        (content,) = ours.contents(["word " * 200], enough)
        assert not content.exact
        assert enough < len(content.ids) <= enough + piece
        assert set(content.ids.tolist()) == {2773}


def test_a_long_text_of_just_enough_is_exact(ours: Tokenizer) -> None:
    text = "word " * 20_000
    (exact,), (more,) = ours.contents([text], 20_000), ours.contents([text], 3_000)
    assert (len(exact.ids), exact.exact) == (20_000, True)
    assert 3_000 < len(more.ids) < 20_000
    assert more.exact is False


@pytest.mark.parametrize("text", ["a\ud800", "\udfff " * 20_000])
def test_a_lone_surrogate_is_refused_by_index(ours: Tokenizer, text: str) -> None:
    with pytest.raises(InvalidRequestError, match=r"input\[7\]") as caught:
        ours.contents(["fine", "fine 😀", text], 1000, first=5)
    assert caught.value.metadata == {"index": 7}


@pytest.mark.parametrize(
    ("ids", "content"),
    [
        ([], []),
        ([101, 102], []),
        ([101], []),
        ([102], []),
        ([2773], [2773]),
        ([101, 2773, 102], [2773]),
        ([101, 2773], [2773]),
        ([2773, 102], [2773]),
        ([101, 101, 2773, 102, 102], [101, 2773, 102]),
        ([102, 2773, 101], [102, 2773, 101]),
        ([0, 30521], [0, 30521]),
    ],
)
def test_ids_are_framed_once(ids: list[int], content: list[int]) -> None:
    found = content_of_ids(ids, 0)
    assert found.ids.tolist() == content
    assert found.ids.dtype == np.int32
    assert found.exact


@pytest.mark.parametrize("wrong", [-1, VOCABULARY, 1 << 31, 1 << 63, 1 << 100, -(1 << 100)])
def test_ids_outside_the_vocabulary_are_refused(wrong: int) -> None:
    with pytest.raises(InvalidRequestError, match=r"input\[3\].*30521") as caught:
        content_of_ids([101, wrong, 102], 3)
    assert caught.value.metadata == {"index": 3}


@given(st.lists(st.integers(0, VOCABULARY - 1), max_size=30))
def test_any_ids_of_the_vocabulary_pass_through(ids: list[int]) -> None:
    assert content_of_ids([101, *ids, 102], 0).ids.tolist() == ids
