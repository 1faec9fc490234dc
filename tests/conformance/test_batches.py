"""Batches by the real clients: `openai` with files, `openrouter` with requests in the body."""

import io
import json
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from openai import ConflictError, NotFoundError, OpenAI
from openai.types import Batch
from openrouter import OpenRouter, errors
from openrouter.components import BatchObject, RequestTypedDict
from openrouter.utils import BackoffStrategy, RetryConfig

from server import KEY, MODEL, Server, at, decoded, eventually

_NO_RETRIES = RetryConfig("none", BackoffStrategy(1, 1, 1.0, 1), retry_connection_errors=False)
_TOO_LONG = "word " * 9000
# What the client raises without; a value may be null, but must be there.
_REQUIRED = (
    "completion_window", "created_at", "endpoint", "error", "expires_at", "finalized_at", "id", "model", "object",
    "provider", "request_counts.completed", "request_counts.failed", "request_counts.total", "results", "status",
    "usage",
)  # fmt: skip


@pytest.fixture
def router(live: Server) -> Iterator[OpenRouter]:
    with OpenRouter(api_key=KEY, server_url=live.base, retry_config=_NO_RETRIES) as made:
        yield made


@pytest.fixture
def openai(live: Server) -> Iterator[OpenAI]:
    with OpenAI(api_key=KEY, base_url=live.base, max_retries=0) as made:
        yield made


def _line(custom_id: str, **body: Any) -> dict[str, Any]:
    return {
        "custom_id": custom_id, "method": "POST", "url": "/v1/embeddings", "body": {"model": MODEL, **body}
    }  # fmt: skip


def _jsonl(*lines: dict[str, Any]) -> bytes:
    return "\n".join(map(json.dumps, lines)).encode()


def _ended(openai: OpenAI, made: Batch) -> Batch:
    found = [made]

    def is_over() -> bool:
        found.append(openai.batches.retrieve(made.id))
        return found[-1].status in ("completed", "failed", "cancelled")

    eventually(is_over)
    return found[-1]


def test_openrouter_creates_polls_reads_and_deletes(live: Server, router: OpenRouter) -> None:
    requests: list[RequestTypedDict] = [
        {"custom_id": "one", "body": {"input": "A first text."}},
        {"custom_id": "two", "body": {"input": ["A second text.", "A third."], "encoding_format": "base64"}},
        {"custom_id": "three", "body": {"model": "all-MiniLM-L6-v2", "input": _TOO_LONG, "dimensions": 5}},
    ]
    made = router.batch.create_batches(
        endpoint="/v1/embeddings",
        model=MODEL,
        requests=requests,
        provider={"allow_fallbacks": False},
    )
    assert made.object == "batch"
    assert made.request_counts.total == 3
    eventually(lambda: router.batch.get_batches(id=made.id).status == "completed")
    batch: BatchObject = router.batch.get_batches(id=made.id)
    assert (batch.request_counts.completed, batch.request_counts.failed) == (2, 1)
    assert batch.results is not None
    one, two, three = batch.results
    assert [one.custom_id, two.custom_id, three.custom_id] == ["one", "two", "three"]
    vectors = live.embed(["A first text.", "A second text.", "A third."]).vectors()
    body: Any = one.response and one.response.body
    assert np.array_equal(decoded(body.data[0].embedding), vectors[0])
    assert (body.model, body.usage.prompt_tokens) == (MODEL, 6)
    body = two.response and two.response.body
    assert isinstance(body.data[0].embedding, str)
    assert np.array_equal([decoded(row.embedding) for row in body.data], vectors[1:])
    assert three.response is None
    assert three.error is not None
    assert three.error.error_type == "context_length_exceeded"
    assert batch.usage is not None
    assert batch.usage.prompt_tokens == 6 + 6 + 5

    page = router.batch.list(limit=1, status=["completed"], created_after=str(made.created_at - 1))
    assert page is not None
    assert page.result.data[0].id == made.id
    assert router.batch.delete(id=made.id).deletion.openrouter == "deleted"
    with pytest.raises(errors.OpenRouterError, match="no batch has this id"):
        router.batch.get_batches(id=made.id)


def test_openrouter_is_told_what_is_wrong(router: OpenRouter) -> None:
    requests: list[RequestTypedDict] = [
        {"custom_id": "a", "body": {"input": "x"}},
        {"custom_id": "b", "body": {"input": [""]}},
    ]
    with pytest.raises(errors.OpenRouterError, match=r'requests\[1\] \(custom_id "b"\): body\.input') as wrong:
        router.batch.create_batches(endpoint="/v1/embeddings", model=MODEL, requests=requests)
    assert wrong.value.status_code == 400


def test_openrouter_finds_all_it_requires_in_batches_of_both_forms(live: Server, openai: OpenAI) -> None:
    file = openai.files.create(file=io.BytesIO(_jsonl(_line("a", input="x"))), purpose="batch")
    made = openai.batches.create(input_file_id=file.id, endpoint="/v1/embeddings", completion_window="24h")
    listed = live.request("GET", "/api/v1/batches?limit=1", key=KEY).json()
    for path in _REQUIRED:
        at(listed["data"][0], path)
    assert (listed["first_id"], listed["last_id"]) == (made.id, made.id)


