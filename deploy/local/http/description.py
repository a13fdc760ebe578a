"""What the local platform serves, as an OpenAPI 3.1 document made from its own routes.

Bodies come from the types that requests are read with, so that the two cannot
part. It says what is answered here, which is less than Fly.io's own document.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

import msgspec

from deploy.local import requests
from deploy.local.http import endpoints as ep

Schema = Mapping[str, Any]

_COMPONENTS = "#/components/schemas/"


class Row(Protocol):
    """One route: see `deploy.local.http.api.Operation`."""

    @property
    def method(self) -> str: ...
    @property
    def path(self) -> str: ...
    @property
    def handler(self) -> Callable[..., Any]: ...


@dataclass(frozen=True, slots=True)
class Shape:
    """What an operation takes and gives; `answer` None is an empty body."""

    answer: Schema | None
    status: int = 200
    body: type[Any] | None = None
    body_needed: bool = True
    query: Mapping[str, Schema] = field(default_factory=dict)


def describe(rows: Iterable[Row]) -> dict[str, Any]:
    """The document. An operation that `SHAPES` does not have answers with any object."""
    paths: dict[str, dict[str, Any]] = {}
    for row in rows:
        shape = SHAPES.get(row.handler, Shape(_ANY))
        paths.setdefault(row.path, {})[row.method.lower()] = _operation(row, shape)
    bodies = {shape.body for shape in SHAPES.values() if shape.body is not None}
    _, of_bodies = msgspec.json.schema_components(
        sorted(bodies, key=lambda body: body.__name__), ref_template=_COMPONENTS + "{name}"
    )
    return {
        "openapi": "3.1.0",
        "info": {"title": "tidegate's local platform", "version": "1"},
        "paths": paths,
        "components": {"schemas": {**of_bodies, **_ANSWERS}},
    }


def _operation(row: Row, shape: Shape) -> dict[str, Any]:
    parameters = [
        {"name": name, "in": "path", "required": True, "schema": {"type": "string"}}
        for name in re.findall(r"\{(\w+)\}", row.path)
    ]
    parameters += [{"name": key, "in": "query", "schema": of} for key, of in shape.query.items()]
    described: dict[str, Any] = {
        "operationId": row.handler.__name__ + ("" if row.method != "PUT" else "_put"),
        "summary": (row.handler.__doc__ or row.handler.__name__.replace("_", " ")).splitlines()[0],
        "parameters": parameters,
        "responses": {
            str(shape.status): _response("done", shape.answer),
            "4XX": _response("refused", _ref("Error")),
            "503": _response("the machine's host cannot be reached", _ref("Error")),
        },
    }
    if shape.body is not None:
        content = {"application/json": {"schema": _ref(shape.body.__name__)}}
        described["requestBody"] = {"content": content, "required": shape.body_needed}
    return described


def _response(what: str, answer: Schema | None) -> dict[str, Any]:
    described: dict[str, Any] = {
        "description": what,
        "headers": {"fly-request-id": {"required": True, "schema": {"type": "string"}}},
    }
    if answer is not None:
        described["content"] = {"application/json": {"schema": answer}}
    return described


def _ref(name: str) -> Schema:
    return {"$ref": _COMPONENTS + name}


def _many(of: Schema) -> Schema:
    return {"type": "array", "items": of}


def _object(required: str, optional: str = "", **of: Schema) -> Schema:
    """An object; keys are separated by spaces, and of text where nothing else is said."""
    keys = {key: of.get(key, _TEXT) for key in (required + " " + optional).split()}
    return {"type": "object", "required": required.split(), "properties": keys}


def _whole(least: int, most: int) -> Schema:
    return {"type": "integer", "minimum": least, "maximum": most}


_TEXT: Schema = {"type": "string"}
_FLAG: Schema = {"type": "boolean"}
_NUMBER: Schema = {"type": "integer"}
_ANY: Schema = {"type": "object"}
_MAYBE: Schema = {"type": ["object", "null"]}
_TEXTS: Schema = {"type": "object", "additionalProperties": _TEXT}
_OK = _object("ok", ok=_FLAG)

_ANSWERS: Mapping[str, Schema] = {
    "Error": _object("error", "status"),
    "App": _object(
        "id name status machine_count organization",
        machine_count=_NUMBER,
        organization=_object("name slug"),
    ),
    "Machine": _object(
        "id name state region instance_id version host_status cordoned config created_at "
        "updated_at checks events",
        "private_ip incomplete_config image_ref nonce lease",
        cordoned=_FLAG,
        config=_MAYBE,
        incomplete_config=_MAYBE,
        image_ref=_TEXTS,
        lease=_object("description expires_at owner", expires_at=_NUMBER),
        checks=_many(_object("name status output updated_at")),
        events=_many(_ref("Event")),
    ),
    "Event": _object("id type status source timestamp", "request", timestamp=_NUMBER, request=_ANY),
    "Lease": _object(
        "status data",
        data=_object("nonce expires_at owner description version", expires_at=_NUMBER),
    ),
}

_MACHINE = _ref("Machine")
_LEASE = _ref("Lease")
_LIST_QUERY = {
    "include_deleted": _FLAG,
    "include_leases": _FLAG,
    "region": _TEXT,
    "state": _TEXT,
    "limit": _whole(1, 1000),
}
_DESTROY_QUERY = {"force": _FLAG, "kill": _FLAG}
_WAIT_QUERY: Mapping[str, Schema] = {
    "state": {"type": "string", "enum": sorted(ep.WAIT_STATES)},
    "version": _TEXT,
    "timeout": _whole(1, ep.WAIT_LIMIT_S),
}

SHAPES: Mapping[Callable[..., Any], Shape] = {
    ep.list_apps: Shape(
        _object("total_apps apps", total_apps=_NUMBER, apps=_many(_ref("App"))),
        query={"org_slug": _TEXT},
    ),
    ep.create_app: Shape(_object("id created_at", created_at=_NUMBER), 201, requests.CreateApp),
    ep.get_app: Shape(_ref("App")),
    ep.delete_app: Shape(None, 202),
    ep.list_machines: Shape(_many(_MACHINE), query=_LIST_QUERY),
    ep.create_machine: Shape(_MACHINE, body=requests.CreateMachine),
    ep.get_machine: Shape(_MACHINE, query={"include_leases": _FLAG, "version": _TEXT}),
    ep.update_machine: Shape(_MACHINE, body=requests.UpdateMachine),
    ep.destroy_machine: Shape(_OK, query=_DESTROY_QUERY),
    ep.start_machine: Shape(
        _object("previous_state migrated new_host", migrated=_FLAG),
    ),
    ep.stop_machine: Shape(_OK, body=requests.StopMachine, body_needed=False),
    ep.restart_machine: Shape(_OK, query={"signal": _TEXT, "timeout": _TEXT}),
    ep.suspend_machine: Shape(_OK),
    ep.signal_machine: Shape(_OK, body=requests.SignalMachine),
    ep.cordon_machine: Shape(_OK),
    ep.uncordon_machine: Shape(_OK),
    ep.wait: Shape(_object("ok state version event_id", ok=_FLAG), query=_WAIT_QUERY),
    ep.get_lease: Shape(_LEASE),
    ep.take_lease: Shape(
        _LEASE, 201, requests.TakeLease, body_needed=False, query={"ttl": _whole(1, 24 * 3600)}
    ),
    ep.release_lease: Shape(_OK),
    ep.get_metadata: Shape(_TEXTS),
    ep.update_metadata: Shape(None, 204, requests.UpdateMetadata),
    ep.get_metadata_key: Shape(_object("value")),
    ep.set_metadata_key: Shape(None, 204, requests.SetMetadata),
    ep.remove_metadata_key: Shape(None, 204),
    ep.list_events: Shape(_many(_ref("Event")), query={"limit": _whole(1, 1000)}),
    ep.list_versions: Shape(_many(_object("version user_config", user_config=_ANY))),
    ep.list_processes: Shape(
        _many(_object("pid command directory stime", pid=_NUMBER, stime=_NUMBER))
    ),
    ep.list_services: Shape(
        _many(_object("port protocol address moved", port=_NUMBER, moved=_FLAG))
    ),
    ep.list_logs: Shape(_many(_TEXT)),
}
