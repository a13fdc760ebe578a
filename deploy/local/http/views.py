"""The JSON of apps, machines, leases and events, in the shapes of the Machines API."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import Any

from msgspec import UNSET, Struct, UnsetType
from msgspec.structs import asdict

from deploy.local.state import App, CheckResult, Event, HeldLease, Machine, Version, rfc3339


class ErrorView(Struct):
    """Any answer that says no; `status` is a code for programs."""

    error: str
    status: str | UnsetType = UNSET


class Ok(Struct):
    ok: bool = True


class Organization(Struct):
    name: str
    slug: str


class AppView(Struct):
    id: str
    name: str
    status: str
    machine_count: int
    volume_count: int
    network: str
    organization: Organization


class Apps(Struct):
    total_apps: int
    apps: list[AppView]


class Holder(Struct):
    """Who holds a lease, for others to see."""

    description: str
    expires_at: int
    owner: str


class MachineView(Struct):
    id: str
    name: str
    state: str
    region: str
    instance_id: str
    version: str
    private_ip: str
    host_status: str
    cordoned: bool
    config: Mapping[str, Any] | None
    incomplete_config: Mapping[str, Any] | None
    image_ref: Mapping[str, str]
    created_at: str
    updated_at: str
    checks: list[CheckResult]
    events: list[Event]
    nonce: str | UnsetType = UNSET
    lease: Holder | UnsetType = UNSET


class LeaseData(HeldLease, frozen=True):
    version: str


class LeaseView(Struct):
    """The envelope that every lease answer comes in."""

    data: LeaseData
    status: str = "success"


class Started(Struct):
    previous_state: str
    migrated: bool = False
    new_host: str = ""


class Waited(Struct):
    state: str
    version: str
    event_id: str
    ok: bool = True


class VersionView(Struct):
    version: str
    user_config: Mapping[str, Any]


class ListenSocket(Struct):
    proto: str
    address: str


class ProcessView(Struct):
    pid: int
    command: str
    directory: str = ""
    stime: int = 0
    rtime: int = 0
    cpu: int = 0
    rss: int = 0
    listen_sockets: list[ListenSocket] = []


class Value(Struct):
    value: str


def machine_view(
    machine: Machine, *, version: Version | None = None, lease: HeldLease | None = None
) -> MachineView:
    """A machine; with `version` as it was configured then, with `lease` who holds it."""
    config: Mapping[str, Any] = version.kept if version else machine.raw
    is_reachable = machine.host_status == "ok"
    shown = version.id if version else machine.version
    return MachineView(
        id=machine.id,
        name=machine.name,
        state=machine.state if shown == machine.version else "replaced",
        region=machine.region,
        instance_id=shown,
        version=shown,
        private_ip=machine.private_ip,
        host_status=machine.host_status,
        cordoned=machine.cordoned,
        config=config if is_reachable else None,
        incomplete_config=None if is_reachable else config,
        image_ref=image_ref(machine.config.image or ""),
        created_at=rfc3339(machine.created_at_s),
        updated_at=rfc3339(machine.updated_at_s),
        checks=list(machine.checks.values()),
        events=list(machine.events),
        lease=Holder(lease.description, lease.expires_at, lease.owner) if lease else UNSET,
    )


def lease_view(machine: Machine, lease: HeldLease) -> LeaseView:
    return LeaseView(LeaseData(**asdict(lease), version=machine.version))


def app_view(app: App) -> AppView:
    living = len(app.living)
    return AppView(
        id=hashlib.sha256(app.name.encode()).hexdigest()[:15],
        name=app.name,
        status="deployed" if living else "pending",
        machine_count=living,
        volume_count=len(app.volumes),
        network=app.network,
        organization=Organization(app.organization.capitalize(), app.organization),
    )


def image_ref(image: str) -> dict[str, str]:
    """`registry/repository:tag@digest` taken apart; Docker's defaults fill the gaps."""
    rest, _, digest = image.partition("@")
    head, slash, tail = rest.rpartition("/")
    name, _, tag = tail.partition(":")
    registry, _, path = head.partition("/")
    if not ("." in registry or ":" in registry or registry == "localhost"):
        registry, path = "docker-hub-mirror.fly.io", head
    repository = "/".join(part for part in (path, name) if part) if slash else name
    if not image:
        return {"registry": "", "repository": "", "tag": "", "digest": ""}
    return {
        "registry": registry,
        "repository": repository,
        "tag": tag or ("" if digest else "latest"),
        "digest": digest,
    }
