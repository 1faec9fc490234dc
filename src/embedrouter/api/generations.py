"""GET /generation: what became of a request, for whoever made it."""

from collections.abc import Mapping
from typing import Annotated, Any, Final

import msgspec
from litestar import Request, get
from litestar.params import Parameter

from embedrouter.accounts.caller import Caller
from embedrouter.api.auth import ANY_KEY, caller_of
from embedrouter.context import Context
from embedrouter.errors import NotFoundError
from embedrouter.ledger import generations
from embedrouter.ledger.attempts import Attempt
from embedrouter.money import usd
from embedrouter.periods import iso

Id = Annotated[str, Parameter(min_length=1, max_length=64, description="`gen-...`")]

_ATTEMPTS: Final = msgspec.json.Decoder(list[dict[str, Any]])


class ProviderResponse(msgspec.Struct, frozen=True, kw_only=True):
    """One try at one endpoint. latency in ms."""

    provider_name: str
    status: int | None
    latency: float
    endpoint_id: str
    model_permaslug: str
    is_byok: bool


class GenerationData(msgspec.Struct, frozen=True, kw_only=True):
    """A request that reached a provider. Times in ms, money in USD. What embeddings do not have is null."""

    id: str
    api_type: str
    app_id: int | None
    cache_discount: float | None = None
    cancelled: bool
    created_at: str
    data_region: str = "global"
    external_user: str | None
    finish_reason: str | None = None
    generation_time: float
    http_referer: str | None
    is_byok: bool
    latency: float
    model: str
    moderation_latency: float | None = None
    native_finish_reason: str | None = None
    native_tokens_cached: int = 0
    native_tokens_completion: int = 0
    native_tokens_completion_images: int | None = None
    native_tokens_prompt: int
    native_tokens_reasoning: int = 0
    num_fetches: int | None = None
    num_input_audio_prompt: int | None = None
    num_media_completion: int | None = None
    num_media_prompt: int | None = None
    num_search_results: int | None = None
    origin: str
    preset_id: str | None = None
    provider_name: str
    provider_responses: list[ProviderResponse]
    request_id: str | None
    router: str | None = None
    service_tier: str | None = None
    session_id: str | None
    streamed: bool = False
    tokens_completion: int = 0
    tokens_prompt: int
    total_cost: float
    upstream_id: str | None = None
    upstream_inference_cost: float | None  # what own credentials paid for, by list price
    usage: float
    user_agent: str | None
    web_search_engine: str | None = None
    workspace_id: str | None
    response_cache_source_id: str | None


class GenerationAnswer(msgspec.Struct, frozen=True):
    """What GET /generation answers."""

    data: GenerationData


class StoredInput(msgspec.Struct, frozen=True):
    """What was embedded: the text itself, or several as a JSON list; `inputs` is always the list."""

    prompt: str
    inputs: list[str | list[int]]


class NoOutput(msgspec.Struct, frozen=True):
    """An embedding writes nothing."""

    completion: str | None = None
    reasoning: str | None = None


class StoredContent(msgspec.Struct, frozen=True):
    """The stored input of a generation."""

    input: StoredInput
    output: NoOutput
    error: None = None


class ContentAnswer(msgspec.Struct, frozen=True):
    """What GET /generation/content answers."""

    data: StoredContent


_INPUTS: Final = msgspec.json.Decoder(list[str | list[int]])


@get("/generation", summary="Get a generation", tags=["Generations"], operation_id="getGeneration", opt=ANY_KEY)
async def get_generation(
    request: Request[Any, Any, Any],
    context: Context,
    id: Id,  # noqa: A002
) -> GenerationAnswer:
    """Its tokens, cost, times and attempts: there as soon as the request is answered."""
    return GenerationAnswer(_data(await _visible(context, caller_of(request), id)))


@get(
    "/generation/content",
    summary="Get a generation's input",
    tags=["Generations"],
    operation_id="listGenerationContent",
    opt=ANY_KEY,
)
async def get_content(request: Request[Any, Any, Any], context: Context, id: Id) -> ContentAnswer:  # noqa: A002
    """Only where the server stores prompts, which it does not unless told."""
    await _visible(context, caller_of(request), id)
    prompt = await context.database.read(lambda connection: generations.get_prompt(connection, id))
    if prompt is None:
        raise NotFoundError(
            "the input of this generation is not stored; to store those to come, start the server with "
            "EMBEDROUTER_STORE_PROMPTS=true"
        )
    inputs = _INPUTS.decode(prompt)
    text = inputs[0] if len(inputs) == 1 and isinstance(inputs[0], str) else prompt
    return ContentAnswer(StoredContent(StoredInput(text, inputs), NoOutput()))


async def _visible(context: Context, caller: Caller, generation_id: str) -> Mapping[Any, Any]:
    """The row, if this caller may see it. What it may not see is not there: nobody can find out which ids exist."""
    row: Mapping[Any, Any] | None = None
    if generation_id.isascii() and generation_id.isprintable():
        row = await context.database.read(lambda connection: generations.get(connection, generation_id))
    if row is None or not _may_see(caller, row):
        raise NotFoundError("no generation has this id", metadata={"field": "id"})
    return row


def _may_see(caller: Caller, row: Mapping[Any, Any]) -> bool:
    key = caller.key
    if key.management or row["key_id"] == key.id:
        return True
    return key.owner_id is not None and row["owner_id"] == key.owner_id


def _data(row: Mapping[Any, Any]) -> GenerationData:
    cost = usd(row["cost_pico"])
    return GenerationData(
        id=row["id"],
        api_type=row["api_type"],
        app_id=row["app_id"] or None,
        cancelled=row["cancelled"],
        created_at=iso(row["created_at"]),
        external_user=row["external_user"],
        generation_time=row["generation_us"] / 1000,
        http_referer=row["http_referer"],
        is_byok=row["is_byok"],
        latency=row["latency_us"] / 1000,
        model=row["model_permaslug"],
        native_tokens_prompt=row["prompt_tokens"],
        origin=row["origin"],
        provider_name=row["provider_name"],
        provider_responses=[_attempt(Attempt(**attempt)) for attempt in _ATTEMPTS.decode(row["attempts"])],
        request_id=row["request_id"],
        session_id=row["session_id"],
        tokens_prompt=row["prompt_tokens"],
        total_cost=cost,
        upstream_inference_cost=usd(row["upstream_pico"]) if row["is_byok"] else None,
        usage=cost,
        user_agent=row["user_agent"],
        workspace_id=row["workspace_id"],
        response_cache_source_id=row["cache_source_id"],
    )


def _attempt(attempt: Attempt) -> ProviderResponse:
    return ProviderResponse(
        provider_name=attempt.provider_name,
        status=attempt.status,
        latency=attempt.latency_us / 1000,
        endpoint_id=attempt.endpoint,
        model_permaslug=attempt.model_permaslug,
        is_byok=attempt.is_byok,
    )
