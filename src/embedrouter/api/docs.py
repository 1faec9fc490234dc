"""GET /openapi.json and /docs: the description of this API, and Swagger UI over it, both from this server alone."""

from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Final

import msgspec
import orjson
from litestar import Litestar, MediaType, Request, Response, Router, get
from litestar.openapi.config import OpenAPIConfig
from litestar.openapi.spec import Components, SecurityScheme
from litestar.routes import BaseRoute
from litestar.types import ControllerRouterHandler

from embedrouter import __version__
from embedrouter.api.analytics import QueryBody
from embedrouter.api.auth import PUBLIC, Access, rules
from embedrouter.api.budgets import SetBudget
from embedrouter.api.byok import CreateByok, UpdateByok
from embedrouter.api.catalog import CatalogDocument
from embedrouter.api.credits import AddCredit
from embedrouter.api.guardrail_keys import Keys
from embedrouter.api.guardrails import CreateGuardrail, UpdateGuardrail
from embedrouter.api.keys import CreateKey, UpdateKey
from embedrouter.api.presets import CreatePreset
from embedrouter.api.private_bodies import (
    CreatePrivateEndpoint,
    ForWorkspace,
    UpdatePricing,
    UpdatePrivateEndpoint,
)
from embedrouter.api.schemas import EmbeddingsRequest
from embedrouter.api.workspaces import CreateWorkspace, UpdateWorkspace
from embedrouter.catalog.entries import EndpointEntry, ModelEntry, ProviderEntry
from embedrouter.errors import NotFoundError

ASSETS: Final = {"swagger-ui-bundle.js": "text/javascript", "swagger-ui.css": "text/css"}

