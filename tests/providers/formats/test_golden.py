"""Every format against requests and answers of the shapes that the providers' public documentation gives."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest

from embedrouter.providers.formats import FORMATS
from embedrouter.providers.wire import Target, UpstreamError, WireCall

GOLDEN = Path(__file__).parent / "golden"
FILES = sorted(GOLDEN.glob("*/*.json"))


class Request(msgspec.Struct, forbid_unknown_fields=True):
    """What is to be sent."""

    method: str
    url: str
    headers: dict[str, str]
    body: Any


class Response(msgspec.Struct, forbid_unknown_fields=True):
    """What the provider answers."""

    status: int
    headers: dict[str, str]
    body: msgspec.Raw


class Answer(msgspec.Struct, forbid_unknown_fields=True):
    """What we make of it."""

    vectors: list[list[float]]
    prompt_tokens: int | None
    model: str | None


class Told(msgspec.Struct, forbid_unknown_fields=True):
    """What we make of an error."""

    failure: str
    message: str
    status: int
    retry_after: float | None


class Golden(msgspec.Struct, forbid_unknown_fields=True):
    """One file."""

    target: dict[str, Any]
    call: dict[str, Any]
    request: Request
    response: Response
    answer: Answer | None = None
    error: Told | None = None


@pytest.mark.parametrize("path", FILES, ids=[f"{path.parent.name}-{path.stem}" for path in FILES])
def test_a_request_and_its_answer(path: Path) -> None:
    golden = msgspec.json.decode(path.read_bytes(), type=Golden)
    wire, target, call = FORMATS[path.parent.name], Target(**golden.target), WireCall(**golden.call)

    request = wire.build_request(target, call)
    assert (request.method, request.url) == (golden.request.method, golden.request.url)
    assert dict(request.headers) == golden.request.headers
    assert msgspec.json.decode(request.body) == golden.request.body

    status, headers, body = golden.response.status, golden.response.headers, bytes(golden.response.body)
    if golden.error is not None:
        with pytest.raises(UpstreamError) as caught:
            wire.parse_response(status, headers, body, target, call)
        error = caught.value
        assert Told(error.failure, error.message, error.status or 0, error.retry_after) == golden.error
        return
    answer = wire.parse_response(status, headers, body, target, call)
    assert golden.answer is not None
    assert answer.vectors.dtype == np.float32
    np.testing.assert_array_equal(answer.vectors, np.array(golden.answer.vectors, np.float32))
    assert (answer.prompt_tokens, answer.model) == (golden.answer.prompt_tokens, golden.answer.model)


def test_every_format_has_an_answer_and_an_error() -> None:
    kinds: Mapping[str, set[bool]] = {name: set() for name in FORMATS}
    for path in FILES:
        kinds[path.parent.name].add(msgspec.json.decode(path.read_bytes(), type=Golden).error is None)
    assert all(found == {True, False} for found in kinds.values()), kinds
