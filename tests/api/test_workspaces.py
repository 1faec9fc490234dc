"""/workspaces and their budgets, on SQLite and PostgreSQL."""

import re

import pytest

from api.rules import slug, told, workspace
from server import MODEL, PICO_PER_TOKEN, Server

_FIELDS = {
    "id", "name", "slug", "description", "default_text_model", "default_image_model", "default_provider_sort",
    "default_guardrail_id", "include_byok_in_budgets", "io_logging_api_key_ids", "io_logging_sampling_rate",
    "is_data_discount_logging_enabled", "is_observability_broadcast_enabled", "is_observability_io_logging_enabled",
    "created_at", "created_by", "updated_at", "in_rankings",
}  # fmt: skip


def test_a_workspace_is_made_found_by_id_and_slug_changed_listed_and_deleted(kept: Server) -> None:
    made = workspace(kept, description="of\na test", default_provider_sort="price")
    assert set(made) == _FIELDS
    assert made["updated_at"] is None
    assert made["default_provider_sort"] == "price"
    for ref in (made["id"], made["slug"]):
        assert told(kept, f"/workspaces/{ref}") == made
    name = slug()
    changed = told(kept, f"/workspaces/{made['slug']}", "PATCH", {"slug": name, "default_provider_sort": None})
    assert changed == {**made, "slug": name, "default_provider_sort": None, "updated_at": changed["updated_at"]}
    listed = kept.manage("GET", "/workspaces?limit=100").json()
    assert changed in listed["data"]
    assert listed["data"][0]["slug"] == "default"
    assert listed["total_count"] >= 2
    assert kept.manage("DELETE", f"/workspaces/{name}").json() == {"deleted": True}
    kept.manage("GET", f"/workspaces/{made['id']}").error(404, "not_found")


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({"name": "x"}, "slug"),
        ({"name": "x", "slug": "Upper"}, "slug"),
        ({"name": "x", "slug": "a--b"}, "slug"),
        ({"name": "x", "slug": "a-line\n"}, "slug"),
        ({"name": "x", "slug": "default"}, "slug"),
        ({"name": "x", "slug": "00000000-0000-4000-8000-000000000009"}, "slug"),
        ({"name": "", "slug": "free-slug"}, "name"),
        ({"name": "a\u0000b", "slug": "free-slug"}, "name"),
        ({"name": "x", "slug": "free-slug", "default_provider_sort": "exacto"}, "default_provider_sort"),
        ({"name": "x", "slug": "free-slug", "description": "y" * 501}, "description"),
    ],
)
def test_a_wrong_field_is_named(kept: Server, body: dict[str, object], field: str) -> None:
    error = kept.manage("POST", "/workspaces", body).error(400, "invalid_request")
    assert error["message"].startswith(f"{field}:"), error
    assert error["metadata"]["field"] == field


@pytest.mark.parametrize("ref", ["nothing", "%00", "%F0%9F%98%80", "x" * 300])
def test_what_is_not_there_is_not_found(kept: Server, ref: str) -> None:
    for method, path, body in (
        ("GET", "", None),
        ("PATCH", "", {}),
        ("DELETE", "", None),
        ("GET", "/budgets", None),
        ("GET", "/budgets/daily", None),
        ("PUT", "/budgets/daily", {"limit_usd": 1}),
        ("DELETE", "/budgets/daily", None),
        ("GET", "/members", None),
    ):
        kept.manage(method, f"/workspaces/{ref}{path}", body).error(404, "not_found")


def test_a_key_works_in_a_new_workspace_at_once_and_keeps_it_from_being_deleted(kept: Server) -> None:
    of = workspace(kept)
    secret, item = kept.new_key(workspace_id=of["id"])
    body = {"model": MODEL, "input": "in a new workspace"}
    assert kept.request("POST", "/api/v1/embeddings", body, key=secret).status == 200
    refused = kept.manage("DELETE", f"/workspaces/{of['slug']}").error(400, "invalid_request")
    assert "has 1 API keys" in refused["message"]
    kept.manage("DELETE", f"/keys/{item['hash']}")
    assert kept.manage("DELETE", f"/workspaces/{of['slug']}").status == 200
    kept.request("POST", "/api/v1/embeddings", body, key=secret).error(401, "authentication")


