"""Answers of the Machines API, decoded into the values of `deploy.machine`.

Null and absent are alike, unknown fields are skipped, and an answer of another
shape raises `Unreadable`: nothing half-decoded leaves this file.
Shapes: Fly.io's published OpenAPI document and FACTS in ARCHITECTURE.md.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Annotated, Any, TypeVar

import msgspec

from deploy.api.machine import AppInfo, Check, Exit, Lease, Machine

_SERVICE_CHECK = "servicecheck-"  # what Fly.io calls a service's checks begins so
VALUES_LIMIT = 400_000  # a list of a thousand machines has a quarter of that


class Unreadable(ValueError):
    """The body is not what the endpoint promises: truncated, HTML, another type."""


# An id becomes part of a path, where "..", of all names, would be the app itself.
_Id = Annotated[str, msgspec.Meta(pattern=r"\A[0-9A-Za-z_-]{1,100}\Z")]
_Nonce = Annotated[str, msgspec.Meta(pattern=r"\A[!-~]*\Z")]  # it becomes a header


class _Check(msgspec.Struct):
    name: str | None = None
    status: str | None = None
    output: str | None = None


class _ExitEvent(msgspec.Struct):
    exit_code: int | None = None
    oom_killed: bool | None = None
    requested_stop: bool | None = None


class _EventRequest(msgspec.Struct):
    exit_event: _ExitEvent | None = None
    error: str | None = None


class _Event(msgspec.Struct):
    type: str | None = None
    status: str | None = None
    timestamp: int | None = None
    request: _EventRequest | None = None


class _Service(msgspec.Struct):
    checks: list[dict[str, Any]] | None = None


class _Mount(msgspec.Struct):
    name: str | None = None
    path: str | None = None


class _Config(msgspec.Struct):
    """What a deploy reads of a configuration; all the rest is sent back as it came."""

    image: str | None = None
    env: dict[str, Any] | None = None
    metadata: dict[str, str | None] | None = None
    services: list[_Service] | None = None
    checks: dict[str, Any] | None = None
    mounts: list[_Mount] | None = None
    standbys: list[str] | None = None


class _Machine(msgspec.Struct):
    id: _Id
    state: str
    name: str | None = None
    region: str | None = None
    instance_id: str | None = None
    version: str | None = None
    private_ip: str | None = None
    host_status: str | None = None
    cordoned: bool | None = None
    config: dict[str, Any] | None = None
    incomplete_config: dict[str, Any] | None = None
    nonce: _Nonce | None = None
    updated_at: str | None = None
    checks: list[_Check] | None = None
    events: list[_Event] | None = None


class _Labels(msgspec.Struct):
    metadata: Any = None


class _Owned(msgspec.Struct):
    """What says whose a machine is, of one that cannot be read otherwise."""

    config: _Labels | None = None
    incomplete_config: _Labels | None = None


class _Lease(msgspec.Struct):
    nonce: _Nonce | None = None
    expires_at: int | None = None
    owner: str | None = None
    description: str | None = None


class _LeaseEnvelope(msgspec.Struct):
    data: _Lease | None = None


class _Version(msgspec.Struct):
    version: str
    user_config: dict[str, Any] | None = None


class _Organization(msgspec.Struct):
    slug: str | None = None


class _App(msgspec.Struct):
    organization: _Organization | None = None
    machine_count: int | None = None


class _Volume(msgspec.Struct):
    id: _Id
    name: str | None = None
    region: str | None = None
    attached_machine_id: str | None = None


class _Fault(msgspec.Struct):
    """Of any types: an odd `status` must not hide what the server says beside it."""

    error: Any = None
    message: Any = None
    status: Any = None


def machine(body: bytes) -> Machine:
    return _machine(_decode(body, _Machine))


def machines(body: bytes) -> list[Machine]:
    """All but those of other tools that cannot be read: no deploy has to do with them."""
    try:
        return [_machine(raw) for raw in _decode(body, list[_Machine])]
    except Unreadable:
        return [read for raw in _decode(body, list[msgspec.Raw]) for read in _if_ours(bytes(raw))]


def lease(body: bytes) -> Lease:
    """A lease out of its envelope. A lease without a nonce is of no use and unreadable."""
    data = _decode(body, _LeaseEnvelope).data
    if data is None or not data.nonce:
        raise Unreadable("the answer holds no lease")
    return Lease(data.nonce, data.expires_at or 0, data.owner or "", data.description or "")


def versions(body: bytes) -> list[tuple[str, Mapping[str, Any]]]:
    """(version, configuration as it was sent then), newest first.

    A version without its configuration, or whose configuration has no image, is left out:
    nothing can be brought back from that.
    """
    found = ((each.version, each.user_config or {}) for each in _decode(body, list[_Version]))
    return [(version, config) for version, config in found if config.get("image")]


def app(body: bytes) -> AppInfo:
    said = _decode(body, _App)
    owner = said.organization
    return AppInfo((owner.slug if owner else None) or "", said.machine_count)


def free_volumes(body: bytes) -> list[tuple[str, str, str]]:
    """(id, name, region) of the volumes that are attached to no machine."""
    return [
        (volume.id, volume.name or "", volume.region or "")
        for volume in _decode(body, list[_Volume])
        if not volume.attached_machine_id
    ]


def volume_id(body: bytes) -> str:
    return _decode(body, _Volume).id


def objects(body: bytes) -> list[dict[str, Any]]:
    """A list of JSON objects, as it is."""
    return _decode(body, list[dict[str, Any]])


class LogLine(msgspec.Struct, frozen=True):
    """A line that a machine of the embedded platform wrote; `at` is in Unix seconds."""

    machine: str
    name: str
    at: float
    line: str


def log_line(body: bytes) -> LogLine:
    return _decode(body, LogLine)


def texts(body: bytes) -> list[str]:
    return _decode(body, list[str])


def fault(body: bytes) -> tuple[str, str]:
    """(what the server says, its `status` code) of an error answer; never raises."""
    try:
        said = _decode(body, _Fault)
    except Unreadable:
        return "", ""
    message, error, code = (
        value if isinstance(value, str) else "" for value in (said.message, said.error, said.status)
    )
    return message or error, code


def values(body: bytes) -> int:
    """About how many JSON values there are: `{},` is three bytes, and seventy in memory."""
    return body.count(b",") + body.count(b"[") + body.count(b"{")


def _if_ours(body: bytes) -> list[Machine]:
    """The machine, nothing where it is another tool's. Raises Unreadable for one of a deploy."""
    try:
        return [machine(body)]
    except Unreadable:
        told = _decode(body, _Owned)
        config = told.config if told.config is not None else told.incomplete_config
        metadata = config.metadata if config is not None else None
        if isinstance(metadata, dict) and metadata.get("fly_platform_version") == "v2":
            raise
        return []