_REF: Final = "#/components/schemas/{name}"
_EXAMPLE: Final = {
    "model": "sentence-transformers/all-minilm-l6-v2",
    "input": ["The quick brown fox", "jumps over the lazy dog"],
}
_ERRORS: Final = {
    "400": "A field is wrong; the message names it.",
    "401": "No key, or a wrong one.",
    "402": "The balance or the key's limit is used up.",
    "403": "The key may not do this, or a budget is used up.",
    "404": "No such model, or none that the request's own filters leave.",
    "408": "The body arrived too slowly.",
    "413": "The body is too large.",
    "429": "The key's own limits of requests, tokens or concurrency; see Retry-After.",
    "500": "Unforeseen.",
    "502": "The model failed.",
    "503": "The queue is full or the server is shutting down; see Retry-After.",
    "504": "The model took too long.",
}
_OTHERS: Final = {
    **_ERRORS,
    "403": "The key may not do this.",
    "404": "There is no such thing, or none that this key may see.",
    "409": "It contradicts what is there.",
    "422": "Right by itself, and still not possible; the message says why.",
    "503": "The database cannot be used at the moment; see Retry-After.",
}
_BODIES: Final[dict[str, type[msgspec.Struct]]] = {
    "createKeys": CreateKey,
    "updateKeys": UpdateKey,
    "addCredits": AddCredit,
    "putCatalogProvider": ProviderEntry,
    "putCatalogModel": ModelEntry,
    "putCatalogEndpoint": EndpointEntry,
    "validateCatalog": CatalogDocument,
    "createBYOKKey": CreateByok,
    "updateBYOKKey": UpdateByok,
    "createPrivateEndpoint": CreatePrivateEndpoint,
    "updatePrivateEndpoint": UpdatePrivateEndpoint,
    "updatePrivateEndpointPricing": UpdatePricing,
    "validatePrivateEndpoint": ForWorkspace,
    "queryAnalytics": QueryBody,
    "createWorkspace": CreateWorkspace,
    "updateWorkspace": UpdateWorkspace,
    "upsertWorkspaceBudget": SetBudget,
    "createGuardrail": CreateGuardrail,
    "updateGuardrail": UpdateGuardrail,
    "bulkAssignKeysToGuardrail": Keys,
    "bulkUnassignKeysFromGuardrail": Keys,
    "createPreset": CreatePreset,
}
_CSV: Final = ("getUserActivity", "queryAnalytics")  # what answers in CSV, too, to who wants it
_CSP: Final = (
    "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data:; "
    "connect-src 'self'; frame-ancestors 'none'; base-uri 'none'"
)
_PAGE: Final = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>embedrouter API</title>
<link rel="stylesheet" href="/docs/swagger-ui.css">
<link rel="icon" href="data:,">
<style>
@media (prefers-color-scheme: dark) {
  html { background: #fff; filter: invert(0.9) hue-rotate(180deg); }
}
</style>
</head>
<body>
<div id="docs"></div>
<script src="/docs/swagger-ui-bundle.js"></script>
<script src="/docs/start.js"></script>
</body>
</html>
"""
_START: Final = """window.ui = SwaggerUIBundle({
  url: "/openapi.json", dom_id: "#docs", deepLinking: true, validatorUrl: null, tryItOutEnabled: true,
});
"""


class _Nowhere(Router):
    """Where Litestar's own pages of documentation go: they would load their scripts from other servers."""

    def register(self, value: ControllerRouterHandler) -> list[BaseRoute]:
        """Serve nothing of it."""
        return []


CONFIG: Final = OpenAPIConfig(
    title="embedrouter",
    version=__version__,
    description="Text embeddings over the OpenRouter and OpenAI API.",
    components=[Components(security_schemes={"key": SecurityScheme(type="http", scheme="bearer")})],
    openapi_router=_Nowhere("/schema", route_handlers=[]),
)


def _embeddings_response() -> dict[str, Any]:
    embedding = {"anyOf": [{"type": "array", "items": {"type": "number"}}, {"type": "string"}]}
    item = {
        "type": "object",
        "required": ["object", "index", "embedding"],
        "properties": {"object": {"const": "embedding"}, "index": {"type": "integer"}, "embedding": embedding},
    }
    usage = {
        "type": "object",
        "required": ["prompt_tokens", "total_tokens", "cost"],
        "properties": {
            "prompt_tokens": {"type": "integer"},
            "total_tokens": {"type": "integer"},
            "cost": {"type": "number", "description": "USD"},
            "is_byok": {"type": "boolean"},
            "cost_details": {"type": "object"},
        },
    }
    return {
        "type": "object",
        "required": ["object", "data", "model", "id", "provider", "usage"],
        "properties": {
            "object": {"const": "list"},
            "data": {"type": "array", "items": item},
            "model": {"type": "string"},
            "id": {"type": "string"},
            "provider": {"type": "string"},
            "usage": usage,
        },
    }


def _problem() -> dict[str, Any]:
    error = {
        "type": "object",
        "required": ["code", "message", "metadata"],
        "properties": {
            "code": {"type": "integer", "description": "The HTTP status"},
            "message": {"type": "string"},
            "metadata": {
                "type": "object",
                "required": ["error_type"],
                "properties": {"error_type": {"type": "string"}},
            },
            "availability": {"type": "object"},
        },
    }
    return {"type": "object", "required": ["error"], "properties": {"error": error}}


@cache
def document(app: Litestar) -> bytes:
    """The OpenAPI 3.1 document, with the bodies that the routes decode themselves."""
    described: dict[str, Any] = app.openapi_schema.to_schema()
    (embeddings, *references), schemas = msgspec.json.schema_components(
        [EmbeddingsRequest, *_BODIES.values()], ref_template=_REF
    )
    bodies = dict(zip(_BODIES, references, strict=True))
    described["components"].setdefault("schemas", {}).update(
        schemas, Problem=_problem(), EmbeddingsResponse=_embeddings_response()
    )
    problem = {"application/json": {"schema": {"$ref": _REF.format(name="Problem")}}}
    described["paths"] = {"/api/v1/embeddings": {"post": _embeddings(embeddings, problem)}, **described["paths"]}
    access = {rule.operation: rule.access for rule in rules(app)}
    for path, methods in described["paths"].items():
        for operation in methods.values():
            responses, name = operation["responses"], operation["operationId"]
            if name in _CSV:
                responses["200"]["content"]["text/csv"] = {"schema": {"type": "string"}}
            if path == "/ready":
                responses["503"] = {"description": "Not ready", "content": {"application/json": {}}}
            wrong = {"400", "404"} if "{" in path or "parameters" in operation else {"400", "404"} & responses.keys()
            if name in bodies:
                operation["requestBody"] = {"required": True, "content": {"application/json": {"schema": bodies[name]}}}
                wrong |= {"400", "408", "409", "413"}
            if path.startswith("/api/v1/private-endpoints"):
                wrong |= {"404", "409", "422"}
            if name in access and access[name] != "public":
                operation["security"] = [{"key": []}]
                wrong |= _refusals(access[name])
            for code in sorted(wrong):
                responses[code] = {"description": _OTHERS[code], "content": problem}
    return orjson.dumps(described)


def _refusals(access: Access | None) -> set[str]:
    return {"401", "503"} if access == "key" else {"401", "403", "503"}


def _embeddings(request: dict[str, Any], problem: dict[str, Any]) -> dict[str, Any]:
    """The one operation that is served without Litestar's own machinery."""
    answer = {"schema": {"$ref": _REF.format(name="EmbeddingsResponse")}}
    return {
        "tags": ["Embeddings"],
        "summary": "Embed texts",
        "operationId": "createEmbeddings",
        "description": "Vectors for one to 2,048 inputs, as floats or base64, in input order.",
        "security": [{"key": []}],
        "requestBody": {
            "required": True,
            "content": {"application/json": {"schema": request, "example": _EXAMPLE}},
        },
        "responses": {
            "200": {"description": "Vectors", "content": {"application/json": answer}},
            **{code: {"description": what, "content": problem} for code, what in _ERRORS.items()},
        },
    }


@get("/openapi.json", include_in_schema=False, opt=PUBLIC)
async def openapi(request: Request[Any, Any, Any]) -> Response[bytes]:
    """The OpenAPI document."""
    return Response(document(request.app), media_type="application/json")


@get("/docs", include_in_schema=False, media_type=MediaType.HTML, opt=PUBLIC)
async def docs() -> Response[str]:
    """Swagger UI."""
    return Response(_PAGE, media_type=MediaType.HTML, headers={"Content-Security-Policy": _CSP})


@get("/docs/{name:str}", include_in_schema=False, opt=PUBLIC)
async def docs_asset(name: str) -> Response[bytes]:
    """Swagger UI's own files, from the installed package."""
    if name == "start.js":
        return Response(_START.encode(), media_type="text/javascript")
    if name not in ASSETS:
        raise NotFoundError("no such path; see /docs")
    headers = {"Cache-Control": "max-age=86400"}
    return Response((_asset_folder() / name).read_bytes(), media_type=ASSETS[name], headers=headers)


@cache
def _asset_folder() -> Path:
    # Located, not imported: the package's code is for other frameworks.
    spec = find_spec("swagger_ui")
    if spec is None or not spec.submodule_search_locations:
        raise NotFoundError("Swagger UI is not installed; /openapi.json has the description")
    return Path(spec.submodule_search_locations[0]) / "static"
