"""The API against its own OpenAPI document: Schemathesis makes requests of it, right ones and wrong ones."""

from typing import Any

import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from schemathesis import Case, GenerationMode
from schemathesis.checks import (
    content_type_conformance,
    not_a_server_error,
    response_schema_conformance,
    status_code_conformance,
)
from schemathesis.core.result import Ok
from schemathesis.schemas import BaseSchema

from server import EMBEDDINGS, KEY, MANAGER, MODEL, Server

_CHECKS = [not_a_server_error, status_code_conformance, content_type_conformance, response_schema_conformance]
_ASKING = (EMBEDDINGS, "/api/v1/rerank", "/api/v1/similarity", "/api/v1/tokenize", "/api/v1/batches", "/api/v1/files")
_OPERATIONS = [
    *(("POST", path) for path in _ASKING),
    ("GET", "/api/v1/embeddings/models"),
    ("GET", "/api/v1/models"),
    ("GET", "/api/v1/models/count"),
    ("GET", "/api/v1/model/{author}/{slug}"),
    ("GET", "/api/v1/models/{author}/{slug}/endpoints"),
    ("GET", "/api/v1/providers"),
    ("GET", "/api/v1/catalog"),
    ("POST", "/api/v1/catalog/validate"),
    *(
        (method, f"/api/v1/catalog/{path}")
        for method in ("GET", "PUT", "DELETE")
        for path in ("providers/{slug}", "models/{author}/{slug}", "endpoints")
    ),
    ("GET", "/api/v1/keys"),
    ("POST", "/api/v1/keys"),
    ("GET", "/api/v1/keys/{hash}"),
    ("PATCH", "/api/v1/keys/{hash}"),
    ("DELETE", "/api/v1/keys/{hash}"),
    ("GET", "/api/v1/byok"),
    ("POST", "/api/v1/byok"),
    *((method, "/api/v1/byok/{id}") for method in ("GET", "PATCH", "DELETE")),
    ("GET", "/api/v1/private-endpoints"),
    ("POST", "/api/v1/private-endpoints"),
    *((method, "/api/v1/private-endpoints/{id}") for method in ("GET", "PATCH", "DELETE")),
    *(
        ("POST", f"/api/v1/private-endpoints/{{id}}/{action}")
        for action in ("validate", "activate", "disable", "enable")
    ),
    ("PUT", "/api/v1/private-endpoints/{id}/pricing"),
    ("GET", "/api/v1/key"),
    ("GET", "/api/v1/credits"),
    ("POST", "/api/v1/credits"),
    ("GET", "/api/v1/credits/ledger"),
    ("GET", "/api/v1/generation"),
    ("GET", "/api/v1/generation/content"),
    ("GET", "/api/v1/activity"),
    ("GET", "/api/v1/analytics/meta"),
    ("POST", "/api/v1/analytics/query"),
    ("GET", "/api/v1/datasets/rankings-daily"),
    ("GET", "/api/v1/datasets/app-rankings"),
    ("GET", "/api/v1/models/user"),
    ("GET", "/api/v1/endpoints/zdr"),
    ("GET", "/api/v1/workspaces"),
    ("POST", "/api/v1/workspaces"),
    ("GET", "/api/v1/workspaces/{id}"),
    ("PATCH", "/api/v1/workspaces/{id}"),
    ("DELETE", "/api/v1/workspaces/{id}"),
    ("GET", "/api/v1/workspaces/{id}/budgets"),
    ("GET", "/api/v1/workspaces/{id}/budgets/{interval}"),
    ("PUT", "/api/v1/workspaces/{id}/budgets/{interval}"),
    ("DELETE", "/api/v1/workspaces/{id}/budgets/{interval}"),
    ("GET", "/api/v1/workspaces/{id}/members"),
    ("POST", "/api/v1/workspaces/{id}/members/add"),
    ("POST", "/api/v1/workspaces/{id}/members/remove"),
    ("GET", "/api/v1/guardrails"),
    ("POST", "/api/v1/guardrails"),
    ("GET", "/api/v1/guardrails/{id}"),
    ("PATCH", "/api/v1/guardrails/{id}"),
    ("DELETE", "/api/v1/guardrails/{id}"),
    ("GET", "/api/v1/guardrails/assignments/keys"),
    ("GET", "/api/v1/guardrails/{id}/assignments/keys"),
    ("POST", "/api/v1/guardrails/{id}/assignments/keys"),
    ("POST", "/api/v1/guardrails/{id}/assignments/keys/remove"),
    ("GET", "/api/v1/guardrails/assignments/members"),
    ("GET", "/api/v1/guardrails/{id}/assignments/members"),
    ("GET", "/api/v1/presets"),
    ("GET", "/api/v1/presets/{slug}"),
    ("POST", "/api/v1/presets/{slug}"),
    ("DELETE", "/api/v1/presets/{slug}"),
    ("GET", "/api/v1/presets/{slug}/versions"),
    ("GET", "/api/v1/presets/{slug}/versions/{version}"),
    ("GET", "/api/v1/batches"),
    ("POST", "/api/v1/batches"),
    ("GET", "/api/v1/batches/callback_secret"),
    ("GET", "/api/v1/batches/{id}"),
    ("POST", "/api/v1/batches/{id}/cancel"),
    ("DELETE", "/api/v1/batches/{id}"),
    ("GET", "/api/v1/files"),
    ("POST", "/api/v1/files"),
    ("GET", "/api/v1/files/{file_id}"),
    ("GET", "/api/v1/files/{file_id}/content"),
    ("DELETE", "/api/v1/files/{file_id}"),
    ("GET", "/health"),
    ("GET", "/ready"),
    ("GET", "/metrics"),
]
_EXAMPLES = {GenerationMode.POSITIVE: 12, GenerationMode.NEGATIVE: 25}  # a third of these only lack their key
# Those where something can be wrong.
_REFUSING = [
    *_OPERATIONS[:7],
    ("GET", "/api/v1/keys"),
    ("POST", "/api/v1/keys"),
    ("PATCH", "/api/v1/keys/{hash}"),
    ("GET", "/api/v1/byok"),
    ("POST", "/api/v1/byok"),
    ("POST", "/api/v1/private-endpoints"),
    ("POST", "/api/v1/credits"),
    ("GET", "/api/v1/generation"),
    ("GET", "/api/v1/activity"),
    ("POST", "/api/v1/analytics/query"),
    ("GET", "/api/v1/datasets/rankings-daily"),
    ("GET", "/api/v1/datasets/app-rankings"),
    ("POST", "/api/v1/workspaces"),
    ("GET", "/api/v1/guardrails"),
    ("POST", "/api/v1/guardrails"),
    ("POST", "/api/v1/presets/{slug}"),
    ("GET", "/api/v1/batches"),
    ("POST", "/api/v1/batches"),
]


