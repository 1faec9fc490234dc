"""A batch job as it is kept."""

from typing import Final, Literal

import msgspec

from embedrouter.periods import SECOND

Form = Literal["openrouter", "openai"]
Status = Literal[
    "validating", "failed", "in_progress", "finalizing", "completed", "expired", "cancelling", "cancelled"
]  # fmt: skip
ENDED: Final[frozenset[Status]] = frozenset(("failed", "completed", "expired", "cancelled"))


class JobError(msgspec.Struct, frozen=True, omit_defaults=True):
    """Why a job failed. line: from 0."""

    code: str
    message: str
    line: int | None = None
    param: str | None = None  # of the line, or of the batch


class Job(msgspec.Struct, frozen=True, kw_only=True):
    """A row of `batches`. Times are microseconds, money pico-USD."""

    id: str
    key_id: int
    workspace_id: str
    owner_id: str | None
    form: Form
    endpoint: str
    model: str | None
    completion_window: str
    provider_json: str | None
    callback_url: str | None
    metadata_json: str | None
    input_file_id: str | None
    status: Status
    error: str | None  # JSON of a JobError
    created_at: int
    in_progress_at: int | None
    finalizing_at: int | None
    finalized_at: int | None
    expires_at: int
    cancelling_at: int | None
    total: int
    completed: int
    failed: int
    bytes: int
    prompt_tokens: int
    cost_pico: int
    touched_at: int
    lease_owner: str | None
    lease_until: int | None
    callback_due: int | None
    callback_tries: int

    @property
    def ended(self) -> bool:
        """Whether nothing of it will change any more."""
        return self.status in ENDED

    @property
    def has_results(self) -> bool:
        """Whether its lines have something to tell: it has ended, and did not fail before it began."""
        return self.ended and (self.status != "failed" or self.in_progress_at is not None)

    @property
    def problem(self) -> JobError | None:
        """Why it failed."""
        return None if self.error is None else msgspec.json.decode(self.error, type=JobError)

    def seconds_left(self, at: int) -> float | None:
        """How long its other lines will take at the rate so far; None where none is known, 0 when it has ended.

        at: now, in microseconds.
        """
        if self.ended:
            return 0.0
        done = self.completed + self.failed
        if self.in_progress_at is None or not done:
            return None
        return (self.total - done) * (at - self.in_progress_at) / done / SECOND
