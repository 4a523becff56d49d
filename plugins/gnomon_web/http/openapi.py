"""The OpenAPI 3.1 document, generated from the route table and the Structs that validate requests and write answers."""

from __future__ import annotations

import inspect
import re
from collections.abc import Iterable
from http import HTTPStatus
from importlib.metadata import version
from typing import Any

import msgspec
from aiohttp import web

from gnomon.durations import Duration
from gnomon.moments import RELATIVE
from gnomon.wire.problems import Problem
from gnomon.wire.records import CLEAN_JSON
from gnomon_web.config import Config
from gnomon_web.http.exports import FORMAT, MEDIA_TYPES, is_list
from gnomon_web.http.past_moments import PastMoment
from gnomon_web.http.reasons import LONGEST, REASON, takes_reason
from gnomon_web.http.responses import JSON, PROBLEM_JSON
from gnomon_web.http.routes import Route, RouteTable, Signature

REF = "#/components/schemas/{name}"
COMMON_ERRORS = (400, 401, 403, 421, 500, 503)
"""Statuses of every call: invalid parameters, token, role or origin, Host, a defect of the server, no store."""
PATTERNS = {"job_id": "^[A-Za-z0-9][A-Za-z0-9._:-]{0,127}$", "execution_id": "^[0-9a-f]{24}$"}
Json = dict[str, Any]
DOCUMENT = web.AppKey("document", bytes)


def routes() -> list[Route]:
    """Return the routes of this module."""
    return [Route(method="GET", path="/openapi.json", handler=get_document, role="public", tag="docs")]


async def get_document(request: web.Request) -> web.Response:
    """Return this OpenAPI 3.1 document."""
    return web.Response(body=request.app[DOCUMENT], content_type=JSON)  # never in an envelope


def describe(table: RouteTable, config: Config, cookie: str) -> Json:
    """Return the document for a route table, without its assets; `cookie` is the name of the login cookie."""
    described = [(route, signature) for route, signature in table if route.kind != "asset"]
    schemas = Schemas(signature for _, signature in described)
    paths: Json = {}
    for route, signature in described:
        path = config.base_path + re.sub(r"\{(\w+)[^{}]*\}", r"{\1}", route.path)
        paths.setdefault(path, {})[route.method.lower()] = _operation(route, signature, schemas, config)
    problem = _content(schemas.of(Problem), PROBLEM_JSON, envelope=config.is_enveloped, success=False)
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "Gnomon",
            "version": version("gnomon"),
            "description": _description(config),
            "license": {"name": "Apache-2.0"},
        },
        "paths": paths,
        "components": {
            "schemas": schemas.components,
            "responses": {"Problem": {"description": "The error.", "content": problem}},
            "securitySchemes": {
                "bearer": {"type": "http", "scheme": "bearer"},
                "cookie": {
                    "type": "apiKey",
                    "in": "cookie",
                    "name": cookie,
                },
            },
        },
    }


def _description(config: Config) -> str:
    if config.dialect is None:
        return "The API of a job scheduler."
    return (
        f"The API of a job scheduler. This server speaks the dialect `{config.dialect}`: answers differ from this "
        f"document, unless a request has the header `Accept: {CLEAN_JSON}`."
    )


class Schemas:
    """The JSON schemas of bodies and answers; TypeError for a type that has none.

    Parameters are not among the components: each becomes a list of parameters.
    """

    def __init__(self, signatures: Iterable[Signature]) -> None:
        parts = [(one.body, one.answer) for one in signatures]
        bodies = [body for body, _ in parts if body is not None]
        answers = [Problem, *(answer for _, answer in parts if answer is not None)]
        self._types = [*bodies, *answers]
        self._schemas, self.components = msgspec.json.schema_components(
            self._types, schema_hook=_schema_hook, ref_template=REF
        )
        for struct in _structs(answers) - _structs(bodies):
            _require_all(struct, self.components.get(struct.__name__))

    def of(self, wanted: Any) -> Json:
        """Return the schema of a type."""
        return self._schemas[next(index for index, one in enumerate(self._types) if one is wanted)]