@pytest.fixture(scope="module")
def a_key(managed: Server) -> str:
    """The hash of a key, since a random one would only ever be "not found"."""
    hash_: str = managed.new_key()[1]["hash"]
    return hash_


@pytest.fixture(scope="module")
def described(managed: Server) -> BaseSchema:
    return schemathesis.openapi.from_url(f"{managed.root}/openapi.json")


def test_every_operation_is_tried(described: BaseSchema) -> None:
    found = [operation.ok() for operation in described.get_all_operations() if isinstance(operation, Ok)]
    assert {(one.method.upper(), one.path) for one in found} == set(_OPERATIONS)


@pytest.mark.parametrize(("method", "path"), _OPERATIONS, ids=str)
def test_every_answer_to_a_right_request_is_as_described(
    described: BaseSchema, a_key: str, method: str, path: str
) -> None:
    statuses = _try(described, a_key, method, path, GenerationMode.POSITIVE)
    elsewhere = "{" in path or "/generation" in path or path.endswith("/catalog/endpoints")  # of what is not there
    assert statuses & {200, 201, 202} or elsewhere, statuses


@pytest.mark.parametrize(("method", "path"), _REFUSING, ids=str)
def test_every_answer_to_a_wrong_request_is_as_described(
    described: BaseSchema, a_key: str, method: str, path: str
) -> None:
    statuses = _try(described, a_key, method, path, GenerationMode.NEGATIVE)
    assert 400 in statuses or path == "/api/v1/models/count", statuses


