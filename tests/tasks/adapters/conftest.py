"""None of these libraries may call home from a test, and all of them share one model."""

import os

import pytest

from embedrouter.minilm import MiniLM
from embedrouter.tasks import loaded

os.environ |= {"ANONYMIZED_TELEMETRY": "False", "HAYSTACK_TELEMETRY_ENABLED": "False", "LANGSMITH_TRACING": "false"}


@pytest.fixture
def folder(model: MiniLM, monkeypatch: pytest.MonkeyPatch) -> str:
    """Of the session's model, which is not loaded a second time."""
    monkeypatch.setattr(loaded, "_loaded", lambda _: model)
    return str(model.weights.folder)
