"""The real `openrouter` client 1.3 manages providers' credentials and private endpoints."""

from collections.abc import Iterator
from typing import Any

import pytest
from openrouter import OpenRouter, errors

from conformance.test_openrouter import _client, manager
from deployment import CATALOG, Deployment, deployment
from embedrouter.accounts.first import WORKSPACE
from server import MANAGER, MODEL, serving

__all__ = ["manager"]


@pytest.fixture(scope="module")
def upstream() -> Iterator[Deployment]:
    with deployment() as started:
        yield started


@pytest.fixture(scope="module")
def owner(tmp_path_factory: pytest.TempPathFactory) -> Iterator[OpenRouter]:
    """Manages a server whose catalog has the provider `own`, with a credential of it."""
    folder = tmp_path_factory.mktemp("owner")
    (folder / "catalog.toml").write_text(CATALOG)
    with (
        serving(folder, management_key=MANAGER, catalog=folder / "catalog.toml") as server,
        _client(server, MANAGER) as made,
    ):
        assert server.manage("POST", "/byok", {"provider": "own", "key": "sk-0123456789abcdef"}).status == 201
        yield made


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


def _told(upstream: Deployment, **fields: Any) -> dict[str, Any]:
    return {
        "model_permaslug": f"{MODEL}-20251117",
        "provider_slug": "own",
        "upstream_model_id": "all-minilm-l6-v2",
        "base_url": upstream.url,
        **fields,
    }


def test_it_manages_private_endpoints(owner: OpenRouter, upstream: Deployment) -> None:
    calls = owner.private_endpoints
    told = _told(upstream, declared_zdr=True, idempotency_key="one")
    made: Any = calls.create(**told).data
    assert (made.status, made.model_slug, made.provider_name, made.declared_zdr) == ("draft", MODEL, "Our own", True)
    assert calls.create(**told).data.id == made.id
    with pytest.raises(errors.UnprocessableEntity) as reused:
        calls.create(**{**told, "upstream_model_id": "another"})
    assert "idempotency_key_reused" in reused.value.body
    draft: Any = calls.update(id=made.id, upstream_model_id="sentence-transformers/all-minilm-l6-v2").data
    assert (draft.base_url, draft.declared_zdr) == (upstream.url, None)
    with pytest.raises(errors.ConflictResponseError):
        calls.activate(id=made.id)
    found: Any = calls.validate(id=made.id, workspace_id=WORKSPACE).data
    assert found.passed
    assert calls.activate(id=made.id).data.status == "active"
    priced: Any = calls.update_pricing(id=made.id, pricing={"prompt": "0.00000001", "completion": "0"}).data
    assert priced.pricing.prompt == "0.00000001"
    assert calls.disable(id=made.id).data.status == "disabled"
    assert calls.enable(id=made.id).data.status == "active"
    assert calls.get(id=made.id).data == priced
    assert made.id in [one.id for one in calls.list().data]
    with pytest.raises(errors.ConflictResponseError):
        calls.delete(id=made.id, draft_only="true")
    assert calls.delete(id=made.id).data.id == made.id
    with pytest.raises(errors.NotFoundResponseError):
        calls.get(id=made.id)


def test_it_gets_the_draft_and_the_checks_when_activation_at_once_fails(
    owner: OpenRouter, upstream: Deployment
) -> None:
    told = _told(upstream, activate={"workspace_id": WORKSPACE})
    assert owner.private_endpoints.create(**told).data.status == "active"
    upstream.answers["dimensions"] = 3
    with pytest.raises(errors.UnprocessableEntity) as failed:
        owner.private_endpoints.create(**told)
    data: Any = failed.value.data
    assert data.data.endpoint.status == "draft"
    assert [check.reason for check in data.data.validation.checks if not check.passed] == ["invalid_response"]