def _try(described: BaseSchema, a_key: str, method: str, path: str, mode: GenerationMode) -> set[int]:
    """Make requests and check their answers; the statuses that were seen."""
    statuses = set()

    @settings(
        max_examples=100 if path == EMBEDDINGS else 20 if method == "POST" else _EXAMPLES[mode],
        derandomize=True,  # which statuses are seen must not be chance
        deadline=None,
        phases=[Phase.explicit, Phase.generate],
        suppress_health_check=list(HealthCheck),
        database=None,
    )
    @given(case=described[path][method].as_strategy(generation_mode=mode))
    def is_as_described(case: Case[Any]) -> None:
        if mode is GenerationMode.POSITIVE and path in _ASKING and isinstance(case.body, dict):
            case.body["model"] = MODEL  # a random name would only ever be "not found"
            case.body.pop("preset", None)
        if mode is GenerationMode.POSITIVE and path == "/api/v1/rerank" and isinstance(case.body, dict):
            case.body = {**case.body, "query": "a", "documents": ["b", {"text": "c"}]}  # random ones are mostly blank
        if mode is GenerationMode.POSITIVE and (method, path) == ("POST", "/api/v1/credits"):
            assert isinstance(case.body, dict)
            case.body = {**case.body, "amount": 1, "reason": "a"}  # a random amount is mostly none
        if mode is GenerationMode.POSITIVE and (method, path) == ("POST", "/api/v1/workspaces"):
            assert isinstance(case.body, dict)
            case.body = {**case.body, "name": "a"}
        if mode is GenerationMode.POSITIVE and path == "/api/v1/similarity" and isinstance(case.body, dict):
            case.body = {"model": MODEL, "texts": case.body.get("texts") or ["a"]}  # one form of the three
        if mode is GenerationMode.POSITIVE and path == "/api/v1/analytics/query" and isinstance(case.body, dict):
            case.body = {"metrics": ["request_count"], "timezone": case.body.get("timezone")}  # other names are known
        if mode is GenerationMode.POSITIVE and path == "/api/v1/byok":  # random names are known to nobody
            case.query.pop("provider", None)
            if isinstance(case.body, dict):
                case.body = {**case.body, "provider": "openai"}
                for name in ("workspace_id", "allowed_models", "allowed_api_key_hashes"):
                    case.body.pop(name, None)
        if mode is GenerationMode.POSITIVE and path == "/api/v1/private-endpoints" and isinstance(case.body, dict):
            case.body = {**case.body, "model_permaslug": MODEL, "provider_slug": "openai"}
            case.body.pop("base_url", None)
        if mode is GenerationMode.POSITIVE and path == "/api/v1/activity":  # any date, key or zone would be wrong
            case.query = {name: value for name, value in case.query.items() if name in ("group_by", "format")}
        if mode is GenerationMode.POSITIVE and path == "/api/v1/batches":  # any time or id would be wrong
            case.query = {name: value for name, value in case.query.items() if name in ("limit", "status")}
            if method == "POST":
                requests: list[Any] = [{"custom_id": "a", "body": {"input": "x"}}]
                case.body = {"endpoint": "/v1/embeddings", "model": MODEL, "requests": requests}
        if path.startswith("/api/v1/keys/") and method != "DELETE":
            case.path_parameters["hash"] = a_key
        key = KEY if path.startswith(_ASKING) else MANAGER
        response = case.call(headers={"Authorization": f"Bearer {key}"}, timeout=60)
        statuses.add(response.status_code)
        case.validate_response(response, checks=_CHECKS)

    is_as_described()
    return statuses