def _structs(types: Iterable[Any]) -> set[type[msgspec.Struct]]:
    """Return every Struct in these types, at any depth."""
    found: set[type[msgspec.Struct]] = set()
    todo: list[Any] = list(msgspec.inspect.multi_type_info(types))
    while todo:
        one = todo.pop()
        if isinstance(one, msgspec.inspect.StructType):
            if one.cls in found:
                continue
            found.add(one.cls)
        if isinstance(one, tuple):
            todo += one
        elif isinstance(one, msgspec.inspect.Type | msgspec.inspect.Field):
            todo += [getattr(one, name) for name in one.__struct_fields__]
    return found


def _require_all(struct: type[msgspec.Struct], schema: Json | None) -> None:
    """Mark the fields of an answer as present, since the server writes them all. Their defaults are for clients."""
    if schema is None or struct.__struct_config__.omit_defaults:
        return
    written = [field for field in msgspec.structs.fields(struct) if field.default is not msgspec.UNSET]
    schema["required"] = [field.encode_name for field in written]
    for field in written:
        schema["properties"][field.encode_name].pop("default", None)


def check_types(signature: Signature) -> None:
    """Raise TypeError if a signature cannot be described."""
    Schemas([signature])
    for struct in (signature.query, signature.headers):
        if struct is not None:
            _parameters("query", struct)


def _operation(route: Route, signature: Signature, schemas: Schemas, config: Config) -> Json:
    summary, _, more = (inspect.getdoc(route.handler) or route.path).partition("\n")
    notes = [more, *(inspect.getdoc(part) or "" for part in (signature.query, signature.headers) if part is not None)]
    notes += [inspect.getdoc(PastMoment) or ""] if route.has_past else []
    operation: Json = {
        "operationId": "_".join([route.method.lower(), *re.findall(r"\w+", re.sub(r":[^{}]*\}", "}", route.path))]),
        "summary": summary.rstrip("."),
        "description": "\n\n".join(note.strip() for note in notes if note.strip()),
        "tags": [route.tag],
        "x-role": route.role,
        "parameters": [
            *(_path_parameter(name) for name in route.names_in_path),
            *(_parameters("query", signature.query) if signature.query else ()),
            *(_parameters("query", PastMoment) if route.has_past else ()),
            *(_parameters("header", signature.headers) if signature.headers else ()),
            *([_FORMAT_PARAMETER] if is_list(route, signature) else ()),
        ],
        "responses": _responses(route, signature, schemas, config),
    }
    if config.tokens:  # without tokens everything is allowed
        operation["security"] = [] if route.role == "public" else [{"bearer": []}, {"cookie": []}]
    if signature.body is not None:
        schema = schemas.of(signature.body)
        body = {"schema": schema if signature.needs_body else {"anyOf": [schema, {"type": "null"}]}}
        operation["requestBody"] = {"required": signature.needs_body, "content": {JSON: body}}
    if takes_reason(route, signature):
        _add_reason(operation, schemas)
    return operation


def _add_reason(operation: Json, schemas: Schemas) -> None:
    """Describe that the reason may be a key of the body, beside those that the body has."""
    reason: Json = {"type": ["string", "null"], "maxLength": LONGEST, "description": "The same as in the query."}
    own: Json = {"type": "object", "properties": {}, "additionalProperties": False}
    nothing = {"anyOf": [own, {"type": "null"}]}
    body = operation.setdefault("requestBody", {"required": False, "content": {JSON: {"schema": nothing}}})
    content = body["content"][JSON]

    def with_reason(schema: Json) -> Json:
        if "anyOf" in schema:
            return {"anyOf": [with_reason(one) for one in schema["anyOf"]]}
        if "$ref" in schema:
            return with_reason(schemas.components[schema["$ref"].rpartition("/")[2]])
        if schema.get("type") != "object":
            return schema
        return {**schema, "properties": {**schema.get("properties", {}), REASON: reason}}

    content["schema"] = with_reason(content["schema"])


