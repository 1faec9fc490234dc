"""Lines of batches as requests: read as they were when they came in, with what the batch says for all of them."""

from functools import lru_cache

import msgspec

from embedrouter.accounts.caller import Caller
from embedrouter.batches.calls import LineCall, Reader
from embedrouter.batches.job import Job
from embedrouter.context import Context
from embedrouter.requests.embedding import decode_line, embed_request
from embedrouter.routing.preferences import ProviderPreferences


def line_reader(context: Context) -> Reader:
    """What the runner reads lines with."""

    def read(job: Job, body: bytes, _: Caller) -> LineCall:
        wanted = decode_line(body, job.model)
        request = embed_request(wanted, keep_prompt=context.settings.store_prompts)
        if job.model is not None:
            request = request._replace(model=job.model)  # a line may name it otherwise
        if job.provider_json is not None:
            request = request._replace(preferences=_preferences(job.provider_json))
        user, session = _printable(wanted.user), _printable(wanted.session_id)
        return LineCall(request, wanted.encoding_format or "float", user, session)

    return read


def _printable(text: str | None) -> str | None:
    """As of a request that somebody waits for."""
    return "".join(one for one in (text or "")[:256] if one.isprintable()) or None


@lru_cache(maxsize=64)
def _preferences(json: str) -> ProviderPreferences:
    return msgspec.json.decode(json, type=ProviderPreferences)
