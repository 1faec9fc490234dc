"""The real `openrouter` client's workspaces, guardrails and presets: it raises where a field is missing."""

import os
from collections.abc import Iterator

import pytest
from openrouter import OpenRouter, errors, operations
from openrouter.utils import BackoffStrategy, RetryConfig

from server import KEY, MANAGER, MODEL, Server

_NO_RETRIES = RetryConfig("none", BackoffStrategy(1, 1, 1.0, 1), retry_connection_errors=False)


@pytest.fixture
def manager(managed: Server) -> Iterator[OpenRouter]:
    with OpenRouter(api_key=MANAGER, server_url=managed.base, retry_config=_NO_RETRIES) as made:
        yield made


@pytest.fixture
def client(managed: Server) -> Iterator[OpenRouter]:
    with OpenRouter(api_key=KEY, server_url=managed.base, retry_config=_NO_RETRIES) as made:
        yield made


def test_workspaces_and_their_budgets(manager: OpenRouter) -> None:
    slug = f"sdk-{os.getpid()}"
    made = manager.workspaces.create(name="Of the SDK", slug=slug, io_logging_sampling_rate=0.5).data
    assert (made.slug, made.io_logging_sampling_rate) == (slug, 1.0)
    assert manager.workspaces.get(id=slug).data == made
    changed = manager.workspaces.update(id=made.id, description="changed", default_provider_sort="latency").data
    assert changed.description == "changed"
    page = manager.workspaces.list()
    assert page is not None
    assert changed in page.result.data
    budget = manager.workspaces.set_budget(workspace_ref=slug, interval="monthly", limit_usd=100)
    assert (budget.data.limit_usd, budget.include_byok_in_budgets) == (100, False)
    assert manager.workspaces.get_budget(workspace_ref=slug, interval="monthly").data == budget.data
    assert manager.workspaces.list_budgets(workspace_ref=slug).data == [budget.data]
    with pytest.raises(errors.BadRequestResponseError, match="must be less than"):
        manager.workspaces.set_budget(workspace_ref=slug, interval="daily", limit_usd=100)
    assert manager.workspaces.delete_budget(workspace_ref=slug, interval="monthly").DELETED is True
    members = manager.workspaces.list_members(id=slug)
    assert members is not None
    assert members.result.total_count == len(members.result.data)  # whoever uses the pages of this server
    with pytest.raises(errors.BadRequestResponseError, match="every user"):
        manager.workspaces.bulk_add_members(id=slug, user_ids=["user_1"])
    with pytest.raises(errors.BadRequestResponseError, match="every user"):
        manager.workspaces.bulk_remove_members(id=slug, user_ids=["user_1"])
    assert manager.workspaces.delete(id=slug).DELETED is True
    with pytest.raises(errors.NotFoundResponseError):
        manager.workspaces.get(id=slug)


def test_guardrails_and_their_keys(managed: Server, manager: OpenRouter) -> None:
    _, key = managed.new_key()
    made = manager.guardrails.create(
        name="Of the SDK", allowed_models=[MODEL], enforce_zdr_other=True, limit_usd=50, reset_interval="monthly"
    ).data
    assert (made.limit_usd, made.reset_interval, made.enforce_zdr_other) == (50, "monthly", True)
    assert manager.guardrails.get(id=made.id).data == made
    changed = manager.guardrails.update(id=made.id, description="changed", limit_usd=None).data
    assert (changed.description, changed.limit_usd) == ("changed", None)
    page = manager.guardrails.list()
    assert page is not None
    assert changed in page.result.data
    assert manager.guardrails.bulk_assign_keys(id=made.id, key_hashes=[key["hash"]]).assigned_count == 1
    of_one = manager.guardrails.list_guardrail_key_assignments(id=made.id)
    of_all = manager.guardrails.list_key_assignments()
    assert of_one is not None
    assert of_all is not None
    assert [one.key_hash for one in of_one.result.data] == [key["hash"]]
    assert of_one.result.data[0] in of_all.result.data
    for members in (
        manager.guardrails.list_member_assignments(),
        manager.guardrails.list_guardrail_member_assignments(id=made.id),
    ):
        assert members is not None
        assert members.result.data == []
    with pytest.raises(errors.BadRequestResponseError, match="API keys only"):
        manager.guardrails.bulk_assign_members(id=made.id, member_user_ids=["user_1"])
    assert manager.guardrails.bulk_unassign_keys(id=made.id, key_hashes=[key["hash"]]).unassigned_count == 1
    assert manager.guardrails.delete(id=made.id).DELETED is True
    with pytest.raises(errors.NotFoundResponseError):
        manager.guardrails.get(id=made.id)


def test_presets(managed: Server, client: OpenRouter) -> None:
    slug = f"sdk-{os.getpid()}"
    assert managed.manage("POST", f"/presets/{slug}", {"config": {"model": MODEL}}).status == 201
    made = client.presets.get(slug=slug).data
    assert made.designated_version is not None
    assert made.designated_version.config == {"model": MODEL}
    page = client.presets.list()
    assert page is not None
    assert slug in [one.slug for one in page.result.data]  # other files share the server
    versions = client.presets.list_versions(slug=slug)
    assert versions is not None
    assert versions.result.data == [made.designated_version]
    assert client.presets.get_version(slug=slug, version="1").data == made.designated_version
    assert client.embeddings.generate(model=f"@preset/{slug}", input="a text")
    with pytest.raises(errors.NotFoundResponseError):
        client.presets.get(slug="nothing")


def test_models_of_a_key_and_endpoints_without_retention(client: OpenRouter) -> None:
    page = client.models.list_for_user(security=operations.ListModelsUserSecurity(bearer=KEY))
    assert page is not None
    assert MODEL in [model.id for model in page.result.data]
    assert [endpoint.quantization for endpoint in client.endpoints.list_zdr_endpoints().data]


def test_refusals_are_typed(client: OpenRouter) -> None:
    for call in (client.workspaces.list, client.guardrails.list):
        with pytest.raises((errors.ForbiddenResponseError, errors.OpenRouterDefaultError)) as refused:
            call()
        assert refused.value.status_code == 403
