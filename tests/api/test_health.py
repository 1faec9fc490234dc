"""GET /health, /ready, /metrics and /openapi.json."""

import re
from typing import Any

import pytest

from server import MODEL, Server, eventually

_SERIES = [
    *(
        f'embedrouter_requests_total{{status="{status}"}}'
        for status in (200, 400, 401, 404, 408, 413, 499, 500, 502, 503, 504)
    ),
    *(
        f'embedrouter_rejects_total{{reason="{reason}"}}'
        for reason in (
            "invalid_request", "context_length_exceeded", "authentication", "not_found", "timeout",
            "payload_too_large", "provider_overloaded", "provider_unavailable", "server", "client_closed",
        )
    ),
    *(
        f'embedrouter_stage_seconds_count{{stage="{stage}"}}'
        for stage in ("decode", "tokenize", "queue", "compute", "encode")
    ),
    "embedrouter_inputs_total",
    "embedrouter_prompt_tokens_total",
    "embedrouter_truncated_inputs_total",
    "embedrouter_extra_windows_total",
    "embedrouter_request_seconds_count",
    "embedrouter_batch_sequences_count",
    "embedrouter_batch_tokens_count",
    "embedrouter_batch_failures_total",
    "embedrouter_requests_in_flight",
    "embedrouter_queued_tokens",
    "embedrouter_workers_live",
    "embedrouter_worker_restarts",
    "process_resident_memory_bytes",
]  # fmt: skip


def test_health_answers_while_the_process_lives(live: Server) -> None:
    answer = live.get("/health")
    assert (answer.status, answer.json()) == (200, {"status": "ok"})


def test_ready_names_the_engine_and_why(live: Server) -> None:
    answer = live.get("/ready")
    assert answer.status == 200
    found = answer.json()
    assert found["status"] == "ready"
    assert found["engine"]
    assert found["precision"] in ("float32", "bfloat16", "int8")
    assert found["precision"] in found["reason"]
    assert found["workers"]["live"] == found["workers"]["wanted"] > 0
    assert found["workers"]["restarts"] == 0
    assert found["queued_tokens"] == 0


def test_all_series_are_there_from_the_start_and_none_come_later(live: Server) -> None:
    before = live.metrics()
    assert [series for series in _SERIES if series not in before] == []
    live.embed("hello", model="nope")
    live.embed("hello")
    assert set(live.metrics()) == set(before)


def test_metrics_are_in_prometheus_text_format(live: Server) -> None:
    answer = live.get("/metrics")
    assert answer.headers["content-type"].startswith("text/plain; version=0.0.4")
    series = re.compile(r'[a-z_]+(\{[a-z_]+="[^"\n]*"(,[a-z_]+="[^"\n]*")*\})? [-+0-9.einfa]+', re.IGNORECASE)
    for line in answer.body.decode().splitlines():
        assert line.startswith("#") or series.fullmatch(line), line


def test_counters_count_what_was_served(live: Server) -> None:
    before = live.metrics()
    live.embed(["hello", "a " * 300])
    live.embed("a " * 300, truncate=True)
    after = live.metrics()
    grown = {name: after[name] - before[name] for name in after}
    assert grown['embedrouter_requests_total{status="200"}'] == 2
    assert grown["embedrouter_inputs_total"] == 3
    assert grown["embedrouter_prompt_tokens_total"] == 3 + 302 + 256
    assert grown["embedrouter_truncated_inputs_total"] == 1
    assert grown["embedrouter_extra_windows_total"] == 1
    assert grown["embedrouter_request_seconds_count"] == 2
    assert grown["embedrouter_batch_sequences_sum"] == 4
    assert grown["embedrouter_batch_tokens_sum"] == 3 + 256 + (302 - 256 + 2) + 256
    assert grown["embedrouter_batch_failures_total"] == 0
    assert after["embedrouter_queued_tokens"] == 0
    eventually(lambda: live.metrics()["embedrouter_requests_in_flight"] == 0)


@pytest.mark.parametrize("stage", ["decode", "tokenize", "queue", "compute", "encode"])
def test_every_stage_is_timed(live: Server, stage: str) -> None:
    series = f'embedrouter_stage_seconds_count{{stage="{stage}"}}'
    before = live.metrics()[series]
    live.embed("hello")
    assert live.metrics()[series] == before + 1


def test_build_info_names_version_engine_and_weights(live: Server) -> None:
    (info,) = [name for name in live.metrics() if name.startswith("embedrouter_build_info")]
    for label in ("version", "engine", "precision", "weights", "python"):
        assert f'{label}="' in info
    assert 'weights="53aa51172d142c89"' in info


# --- the description of the API


def _references(node: Any) -> list[str]:
    if isinstance(node, dict):
        own = [node["$ref"]] if isinstance(node.get("$ref"), str) else []
        return own + [ref for value in node.values() for ref in _references(value)]
    return [ref for value in node for ref in _references(value)] if isinstance(node, list) else []


def test_the_openapi_document_is_sound(live: Server) -> None:
    document = live.get("/openapi.json").json()
    assert re.fullmatch(r"3\.1\.\d+", document["openapi"])
    assert document["info"]["title"]
    assert document["info"]["version"]
    ids = []
    for path, methods in document["paths"].items():
        assert path.startswith("/")
        for operation in methods.values():
            ids.append(operation["operationId"])
            assert operation["summary"]
            assert operation["responses"].keys() & {"200", "201"}
            assert all(response["description"] for response in operation["responses"].values())
            in_path = {p["name"] for p in operation.get("parameters", []) if p["in"] == "path"}
            assert in_path == set(re.findall(r"{(\w+)}", path))
    assert len(ids) == len(set(ids))
    references = _references(document)
    assert references
    for reference in references:
        kind, name = re.fullmatch(r"#/components/(\w+)/([\w.]+)", reference).groups()  # type: ignore[union-attr]
        assert name in document["components"][kind]


def test_the_openapi_document_describes_every_route_and_the_request(live: Server) -> None:
    document = live.get("/openapi.json").json()
    assert set(document["paths"]) >= {
        "/api/v1/embeddings",
        "/api/v1/embeddings/models",
        "/api/v1/models",
        "/api/v1/models/count",
        "/api/v1/model/{author}/{slug}",
        "/api/v1/models/{author}/{slug}/endpoints",
        "/api/v1/providers",
        "/health",
        "/ready",
        "/metrics",
    }
    operation = document["paths"]["/api/v1/embeddings"]["post"]
    assert operation["security"] == [{"key": []}]
    assert set(operation["responses"]) >= {"200", "400", "401", "404", "408", "413", "500", "502", "503", "504"}
    schema = document["components"]["schemas"]["EmbeddingsRequest"]
    assert set(schema["required"]) == {"model", "input"}
    listed = live.get(f"/api/v1/model/{MODEL}").json()["data"]["supported_parameters"]
    assert set(schema["properties"]) >= {*listed, "encoding_format", "dimensions", "truncate", "provider", "user"}


def test_the_openapi_document_names_query_parameters_as_they_are_sent(live: Server) -> None:
    listing = live.get("/openapi.json").json()["paths"]["/api/v1/models"]["get"]
    assert {p["name"] for p in listing["parameters"]} == {
        "offset", "limit", "output_modalities", "input_modalities", "q", "context", "min_price", "max_price",
        "model_authors", "providers", "supported_parameters", "zdr", "sort",
    }  # fmt: skip


@pytest.mark.parametrize("path", ["/health", "/ready"])
def test_a_probe_may_ask_with_head(live: Server, path: str) -> None:
    answer = live.request("HEAD", path)
    assert answer.status == 200
    assert answer.body == b""
