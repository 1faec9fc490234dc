"""Files: what batches of OpenAI's form read, and what they wrote."""

import re
from collections.abc import AsyncIterator
from functools import partial
from itertools import count
from typing import Annotated, Any, Final, Literal

import msgspec
from litestar import Request, Response, delete, get, post
from litestar.params import Parameter
from litestar.response import Stream

from embedrouter.accounts.caller import Caller
from embedrouter.api.auth import INFERENCE, caller_of
from embedrouter.api.batch_results import file_lines
from embedrouter.api.body import read_pieces
from embedrouter.api.exchange import Exchange
from embedrouter.api.uploads import Field, FileStart, form_events
from embedrouter.batches import files, jobs
from embedrouter.batches.files import PART, File, FileFilter, NewFile, OfFile, Part, Whole
from embedrouter.batches.job import Job
from embedrouter.batches.objects import ResultFile, batch_object, result_file
from embedrouter.context import Context
from embedrouter.errors import ConflictError, NotFoundError
from embedrouter.fields import bad_field
from embedrouter.ledger.book import now
from embedrouter.periods import SECOND

_ID: Final = re.compile(r"file-[0-9a-z-]{1,48}")
_MIB: Final = 1_048_576
_KEPT: Final = 30 * 86_400  # seconds that a file may be kept at most, if it says so itself
_LEAST_KEPT: Final = 3_600

Id = Annotated[str, Parameter(description="file-...")]


class FileObject(msgspec.Struct, frozen=True, kw_only=True):
    """A file, in the shape that OpenAI's and OpenRouter's SDKs both read."""

    shape: Literal["openai"] = msgspec.field(name="_shape", default="openai")
    id: str
    object: Literal["file"] = "file"
    bytes: int
    created_at: int
    expires_at: int | None
    filename: str
    purpose: str
    status: Literal["processed"] = "processed"


class FileList(msgspec.Struct, frozen=True, kw_only=True):
    """A page of uploaded files."""

    shape: Literal["openai"] = msgspec.field(name="_shape", default="openai")
    object: Literal["list"] = "list"
    data: list[FileObject]
    first_id: str | None
    last_id: str | None
    has_more: bool


class FileDeleted(msgspec.Struct, frozen=True, kw_only=True):
    """What DELETE /files/{file_id} answers."""

    shape: Literal["openai"] = msgspec.field(name="_shape", default="openai")
    id: str
    object: Literal["file"] = "file"
    deleted: bool = True


@post("/files", summary="Upload a file", tags=["Files"], operation_id="uploadFile", status_code=200, opt=INFERENCE)
async def upload_file(request: Request[Any, Any, Any], context: Context) -> FileObject:
    """JSONL for a batch, as multipart/form-data: `file`, and `purpose`, which is batch."""
    context.refuse_if_draining()
    return _object(await _Upload(context, caller_of(request)).take(request))


@get("/files", summary="List files", tags=["Files"], operation_id="listFiles", opt=INFERENCE)
async def list_files(
    request: Request[Any, Any, Any],
    context: Context,
    limit: Annotated[int, Parameter(ge=1, le=10_000, description="Files to return at most.")] = 10_000,
    after: Annotated[str | None, Parameter(max_length=64, description="The previous page's `last_id`.")] = None,
    order: Literal["asc", "desc"] = "desc",
    purpose: Annotated[str | None, Parameter(max_length=40)] = None,
) -> FileList:
    """Those that were uploaded in the key's workspace, the newest first."""
    wanted = FileFilter(
        workspace_id=caller_of(request).key.workspace_id,
        limit=limit,
        after=None if after is None else _known(after),
        purpose=None if purpose is None else _plain(purpose),
        ascending=order == "asc",
    )
    page = await context.database.read(lambda connection: files.page(connection, wanted))
    ids = [file.id for file in page.files]
    data = [_object(file) for file in page.files]
    return FileList(data=data, first_id=ids[0] if ids else None, last_id=ids[-1] if ids else None, has_more=page.more)


@get("/files/{file_id:str}", summary="Get a file", tags=["Files"], operation_id="getFileMetadata", opt=INFERENCE)
async def get_file(request: Request[Any, Any, Any], context: Context, file_id: Id) -> FileObject:
    """What is known of it, not its content. A batch's results are made when they are read: here, to count them."""
    caller = caller_of(request)
    named = result_file(file_id)
    if named is not None:
        job = await _job_of(context, caller, named, file_id)
        size = sum([len(piece) async for piece in file_lines(context, job, errors=named.errors)])
        return _result_object(file_id, named, job, size)
    return _object(await _find(context, caller, file_id))


@get(
    "/files/{file_id:str}/content",
    summary="Download a file",
    tags=["Files"],
    operation_id="downloadFileContent",
    opt=INFERENCE,
)
async def get_content(request: Request[Any, Any, Any], context: Context, file_id: Id) -> Response[bytes]:
    """Its bytes: of an uploaded file as they came, of a batch's results one JSON a line."""
    caller = caller_of(request)
    named = result_file(file_id)
    if named is not None:
        job = await _job_of(context, caller, named, file_id)
        content = file_lines(context, job, errors=named.errors)
    else:
        await _find(context, caller, file_id)
        content = _parts(context, file_id)
    return Stream(  # type: ignore[return-value]
        content, media_type="application/octet-stream", headers={"X-Content-Type-Options": "nosniff"}
    )


