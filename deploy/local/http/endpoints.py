"""What each endpoint does, one small function per operation.

A handler takes the `Call`, and its `body` and `query` where it has them, read
as the types that it names. It returns a view, or a `Reply` where headers belong
to it.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import AsyncIterator, Callable, Mapping, Sequence

from deploy.local import requests
from deploy.local.config import signal_name
from deploy.local.http import views
from deploy.local.http.calls import Call, Reply
from deploy.local.lifecycle import Stop
from deploy.local.logs import LINES_KEPT, LogLine
from deploy.local.refusals import Refusal, invalid
from deploy.local.runtime import written
from deploy.local.state import Event, Machine, Volume
from deploy.local.traffic import ServiceAddress

OK = views.Ok()

# -- apps ------------------------------------------------------------------------------


def list_apps(call: Call, query: requests.AppsQuery) -> views.Apps:
    apps = [
        views.app_view(app)
        for app in call.platform.apps.values()
        if query.org_slug in ("", app.organization)
    ]
    return views.Apps(len(apps), apps)


def create_app(call: Call, body: requests.CreateApp) -> views.AppView:
    name = requests.app_name(body.app_name or body.name or "")
    app = call.platform.create_app(
        name, organization=body.org_slug or "personal", network=body.network or "default"
    )
    return views.app_view(app)


def get_app(call: Call) -> views.AppView:
    return views.app_view(call.platform.app(call.app))


def delete_app(call: Call) -> None:
    call.platform.delete_app(call.app)


def list_volumes(call: Call) -> list[Volume]:
    return call.platform.volumes(call.app)


def create_volume(call: Call, body: requests.CreateVolume) -> Volume:
    """A name that machines can mount; nothing is stored on it."""
    return call.platform.create_volume(call.app, body)


# -- machines: reading -----------------------------------------------------------------


def list_machines(call: Call, query: requests.ListQuery) -> Reply[list[views.MachineView]]:
    cursor = _cursor(query.cursor)
    if cursor and not query.limit:
        raise invalid("cursor requires limit")
    wanted = _wanted(call, query)
    found = [
        machine
        for machine in call.platform.machines(call.app)
        if machine.order > cursor and wanted(machine)
    ]
    page = found[: query.limit]
    headers = {"fly-next-cursor": _cursor_text(page[-1].order)} if len(page) < len(found) else {}
    shown = [_shown(call, machine, with_lease=query.include_leases) for machine in page]
    return Reply(shown, headers=headers)


def get_machine(call: Call, query: requests.GetQuery) -> views.MachineView:
    machine = call.machine
    if not query.version:
        return _shown(call, machine, with_lease=query.include_leases)
    for version in machine.versions:
        if version.id == query.version:
            return views.machine_view(machine, version=version)
    raise Refusal(404, f"machine version {query.version[:40]!r} not found")


async def wait(call: Call, query: requests.WaitQuery) -> views.Waited:
    machine = call.machine
    reached = await call.platform.wait(
        machine,
        states=query.state,
        version=query.version or query.instance_id,
        from_event_id=query.from_event_id,
        timeout_s=query.timeout,
    )
    return views.Waited(reached, machine.version, machine.events[0].id)


def list_events(call: Call, query: requests.PageQuery) -> list[Event]:
    return list(call.machine.events)[: query.limit]


def list_versions(call: Call) -> list[views.VersionView]:
    return [views.VersionView(known.id, known.sent) for known in call.machine.versions]


def list_processes(call: Call) -> list[views.ProcessView]:
    """What runs in the machine: a local machine has one process that is worth telling."""
    machine = call.living
    if machine.process is None:
        return []
    sockets = [
        views.ListenSocket("tcp", written(address)) for address in machine.process.listening()
    ]
    command = " ".join(machine.config.argv)
    return [views.ProcessView(machine.process.pid, command, listen_sockets=sockets)]


# -- machines: writing -----------------------------------------------------------------


def create_machine(call: Call, body: requests.CreateMachine) -> views.MachineView:
    requests.app_name(call.app)
    machine = call.platform.create(call.app, body, slot=call.slot, owner=call.owner)
    return _with_nonce(machine, body)


def update_machine(call: Call, body: requests.UpdateMachine) -> views.MachineView:
    machine = call.writable
    call.platform.update(machine, body, owner=call.owner)
    return _with_nonce(machine, body)


def destroy_machine(call: Call, query: requests.DestroyQuery) -> views.Ok:
    call.platform.destroy(call.writable, force=query.force or query.kill)
    return OK


def start_machine(call: Call) -> views.Started:
    return views.Started(call.platform.start(call.writable))


def stop_machine(call: Call, body: requests.StopMachine) -> views.Ok:
    machine = call.writable
    call.platform.stop(machine, _stop(machine, body))
    return OK


def restart_machine(call: Call, query: requests.StopMachine) -> views.Ok:
    """Signal and timeout stand in the query here, in the body of `stop`."""
    machine = call.writable
    call.platform.restart(machine, _stop(machine, query))
    return OK


def suspend_machine(call: Call) -> views.Ok:
    call.platform.suspend(call.writable)
    return OK


def signal_machine(call: Call, body: requests.SignalMachine) -> views.Ok:
    call.platform.signal(call.living, signal_name(body.signal))
    return OK


def cordon_machine(call: Call) -> views.Ok:
    call.platform.cordon(call.writable, cordoned=True)
    return OK


def uncordon_machine(call: Call) -> views.Ok:
    call.platform.cordon(call.writable, cordoned=False)
    return OK


# -- leases ----------------------------------------------------------------------------


def get_lease(call: Call) -> views.LeaseView:
    machine = call.living
    return views.lease_view(machine, call.platform.leases.held(machine))


def take_lease(call: Call, body: requests.TakeLease, query: requests.LeaseQuery) -> views.LeaseView:
    """Acquire, or refresh when the request carries the nonce."""
    machine, leases, text = call.living, call.platform.leases, body.description
    ttl_s = body.ttl or query.ttl
    if call.nonce:
        held = leases.refresh(machine, nonce=call.nonce, ttl_s=ttl_s, description=text)
    else:
        held = leases.acquire(machine, owner=call.owner, ttl_s=ttl_s, description=text or "")
    return views.lease_view(machine, held)


def release_lease(call: Call) -> views.Ok:
    call.platform.leases.release(call.machine, nonce=call.nonce)
    return OK


# -- metadata --------------------------------------------------------------------------


def get_metadata(call: Call) -> Mapping[str, str]:
    return call.living.metadata


def update_metadata(call: Call, body: requests.UpdateMetadata) -> None:
    version = body.machine_version or ""
    call.platform.set_metadata(call.living, body.metadata, machine_version=version)


def get_metadata_key(call: Call) -> views.Value:
    metadata = call.living.metadata
    if call.path["key"] not in metadata:
        raise Refusal(404, "metadata key not found")
    return views.Value(metadata[call.path["key"]])


def set_metadata_key(call: Call, body: requests.SetMetadata) -> None:
    call.platform.set_metadata(call.living, {call.path["key"]: body.value})


def remove_metadata_key(call: Call) -> None:
    call.platform.set_metadata(call.living, {call.path["key"]: None})


# -- what only the local platform has ---------------------------------------------------


def list_services(call: Call) -> list[ServiceAddress]:
    """Where the router listens for each service of the app."""
    return call.platform.services(call.app)


def list_logs(call: Call) -> list[str]:
    """The newest lines that the machine wrote, oldest first."""
    newest = call.platform.logs.tail([call.machine.id], LINES_KEPT)
    return [line.line for line in newest]


def stream_logs(call: Call, query: requests.LogsQuery) -> AsyncIterator[LogLine]:
    """What the app's machines wrote, as lines of JSON; with `follow` it goes on for ever."""
    app, logs = call.platform.app(call.app), call.platform.logs
    if query.machine:
        call.platform.machine(call.app, query.machine)

    def machines() -> list[str]:
        return [query.machine] if query.machine else list(app.machines)

    if query.follow:
        return logs.follow(machines, query.lines)
    return _each(logs.tail(machines(), query.lines))


