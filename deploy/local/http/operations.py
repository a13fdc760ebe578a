"""The table of operations: what is served where, and what it takes and answers.

The routes, the OpenAPI document and the injected hiccups all read this table.
The schemas are JSON Schema, as OpenAPI 3.1 has it.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import KW_ONLY, dataclass, field
from typing import Any

from deploy.local import requests
from deploy.local.http import endpoints as ep
from deploy.local.http.calls import Call, Reply
from deploy.local.leases import MAX_TTL_S

Schema = Mapping[str, Any]

COMPONENTS = "#/components/schemas/"


@dataclass(frozen=True, slots=True)
class Operation:
    """One row; `answer` None is an empty body, `struck_as` the word that hiccups know it by."""

    method: str
    path: str
    handler: Callable[[Call], Reply | Awaitable[Reply]]
    answer: Schema | None
    _: KW_ONLY
    status: int = 200
    struck_as: str = ""
    body: type[Any] | None = None
    body_needed: bool = True
    query: Mapping[str, Schema] = field(default_factory=dict)


def _ref(name: str) -> Schema:
    return {"$ref": COMPONENTS + name}


def _many(of: Schema) -> Schema:
    return {"type": "array", "items": of}


def _object(required: str, optional: str = "", **of: Schema) -> Schema:
    """An object; keys are separated by spaces, and are text where nothing else is said."""
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

ANSWERS: Mapping[str, Schema] = {
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

_APP = "/v1/apps/{app}"
_MACHINES = f"{_APP}/machines"
_MACHINE = f"{_MACHINES}/{{machine}}"
_METADATA = f"{_MACHINE}/metadata"
_KEY = f"{_METADATA}/{{key}}"

_APPS = _object("total_apps apps", total_apps=_NUMBER, apps=_many(_ref("App")))
_STARTED = _object("previous_state migrated new_host", migrated=_FLAG)
_PROCESS = _object("pid command directory stime", pid=_NUMBER, stime=_NUMBER)
_SERVICE = _object("port protocol address moved", port=_NUMBER, moved=_FLAG)
_CREATED = _object("id created_at", created_at=_NUMBER)
_SHOWN = _ref("Machine")
_LEASE = _ref("Lease")
_WAITED = _object("ok state version event_id", ok=_FLAG)
_VERSION = _object("version user_config", user_config=_ANY)

_PAGE_QUERY = {"limit": _whole(1, ep.PAGE_LIMIT)}
_GET_QUERY = {"include_leases": _FLAG, "version": _TEXT}
_DESTROY_QUERY = {"force": _FLAG, "kill": _FLAG}
_STOP_QUERY = {"signal": _TEXT, "timeout": _TEXT}
_LEASE_QUERY = {"ttl": _whole(1, MAX_TTL_S)}
_LIST_QUERY = {
    **_PAGE_QUERY,
    "include_deleted": _FLAG,
    "include_leases": _FLAG,
    "region": _TEXT,
    "state": _TEXT,
}
_WAIT_QUERY: Mapping[str, Schema] = {
    "state": {"type": "string", "enum": sorted(ep.WAIT_STATES)},
    "version": _TEXT,
    "timeout": _whole(1, ep.WAIT_LIMIT_S),
}

OPERATIONS = (
    Operation("GET", "/v1/apps", ep.list_apps, _APPS, query={"org_slug": _TEXT}),
    Operation("POST", "/v1/apps", ep.create_app, _CREATED, status=201, body=requests.CreateApp),
    Operation("GET", _APP, ep.get_app, _ref("App")),
    Operation("DELETE", _APP, ep.delete_app, None, status=202),
    Operation("GET", _MACHINES, ep.list_machines, _many(_SHOWN), query=_LIST_QUERY),
    Operation(
        "POST",
        _MACHINES,
        ep.create_machine,
        _SHOWN,
        struck_as="create",
        body=requests.CreateMachine,
    ),
    Operation("GET", _MACHINE, ep.get_machine, _SHOWN, query=_GET_QUERY),
    Operation(
        "POST", _MACHINE, ep.update_machine, _SHOWN, struck_as="update", body=requests.UpdateMachine
    ),
    Operation(
        "DELETE", _MACHINE, ep.destroy_machine, _OK, struck_as="destroy", query=_DESTROY_QUERY
    ),
    Operation("POST", f"{_MACHINE}/start", ep.start_machine, _STARTED, struck_as="start"),
    Operation(
        "POST",
        f"{_MACHINE}/stop",
        ep.stop_machine,
        _OK,
        struck_as="stop",
        body=requests.StopMachine,
        body_needed=False,
    ),
    Operation(
        "POST",
        f"{_MACHINE}/restart",
        ep.restart_machine,
        _OK,
        struck_as="restart",
        query=_STOP_QUERY,
    ),
    Operation("POST", f"{_MACHINE}/suspend", ep.suspend_machine, _OK, struck_as="suspend"),
    Operation(
        "POST",
        f"{_MACHINE}/signal",
        ep.signal_machine,
        _OK,
        struck_as="signal",
        body=requests.SignalMachine,
    ),
    Operation("POST", f"{_MACHINE}/cordon", ep.cordon_machine, _OK, struck_as="cordon"),
    Operation("POST", f"{_MACHINE}/uncordon", ep.uncordon_machine, _OK, struck_as="uncordon"),
    Operation("GET", f"{_MACHINE}/wait", ep.wait, _WAITED, query=_WAIT_QUERY),
    Operation("GET", f"{_MACHINE}/lease", ep.get_lease, _LEASE),
    Operation(
        "POST",
        f"{_MACHINE}/lease",
        ep.take_lease,
        _LEASE,
        status=201,
        struck_as="lease",
        body=requests.TakeLease,
        body_needed=False,
        query=_LEASE_QUERY,
    ),
    Operation("DELETE", f"{_MACHINE}/lease", ep.release_lease, _OK, struck_as="release"),
    Operation("GET", _METADATA, ep.get_metadata, _TEXTS),
    *(
        Operation(
            method,
            _METADATA,
            ep.update_metadata,
            None,
            status=204,
            struck_as="metadata",
            body=requests.UpdateMetadata,
        )
        for method in ("PATCH", "PUT")
    ),
    Operation("GET", _KEY, ep.get_metadata_key, _object("value")),
    Operation(
        "POST",
        _KEY,
        ep.set_metadata_key,
        None,
        status=204,
        struck_as="metadata",
        body=requests.SetMetadata,
    ),
    Operation("DELETE", _KEY, ep.remove_metadata_key, None, status=204, struck_as="metadata"),
    Operation("GET", f"{_MACHINE}/events", ep.list_events, _many(_ref("Event")), query=_PAGE_QUERY),
    Operation("GET", f"{_MACHINE}/versions", ep.list_versions, _many(_VERSION)),
    Operation("GET", f"{_MACHINE}/ps", ep.list_processes, _many(_PROCESS)),
    Operation("GET", f"/local{_APP}/services", ep.list_services, _many(_SERVICE)),
    Operation("GET", f"/local{_MACHINE}/logs", ep.list_logs, _many(_TEXT)),
)