@delete(
    "/files/{file_id:str}",
    summary="Delete a file",
    tags=["Files"],
    operation_id="deleteFile",
    status_code=200,
    opt=INFERENCE,
)
async def delete_file(request: Request[Any, Any, Any], context: Context, file_id: Id) -> FileDeleted:
    """A batch that has read it does not need it any more."""
    caller = caller_of(request)
    named = result_file(file_id)
    if named is not None:
        await _job_of(context, caller, named, file_id)
        raise ConflictError("this file is a part of its batch: delete the batch")
    while not await context.writer.write(files.remove, OfFile(_known(file_id), caller.key.workspace_id), apart=True):
        pass
    return FileDeleted(id=file_id)


FILES: Final = (upload_file, list_files, get_file, get_content, delete_file)


class _Upload:
    """One file on its way in."""

    def __init__(self, context: Context, caller: Caller) -> None:
        self._context = context
        self._caller = caller
        self._file: File | None = None
        self._fields: dict[str, str] = {}

    async def take(self, request: Request[Any, Any, Any]) -> File:
        """The whole file, or nothing of it. Raises InvalidRequestError, PayloadTooLargeError, RequestTimeoutError."""
        try:
            await self._receive(request)
            if self._file is None:
                raise bad_field("file", "is required")
            self._check_purpose()
            kept = self._kept()  # fields may follow the file
            expires_at = None if kept is None else self._file.created_at + kept * SECOND
            return await self._context.writer.write(files.finish, Whole(self._file.id, expires_at))
        except BaseException:
            if self._file is not None:
                await self._discard(OfFile(self._file.id, self._file.workspace_id))
            raise

    async def _receive(self, request: Request[Any, Any, Any]) -> None:
        exchange, settings = Exchange(request.scope, request.receive, request.send), self._context.settings
        pieces = read_pieces(exchange, limit=settings.max_file_mib * _MIB, grace=settings.body_timeout_s)
        waiting = bytearray()
        async for told in form_events(exchange.header(b"content-type"), pieces):
            if isinstance(told, Field):
                self._fields[told.name] = told.value
            elif isinstance(told, FileStart):
                await self._begin(told.filename)
            else:
                waiting += told
                if len(waiting) >= PART:
                    await self._append(bytes(waiting))
                    waiting.clear()
        if waiting:
            await self._append(bytes(waiting))

    async def _begin(self, filename: str) -> None:
        if self._file is not None:
            raise bad_field("file", "send one file at a time")
        self._check_purpose()
        self._kept()
        key = self._caller.key
        name = "".join(one for one in filename[:255] if one.isprintable()) or "upload.jsonl"
        new = NewFile(
            id=files.new_id(),
            key_id=key.id,
            workspace_id=key.workspace_id,
            owner_id=key.owner_id,
            filename=name,
            purpose="batch",
            at=now(),
        )
        self._file = await self._context.writer.write(files.create, new)

    async def _append(self, data: bytes) -> None:
        assert self._file is not None  # bytes come after a FileStart
        await self._context.writer.write(files.append, Part(self._file.id, data), apart=True)

    async def _discard(self, of: OfFile) -> None:
        while not await self._context.writer.write(files.remove, of, apart=True):
            pass

    def _check_purpose(self) -> None:
        """OpenRouter's clients send none."""
        if self._fields.get("purpose", "batch") != "batch":
            raise bad_field("purpose", "must be batch: this server has no other use for files")

    def _kept(self) -> int | None:
        """Seconds. Raises InvalidRequestError."""
        text = self._fields.get("expires_after[seconds]")
        if text is None:
            return None
        if not text.isdecimal() or len(text) > 9 or not _LEAST_KEPT <= int(text) <= _KEPT:
            raise bad_field("expires_after.seconds", f"must be {_LEAST_KEPT:,} to {_KEPT:,}")
        return int(text)


async def _find(context: Context, caller: Caller, file_id: str) -> File:
    known, workspace_id = _known(file_id), caller.key.workspace_id
    return await context.database.read(lambda connection: files.find(connection, known, workspace_id))


async def _job_of(context: Context, caller: Caller, named: ResultFile, file_id: str) -> Job:
    """The batch whose results these are. Raises NotFoundError where it has none yet, or none of these."""
    workspace_id = caller.key.workspace_id
    try:
        job = await context.database.read(lambda connection: jobs.find(connection, named.job_id, workspace_id))
    except NotFoundError:
        raise _unknown() from None
    told = batch_object(job)
    if file_id not in (told.output_file_id, told.error_file_id):
        raise _unknown()
    return job


async def _parts(context: Context, file_id: str) -> AsyncIterator[bytes]:
    for number in count():
        part = await context.database.read(partial(files.read_part, file_id=file_id, number=number))
        if part is None:
            return
        yield part


def _object(file: File) -> FileObject:
    return FileObject(
        id=file.id,
        bytes=file.bytes,
        created_at=file.created_at // SECOND,
        expires_at=None if file.expires_at is None else file.expires_at // SECOND,
        filename=file.filename,
        purpose=file.purpose,
    )


def _result_object(file_id: str, named: ResultFile, job: Job, size: int) -> FileObject:
    return FileObject(
        id=file_id,
        bytes=size,
        created_at=(job.finalized_at or job.created_at) // SECOND,
        expires_at=None,
        filename=f"{job.id}_{'errors' if named.errors else 'output'}.jsonl",
        purpose="batch_output",
    )


def _known(file_id: str) -> str:
    if not _ID.fullmatch(file_id):
        raise _unknown()
    return file_id


def _plain(purpose: str) -> str:
    if not purpose.isascii() or not purpose.isprintable():
        raise bad_field("purpose", "must be a word")
    return purpose


def _unknown() -> NotFoundError:
    return NotFoundError("no file has this id", metadata={"field": "file_id"})
