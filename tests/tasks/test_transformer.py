"""The transformer among scikit-learn's own parts."""

import pickle
from collections.abc import Callable

import numpy as np
import pandas as pd
import pytest
from sklearn.base import clone
from sklearn.compose import ColumnTransformer
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.utils import estimator_checks

from embedrouter.errors import InvalidRequestError
from embedrouter.minilm import MiniLM
from embedrouter.tasks.transformer import EmbedTransformer

FOOD = ["Fresh bread with butter", "A bowl of vegetable soup", "Rice and beans for lunch", "An apple pie in the oven"]
SPORT = ["The team won the cup", "She ran the marathon", "A goal in the last minute", "They play tennis on Sundays"]
TEXTS = FOOD + SPORT
KINDS = ["food"] * 4 + ["sport"] * 4


def test_vectors_are_the_models(model: MiniLM) -> None:
    found = EmbedTransformer(model).fit_transform(TEXTS)
    np.testing.assert_array_equal(found, model.encode(TEXTS))
    shorter = EmbedTransformer(model, dimensions=32, truncate=True).fit(TEXTS).transform(np.array(TEXTS))
    np.testing.assert_array_equal(shorter, model.encode(TEXTS, dimensions=32, truncate=True))


def test_a_search_over_a_pipeline_finds_the_better_parameters(model: MiniLM) -> None:
    steps = Pipeline([("embed", EmbedTransformer(model)), ("decide", LogisticRegression())])
    search = GridSearchCV(steps, {"embed__dimensions": [1, 384], "decide__C": [1.0, 10.0]}, cv=4)
    search.fit(TEXTS, KINDS)
    assert search.best_params_["embed__dimensions"] == 384
    assert search.predict(["Soup with bread", "The football cup"]).tolist() == ["food", "sport"]


def test_a_copy_shares_the_model_and_a_pickle_holds_none(model: MiniLM) -> None:
    made = EmbedTransformer(model, dimensions=64)
    copy = clone(made)
    assert copy.encoder is model
    assert copy.get_params() == made.get_params()
    pickled = pickle.dumps(made)
    assert len(pickled) < 1000
    again = pickle.loads(pickled)
    assert again.get_params() == {"encoder": str(model.weights.folder), "truncate": None, "dimensions": 64}
    np.testing.assert_array_equal(again.transform(FOOD), made.transform(FOOD))


def test_output_as_a_table(model: MiniLM) -> None:
    frame = pd.DataFrame({"text": TEXTS, "length": [len(text) for text in TEXTS]}, index=range(10, 18))
    made = EmbedTransformer(model, dimensions=3).set_output(transform="pandas")
    table = made.fit_transform(frame["text"])
    assert list(table.columns) == ["embedtransformer0", "embedtransformer1", "embedtransformer2"]
    assert list(table.index) == list(frame.index)
    both = ColumnTransformer([("text", EmbedTransformer(model), "text"), ("length", "passthrough", ["length"])])
    assert both.fit_transform(frame).shape == (8, 385)
    assert make_pipeline(both).get_feature_names_out()[-1] == "length__length"


def test_what_is_no_text_is_named(model: MiniLM) -> None:
    made = EmbedTransformer(model)
    with pytest.raises(InvalidRequestError, match="item 1 is not a text"):
        made.fit(pd.Series(["a", None]))
    with pytest.raises(InvalidRequestError, match="item 0 is empty"):
        made.transform([" "])
    with pytest.raises(InvalidRequestError, match=r"shape \(2, 2\)"):
        made.fit(np.array([["a", "b"], ["c", "d"]]))
    with pytest.raises(InvalidRequestError, match="put it into a list"):
        made.fit("one text")
    with pytest.raises(InvalidRequestError, match="dimensions must be 1 to 384, not 500"):
        EmbedTransformer(model, dimensions=500).fit(TEXTS)


@pytest.mark.parametrize(
    "check",
    [
        estimator_checks.check_valid_tag_types,
        estimator_checks.check_estimator_cloneable,
        estimator_checks.check_estimator_repr,
        estimator_checks.check_estimator_tags_renamed,
        estimator_checks.check_get_params_invariance,
        estimator_checks.check_mixin_order,
        estimator_checks.check_no_attributes_set_in_init,
        estimator_checks.check_parameters_default_constructible,
        estimator_checks.check_set_params,
    ],
)
def test_scikit_learns_own_checks_that_bring_no_numbers_pass(check: Callable[[str, EmbedTransformer], None]) -> None:
    check("EmbedTransformer", EmbedTransformer())
