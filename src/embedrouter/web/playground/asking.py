"""The page's form as a request, and its way through the gateway by the person's own Playground key."""

import time
from collections.abc import Mapping
from typing import Final, NamedTuple

import orjson

from embedrouter.accounts.playground import Desk, Wanted
from embedrouter.accounts.users import User
from embedrouter.context import Context
from embedrouter.errors import InvalidRequestError
from embedrouter.ledger.book import now
from embedrouter.minilm.windows import LongInput
from embedrouter.routing.preferences import ProviderPreferences
from embedrouter.work import EmbedRequest, EmbedResult, Origin, Trail, new_generation_id

MOST_LINES: Final = 200  # of the form; scripts send more, in several requests
LARGEST_FORM: Final = 262_144  # bytes
_LONGEST_QUERY: Final = 2_000  # characters


class Asked(NamedTuple):
    """What the form says. lines: without empty ones."""

    model: str
    lines: list[str]
    query: str = ""

    @property
    def inputs(self) -> list[str]:
        """The lines, and the query behind them."""
        return [*self.lines, self.query] if self.query else self.lines


class Embedded(NamedTuple):
    """What came of it."""

    asked: Asked
    result: EmbedResult
    generation_id: str
    seconds: float


def asked_by(form: Mapping[str, str], model: str) -> Asked:
    """Whatever the form says, right or wrong. model: the one to take if it names none."""
    lines = [line.strip() for line in form.get("texts", "").splitlines()]
    query = form.get("query", "").strip()
    return Asked(form.get("model", "") or model, [line for line in lines if line], query)


def require_right(asked: Asked) -> None:
    """Raise InvalidRequestError for what cannot be embedded."""
    if not asked.lines:
        raise InvalidRequestError("texts: there are none; write one a line, or start from an example")
    if len(asked.lines) > MOST_LINES:
        raise InvalidRequestError(
            f"texts: {len(asked.lines):,} lines are more than the {MOST_LINES} that work without JavaScript; send fewer"
        )
    if len(asked.query) > _LONGEST_QUERY:
        raise InvalidRequestError(f"query: has more than {_LONGEST_QUERY:,} characters; shorten it")


async def embed(context: Context, user: User, asked: Asked, user_agent: str | None) -> Embedded:
    """Raises EmbedRouterError."""
    started = time.perf_counter()
    context.refuse_if_draining()
    desk = Desk(context.database, context.writer, context.gatekeeper)
    caller = await desk.caller(Wanted(user.id, now()))
    origin = Origin(new_generation_id(), caller, started, user_agent=user_agent)
    kept = orjson.dumps(asked.inputs).decode() if context.settings.store_prompts else None
    request = EmbedRequest(
        asked.model, asked.inputs, LongInput.WINDOWS, None, ProviderPreferences(), frozenset(), prompt=kept
    )

    async def present(_: EmbedResult) -> None:
        """The page is made when the charge is in the ledger: it may take long."""

    result, _ = await context.gateway.embed(request, origin, present, Trail())
    context.metrics.embedded(len(result.vectors), result.prompt_tokens, result.truncated, result.windows)
    return Embedded(asked, result, origin.generation_id, time.perf_counter() - started)
