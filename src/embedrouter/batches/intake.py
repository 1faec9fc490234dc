"""A batch's lines on their way into the database: in pieces, each a short transaction."""

from collections.abc import Sequence

from embedrouter.batches.jobs import PIECE, PIECE_BYTES, NewLines, add_lines
from embedrouter.batches.lines import NewLine
from embedrouter.batches.parsing import Request, about
from embedrouter.errors import InvalidRequestError
from embedrouter.ledger.book import now
from embedrouter.store import Writer


class Intake:
    """Of one job that is `validating`. Memory: PIECE lines or PIECE_BYTES, and one line."""

    def __init__(self, writer: Writer, job_id: str) -> None:
        self._writer = writer
        self._job_id = job_id
        self._waiting: list[Request] = []
        self._size = 0

    async def add(self, requests: Sequence[Request]) -> None:
        """Raises InvalidRequestError naming a request whose custom_id was there before, PayloadTooLargeError."""
        for one in requests:
            self._waiting.append(one)
            self._size += len(one.body)
            if len(self._waiting) >= PIECE or self._size >= PIECE_BYTES:
                await self.flush()

    async def flush(self) -> None:
        """Write what waits. Raises as above."""
        taken, self._waiting, self._size = self._waiting, [], 0
        if not taken:
            return
        lines = [NewLine(one.custom_id, one.body) for one in taken]
        try:
            await self._writer.write(add_lines, NewLines(self._job_id, lines, now()), apart=True)
        except InvalidRequestError as error:
            twice = error.metadata.get("custom_id")
            these = [one for one in taken if one.custom_id == twice]
            if not these:
                raise
            one = these[1] if len(these) > 1 else these[0]
            raise about(error, one.number, one.custom_id) from error
