"""The API reference as data: what our OpenAPI document says, by operation."""

from collections.abc import Iterator, Mapping
from functools import cache
from typing import Any, Final, NamedTuple

import orjson

from embedrouter.errors import NotFoundError

_METHODS: Final = ("get", "post", "put", "patch", "delete")
_DEEPEST: Final = 4  # levels of a schema that are told
_MOST_VALUES: Final = 12  # of an enumeration
_BRANCHES: Final = ("anyOf", "oneOf")

Schema = Mapping[str, Any]


class Field(NamedTuple):
    """A parameter, or a field of a body."""

    name: str  # of a nested field its whole path: data[].id
    kind: str  # path, query, body
    type: str
    required: bool
    default: str  # as JSON; "" for none
    description: str


class Reply(NamedTuple):
    """A status that an operation answers with."""

    status: str
    description: str


class Operation(NamedTuple):
    """A method of a path."""

    id: str
    tag: str
    method: str
    path: str
    summary: str
    description: str
    needs_key: bool
    parameters: tuple[Field, ...]
    body: tuple[Field, ...]
    example: str  # a body, as JSON; "" where there is none
    answer: tuple[Field, ...]
    replies: tuple[Reply, ...]

    @property
    def href(self) -> str:
        return f"/docs/reference/{self.id}"

    def curl(self, address: str) -> str:
        """How to call it from a shell; what stands in braces is the reader's to fill in."""
        lines = [
            f"curl {address}{self.path}" if self.method == "GET" else f"curl -X {self.method} {address}{self.path}"
        ]
        if self.needs_key:
            lines.append('-H "Authorization: Bearer $EMBEDROUTER_API_KEY"')
        if self.example:
            lines += ['-H "Content-Type: application/json"', f"-d '{self.example}'"]
        return " \\\n  ".join(lines)


@cache
def operations(document: bytes) -> tuple[Operation, ...]:
    """Those of an OpenAPI document, in its order."""
    told = orjson.loads(document)
    schemas = told["components"]["schemas"]
    return tuple(
        _operation(path, method, methods[method], schemas)
        for path, methods in told["paths"].items()
        for method in _METHODS
        if method in methods
    )


def by_tag(found: tuple[Operation, ...]) -> list[tuple[str, list[Operation]]]:
    """In the order of each tag's first operation."""
    tags = dict.fromkeys(one.tag for one in found)
    return [(tag, [one for one in found if one.tag == tag]) for tag in tags]


def named(found: tuple[Operation, ...], name: str) -> Operation:
    """Raises NotFoundError."""
    for one in found:
        if one.id == name:
            return one
    raise NotFoundError("there is no such operation; /docs/reference lists them all")


def _operation(path: str, method: str, told: Schema, schemas: Schema) -> Operation:
    sent = told.get("requestBody", {}).get("content", {}).get("application/json", {})
    good: Schema = next((reply for code, reply in told["responses"].items() if code.startswith("2")), {})
    answered = good.get("content", {}).get("application/json", {}).get("schema", {})
    example = sent.get("example") or (_example(sent["schema"], schemas) if sent else None)
    return Operation(
        id=told["operationId"],
        tag=told["tags"][0],
        method=method.upper(),
        path=path,
        summary=told["summary"],
        description=told.get("description", ""),
        needs_key=bool(told.get("security")),
        parameters=tuple(_parameter(one, schemas) for one in told.get("parameters", ())),
        body=tuple(_fields(sent.get("schema", {}), schemas)),
        example=orjson.dumps(example, option=orjson.OPT_INDENT_2).decode() if sent else "",
        answer=tuple(_fields(answered, schemas)),
        replies=tuple(Reply(code, reply["description"]) for code, reply in sorted(told["responses"].items())),
    )


def _parameter(told: Schema, schemas: Schema) -> Field:
    schema = told.get("schema", {})
    limits = {name: value for name, value in schema.items() if name not in _BRANCHES}
    shown = _type({**_chosen(schema), **limits}, schemas)
    description = told.get("description") or schema.get("description") or ""
    return Field(told["name"], told["in"], shown, bool(told.get("required")), _default(schema), description)


