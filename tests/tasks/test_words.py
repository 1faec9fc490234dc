"""The words that name a group."""

import numpy as np
import pytest

from embedrouter.tasks.words import distinguishing, title, words_of

BREAD = ["The bread rises in the oven", "Bread and butter, baked in an oven", "A baker bakes breads in her oven"]
ROADS = ["The road was closed for cars", "Cars drive on the road to town", "A car on an icy road"]


def test_words_are_those_many_of_the_group_and_few_others_have() -> None:
    bread, roads = distinguishing([*BREAD, *ROADS], np.array([0, 0, 0, 1, 1, 1]))
    assert bread[:2] == ["oven", "bread"]
    assert roads[0] == "road"
    assert "the" not in bread + roads


def test_of_two_forms_of_a_word_one_is_named() -> None:
    (words,) = distinguishing(["hint hints", "hint hints", "hint hints typing"], np.zeros(3, np.int64))
    assert words == ["hint"]


def test_a_word_that_everybody_has_says_nothing() -> None:
    texts = [f"python {word}" for word in ("types", "types", "wheels", "wheels")]
    assert distinguishing(texts, np.array([0, 0, 1, 1])) == [["types"], ["wheels"]]


def test_items_of_no_group_are_among_the_others() -> None:
    texts = ["python types", "python types", "python", "python"]
    assert distinguishing(texts, np.array([0, 0, -1, -1])) == [["types"]]


def test_the_same_words_whatever_the_order_python_keeps_sets_in() -> None:
    tied = ["delta alpha", "alpha delta", "omega"]
    assert distinguishing(tied, np.array([0, 0, -1])) == [["alpha", "delta"]]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("L’Été n'est pas fini", {"l'été", "n'est", "fini"}),
        ("Die Größe der Bäume", {"größe", "bäume"}),
        ("हिन्दी में कविता", {"हिन्दी", "कविता"}),
        ("Η θάλασσα είναι μπλε", {"θάλασσα", "μπλε"}),
        ("Это зелёное дерево", {"зелёное", "дерево"}),
        ("机器学习", {"机器", "器学", "学习"}),
        ("カメラを買う", {"カメラ", "買"}),
        ("PEP 484: x_name, py3k, 3.14, type-hints", {"pep", "name", "py3k", "type-hints"}),
        ("", set()),
    ],
)
def test_words_of_many_languages(text: str, expected: set[str]) -> None:
    assert words_of(text) == expected


def test_titles() -> None:
    assert title(["a", "b", "c", "d", "e"], "central", 0) == "a, b, c, d"
    assert title([], "To be\nor not", 0) == "To be or not"
    assert title([], "word " * 100, 0) == "word " * 11 + "word…"
    assert title([], "", 7) == "cluster 7"
