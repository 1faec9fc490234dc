"""/dashboard/credentials: what is kept, who sees it, and that a secret is on no page."""

import re
from collections.abc import Iterator

import pytest

from security.people import Browser
from web.desk import HOSTILE, alert, desk, went_to, wrong_fields

_HOME = "/dashboard/credentials"
_SECRET = "sk-never-to-be-seen-0123456789"
_NOBODY = "11111111-2222-3333-4444-555555555555"


@pytest.fixture(scope="module")
def admin() -> Browser:
    return desk()


@pytest.fixture
def member(admin: Browser) -> Browser:
    return admin.invites()


@pytest.fixture(autouse=True)
def as_it_was(admin: Browser) -> Iterator[None]:
    yield
    for kind in ("byok", "private-endpoints"):
        for one in admin.server.manage("GET", f"/{kind}").json()["data"]:
            assert admin.server.manage("DELETE", f"/{kind}/{one['id']}").status == 200


def _add(admin: Browser, **fields: str) -> str:
    """Its id."""
    before = {one["id"] for one in admin.server.manage("GET", "/byok").json()["data"]}
    went_to(admin.form(_HOME, **{"provider": "openai", "key": _SECRET, **fields}))
    (made,) = [one["id"] for one in admin.server.manage("GET", "/byok").json()["data"] if one["id"] not in before]
    return str(made)


def test_a_credential_is_kept_as_the_form_says_and_shown_nowhere(admin: Browser) -> None:
    id_ = _add(
        admin, name=HOSTILE, is_fallback="true", declared_zdr="true", allowed_models="openai/text-embedding-3-small"
    )
    one = admin.server.manage("GET", f"/byok/{id_}").json()["data"]
    assert (one["provider"], one["name"], one["is_fallback"], one["declared_zdr"]) == ("openai", HOSTILE, True, True)
    assert one["allowed_models"] == ["openai/text-embedding-3-small"]
    for path in (_HOME, f"{_HOME}/{id_}", f"{_HOME}/{id_}/delete", "/dashboard/catalog", "/dashboard/settings"):
        body = admin.get(path).body.decode()
        assert _SECRET not in body
        assert "<script>alert" not in body
    page = admin.get(_HOME).body.decode()
    assert one["label"] in page
    assert "&lt;script&gt;alert(1)" in page
    assert _SECRET not in admin.server.output()


def test_a_wrong_credential_is_told_at_its_field_and_the_secret_is_not_repeated(admin: Browser) -> None:
    answer = admin.form(_HOME, provider="opanai", key=_SECRET, name="mine")
    assert answer.status == 400
    assert 'did you mean "openai"' in alert(answer)
    assert wrong_fields(answer) == ["provider"]
    assert _SECRET not in answer.body.decode()
    assert 'value="mine"' in answer.body.decode()
    assert admin.form(_HOME, provider="openai", key="").status == 400
    assert admin.form(_HOME, provider="openai", key=_SECRET, declared_zdr="maybe").status == 400
    both = admin.form(_HOME, provider="openai", key=_SECRET, is_fallback="true", is_byok_only="true")
    assert "fallback" in alert(both)
    assert admin.server.manage("GET", "/byok").json()["total_count"] == 0


def test_credentials_are_reordered_disabled_and_changed_without_the_secret(admin: Browser) -> None:
    first, second = _add(admin, name="first"), _add(admin, name="second")

    def order() -> list[str]:
        return [one["id"] for one in admin.server.manage("GET", "/byok?provider=openai").json()["data"]]

    assert order() == [first, second]
    went_to(admin.form(f"{_HOME}/{second}/do", action="earlier"))
    assert order() == [second, first]
    went_to(admin.form(f"{_HOME}/{second}/do", action="later"))
    went_to(admin.form(f"{_HOME}/{second}/do", action="later"))
    assert order() == [first, second]
    went_to(admin.form(f"{_HOME}/{first}/do", action="disable"))
    assert admin.server.manage("GET", f"/byok/{first}").json()["data"]["disabled"]
    label = admin.server.manage("GET", f"/byok/{first}").json()["data"]["label"]
    went_to(admin.form(f"{_HOME}/{first}", name="other", key=""))
    changed = admin.server.manage("GET", f"/byok/{first}").json()["data"]
    assert (changed["name"], changed["label"], changed["disabled"]) == ("other", label, True)
    went_to(admin.form(f"{_HOME}/{first}", name="other", key="another-secret-of-enough-length"))
    assert admin.server.manage("GET", f"/byok/{first}").json()["data"]["label"] != label
    assert admin.form(f"{_HOME}/{first}/do", action="burn").status == 400
    assert admin.form(f"{_HOME}/{_NOBODY}/do", action="disable").status == 404


