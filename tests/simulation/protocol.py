"""Holds requests against Fly.io's published OpenAPI document, strictly.

What the document does not name is a deviation, even where its schemas would let
it pass. `vectors/openapi.json` is that document, unchanged.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, urlsplit

from jsonschema import Draft4Validator

from tests.worlds.simulated.transport import NONCE, Call

DOCUMENT = Path(__file__).parent.parent / "vectors" / "openapi.json"
PREFIX = "/v1"
METHODS = ("get", "post", "put", "patch", "delete")


@cache
def document() -> dict[str, Any]:
    loaded: dict[str, Any] = json.loads(DOCUMENT.read_text(encoding="utf-8"))
    return loaded


def deviations(call: Call) -> Iterator[str]:
    """What the document does not know of a request; each in words that do not change."""
    url = urlsplit(call.url)
    described = _operation(call.method, url.path)
    if described is None:
        yield f"{call.operation}: no such operation {call.method} {url.path}"
        return
    parameters = {parameter["name"]: parameter for parameter in described.get("parameters", ())}
    query = parse_qsl(url.query, keep_blank_values=True)
    for name, value in query:
        if parameters.get(name, {}).get("in") != "query":
            yield f"{call.operation}: query parameter {name}"
        elif not _fits(parameters[name]["schema"], value):
            yield f"{call.operation}: query parameter {name} is {value}"
    if call.nonce and NONCE not in parameters:
        yield f"{call.operation}: header {NONCE}"
    yield from _of_body(call, described.get("requestBody"))


def _of_body(call: Call, described: Mapping[str, Any] | None) -> Iterator[str]:
    if described is None:
        if call.body:
            yield f"{call.operation}: a body"
        return
    if not call.body:
        if described.get("required"):
            yield f"{call.operation}: no body"
        return
    schema = described["content"]["application/json"]["schema"]
    for error in _validator(json.dumps(schema)).iter_errors(call.json):
        where = "/".join("*" if isinstance(part, int) else str(part) for part in error.path)
        yield f"{call.operation}: {where or 'body'}: {error.message}"


@cache
def _validator(schema: str) -> Draft4Validator:
    strict = _strict(json.loads(schema))
    return Draft4Validator({**strict, "components": _strict(document()["components"])})


def _strict(schema: Any) -> Any:
    """The same schema, letting no object have properties that it does not name."""
    if isinstance(schema, list):
        return [_strict(item) for item in schema]
    if not isinstance(schema, dict):
        return schema
    strict = {key: _strict(value) for key, value in schema.items()}
    if schema.get("type") == "object" and isinstance(schema.get("properties"), dict):
        strict.setdefault("additionalProperties", False)
    return strict


def _operation(method: str, path: str) -> Mapping[str, Any] | None:
    for template, operations in document()["paths"].items():
        pattern = PREFIX + re.sub(r"\{[^}]+\}", "[^/]+", template)
        if re.fullmatch(pattern, path) and method.lower() in operations:
            described: Mapping[str, Any] = operations[method.lower()]
            return described
    return None


def _fits(schema: Mapping[str, Any], value: str) -> bool:
    """Whether the text of a query parameter can be read as its schema says."""
    read: Any = value
    match schema.get("type"):
        case "integer":
            read = int(value) if re.fullmatch(r"-?\d+", value) else value
        case "boolean":
            read = {"true": True, "false": False}.get(value, value)
        case "array":
            read = [value]
    return not list(Draft4Validator(dict(schema)).iter_errors(read))
