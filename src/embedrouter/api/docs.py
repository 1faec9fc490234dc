"""GET /openapi.json: the description of this API, which /docs/reference shows to people."""

from functools import cache
from typing import Any, Final

import msgspec
import orjson
from litestar import Litestar, Request, Response, Router, get
from litestar.openapi.config import OpenAPIConfig
from litestar.openapi.spec import Components, SecurityScheme
from litestar.routes import BaseRoute
from litestar.types import ControllerRouterHandler

from embedrouter import __version__
from embedrouter.api.analytics import QueryBody
from embedrouter.api.auth import PUBLIC, Access, rules
from embedrouter.api.batch_bodies import CreateBatch
from embedrouter.api.catalog import CatalogDocument
from embedrouter.api.credits import AddCredit
from embedrouter.api.guardrail_keys import Keys
from embedrouter.api.inference_docs import ERRORS, STRUCTS, asking
from embedrouter.api.keys import CreateKey, UpdateKey
from embedrouter.catalog.entries import EndpointEntry, ModelEntry, ProviderEntry
from embedrouter.managing.budgets import SetBudget
from embedrouter.managing.credentials import CreateByok, UpdateByok
from embedrouter.managing.guardrails import CreateGuardrail, UpdateGuardrail
from embedrouter.managing.presets import CreatePreset
from embedrouter.managing.private_bodies import (
    CreatePrivateEndpoint,
    ForWorkspace,
    UpdatePricing,
    UpdatePrivateEndpoint,
)
from embedrouter.managing.workspaces import CreateWorkspace, UpdateWorkspace

_REF: Final = "#/components/schemas/{name}"
_OTHERS: Final = {
    **ERRORS,
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
    "createBatches": CreateBatch,
}
_UPLOAD: Final = {
    "type": "object",
    "required": ["file"],
    "properties": {
        "file": {"type": "string", "format": "binary", "description": "JSONL"},
        "purpose": {"const": "batch"},
    },
}
_CSV: Final = ("getUserActivity", "queryAnalytics")  # what answers in CSV, too, to who wants it


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
    references, schemas = msgspec.json.schema_components([*STRUCTS, *_BODIES.values()], ref_template=_REF)
    bodies = dict(zip(_BODIES, references[len(STRUCTS) :], strict=True))
    described["components"].setdefault("schemas", {}).update(schemas, Problem=_problem())
    problem = {"application/json": {"schema": {"$ref": _REF.format(name="Problem")}}}
    described["paths"] = {**asking(problem), **described["paths"]}
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
            if name == "createBatches":
                responses["202"]["description"] = "The batch, of requests in the body"
                responses["200"] = {**responses["202"], "description": "The batch, of a file's requests"}
            if name == "downloadFileContent":
                binary = {"schema": {"type": "string", "format": "binary"}}
                responses["200"]["content"] = {"application/octet-stream": binary}
            if name == "uploadFile":
                operation["requestBody"] = {"required": True, "content": {"multipart/form-data": {"schema": _UPLOAD}}}
                wrong |= {"400", "408", "413"}
            if name in ("cancelBatch", "deleteBatch", "deleteFile"):
                wrong |= {"409"}
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


@get("/openapi.json", include_in_schema=False, opt=PUBLIC)
async def openapi(request: Request[Any, Any, Any]) -> Response[bytes]:
    """The OpenAPI document."""
    return Response(document(request.app), media_type="application/json")
