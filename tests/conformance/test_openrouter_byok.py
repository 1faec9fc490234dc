"""The real `openrouter` client 1.3 manages providers' credentials."""

from typing import Any

import pytest
from openrouter import OpenRouter, errors

from conformance.test_openrouter import manager
from server import MODEL

__all__ = ["manager"]


def test_it_manages_credentials(manager: OpenRouter) -> None:
    made: Any = manager.byok.create(provider="openai", key="sk-proj-0123456789abcdef", name="Production").data
    assert (made.label, made.provider, made.name) == ("sk-...cdef", "openai", "Production")
    assert manager.byok.get(id=made.id).data == made
    changed: Any = manager.byok.update(id=made.id, allowed_models=[MODEL], name=None, key="new-secret-0123456789").data
    assert (changed.label, changed.name, changed.allowed_models) == ("new...6789", None, [MODEL])
    listed: Any = manager.byok.list(provider="openai", limit=100)
    while not hasattr(listed, "data"):
        listed = listed.result
    assert changed in listed.data
    manager.byok.delete(id=made.id)
    with pytest.raises(errors.NotFoundResponseError):
        manager.byok.get(id=made.id)
    with pytest.raises(errors.BadRequestResponseError, match="groq"):
        manager.byok.create(provider="groq", key="sk-proj-0123456789abcdef")
