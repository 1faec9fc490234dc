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

from server import EMBEDDINGS, KEY, MODEL, Server

_CHECKS = [not_a_server_error, status_code_conformance, content_type_conformance, response_schema_conformance]
_OPERATIONS = [
    ("POST", EMBEDDINGS),
    ("GET", "/api/v1/embeddings/models"),
    ("GET", "/api/v1/models"),
    ("GET", "/api/v1/models/count"),
    ("GET", "/api/v1/model/{author}/{slug}"),
    ("GET", "/api/v1/models/{author}/{slug}/endpoints"),
    ("GET", "/api/v1/providers"),
    ("GET", "/health"),
    ("GET", "/ready"),
    ("GET", "/metrics"),
]


@pytest.fixture(scope="module")
def described(live: Server) -> BaseSchema:
    return schemathesis.openapi.from_url(f"{live.root}/openapi.json")


def test_every_operation_is_tried(described: BaseSchema) -> None:
    found = [operation.ok() for operation in described.get_all_operations() if isinstance(operation, Ok)]
    assert {(one.method.upper(), one.path) for one in found} == set(_OPERATIONS)


@pytest.mark.parametrize(("method", "path"), _OPERATIONS, ids=str)
def test_every_answer_to_a_right_request_is_as_described(described: BaseSchema, method: str, path: str) -> None:
    statuses = _try(described, method, path, GenerationMode.POSITIVE)
    assert 200 in statuses or "{" in path, statuses


@pytest.mark.parametrize(("method", "path"), _OPERATIONS[:4], ids=str)
def test_every_answer_to_a_wrong_request_is_as_described(described: BaseSchema, method: str, path: str) -> None:
    statuses = _try(described, method, path, GenerationMode.NEGATIVE)
    assert 400 in statuses or path == "/api/v1/models/count", statuses


def _try(described: BaseSchema, method: str, path: str, mode: GenerationMode) -> set[int]:
    """Make requests and check their answers; the statuses that were seen."""
    statuses = set()

    @settings(
        max_examples=200 if method == "POST" else 25,
        deadline=None,
        phases=[Phase.explicit, Phase.generate],
        suppress_health_check=list(HealthCheck),
        database=None,
    )
    @given(case=described[path][method].as_strategy(generation_mode=mode))
    def is_as_described(case: Case[Any]) -> None:
        if mode is GenerationMode.POSITIVE and isinstance(case.body, dict):
            case.body["model"] = MODEL  # a random name would only ever be "not found"
        response = case.call(headers={"Authorization": f"Bearer {KEY}"}, timeout=60)
        statuses.add(response.status_code)
        case.validate_response(response, checks=_CHECKS)

    is_as_described()
    return statuses
