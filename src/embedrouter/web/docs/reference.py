"""/docs/reference: every operation of the API, with a form that calls it."""

from typing import Any

from litestar import Request, Response, get

from embedrouter.catalog.builtin import builtin_model
from embedrouter.entrance import PUBLIC, Entrance
from embedrouter.web.docs.code import coloured
from embedrouter.web.docs.operations import Operation, by_tag, named
from embedrouter.web.docs.pages import shelf_of, told_operations
from embedrouter.web.layout import page
from embedrouter.web.model_api import GENERIC, parameters_of
from embedrouter.web.view import Crumb

AnyRequest = Request[Any, Any, Any]


@get("/docs/reference", opt=PUBLIC)
async def reference(request: AnyRequest, entrance: Entrance) -> Response[str]:
    """All operations by what they are about."""
    model = {
        "title": "API reference",
        "shelf": await shelf_of(entrance),
        "crumbs": (Crumb("Docs", "/docs"), Crumb("API reference")),
        "tags": by_tag(await told_operations(request)),
        "address": entrance.address,
    }
    return page(request, "docs/reference.html", model)


@get("/docs/reference/{name:str}", opt=PUBLIC)
async def operation(request: AnyRequest, entrance: Entrance, name: str) -> Response[str]:
    """One of them."""
    found = await told_operations(request)
    shown = _explained(named(found, name))
    model = {
        "title": f"{shown.method} {shown.path} · API reference",
        "shelf": await shelf_of(entrance),
        "crumbs": (Crumb("Docs", "/docs"), Crumb("API reference", "/docs/reference"), Crumb(shown.summary)),
        "operation": shown,
        "siblings": [one for one in found if one.tag == shown.tag],
        "curl": coloured(shown.curl(entrance.address), "sh"),
    }
    return page(request, "docs/operation.html", model)


def _explained(operation: Operation) -> Operation:
    """The fields of an embedding with what a model's page says of them, for the built-in model."""
    if operation.id != "createEmbeddings":
        return operation
    said = {one.name: one.description for one in (*parameters_of(builtin_model("fp32")), *GENERIC)}
    fields = (one._replace(description=one.description or said.get(one.name, "")) for one in operation.body)
    return operation._replace(body=tuple(sorted(fields, key=lambda one: not one.required)))
