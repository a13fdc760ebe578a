"""What the local platform serves, as an OpenAPI 3.1 document made from its own routes.

Bodies come from the types that requests are read with, so that the two cannot
part. It says what is answered here, which is less than Fly.io's own document.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any

import msgspec

from deploy.local.http.operations import ANSWERS, COMPONENTS, Operation, Schema

_ERROR = {"$ref": COMPONENTS + "Error"}


def describe(operations: Iterable[Operation]) -> dict[str, Any]:
    """The document."""
    paths: dict[str, dict[str, Any]] = {}
    bodies = set()
    for operation in operations:
        paths.setdefault(operation.path, {})[operation.method.lower()] = _described(operation)
        if operation.body is not None:
            bodies.add(operation.body)
    _, of_bodies = msgspec.json.schema_components(
        sorted(bodies, key=lambda body: body.__name__),
        schema_hook=lambda _seconds: {"type": "string"},
        ref_template=COMPONENTS + "{name}",
    )
    return {
        "openapi": "3.1.0",
        "info": {"title": "tidegate's local platform", "version": "1"},
        "paths": paths,
        "components": {"schemas": {**of_bodies, **ANSWERS}},
    }


def _described(operation: Operation) -> dict[str, Any]:
    name = operation.handler.__name__
    parameters = [
        {"name": key, "in": "path", "required": True, "schema": {"type": "string"}}
        for key in re.findall(r"\{(\w+)\}", operation.path)
    ]
    parameters += [
        {"name": key, "in": "query", "schema": schema} for key, schema in operation.query.items()
    ]
    described: dict[str, Any] = {
        "operationId": name + ("" if operation.method != "PUT" else "_put"),
        "summary": (operation.handler.__doc__ or name.replace("_", " ")).splitlines()[0],
        "parameters": parameters,
        "responses": {
            str(operation.status): _response("done", operation.answer),
            "4XX": _response("refused", {"$ref": COMPONENTS + "Error"}),
            "503": _response(
                "the machine's host cannot be reached", {"$ref": COMPONENTS + "Error"}
            ),
        },
    }
    if operation.body is not None:
        schema = {"$ref": COMPONENTS + operation.body.__name__}
        content = {"application/json": {"schema": schema}}
        described["requestBody"] = {"content": content, "required": operation.body_needed}
    return described


def _response(what: str, answer: Schema | None) -> dict[str, Any]:
    described: dict[str, Any] = {
        "description": what,
        "headers": {"fly-request-id": {"required": True, "schema": {"type": "string"}}},
    }
    if answer is not None:
        described["content"] = {"application/json": {"schema": answer}}
    return described