async def _each(lines: Sequence[LogLine]) -> AsyncIterator[LogLine]:
    for line in lines:
        yield line


# -- helpers ---------------------------------------------------------------------------


def _shown(call: Call, machine: Machine, *, with_lease: bool) -> views.MachineView:
    lease = call.platform.leases.current(machine) if with_lease else None
    return views.machine_view(machine, lease=lease)


def _with_nonce(machine: Machine, request: requests.CreateMachine) -> views.MachineView:
    view = views.machine_view(machine)
    if request.lease_ttl and machine.lease is not None:
        view.nonce = machine.lease.nonce
    return view


def _wanted(call: Call, query: requests.ListQuery) -> Callable[[Machine], bool]:
    states = frozenset(query.state) - {""}
    gone_too = query.include_deleted or "destroyed" in states
    metadata = [
        (name.removeprefix("metadata."), value)
        for name, value in call.query
        if name.startswith("metadata.")
    ]

    def wanted(machine: Machine) -> bool:
        return (
            (gone_too or not machine.is_gone)
            and (not states or machine.state in states)
            and query.region in ("", machine.region)
            and all(machine.metadata.get(key) == value for key, value in metadata)
        )

    return wanted


def _stop(machine: Machine, request: requests.StopMachine) -> Stop:
    """How to end it: as the request says, else as its configuration does.

    Go clients send a timeout of "0s" where none is given.
    """
    usual = Stop.of(machine.config)
    signal = signal_name(request.signal) if request.signal else usual.signal
    return Stop(signal, request.timeout_s or usual.timeout_s)


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
