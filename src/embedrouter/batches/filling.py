"""A batch of OpenAI's form gets its lines: from the uploaded file, each checked; the batch starts, or fails.

It may be broken off at any moment and called again: it goes on after the lines that are there.
"""

import asyncio
from codecs import BOM_UTF8
from collections.abc import AsyncIterator, Sequence
from typing import Annotated, Final, NamedTuple

import msgspec
from msgspec import Meta

from embedrouter.batches import files
from embedrouter.batches.checking import Checker, of_body
from embedrouter.batches.intake import Intake
from embedrouter.batches.job import Job, JobError
from embedrouter.batches.jobs import Failure, Start, fail, start
from embedrouter.batches.lines import LONGEST_ID, check_id
from embedrouter.batches.parsing import Request
from embedrouter.batches.terms import Naming, name_model
from embedrouter.errors import EmbedRouterError, InvalidRequestError, NotFoundError, PayloadTooLargeError
from embedrouter.fields import decode
from embedrouter.gateway import Gateway
from embedrouter.ledger.book import now
from embedrouter.store import Database, Writer

_AT_ONCE: Final = 128  # lines that are checked in a thread, while others wait for the interpreter
_LONGEST_LINE: Final = 32 << 20  # bytes


class _FileLine(msgspec.Struct, frozen=True, kw_only=True):
    custom_id: Annotated[str, Meta(min_length=1, max_length=LONGEST_ID)]
    method: str
    url: str
    body: msgspec.Raw


_LINE: Final = msgspec.json.Decoder(_FileLine)


class LineProblem(Exception):  # noqa: N818 (what the batch's owner is told; no error of ours)
    """What is wrong with a line of the file."""

    def __init__(self, code: str, message: str, number: int | None = None, param: str | None = None) -> None:
        super().__init__(message)
        self.error = JobError(code, message, number, param)


async def fill(job: Job, database: Database, writer: Writer, gateway: Gateway) -> Job:
    """The job, started or failed. Raises StoreUnavailableError, ConflictError for one that is not `validating`."""
    try:
        intake, number = Intake(writer, job.id), 0
        checker = Checker(gateway, None)
        models: set[str] = set()
        async for lines in _lines(job, database):
            fresh = [(at, line) for at, line in enumerate(lines, number) if at >= job.total]
            number += len(lines)
            for first in range(0, len(fresh), _AT_ONCE):
                some = fresh[first : first + _AT_ONCE]
                checked = await asyncio.to_thread(_checked, some, checker, job.endpoint)
                await intake.add([one.request for one in checked])
                models.update(one.model for one in checked)
        await intake.flush()
        if not number:
            raise LineProblem("empty_file", "the file has no lines; each line is one request")
    except LineProblem as problem:
        return await writer.write(fail, Failure(job.id, problem.error, now()))
    except InvalidRequestError as error:  # a custom_id that is there twice
        told = JobError("duplicate_custom_id", error.message, error.metadata.get("index"), "custom_id")
        return await writer.write(fail, Failure(job.id, told, now()))
    except PayloadTooLargeError as error:
        return await writer.write(fail, Failure(job.id, JobError("too_large", error.message), now()))
    if len(models) == 1 and not job.total:
        await writer.write(name_model, Naming(job.id, models.pop()))
    return await writer.write(start, Start(job.id, now()))


async def _lines(job: Job, database: Database) -> AsyncIterator[Sequence[bytes]]:
    """The file's lines that are not blank, some at a time. Raises LineProblem."""
    file_id = job.input_file_id or ""
    try:
        file = await database.read(lambda connection: files.find(connection, file_id, job.workspace_id))
    except NotFoundError:
        raise LineProblem("file_not_found", "the input file was deleted", param="input_file_id") from None
    rest, size, number = b"", 0, 0
    while (part := await database.read(lambda connection: files.read_part(connection, file_id, number))) is not None:  # noqa: B023
        number += 1
        size += len(part)
        if number == 1:
            part = part.removeprefix(BOM_UTF8)  # which some editors write
        *whole, rest = (rest + part).split(b"\n")
        if len(rest) > _LONGEST_LINE:
            raise LineProblem("too_large", f"a line of the file is longer than {_LONGEST_LINE >> 20} MiB")
        yield [line for line in whole if line.strip()]
    if size != file.bytes:
        raise LineProblem("file_not_found", "the input file was deleted", param="input_file_id")
    if rest.strip():
        yield [rest]


class _Checked(NamedTuple):
    request: Request
    model: str  # as it is named


def _checked(lines: Sequence[tuple[int, bytes]], checker: Checker, endpoint: str) -> list[_Checked]:
    return [_request(number, line, checker, endpoint) for number, line in lines]


def _request(number: int, line: bytes, checker: Checker, endpoint: str) -> _Checked:
    """Raises LineProblem."""
    try:
        found = decode(line, _LINE)
        check_id(found.custom_id)
    except InvalidRequestError as error:
        field = error.metadata.get("field")
        code = "invalid_json_line" if field is None else "invalid_request"
        raise LineProblem(code, error.message, number, field) from error
    if found.method != "POST":
        raise LineProblem("invalid_method", "method: must be POST", number, "method")
    if found.url != endpoint:
        raise LineProblem("mismatched_endpoint", f"url: must be the batch's endpoint, {endpoint}", number, "url")
    try:
        model = checker.check(bytes(found.body))
    except EmbedRouterError as error:
        code = "model_not_found" if isinstance(error, NotFoundError) else "invalid_request"
        field = error.metadata.get("field")
        raise LineProblem(code, of_body(error), number, f"body.{field}" if field else "body") from error
    return _Checked(Request(number, found.custom_id, bytes(found.body)), model)
