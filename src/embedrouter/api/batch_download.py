"""/api/internal/batches/{id}/results: a batch's results as a file, for the page of who is signed in."""

from collections.abc import AsyncIterator

from litestar import get
from litestar.response import Stream

from embedrouter.accounts.sessions import SignedIn
from embedrouter.api.batch_results import Done, error_line, output_line, rendered_lines
from embedrouter.batches import jobs
from embedrouter.context import Context
from embedrouter.entrance import SESSION
from embedrouter.errors import ConflictError


@get("/batches/{id_:str}/results", opt=SESSION)
async def results(context: Context, signed_in: SignedIn, id_: str) -> Stream:
    """JSON Lines, a line a request in the order they were sent, as OpenAI's output and error files have them."""
    owner = signed_in.user.sees_only
    job = await context.database.read(lambda connection: jobs.find(connection, id_, None, owner))
    if not job.has_results:
        raise ConflictError(f"the batch is {job.status}: it has no results{'' if job.ended else ' yet'}")

    async def pieces() -> AsyncIterator[bytes]:
        async for rendered in rendered_lines(context, job, _line):
            yield b"".join(rendered)

    disposition = f'attachment; filename="{job.id}.jsonl"'
    return Stream(
        pieces(),
        media_type="application/jsonl",
        headers={"Content-Disposition": disposition, "X-Content-Type-Options": "nosniff"},
    )


def _line(done: Done) -> bytes | None:
    return output_line(done) or error_line(done)
