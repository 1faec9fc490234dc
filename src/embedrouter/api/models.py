"""GET /models and its relatives: what is served, by whom, for how much. Public."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Annotated, Any, Final, Literal

import msgspec
from litestar import Request, get
from litestar.datastructures import State
from litestar.params import QueryParameter

from embedrouter.api.auth import ANY_KEY, PUBLIC, caller_of
from embedrouter.api.performance import performance
from embedrouter.catalog.constraints import Constraints
from embedrouter.catalog.models import Endpoint, Model, Provider, endpoint_id
from embedrouter.catalog.select import ModelFilter, ModelQuery, Sort, select, wanted, words
from embedrouter.context import Context
from embedrouter.money import usd_text

_ARCHITECTURE: Final = {
    "modality": "text->embeddings",
    "input_modalities": ["text"],
    "output_modalities": ["embeddings"],
    "tokenizer": "Other",
    "instruct_type": None,
}

# The None is inside: Litestar reads neither the constraints nor the name of an Annotated that is part of a union.
Offset = Annotated[int | None, QueryParameter(ge=0, le=1_000_000, description="Models to pass over.")]
Limit = Annotated[int | None, QueryParameter(ge=1, le=1000, description="Models to return at most; all if left out.")]
Csv = Annotated[str | None, QueryParameter(max_length=1000)]
Usd = Annotated[float | None, QueryParameter(ge=0, le=1_000_000, description="USD per million prompt tokens.")]
Tokens = Annotated[int | None, QueryParameter(name="context", ge=0, le=100_000_000, description="The least context.")]
AnyRequest = Request[Any, Any, State]


@get("/models", summary="List the models", tags=["Models"], operation_id="listModels", opt=PUBLIC)
async def list_models(
    request: AnyRequest,
    context: Context,
    offset: Offset = None,
    limit: Limit = None,
    output_modalities: Csv = None,
    input_modalities: Csv = None,
    q: Csv = None,
    context_at_least: Tokens = None,
    min_price: Usd = None,
    max_price: Usd = None,
    model_authors: Csv = None,
    providers: Csv = None,
    supported_parameters: Csv = None,
    zdr: Literal["true", "false"] | None = None,
    sort: Sort | None = None,
) -> dict[str, Any]:
    """Every served modality by default: embedding models must be findable."""
    query = ModelQuery(
        q=q,
        output_modalities=output_modalities,
        input_modalities=input_modalities,
        context=context_at_least,
        min_price=min_price,
        max_price=max_price,
        model_authors=model_authors,
        providers=providers,
        supported_parameters=supported_parameters,
        zdr=zdr,
        sort=sort,
    )
    return _page(request, select(context.catalog.loaded.catalog.models, wanted(query)), offset, limit)


@get(
    "/embeddings/models",
    summary="List the embedding models",
    tags=["Models"],
    operation_id="listEmbeddingsModels",
    opt=PUBLIC,
)
async def list_embedding_models(
    request: AnyRequest, context: Context, offset: Offset = None, limit: Limit = None
) -> dict[str, Any]:
    """The same list: every model here embeds."""
    return _page(request, context.catalog.loaded.catalog.models, offset, limit)


@get("/models/count", summary="Count the models", tags=["Models"], operation_id="countModels", opt=PUBLIC)
async def count_models(context: Context, output_modalities: Csv = None) -> dict[str, Any]:
    """How many models `GET /models` lists."""
    found = select(context.catalog.loaded.catalog.models, ModelFilter(output_modalities=words(output_modalities)))
    return {"data": {"count": len(found)}}


@get("/model/{author:str}/{slug:str}", summary="Get one model", tags=["Models"], operation_id="getModel", opt=PUBLIC)
async def get_model(context: Context, author: str, slug: str) -> dict[str, Any]:
    """One model by its slug, canonical slug or alias."""
    return {"data": _model_json(context.catalog.loaded.catalog.find(f"{author}/{slug}"))}


@get(
    "/models/user",
    summary="List the models that a key may use",
    tags=["Models"],
    operation_id="listModelsUser",
    opt=ANY_KEY,
)
async def list_user_models(
    request: AnyRequest, context: Context, offset: Offset = None, limit: Limit = None
) -> dict[str, Any]:
    """Those that its workspace and its guardrails leave, priced by the endpoints that they leave."""
    caller, gateway = caller_of(request), context.gateway
    left = _left(gateway.catalog.models, caller.constraints, lambda *of: gateway.retains(caller, *of))
    return _page(request, [*left], offset, limit)


@get(
    "/endpoints/zdr",
    summary="List the endpoints that retain no prompts",
    tags=["Endpoints"],
    operation_id="listEndpointsZdr",
    opt=PUBLIC,
)
async def list_zdr_endpoints(context: Context) -> dict[str, Any]:
    """What is left with zero data retention, whoever asks: no private endpoints, nor what credentials declare."""
    models = context.catalog.loaded.catalog.models
    left = _left(models, Constraints(zdr=True), lambda _, endpoint: endpoint.data_policy.retains_prompts)
    return {"data": [endpoint_json(context, model, endpoint) for model in left for endpoint in model.endpoints]}


@get(
    "/models/{author:str}/{slug:str}/endpoints",
    summary="List a model's endpoints",
    tags=["Endpoints"],
    operation_id="listEndpoints",
    opt=PUBLIC,
)
async def list_endpoints(context: Context, author: str, slug: str) -> dict[str, Any]:
    """Who serves a model, and how."""
    model = context.catalog.loaded.catalog.find(f"{author}/{slug}")
    return {
        "data": {
            "id": model.slug,
            "name": model.name,
            "created": model.created,
            "description": model.description,
            "architecture": _ARCHITECTURE,
            "endpoints": [endpoint_json(context, model, endpoint) for endpoint in model.endpoints],
        }
    }


@get("/providers", summary="List the providers", tags=["Providers"], operation_id="listProviders", opt=PUBLIC)
async def list_providers(context: Context) -> dict[str, Any]:
    """Everyone who serves a model here."""
    return {"data": [_provider_json(provider) for provider in context.catalog.loaded.catalog.providers]}


def _left(
    models: Iterable[Model], constraints: Constraints, retains: Callable[[Model, Endpoint], bool]
) -> Iterator[Model]:
    """The models with the endpoints that are left of them, if any are. retains: whether one keeps prompts."""
    for model in models:
        endpoints = tuple(one for one in model.endpoints if constraints.permit(model, one, retains=retains(model, one)))
        if endpoints:
            yield msgspec.structs.replace(model, endpoints=endpoints)


def _page(request: AnyRequest, models: Sequence[Model], offset: int | None, limit: int | None) -> dict[str, Any]:
    start = offset or 0
    size = limit or (500 if offset is not None else len(models))
    shown = models[start : start + size]
    following = start + size if start + size < len(models) else None
    return {
        "data": [_model_json(model) for model in shown],
        "total_count": len(models),
        "links": {"next": None if following is None else f"{request.url.path}?offset={following}&limit={size}"},
    }


def _provider_json(provider: Provider) -> dict[str, Any]:
    """What everybody may know; how he is asked is the operator's business."""
    return {
        "slug": provider.slug,
        "name": provider.name,
        "privacy_policy_url": provider.privacy_policy_url,
        "terms_of_service_url": provider.terms_of_service_url,
        "status_page_url": provider.status_page_url,
        "headquarters": provider.headquarters,
        "datacenters": provider.datacenters,
    }


