"""The JSON of apps, machines, leases and events, in the shapes of the Machines API."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from deploy.local.state import App, Event, HeldLease, Machine, Version


def machine_view(
    machine: Machine, *, version: Version | None = None, lease: HeldLease | None = None
) -> dict[str, Any]:
    """A machine; with `version` as it was configured then, with `lease` who holds it."""
    config: Mapping[str, Any] | None = version.kept if version else machine.raw
    incomplete = None
    if machine.host_status != "ok":
        config, incomplete = None, config
    shown = version.id if version else machine.version
    view = {
        "id": machine.id,
        "name": machine.name,
        "state": machine.state if shown == machine.version else "replaced",
        "region": machine.region,
        "instance_id": shown,
        "version": shown,
        "private_ip": private_ip(machine.id),
        "host_status": machine.host_status,
        "cordoned": machine.cordoned,
        "config": config,
        "incomplete_config": incomplete,
        "image_ref": image_ref(machine.config.image or ""),
        "created_at": rfc3339(machine.created_at_s),
        "updated_at": rfc3339(machine.updated_at_s),
        "checks": [
            {
                "name": name,
                "status": result.status,
                "output": result.output,
                "updated_at": rfc3339(result.updated_at_s),
            }
            for name, result in machine.checks.items()
        ],
        "events": [event_view(event) for event in machine.events],
    }
    if lease is not None:
        view["lease"] = {
            "description": lease.description,
            "expires_at": lease.expires_at,
            "owner": lease.owner,
        }
    return view


def event_view(event: Event) -> dict[str, Any]:
    view: dict[str, Any] = {
        "id": event.id,
        "type": event.type,
        "status": event.status,
        "source": event.source,
        "timestamp": event.timestamp_ms,
    }
    if event.request:
        view["request"] = event.request
    return view


def lease_view(machine: Machine, lease: HeldLease) -> dict[str, Any]:
    """The envelope that every lease answer comes in."""
    return {
        "status": "success",
        "data": {
            "nonce": lease.nonce,
            "expires_at": lease.expires_at,
            "owner": lease.owner,
            "description": lease.description,
            "version": machine.version,
        },
    }


def app_view(app: App) -> dict[str, Any]:
    living = len(app.living)
    return {
        "id": hashlib.sha256(app.name.encode()).hexdigest()[:15],
        "name": app.name,
        "status": "deployed" if living else "pending",
        "machine_count": living,
        "volume_count": 0,
        "network": app.network,
        "organization": {"name": app.organization.capitalize(), "slug": app.organization},
    }


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


def private_ip(machine_id: str) -> str:
    """An address of the right shape. Nothing answers there: machines are local processes."""
    digest = hashlib.blake2b(machine_id.encode(), digest_size=8).hexdigest()
    return "fdaa:0:1:a7b:" + ":".join(digest[start : start + 4] for start in range(0, 16, 4))


def rfc3339(unix_s: float) -> str:
    text = datetime.fromtimestamp(unix_s, UTC).isoformat(timespec="milliseconds")
    return text.replace("+00:00", "Z")