def test_openai_uploads_creates_polls_and_reads(live: Server, openai: OpenAI) -> None:
    lines = (
        _line("floats", input="A first text."),
        _line("base64", input=["A second text.", "A third."], encoding_format="base64"),
        _line("long", input=_TOO_LONG),
    )
    content = _jsonl(*lines)
    file = openai.files.create(
        file=("input.jsonl", content), purpose="batch", expires_after={"anchor": "created_at", "seconds": 3600}
    )
    assert (file.filename, file.bytes, file.purpose) == ("input.jsonl", len(content), "batch")
    assert file.expires_at == file.created_at + 3600
    made = openai.batches.create(
        input_file_id=file.id, endpoint="/v1/embeddings", completion_window="24h", metadata={"project": "peps"}
    )
    batch = _ended(openai, made)
    assert batch.status == "completed"
    assert (batch.model, batch.metadata, batch.input_file_id) == (MODEL, {"project": "peps"}, file.id)
    assert batch.request_counts is not None
    assert (batch.request_counts.completed, batch.request_counts.failed) == (2, 1)
    assert batch.usage is not None
    assert batch.usage.input_tokens == 6 + 6 + 5
    assert batch.output_file_id is not None
    assert batch.error_file_id is not None

    output = openai.files.content(batch.output_file_id)
    first, second = (json.loads(line) for line in output.text.splitlines())
    vectors = live.embed(["A first text.", "A second text.", "A third."]).vectors()
    assert (first["custom_id"], first["error"], first["response"]["status_code"]) == ("floats", None, 200)
    assert isinstance(first["response"]["body"]["data"][0]["embedding"], list)
    assert isinstance(second["response"]["body"]["data"][0]["embedding"], str)
    rows = [row["embedding"] for line in (first, second) for row in line["response"]["body"]["data"]]
    assert np.array_equal([decoded(row) for row in rows], vectors)
    (failed,) = (json.loads(line) for line in openai.files.content(batch.error_file_id).text.splitlines())
    assert (failed["custom_id"], failed["response"]["status_code"]) == ("long", 400)
    assert failed["response"]["body"]["error"]["metadata"]["error_type"] == "context_length_exceeded"
    shown = openai.files.retrieve(batch.output_file_id)
    assert (shown.bytes, shown.purpose) == (len(output.content), "batch_output")

    assert made.id in [one.id for one in openai.batches.list(limit=2)]
    assert file.id in [one.id for one in openai.files.list(purpose="batch", limit=5)]
    assert openai.files.content(file.id).content == content
    assert openai.files.delete(file.id).deleted
    with pytest.raises(NotFoundError):
        openai.files.retrieve(file.id)
    with pytest.raises(ConflictError, match="delete the batch"):
        openai.files.delete(batch.output_file_id)


def test_openai_cancels(openai: OpenAI) -> None:
    content = _jsonl(*(_line(str(number), input=f"{number} {_TOO_LONG[:4000]}") for number in range(300)))
    file = openai.files.create(file=io.BytesIO(content), purpose="batch")
    made = openai.batches.create(input_file_id=file.id, endpoint="/v1/embeddings", completion_window="24h")
    told = openai.batches.cancel(made.id)
    assert told.status in ("cancelling", "cancelled")
    batch = _ended(openai, made)
    assert batch.status == "cancelled"
    assert batch.cancelled_at is not None
    with pytest.raises(ConflictError, match="nothing to cancel"):
        openai.batches.cancel(made.id)


@pytest.mark.parametrize(
    ("content", "code", "line", "param"),
    [
        (_jsonl(_line("a", input="x"), _line("a", input="y")), "duplicate_custom_id", 2, "custom_id"),
        (_jsonl(_line("a", input="x")) + b"\n\n{nope", "invalid_json_line", 2, None),
        (_jsonl({**_line("a", input="x"), "url": "/v1/chat/completions"}), "mismatched_endpoint", 1, "url"),
        (_jsonl({**_line("a", input="x"), "method": "GET"}), "invalid_method", 1, "method"),
        (_jsonl(_line("a", input="x", model="no/such")), "model_not_found", 1, "body.model"),
        (_jsonl(_line("a", input="x", dimensions=9999)), "invalid_request", 1, "body.dimensions"),
        (b"\n \n", "empty_file", None, None),
    ],
)
def test_a_bad_file_fails_its_batch_as_openai_tells_it(
    openai: OpenAI, content: bytes, code: str, line: int | None, param: str | None
) -> None:
    file = openai.files.create(file=io.BytesIO(content), purpose="batch")
    batch = _ended(
        openai, openai.batches.create(input_file_id=file.id, endpoint="/v1/embeddings", completion_window="24h")
    )
    assert batch.status == "failed"
    assert batch.failed_at is not None
    assert batch.errors is not None
    assert batch.errors.data is not None
    (error,) = batch.errors.data
    assert (error.code, error.line, error.param) == (code, line, param)
    assert error.message


def test_openrouter_reads_files_too(router: OpenRouter) -> None:
    content = _jsonl(_line("a", input="x"))
    made: Any = router.files.upload(file={"file_name": "some.jsonl", "content": content})
    found: Any = router.files.retrieve(file_id=made.id)
    assert (type(found).__name__, found.bytes_, found.filename) == ("OpenAIFile", len(content), "some.jsonl")
    listed: Any = router.files.list(limit=1)
    assert type(listed.result).__name__ == "OpenAIFileList"
    assert router.files.download(file_id=made.id).read() == content
    deleted: Any = router.files.delete(file_id=made.id)
    assert deleted.id == made.id
