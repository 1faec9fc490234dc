"""Models by name: each folder's is loaded once a process, so that what names one can be copied and pickled."""

import threading
from functools import cache
from pathlib import Path
from typing import Final

from embedrouter.tasks.vectors import Encoder, default_encoder

_LOADING: Final = threading.Lock()


def encoder_of(given: Encoder | Path | str | None) -> Encoder:
    """The encoder itself, that of a folder with model.safetensors and tokenizer.json, or the built-in model."""
    if given is None:
        return default_encoder()
    if isinstance(given, Path | str):
        with _LOADING:
            return _loaded(str(given))
    return given


@cache
def _loaded(folder: str) -> Encoder:
    from embedrouter.minilm import MiniLM

    return MiniLM(folder, report=lambda _: None)
