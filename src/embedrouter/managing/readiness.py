"""Whether this process can serve."""

import asyncio
import time
from typing import Final

from embedrouter.context import Context
from embedrouter.errors import EmbedRouterError
from embedrouter.minilm.pipeline import Pipeline

_RECENT: Final = 10.0  # seconds within which the model's last answer counts as recent
_PROBE: Final = 5.0  # seconds the model gets to answer a probe


async def problem(context: Context) -> str | None:
    """None if the model answered recently or does now, or is not wanted; else what is wrong."""
    if context.draining:
        return "draining"
    return None if context.model is None else await _probe(context.model.pipeline)


async def _probe(pipeline: Pipeline) -> str | None:
    if not pipeline.alive:
        return "the tokenizer thread is dead"
    if pipeline.batcher.live_workers == 0:
        return "no model worker is alive"
    if time.monotonic() - pipeline.batcher.last_success < _RECENT:
        return None
    try:
        async with asyncio.timeout(_PROBE):
            await asyncio.wrap_future(pipeline.submit(["ready?"]))
    except TimeoutError:
        return f"the model did not answer within {_PROBE:g} s"
    except EmbedRouterError as error:
        return error.message
    return None