def _responses(route: Route, signature: Signature, schemas: Schemas, config: Config) -> Json:
    errors = {*COMMON_ERRORS, *route.errors} - {*route.also}
    if route.has_share:
        errors |= {429}
    if signature.body is not None:
        errors |= {408, 413, 415, 422}
    elif route.method != "GET":
        errors |= {408, 413, 422}
    described: Json = {
        str(status): {"$ref": "#/components/responses/Problem", "description": HTTPStatus(status).phrase}
        for status in sorted(errors)
    }
    if route.kind == "websocket":
        return {"101": {"description": "The connection is now a WebSocket."}} | described
    if signature.answer is not None:
        content = _content(schemas.of(signature.answer), JSON, envelope=config.is_enveloped, success=True)
        if is_list(route, signature):
            content |= {media_type: {"schema": {"type": "string"}} for media_type in MEDIA_TYPES.values()}
    else:
        content = {route.media_type: {}}
    for status in (route.status, *route.also):
        described[str(status)] = {"description": HTTPStatus(status).phrase, "content": content}
    return dict(sorted(described.items()))


def _content(schema: Json, media_type: str, *, envelope: bool, success: bool) -> Json:
    if not envelope:
        return {media_type: {"schema": schema}}
    properties: Json = {
        "success": {"const": success},
        "data": schema,
        "message": {"type": "string"},
        "timestamp": {"type": "string", "format": "date-time"},
    }
    if not success:
        properties["code"] = {"type": "integer"}
    return {JSON: {"schema": {"type": "object", "properties": properties, "required": list(properties)}}}


_FORMAT_PARAMETER: Json = {
    "name": FORMAT,
    "in": "query",
    "required": False,
    "description": "All entries that match, whatever `limit` says, instead of a page of JSON; as `Accept` does.",
    "schema": {"enum": ["json", *MEDIA_TYPES, ""]},
}


def _path_parameter(name: str) -> Json:
    schema: Json = {"type": "string", "minLength": 1}
    if name in PATTERNS:
        schema["pattern"] = PATTERNS[name]
    return {"name": name, "in": "path", "required": True, "schema": schema}


def _parameters(place: str, struct: type[msgspec.Struct]) -> list[Json]:
    (_,), components = msgspec.json.schema_components([struct], schema_hook=_schema_hook, ref_template=REF)
    schema = components[struct.__name__]
    return [
        {"name": name, "in": place, "required": name in schema.get("required", ()), **_parameter(place, described)}
        for name, described in schema["properties"].items()
    ]


def _parameter(place: str, described: Json) -> Json:
    """Describe a parameter: it can be left out but not null, and a list is one text with commas."""
    choices = [choice for choice in described.get("anyOf", [described]) if choice.get("type") != "null"]
    schema = {**choices[0]} if len(choices) == 1 else {**described, "anyOf": choices}
    if schema.get("default", ...) in (None, ()):
        del schema["default"]
    if place == "query":
        schema.pop("minLength", None)  # an empty value counts as absent
        schema.pop("minItems", None)
        if schema.get("type") in {"integer", "number", "boolean"} or "format" in schema or "enum" in schema:
            relative = [{"type": "string", "pattern": RELATIVE}] if schema.get("format") == "date-time" else []
            schema = {"anyOf": [schema, *relative, {"type": "string", "const": ""}]}
    return {"schema": schema} | ({"style": "form", "explode": False} if schema.get("type") == "array" else {})


def _schema_hook(expected: type) -> Json:
    if expected is Duration:
        return {"type": "string", "examples": ["1h 30m"]}
    raise NotImplementedError