def _fields(schema: Schema, schemas: Schema, path: str = "", depth: int = 0) -> Iterator[Field]:
    """The fields of an object, each before its own."""
    schema = _resolved(schema, schemas)
    if schema.get("type") == "array":
        path, schema = f"{path}[]", _resolved(schema.get("items", {}), schemas)
    required = schema.get("required", ())
    for name, told in schema.get("properties", {}).items():
        full = f"{path}.{name}" if path else name
        inner = _resolved(told, schemas)
        description = told.get("description") or inner.get("description") or _inner_description(told)
        is_object = "properties" in inner
        yield Field(
            full,
            "body",
            _type(told, schemas),
            name in required,
            _default(told),
            "" if is_object and not told.get("description") else description,
        )
        if depth < _DEEPEST:
            yield from _fields(inner, schemas, full, depth + 1)


def _inner_description(told: Schema) -> str:
    return next((str(one["description"]) for one in _branches(told) if "description" in one), "")


def _branches(schema: Schema) -> list[Schema]:
    return [one for key in _BRANCHES for one in schema.get(key, ()) if one.get("type") != "null"]


def _chosen(schema: Schema) -> Schema:
    """The one branch besides null, or the schema itself."""
    branches = _branches(schema)
    return branches[0] if len(branches) == 1 else schema


def _resolved(schema: Schema, schemas: Schema) -> Schema:
    """Through references, and through a branch with fields where there are several."""
    for _ in range(8):
        if "$ref" in schema:
            schema = schemas[schema["$ref"].rpartition("/")[2]]
        elif branches := _branches(schema):
            schema = next((one for one in branches if "$ref" in one or "properties" in one), branches[0])
        else:
            break
    return schema


def _type(schema: Schema, schemas: Schema, depth: int = 0) -> str:
    """A type in words: "integer, 1 to 384", "list of text", "float or base64"."""
    if branches := _branches(schema):
        return " or ".join(dict.fromkeys(_type(one, schemas, depth + 1) for one in branches))
    if "$ref" in schema:
        target = _resolved(schema, schemas)
        return "object" if "properties" in target else _type(target, schemas, depth + 1)
    if "const" in schema:
        return str(schema["const"])
    if "enum" in schema:
        values = [str(one) for one in schema["enum"]]
        return " or ".join(values[:_MOST_VALUES]) + (", …" if len(values) > _MOST_VALUES else "")
    if schema.get("type") == "array":
        return f"list of {_type(schema.get('items', {}), schemas, depth + 1)}" if depth < 3 else "list"
    return _plain(schema)


def _plain(schema: Schema) -> str:
    """Of what has no parts: a number with its range, a text with its length."""
    kind = schema.get("type", "any")
    if isinstance(kind, list):
        return " or ".join(_word(one) for one in kind if one != "null")
    return ", ".join(filter(None, (_word(str(schema.get("format") or kind)), _range(schema))))


def _word(kind: str) -> str:
    return {"string": "text", "date-time": "time, ISO 8601", "date": "date", "int64": "integer"}.get(kind, kind)


def _range(schema: Schema) -> str:
    least, most = schema.get("minimum"), schema.get("maximum")
    if least is not None and most is not None:
        return f"{least:,} to {most:,}"
    if least is not None or most is not None:
        return f"at least {least:,}" if most is None else f"at most {most:,}"
    return f"up to {schema['maxLength']:,} characters" if "maxLength" in schema else ""


def _default(schema: Schema) -> str:
    value = schema.get("default")
    return "" if value is None else orjson.dumps(value).decode()


def _example(schema: Schema, schemas: Schema) -> Any:
    """The required fields with values that can be edited; the first one where none is required."""
    target = _resolved(schema, schemas)
    fields = target.get("properties", {})
    wanted = [name for name in fields if name in target.get("required", ())] or list(fields)[:1]
    return {name: _value(name, fields[name], schemas) for name in wanted}


def _value(name: str, schema: Schema, schemas: Schema) -> Any:
    target = _resolved(schema, schemas)
    if "properties" in target:
        return _example(target, schemas)
    if "enum" in target:
        return target["enum"][0]
    match target.get("type"):
        case "array":
            return [_value(name.removesuffix("s"), target.get("items", {}), schemas)]
        case "integer" | "number":
            return max(1, target.get("minimum", 1))
    return {"boolean": False, "object": {}}.get(str(target.get("type")), _text(name, target))


def _text(name: str, schema: Schema) -> str:
    if schema.get("format") == "date-time":
        return "2035-01-01T00:00:00Z"
    return "example" if "pattern" in schema else f"<{name}>"
