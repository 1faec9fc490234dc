"""/dashboard/routing: what is set by page holds for real requests."""

import pytest

from security.people import Browser
from server import MODEL
from web.desk import HOSTILE, alert, desk, went_to, wrong_fields

_HOME = "/dashboard/routing"


@pytest.fixture(scope="module")
def admin() -> Browser:
    return desk()


@pytest.fixture(scope="module")
def workspace(admin: Browser) -> str:
    """The default one's id."""
    found: str = admin.server.manage("GET", "/workspaces").json()["data"][0]["id"]
    return found


def test_a_preset_made_by_page_is_used_by_a_real_request(admin: Browser, workspace: str) -> None:
    fields = {"workspace": workspace, "slug": "by-page", "name": HOSTILE}
    wrong = admin.form(f"{_HOME}/presets", **fields, config='{"provider": {"sort": "pricey"}}')
    assert (wrong.status, wrong_fields(wrong)) == (400, ["config"])
    assert wrong_fields(admin.form(f"{_HOME}/presets", **fields, config="{")) == ["config"]
    path = went_to(admin.form(f"{_HOME}/presets", **fields, config=f'{{"model": "{MODEL}"}}'))
    assert admin.server.embed("a text", model="@preset/by-page").status == 200
    went_to(admin.form(f"{_HOME}/presets", **fields, config='{"provider": {"only": ["builtin"]}}'))
    page = admin.get(path).body.decode()
    assert "Version 2, which counts" in page
    assert "<script>alert" not in page + admin.get(_HOME).body.decode()
    assert admin.get("/dashboard/routing/presets/by-page/delete").status == 200
    went_to(admin.form("/dashboard/routing/presets/by-page/delete", workspace=workspace))
    assert admin.server.embed("a text", model=f"{MODEL}@preset/by-page").status == 404


def test_a_guardrail_made_by_page_holds_for_the_key_that_gets_it(admin: Browser, workspace: str) -> None:
    secret, key = admin.server.new_key(name=HOSTILE)
    answer = admin.form(f"{_HOME}/guardrails", workspace=workspace, name="no minilm", ignored_models="no/such")
    assert (answer.status, wrong_fields(answer)) == (400, ["ignored_models"])
    fields = {"name": "no minilm", "limit_usd": "5", "reset_interval": "monthly", "rules": '{"enforce_zdr": true}'}
    path = went_to(admin.form(f"{_HOME}/guardrails", workspace=workspace, **fields, ignored_models=MODEL))

    def ask() -> int:
        return admin.server.request(
            "POST", "/api/v1/embeddings", {"model": MODEL, "input": "a text"}, key=secret
        ).status

    assert ask() == 200
    went_to(admin.form(f"{path}/keys", key_hashes=key["hash"]))
    assert ask() == 403
    assert "<script>alert" not in admin.get(path).body.decode()
    went_to(admin.form(path, **{**fields, "rules": ""}))
    id_ = path.rpartition("/")[2]
    told = admin.server.manage("GET", f"/guardrails/{id_}").json()["data"]
    assert (told["ignored_models"], told["enforce_zdr"], told["limit_usd"]) == (None, None, 5)
    assert ask() == 200
    went_to(admin.form(f"{path}/keys", action="remove", key_hashes=key["hash"]))
    assert admin.server.manage("GET", f"/guardrails/{id_}/assignments/keys").json()["total_count"] == 0
    assert admin.form(f"{path}/keys").status == 400
    went_to(admin.form(f"{path}/delete"))
    assert admin.get(path).status == 404


def test_the_default_sort_and_budgets_are_set_by_page(admin: Browser, workspace: str) -> None:
    went_to(admin.form(_HOME, workspace=workspace, default_provider_sort="latency"))
    api = admin.server.manage
    assert api("GET", f"/workspaces/{workspace}").json()["data"]["default_provider_sort"] == "latency"
    went_to(admin.form(_HOME, workspace=workspace, default_provider_sort=""))
    assert api("GET", f"/workspaces/{workspace}").json()["data"]["default_provider_sort"] is None
    assert admin.form(_HOME, workspace=workspace, default_provider_sort="luck").status == 400
    went_to(admin.form(f"{_HOME}/budgets", workspace=workspace, interval="weekly", limit_usd="70"))
    more = admin.form(f"{_HOME}/budgets", workspace=workspace, interval="daily", limit_usd="80")
    assert (more.status, wrong_fields(more)) == (400, ["limit_usd"])
    assert "must be less" in alert(more)
    for wrong in ("-1", "nan", "inf", "much"):
        assert admin.form(f"{_HOME}/budgets", workspace=workspace, interval="daily", limit_usd=wrong).status == 400
    went_to(admin.form(f"{_HOME}/budgets", workspace=workspace, interval="weekly", limit_usd=""))
    assert api("GET", f"/workspaces/{workspace}/budgets").json()["data"] == []


def test_a_default_guardrail_is_configured_by_its_first_change(admin: Browser) -> None:
    made = admin.server.manage("POST", "/workspaces", {"name": "guarded", "slug": "guarded"}).json()["data"]
    path = f"{_HOME}/guardrails/{made['default_guardrail_id']}"
    assert "Default guardrail of guarded" in admin.get(path).body.decode()
    went_to(admin.form(path, allowed_providers="builtin", rules='{"enable_paid_model_training": false}'))
    told = admin.server.manage("GET", f"/guardrails/{made['default_guardrail_id']}").json()["data"]
    assert (told["allowed_providers"], told["enable_paid_model_training"]) == (["builtin"], False)
    assert 'did you mean "enforce_zdr"' in alert(admin.form(path, rules='{"enforce_zdrr": true}'))
    assert wrong_fields(admin.form(path, rules='{"enforce_zdr": "yes"}')) == ["rules"]
    assert wrong_fields(admin.form(path, rules="[1]")) == ["rules"]
    admin.server.manage("DELETE", f"/workspaces/{made['id']}")
