"""The results of a batch, made from its lines when they are read, a bounded piece at a time."""

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from functools import partial
from typing import Any, Final, NamedTuple

import msgspec
import numpy as np
import orjson

from embedrouter.api.answers import rows_json
from embedrouter.batches.job import Job
from embedrouter.batches.lines import Line, lines
from embedrouter.batches.objects import batch_object
from embedrouter.batches.paid import Paid, paid_for
from embedrouter.context import Context
from embedrouter.money import usd

_AT_ONCE: Final = 64  # lines that are read and rendered at a time; fewer where they are big


class Done(NamedTuple):
    """A line of an ended batch, and what the ledger says of it."""

    job: Job
    line: Line
    paid: Paid | None  # None: it was not done, or its generation was removed


Render = Callable[[Done], bytes | None]
"""JSON of one line, or None for a line that does not belong there."""


class Refusal(msgspec.Struct, frozen=True):
    """Why a line has no vectors."""

    code: int | str
    message: str
    metadata: dict[str, Any] = {}

    @property
    def type(self) -> str:
        """The error type of the API."""
        return str(self.metadata.get("error_type", self.code))


def inline(done: Done) -> bytes:
    """One of OpenRouter's `results`."""
    if done.line.status == "done":
        return _head(done) + b',"response":' + _response(done) + b',"error":null}'
    refusal = _refusal(done)
    error = {"message": refusal.message, "param": refusal.metadata.get("field"), "type": refusal.type}
    return _head(done) + b',"response":null,"error":' + orjson.dumps({**error, "error_type": refusal.type}) + b"}"


def output_line(done: Done) -> bytes | None:
    """A line of OpenAI's output file."""
    if done.line.status != "done":
        return None
    return _head(done) + b',"response":' + _response(done) + b',"error":null}\n'


def error_line(done: Done) -> bytes | None:
    """A line of OpenAI's error file."""
    line = done.line
    if line.status == "done":
        return None
    refusal = _refusal(done)
    response: dict[str, Any] | None = None
    error: dict[str, Any] | None = {"code": str(refusal.code), "message": refusal.message}
    if line.status_code is not None:
        body = {"error": {"code": refusal.code, "message": refusal.message, "metadata": refusal.metadata}}
        response, error = {"status_code": line.status_code, "request_id": _request_id(line), "body": body}, None
    return _head(done) + b"," + orjson.dumps({"response": response, "error": error})[1:] + b"\n"


async def whole_object(context: Context, job: Job) -> AsyncIterator[bytes]:
    """An ended batch of OpenRouter's form with its results."""
    yield msgspec.json.encode(batch_object(job))[:-1] + b',"results":['
    between = b""
    async for rendered in rendered_lines(context, job, inline):
        yield between + b",".join(rendered)
        between = b","
    yield b"]}"


async def file_lines(context: Context, job: Job, *, errors: bool) -> AsyncIterator[bytes]:
    """The output file or the error file of an ended batch."""
    async for rendered in rendered_lines(context, job, error_line if errors else output_line):
        yield b"".join(rendered)


async def rendered_lines(context: Context, job: Job, render: Render) -> AsyncIterator[list[bytes]]:
    """Some lines at a time, never none."""
    after = -1
    while found := await context.database.read(partial(_read, job=job, after=after)):
        after = found[-1].line.number
        if rendered := await asyncio.to_thread(_rendered, found, render):
            yield rendered


def _read(connection: Any, job: Job, after: int) -> list[Done]:
    found = lines(connection, job.id, after, _AT_ONCE)
    known = paid_for(connection, [line.generation_id for line in found if line.generation_id is not None])
    return [Done(job, line, known.get(line.generation_id or "")) for line in found]


def _rendered(found: Sequence[Done], render: Render) -> list[bytes]:
    return [piece for done in found if (piece := render(done)) is not None]


def _head(done: Done) -> bytes:
    """Its beginning, without the brace at the end."""
    id_ = f"batch_req_{done.job.id.removeprefix('batch_')}_{done.line.number}"
    return orjson.dumps({"id": id_, "custom_id": done.line.custom_id})[:-1]


def _response(done: Done) -> bytes:
    job, line, paid = done
    vectors = np.frombuffer(line.vectors or b"", "<f4").reshape(-1, line.dimensions or 1)
    rows = rows_json(vectors, 0, as_base64=line.encoding_format == "base64")
    usage: dict[str, Any] = {"prompt_tokens": line.tokens, "total_tokens": line.tokens}
    if paid is not None:
        usage["cost"] = usd(paid.cost_pico)
    model = (paid.model if paid else job.model) or ""
    tail = orjson.dumps({"model": model, "id": line.generation_id, "usage": usage})[1:]
    head = orjson.dumps({"status_code": line.status_code or 200, "request_id": _request_id(line)})[:-1]
    return head + b',"body":{"object":"list","data":[' + rows + b"]," + tail + b"}"


def _refusal(done: Done) -> Refusal:
    """Also of a line that was not come to before its batch ended."""
    if done.line.error_json is not None:
        return msgspec.json.decode(done.line.error_json, type=Refusal)
    status = done.job.status
    return Refusal(f"batch_{status}", f"the batch was {status} before this request was made")


def _request_id(line: Line) -> str | None:
    return line.request_id or line.generation_id