def test_the_default_workspace_stays(kept: Server) -> None:
    kept.manage("DELETE", "/workspaces/default").error(403, "permission_denied")


def test_a_budget_is_set_shown_raised_and_deleted(kept: Server) -> None:
    path = f"/workspaces/{workspace(kept)['slug']}/budgets"
    put = kept.manage("PUT", f"{path}/monthly", {"limit_usd": 500, "include_byok_in_budgets": True}).json()
    made = put["data"]
    assert put["include_byok_in_budgets"] is True
    assert (made["limit_usd"], made["reset_interval"], made["spend_usd"]) == (500.0, "monthly", 0.0)
    assert re.fullmatch(r"[0-9a-f-]{36}", made["id"])
    raised = told(kept, f"{path}/monthly", "PUT", {"limit_usd": 600.5})
    assert raised == {**made, "limit_usd": 600.5, "remaining_usd": 600.5, "updated_at": raised["updated_at"]}
    assert raised["updated_at"] >= made["updated_at"]
    life = told(kept, f"{path}/lifetime", "PUT", {"limit_usd": 5000})
    assert life["reset_interval"] is None
    assert kept.manage("GET", path).json() == {"data": [raised, life], "include_byok_in_budgets": True}
    for _ in range(2):  # also where there is none
        assert kept.manage("DELETE", f"{path}/monthly").json() == {"deleted": True}
    kept.manage("GET", f"{path}/monthly").error(404, "not_found")


def test_a_wrong_budget_is_refused(kept: Server) -> None:
    path = f"/workspaces/{workspace(kept)['slug']}/budgets"
    for body in ({}, {"limit_usd": 0}, {"limit_usd": -1}, {"limit_usd": "5"}, {"limit_usd": 1e12}):
        kept.manage("PUT", f"{path}/daily", body).error(400, "invalid_request")
    refused = kept.manage("PUT", f"{path}/hourly", {"limit_usd": 1}).error(400, "invalid_request")
    assert refused["message"].startswith("interval: must be one of daily, weekly, monthly, lifetime")
    told(kept, f"{path}/weekly", "PUT", {"limit_usd": 10})
    refused = kept.manage("PUT", f"{path}/daily", {"limit_usd": 10}).error(400, "invalid_request")
    assert refused["message"] == (
        "limit_usd: the daily budget ($10.00) must be less than the weekly one ($10.00)"
    )  # fmt: skip


def test_a_used_up_budget_refuses_with_403_and_names_itself(kept: Server) -> None:
    of = workspace(kept)
    secret, _ = kept.new_key(workspace_id=of["id"])
    body = {"model": MODEL, "input": "paid by a workspace"}
    first = kept.request("POST", "/api/v1/embeddings", body, key=secret)
    cost = first.tokens() * PICO_PER_TOKEN / 1e12
    told(kept, f"/workspaces/{of['slug']}/budgets/monthly", "PUT", {"limit_usd": cost * 2})
    assert kept.request("POST", "/api/v1/embeddings", body, key=secret).status == 200
    error = kept.request("POST", "/api/v1/embeddings", body, key=secret).error(403, "permission_denied")
    assert error["message"].startswith(f"Workspace monthly budget of ${2 * cost:.9f}".rstrip("0"))
    assert error["metadata"]["limit"] == "budget"
    found = told(kept, f"/workspaces/{of['slug']}/budgets/monthly")
    assert (found["spend_usd"], found["remaining_usd"]) == (pytest.approx(2 * cost), 0.0)


def test_everybody_is_a_member_and_nobody_is_added(kept: Server) -> None:
    path = f"/workspaces/{workspace(kept)['slug']}/members"
    assert kept.manage("GET", path).json() == {"data": [], "total_count": 0}
    for what in ("add", "remove"):
        refused = kept.manage("POST", f"{path}/{what}", {"user_ids": ["x"]}).error(400, "invalid_request")
        assert "every user of this server belongs to every workspace" in refused["message"]