# What a `Machine` has under the same name; its own default where the server says nothing.
_SAME = (
    "id",
    "state",
    "name",
    "region",
    "cordoned",
    "host_status",
    "private_ip",
    "updated_at",
    "nonce",
)


def _machine(raw: _Machine) -> Machine:
    read = Machine(
        **{name: value for name in _SAME if (value := getattr(raw, name))},
        version=raw.version or raw.instance_id or "",
        config=_config(raw),
        checks=tuple(map(_check, raw.checks or ())),
        exits=tuple(_exits(raw.events or ())),
        failure=_failure(raw),
        incomplete=raw.config is None and raw.incomplete_config is not None,
    )
    return replace(read, checks=_configured(read)) if read.checks else read


def _configured(read: Machine) -> tuple[Check, ...]:
    """The checks that its configuration asks for: the platform's own say nothing of the app.

    Those of services are named after them; a server with other names has all its checks
    counted.
    """
    named = read.config.get("checks") or {}
    own = tuple(c for c in read.checks if c.name in named or c.name.startswith(_SERVICE_CHECK))
    return own if len(own) >= read.configured_checks else read.checks


def _config(raw: _Machine) -> dict[str, Any]:
    """As it came, but for metadata without a value; the parts that a deploy reads are checked."""
    config = dict(raw.config if raw.config is not None else raw.incomplete_config or {})
    try:
        msgspec.convert(config, _Config)
    except msgspec.ValidationError as error:
        raise Unreadable(f"the configuration of a machine: {error}") from None
    if metadata := config.get("metadata"):
        config["metadata"] = {key: value for key, value in metadata.items() if value is not None}
    return config


def _check(raw: _Check) -> Check:
    return Check(raw.name or "", raw.status or "", raw.output or "")


def _failure(raw: _Machine) -> str:
    """Why the machine is in state `failed`, as its newest event that failed says."""
    if raw.state != "failed":
        return ""
    requests = (event.request for event in raw.events or () if event.status == "failed")
    said = next((request.error for request in requests if request and request.error), "")
    return said or "it could not be started"


def _exits(events: list[_Event] | tuple[()]) -> list[Exit]:
    """Those of the present version: newest first, and none from before its update."""
    exits = []
    for event in events:
        if event.type == "update":
            break
        ended = event.request.exit_event if event.request else None
        if ended is not None and ended.exit_code is not None:
            exits.append(
                Exit(
                    code=ended.exit_code,
                    at_ms=event.timestamp or 0,
                    oom_killed=bool(ended.oom_killed),
                    requested=bool(ended.requested_stop),
                )
            )
    return exits


T = TypeVar("T")


def _decode(body: bytes, kind: type[T]) -> T:
    if values(body) > VALUES_LIMIT:
        raise Unreadable(f"it holds more than {VALUES_LIMIT} values")
    try:
        return msgspec.json.decode(body, type=kind, strict=False)
    except (msgspec.MsgspecError, RecursionError, UnicodeDecodeError) as error:
        raise Unreadable(str(error)) from None
