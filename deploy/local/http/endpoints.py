"""What each endpoint does: a `Call` in, a `Reply` out, one small function per operation."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Callable
from typing import Any

from deploy.local import requests
from deploy.local.config import signal_name
from deploy.local.http import views
from deploy.local.http.calls import NOTHING, OK, Call, Reply
from deploy.local.leases import DEFAULT_TTL_S, MAX_TTL_S
from deploy.local.lifecycle import Stop
from deploy.local.refusals import Refusal, invalid
from deploy.local.state import Machine

WAIT_LIMIT_S = 60
WAIT_STATES = frozenset({"started", "stopped", "suspended", "destroyed", "failed", "settled"})
PAGE_LIMIT = 1000

# -- apps ------------------------------------------------------------------------------


def list_apps(call: Call) -> Reply:
    organization = call.one("org_slug")
    apps = [
        views.app_view(app)
        for app in call.platform.apps.values()
        if not organization or app.organization == organization
    ]
    return Reply({"total_apps": len(apps), "apps": apps})


def create_app(call: Call) -> Reply:
    request = requests.read(call.body, requests.CreateApp)
    name = requests.app_name(request.app_name or request.name or "")
    app = call.platform.create_app(name, organization=request.org_slug or "personal")
    app.network = request.network or app.network
    return Reply({"id": views.app_view(app)["id"], "created_at": int(app.created_at_s)}, 201)


def get_app(call: Call) -> Reply:
    return Reply(views.app_view(call.platform.app(call.app)))


def delete_app(call: Call) -> Reply:
    call.platform.delete_app(call.app)
    return Reply(status=202)


# -- machines: reading -----------------------------------------------------------------


def list_machines(call: Call) -> Reply:
    limit = call.number("limit", least=1, most=PAGE_LIMIT, default=0)
    cursor = _cursor(call.one("cursor"))
    if cursor and not limit:
        raise invalid("cursor requires limit")
    wanted, with_lease = _wanted(call), call.flag("include_leases")
    found = [
        machine
        for machine in call.platform.machines(call.app)
        if machine.order > cursor and wanted(machine)
    ]
    page = found[:limit] if limit else found
    headers = {"fly-next-cursor": _cursor_text(page[-1].order)} if len(page) < len(found) else {}
    shown = [_shown(call, machine, with_lease=with_lease) for machine in page]
    return Reply(shown, headers=headers)


def get_machine(call: Call) -> Reply:
    machine, with_lease = call.machine, call.flag("include_leases")
    wanted = call.one("version")
    if not wanted:
        return Reply(_shown(call, machine, with_lease=with_lease))
    for version in machine.versions:
        if version.id == wanted:
            return Reply(views.machine_view(machine, version=version))
    raise Refusal(404, f"machine version {wanted[:40]!r} not found")


async def wait(call: Call) -> Reply:
    timeout_s = call.number("timeout", least=1, most=WAIT_LIMIT_S, default=WAIT_LIMIT_S)
    states = call.all("state") or ["started"]
    for state in states:
        if state not in WAIT_STATES:
            raise invalid(f"state {state[:40]!r}: wait for one of {', '.join(sorted(WAIT_STATES))}")
    machine = call.machine
    version = call.one("version") or call.one("instance_id")
    reached = await call.platform.wait(
        machine,
        states=states,
        version=version,
        from_event_id=call.one("from_event_id"),
        timeout_s=timeout_s,
    )
    event_id = machine.events[0].id
    return Reply({"ok": True, "state": reached, "version": machine.version, "event_id": event_id})


def list_events(call: Call) -> Reply:
    machine = call.machine
    limit = call.number("limit", least=1, most=PAGE_LIMIT, default=PAGE_LIMIT)
    return Reply([views.event_view(event) for event in list(machine.events)[:limit]])


def list_versions(call: Call) -> Reply:
    return Reply(
        [{"version": known.id, "user_config": known.sent} for known in call.machine.versions]
    )


def list_processes(call: Call) -> Reply:
    """What runs in the machine: a local machine has one process that is worth telling."""
    machine = call.living
    if machine.process is None:
        return Reply([])
    command = " ".join(machine.config.argv)
    return Reply([{"pid": machine.process.pid, "command": command, "directory": "", "stime": 0}])


# -- machines: writing -----------------------------------------------------------------


def create_machine(call: Call) -> Reply:
    request = requests.read(call.body, requests.CreateMachine)
    requests.app_name(call.app)
    if request.name:
        requests.machine_name(request.name)
    machine = call.platform.create(call.app, request, slot=call.slot, owner=call.owner)
    return Reply(_with_nonce(machine, asked=bool(request.lease_ttl)))


def update_machine(call: Call) -> Reply:
    request = requests.read(call.body, requests.UpdateMachine)
    if request.name:
        requests.machine_name(request.name)
    machine = call.writable
    call.platform.update(machine, request, owner=call.owner)
    return Reply(_with_nonce(machine, asked=bool(request.lease_ttl)))


def destroy_machine(call: Call) -> Reply:
    force = call.flag("force") or call.flag("kill")
    call.platform.destroy(call.writable, force=force)
    return OK


def start_machine(call: Call) -> Reply:
    before = call.platform.start(call.writable)
    return Reply({"previous_state": before, "migrated": False, "new_host": ""})


def stop_machine(call: Call) -> Reply:
    request = requests.read(call.body, requests.StopMachine)
    machine = call.writable
    call.platform.stop(machine, _stop(machine, request))
    return OK


def restart_machine(call: Call) -> Reply:
    """Signal and timeout stand in the query here, in the body of `stop`."""
    words = {"signal": call.one("signal"), "timeout": call.one("timeout") or None}
    request = requests.read(words, requests.StopMachine)
    machine = call.writable
    call.platform.restart(machine, _stop(machine, request))
    return OK


def suspend_machine(call: Call) -> Reply:
    call.platform.suspend(call.writable)
    return OK


def signal_machine(call: Call) -> Reply:
    request = requests.read(call.body, requests.SignalMachine)
    call.platform.signal(call.living, signal_name(request.signal))
    return OK


def cordon_machine(call: Call) -> Reply:
    call.platform.cordon(call.writable, cordoned=True)
    return OK


def uncordon_machine(call: Call) -> Reply:
    call.platform.cordon(call.writable, cordoned=False)
    return OK


# -- leases ----------------------------------------------------------------------------


def get_lease(call: Call) -> Reply:
    machine = call.living
    return Reply(views.lease_view(machine, call.platform.leases.held(machine)))


def take_lease(call: Call) -> Reply:
    """Acquire, or refresh when the request carries the nonce."""
    request = requests.read(call.body, requests.TakeLease)
    ttl_s = request.ttl or call.number("ttl", least=1, most=MAX_TTL_S, default=DEFAULT_TTL_S)
    machine, leases, text = call.living, call.platform.leases, request.description
    if call.nonce:
        held = leases.refresh(machine, nonce=call.nonce, ttl_s=ttl_s, description=text)
    else:
        held = leases.acquire(machine, owner=call.owner, ttl_s=ttl_s, description=text or "")
    return Reply(views.lease_view(machine, held), 201)


def release_lease(call: Call) -> Reply:
    call.platform.leases.release(call.machine, nonce=call.nonce)
    return OK


# -- metadata --------------------------------------------------------------------------


def get_metadata(call: Call) -> Reply:
    return Reply(call.living.raw["metadata"])


def update_metadata(call: Call) -> Reply:
    request = requests.read(call.body, requests.UpdateMetadata)
    call.platform.set_metadata(
        call.living, request.metadata, machine_version=request.machine_version or ""
    )
    return NOTHING


def get_metadata_key(call: Call) -> Reply:
    metadata = call.living.raw["metadata"]
    if call.path["key"] not in metadata:
        raise Refusal(404, "metadata key not found")
    return Reply({"value": metadata[call.path["key"]]})


def set_metadata_key(call: Call) -> Reply:
    request = requests.read(call.body, requests.SetMetadata)
    call.platform.set_metadata(call.living, {call.path["key"]: request.value})
    return NOTHING


def remove_metadata_key(call: Call) -> Reply:
    call.platform.set_metadata(call.living, {call.path["key"]: None})
    return NOTHING


# -- what only the local platform has ---------------------------------------------------


def list_services(call: Call) -> Reply:
    """Where the router listens for each service of the app."""
    return Reply(call.platform.services(call.app))


def list_logs(call: Call) -> Reply:
    return Reply(call.platform.log(call.machine))


# -- helpers ---------------------------------------------------------------------------


def _shown(call: Call, machine: Machine, *, with_lease: bool) -> dict[str, Any]:
    lease = call.platform.leases.current(machine) if with_lease else None
    return views.machine_view(machine, lease=lease)


def _with_nonce(machine: Machine, *, asked: bool) -> dict[str, Any]:
    view = views.machine_view(machine)
    if asked and machine.lease is not None:
        view["nonce"] = machine.lease.nonce
    return view


def _wanted(call: Call) -> Callable[[Machine], bool]:
    """What the query asks for, read before any machine is looked at."""
    states, region = [state for state in call.all("state") if state], call.one("region")
    gone_too = call.flag("include_deleted") or "destroyed" in states
    metadata = [
        (name.removeprefix("metadata."), value)
        for name, value in call.query
        if name.startswith("metadata.")
    ]

    def wanted(machine: Machine) -> bool:
        if machine.is_gone and not gone_too:
            return False
        if (states and machine.state not in states) or (region and machine.region != region):
            return False
        return all(machine.raw["metadata"].get(key) == value for key, value in metadata)

    return wanted


def _stop(machine: Machine, request: requests.StopMachine) -> Stop:
    """How to end it: as the request says, else as its configuration does."""
    usual = Stop.of(machine.config)
    signal = signal_name(request.signal) if request.signal else usual.signal
    return Stop(signal, usual.timeout_s if request.timeout_s is None else request.timeout_s)


def _cursor_text(order: int) -> str:
    return base64.urlsafe_b64encode(f"after:{order}".encode()).decode()


def _cursor(text: str) -> int:
    """The order after which the page begins; 0 without a cursor. Raises Refusal (400)."""
    if not text:
        return 0
    try:
        kind, _, order = base64.urlsafe_b64decode(text).decode().partition(":")
        if kind == "after" and order.isascii() and order.isdigit() and len(order) < 16:
            return int(order)
    except (binascii.Error, UnicodeError, ValueError):
        pass
    raise invalid("cursor: not one of ours; begin again without it")
