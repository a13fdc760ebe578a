"""The table of operations: what is served where.

What an operation takes and answers is read off its handler: the parameters
`body` and `query`, and what it returns. The routes, the OpenAPI document and
the injected hiccups all read this table.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any, get_args, get_origin, get_type_hints

from deploy.local.http import endpoints as ep
from deploy.local.http.calls import Reply

STREAM_TYPE = "application/x-ndjson"  # a line of JSON each


@dataclass(frozen=True, slots=True)
class Operation:
    """One row: the status of success, and the word that hiccups know a write by."""

    method: str
    path: str
    handler: Callable[..., Any]
    struck_as: str = ""
    status: int = 200

    @property
    def takes(self) -> Mapping[str, type[Any]]:
        """The types of `body` and `query`, as far as it has them."""
        hints = _hints(self.handler)
        return {part: hints[part] for part in ("body", "query") if part in hints}

    @property
    def answer(self) -> Any:
        """The type of what it answers; NoneType is an empty body."""
        answer = _hints(self.handler)["return"]
        return get_args(answer)[0] if get_origin(answer) in (Reply, AsyncIterator) else answer

    @property
    def media_type(self) -> str:
        is_stream = get_origin(_hints(self.handler)["return"]) is AsyncIterator
        return STREAM_TYPE if is_stream else "application/json"


@cache
def _hints(handler: Callable[..., Any]) -> Mapping[str, Any]:
    return get_type_hints(handler)


_APP = "/v1/apps/{app}"
_MACHINES = f"{_APP}/machines"
_MACHINE = f"{_MACHINES}/{{machine}}"
_KEY = f"{_MACHINE}/metadata/{{key}}"

OPERATIONS = (
    Operation("GET", "/v1/apps", ep.list_apps),
    Operation("POST", "/v1/apps", ep.create_app, status=201),
    Operation("GET", _APP, ep.get_app),
    Operation("DELETE", _APP, ep.delete_app, status=202),
    Operation("GET", f"{_APP}/volumes", ep.list_volumes),
    Operation("POST", f"{_APP}/volumes", ep.create_volume),
    Operation("GET", _MACHINES, ep.list_machines),
    Operation("POST", _MACHINES, ep.create_machine, "create"),
    Operation("GET", _MACHINE, ep.get_machine),
    Operation("POST", _MACHINE, ep.update_machine, "update"),
    Operation("DELETE", _MACHINE, ep.destroy_machine, "destroy"),
    Operation("POST", f"{_MACHINE}/start", ep.start_machine, "start"),
    Operation("POST", f"{_MACHINE}/stop", ep.stop_machine, "stop"),
    Operation("POST", f"{_MACHINE}/restart", ep.restart_machine, "restart"),
    Operation("POST", f"{_MACHINE}/suspend", ep.suspend_machine, "suspend"),
    Operation("POST", f"{_MACHINE}/signal", ep.signal_machine, "signal"),
    Operation("POST", f"{_MACHINE}/cordon", ep.cordon_machine, "cordon"),
    Operation("POST", f"{_MACHINE}/uncordon", ep.uncordon_machine, "uncordon"),
    Operation("GET", f"{_MACHINE}/wait", ep.wait),
    Operation("GET", f"{_MACHINE}/lease", ep.get_lease),
    Operation("POST", f"{_MACHINE}/lease", ep.take_lease, "lease", status=201),
    Operation("DELETE", f"{_MACHINE}/lease", ep.release_lease, "release"),
    Operation("GET", f"{_MACHINE}/metadata", ep.get_metadata),
    Operation("PATCH", f"{_MACHINE}/metadata", ep.update_metadata, "metadata", status=204),
    Operation("PUT", f"{_MACHINE}/metadata", ep.update_metadata, "metadata", status=204),
    Operation("GET", _KEY, ep.get_metadata_key),
    Operation("POST", _KEY, ep.set_metadata_key, "metadata", status=204),
    Operation("DELETE", _KEY, ep.remove_metadata_key, "metadata", status=204),
    Operation("GET", f"{_MACHINE}/events", ep.list_events),
    Operation("GET", f"{_MACHINE}/versions", ep.list_versions),
    Operation("GET", f"{_MACHINE}/ps", ep.list_processes),
    Operation("GET", f"/local{_APP}/services", ep.list_services),
    Operation("GET", f"/local{_MACHINE}/logs", ep.list_logs),
    Operation("GET", f"/local{_APP}/logs", ep.stream_logs),
)
