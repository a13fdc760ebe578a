"""What the local platform serves, as an OpenAPI 3.1 document made from its own routes.

Bodies, queries and answers come from the types of the handlers, so that the two
cannot part. It says what is answered here, which is less than Fly.io's own document.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from types import NoneType
from typing import Any

import msgspec

from deploy.local.http.operations import Operation
from deploy.local.http.views import ErrorView

Schemas = Mapping[Any, Mapping[str, Any]]

_COMPONENTS = "#/components/schemas/"


def describe(operations: Iterable[Operation]) -> dict[str, Any]:
    """The document."""
    rows = list(operations)
    kinds: list[Any] = [ErrorView, *(row.answer for row in rows)]
    kinds += [kind for row in rows for kind in row.takes.values()]
    found, components = msgspec.json.schema_components(
        kinds,
        schema_hook=lambda _seconds: {"type": "string"},
        ref_template=_COMPONENTS + "{name}",
    )
    schemas = {_key(kind): schema for kind, schema in zip(kinds, found, strict=True)}
    paths: dict[str, dict[str, Any]] = {}
    for row in rows:
        queries = components[row.takes["query"].__name__] if "query" in row.takes else {}
        described = _operation(row, schemas, queries.get("properties", {}))
        paths.setdefault(row.path, {})[row.method.lower()] = described
    return {
        "openapi": "3.1.0",
        "info": {"title": "tidegate's local platform", "version": "1"},
        "paths": paths,
        "components": {"schemas": components},
    }


def _operation(row: Operation, schemas: Schemas, query: Mapping[str, Any]) -> dict[str, Any]:
    name = row.handler.__name__
    in_path = [
        {"name": key, "in": "path", "required": True, "schema": {"type": "string"}}
        for key in re.findall(r"\{(\w+)\}", row.path)
    ]
    in_query = [{"name": key, "in": "query", "schema": schema} for key, schema in query.items()]
    error = {"application/json": {"schema": schemas[_key(ErrorView)]}}
    described: dict[str, Any] = {
        "operationId": name + ("" if row.method != "PUT" else "_put"),
        "summary": (row.handler.__doc__ or name.replace("_", " ")).splitlines()[0],
        "parameters": in_path + in_query,
        "responses": {
            str(row.status): _response("done", _answer(row, schemas)),
            "4XX": _response("refused", error),
            "503": _response("the machine's host cannot be reached", error),
        },
    }
    body = row.takes.get("body")
    if body is not None:
        needed = any(field.required for field in msgspec.structs.fields(body))
        content = {"application/json": {"schema": schemas[_key(body)]}}
        described["requestBody"] = {"content": content, "required": needed}
    return described


def _answer(row: Operation, schemas: Schemas) -> dict[str, Any]:
    """The answer by its media type; nothing for an empty body."""
    if row.answer is NoneType:
        return {}
    return {row.media_type: {"schema": schemas[_key(row.answer)]}}


def _response(what: str, content: Mapping[str, Any]) -> dict[str, Any]:
    described: dict[str, Any] = {
        "description": what,
        "headers": {"fly-request-id": {"required": True, "schema": {"type": "string"}}},
    }
    if content:
        described["content"] = content
    return described


def _key(kind: Any) -> str:
    return repr(kind)
