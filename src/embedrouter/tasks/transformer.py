"""Texts to vectors as a step of scikit-learn's pipelines."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Self, TypeAlias

import numpy as np
from numpy.typing import NDArray
from sklearn.base import BaseEstimator, ClassNamePrefixFeaturesOutMixin, TransformerMixin

from embedrouter.errors import InvalidRequestError
from embedrouter.tasks.adapters.choice import embed
from embedrouter.tasks.loaded import encoder_of
from embedrouter.tasks.vectors import Encoder, Vectors

Texts: TypeAlias = Sequence[str] | NDArray[Any]
"""A list, an array or a pandas Series."""


class EmbedTransformer(ClassNamePrefixFeaturesOutMixin, TransformerMixin, BaseEstimator):  # type: ignore[misc]
    """Embeds texts. There is nothing to learn: `fit` only checks.

    Copies share one loaded model; a pickle holds none, and loads it when it is first used again.
    """

    def __init__(
        self,
        encoder: Encoder | Path | str | None = None,
        *,
        truncate: bool | None = None,
        dimensions: int | None = None,
    ) -> None:
        """encoder: None for the built-in model, the folder of one, or an encoder of yours.

        truncate, dimensions: as of MiniLM.encode.
        """
        self.encoder = encoder
        self.truncate = truncate
        self.dimensions = dimensions

    def fit(self, X: Texts, y: object = None) -> Self:  # noqa: N803
        """Check the texts and the parameters. Raises InvalidRequestError."""
        _texts(X)
        most = encoder_of(self.encoder).dimensions
        if self.dimensions is not None and not 1 <= self.dimensions <= most:
            raise InvalidRequestError(f"dimensions must be 1 to {most}, not {self.dimensions}")
        return self

    def transform(self, X: Texts) -> Vectors:  # noqa: N803
        """Vectors (n, dimensions) float32 of length 1. Raises InvalidRequestError naming the item that is no text."""
        return embed(encoder_of(self.encoder), _texts(X), self.truncate, self.dimensions)

    @property
    def _n_features_out(self) -> int:
        return encoder_of(self.encoder).dimensions if self.dimensions is None else self.dimensions

    def __sklearn_is_fitted__(self) -> bool:
        return True

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.requires_fit = False
        tags.input_tags.two_d_array = False
        tags.input_tags.one_d_array = True
        tags.input_tags.string = True
        tags.transformer_tags.preserves_dtype = []
        return tags

    def __sklearn_clone__(self) -> "EmbedTransformer":
        return type(self)(**self.get_params(deep=False))

    def __getstate__(self) -> dict[str, Any]:
        """Of a loaded model, its folder."""
        from embedrouter.minilm import MiniLM

        state: dict[str, Any] = dict(super().__getstate__())
        if isinstance(self.encoder, MiniLM):
            state["encoder"] = str(self.encoder.weights.folder)
        return state


def _texts(given: Texts) -> list[str]:
    """The items of a list, an array or a column. Raises InvalidRequestError."""
    if isinstance(given, str):
        raise InvalidRequestError("one text was given where a list of texts is expected; put it into a list")
    shape = np.shape(given)
    if len(shape) == 2 and shape[1] == 1:
        given = np.asarray(given)[:, 0]
    elif len(shape) != 1:
        raise InvalidRequestError(f"a list or one column of texts is expected, not of the shape {shape}")
    texts = list(given)
    for index, text in enumerate(texts):
        if not isinstance(text, str) or not text.strip():
            raise InvalidRequestError(f"item {index} is {'empty' if isinstance(text, str) else 'not a text'}")
    return texts