def _model_json(model: Model) -> dict[str, Any]:
    best = min(model.endpoints, key=lambda endpoint: endpoint.price.prompt)
    return {
        "id": model.slug,
        "canonical_slug": model.canonical_slug,
        "hugging_face_id": model.hugging_face_id,
        "name": model.name,
        "created": model.created,
        "description": model.description,
        "context_length": model.context_length,
        "architecture": _ARCHITECTURE,
        "pricing": _pricing(best),
        "top_provider": {"context_length": best.context_length, "max_completion_tokens": None, "is_moderated": False},
        "per_request_limits": None,
        "supported_parameters": list(model.supported_parameters),
        "default_parameters": None,
        "supported_voices": None,
        "knowledge_cutoff": None,
        "expiration_date": None,
        "links": {"details": f"/api/v1/models/{model.canonical_slug}/endpoints"},
    }


def endpoint_json(context: Context, model: Model, endpoint: Endpoint) -> dict[str, Any]:
    """A PublicEndpoint."""
    return {
        "name": f"{endpoint.provider.name} | {model.canonical_slug}",
        "model_id": model.canonical_slug,
        "model_name": model.name,
        "context_length": endpoint.context_length,
        "pricing": _pricing(endpoint),
        "provider_name": endpoint.provider.name,
        "tag": endpoint.tag,
        "quantization": endpoint.quantization,
        "max_completion_tokens": None,
        "max_prompt_tokens": endpoint.context_length,
        "supported_parameters": list(endpoint.supported_parameters),
        **performance(context.gateway.health, endpoint_id(model, endpoint)),
        "supports_implicit_caching": False,
        "supports_voice_cloning": False,
        "native_tools": {},
        "service_tier": None,
        "supports_diarization": False,
        "supports_tool_choice": {"auto": False, "function": False, "none": False, "required": False},
    }


def _pricing(endpoint: Endpoint) -> dict[str, Any]:
    return {
        "prompt": usd_text(endpoint.price.prompt),
        "completion": usd_text(endpoint.price.completion),
        "request": "0",
        "image": "0",
        "discount": 0,
    }