def test_a_credential_is_deleted_after_a_question(admin: Browser) -> None:
    id_ = _add(admin)
    asked = admin.get(f"{_HOME}/{id_}/delete").body.decode()
    assert f'action="{_HOME}/{id_}/delete"' in asked
    assert admin.server.manage("GET", f"/byok/{id_}").status == 200
    assert went_to(admin.form(f"{_HOME}/{id_}/delete")) == _HOME
    assert admin.server.manage("GET", f"/byok/{id_}").status == 404
    assert admin.form(f"{_HOME}/{id_}/delete").status == 404


def test_members_see_who_can_be_asked_and_no_more(admin: Browser, member: Browser) -> None:
    id_ = _add(admin, name="a-name-of-it")
    label = admin.server.manage("GET", f"/byok/{id_}").json()["data"]["label"]
    page = member.get(_HOME)
    assert page.status == 200
    text = page.body.decode()
    assert "1 stored" in text
    for hidden in (label, "a-name-of-it", id_, _SECRET, "<form method"):
        assert hidden not in text.partition("<main")[2].partition("</main>")[0]
    assert member.get(f"{_HOME}/{id_}").status == 403
    assert member.form(f"{_HOME}/{id_}/delete").status == 403
    assert admin.server.manage("GET", f"/byok/{id_}").status == 200


def test_other_sites_forms_change_nothing(admin: Browser) -> None:
    id_ = _add(admin)
    admin.site = {"Sec-Fetch-Site": "cross-site"}
    try:
        for path in (_HOME, f"{_HOME}/{id_}", f"{_HOME}/{id_}/do", f"{_HOME}/{id_}/delete"):
            assert admin.form(path, provider="openai", key=_SECRET, action="disable").status == 403
    finally:
        admin.site = {"Sec-Fetch-Site": "same-origin"}
    assert not admin.server.manage("GET", f"/byok/{id_}").json()["data"]["disabled"]


def test_a_private_endpoint_goes_from_the_draft_to_what_its_validation_found(admin: Browser) -> None:
    fields = {
        "model_permaslug": "sentence-transformers/all-minilm-l6-v2",
        "provider_slug": "openai",
        "upstream_model_id": HOSTILE,
        "base_url": "https://embeddings.invalid/v1",
        "pricing.prompt": "0.00000002",
    }
    refused = admin.form(f"{_HOME}/endpoints", **{**fields, "base_url": "http://127.0.0.1/v1"})
    assert refused.status == 400
    assert wrong_fields(refused) == ["base_url"]
    path = went_to(admin.form(f"{_HOME}/endpoints", **fields))
    page = admin.get(path).body.decode()
    assert "<script>alert" not in page
    assert re.search(r'value="activate" disabled', page)
    assert "validated" in alert(admin.form(path, action="activate"))
    workspace = admin.server.manage("GET", "/workspaces").json()["data"][0]["id"]
    went_to(admin.form(path, action="validate", workspace_id=workspace))
    assert "no_byok_key" in admin.get(path).body.decode()
    went_to(admin.form(path, action="price", **{"pricing.prompt": "0.00000003"}))
    assert 'value="0.00000003"' in admin.get(path).body.decode()
    wrong = admin.form(path, action="price", **{"pricing.prompt": "cheap"})
    assert wrong_fields(wrong) == ["pricing.prompt"]
    assert admin.get(f"{path}/delete").status == 200
    assert went_to(admin.form(f"{path}/delete")) == _HOME
    assert admin.get(path).status == 404
