"""The platform: apps, machines, and what may be done to them when.

`Platform` answers each operation of the Machines API on values that were parsed
already; it raises `Refusal` where the real platform says no. It knows nothing
of HTTP, and nothing of processes: machines live in a `Runtime`.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Self

import anyio
import msgspec

from deploy.local import refusals
from deploy.local.background import HasTasks
from deploy.local.config import Config, accept
from deploy.local.hiccups import Hiccups
from deploy.local.identity import Identity
from deploy.local.leases import Leases
from deploy.local.lifecycle import AT_REST, Lifecycle, Stop
from deploy.local.logs import Logs
from deploy.local.requests import CreateMachine, CreateVolume, UpdateMachine
from deploy.local.runtime import Clock, Runtime
from deploy.local.state import App, Machine, Version, Volume, rfc3339
from deploy.local.store import InMemory, Store
from deploy.local.traffic import NoTraffic, ServiceAddress, Traffic

DESTROYED_KEPT = 1000
_BUSY = frozenset({"replacing", "updating", "creating", "destroying", "suspending"})
_RUNS = frozenset({"started", "starting", "restarting"})


class Platform(HasTasks):
    """All state. An async context manager: leaving it ends every machine's process.

    `seed` makes ids, versions and nonces repeatable; `hiccups` strike the writes
    that come in over the API; `traffic` is the router; `store` keeps the state
    beyond the process; `say` takes what machines write. A write to a machine that
    exists already has to be let in first: see `admit`.
    """

    def __init__(
        self,
        *,
        runtime: Runtime,
        clock: Clock = time.time,
        seed: int | None = None,
        hiccups: Hiccups | None = None,
        traffic: Traffic | None = None,
        store: Store | None = None,
        say: Callable[[str], None] = lambda _: None,
    ) -> None:
        self.apps: dict[str, App] = {}
        self.clock = clock
        self.hiccups = hiccups
        self.identity = Identity(seed, clock)
        self.leases = Leases(self.identity, self._keep)
        self.store = store or InMemory()
        self.logs = Logs(clock, say)
        self._runtime = runtime
        self._traffic = traffic or NoTraffic()
        self._order = 0
        self._lifecycle: Lifecycle

    async def __aenter__(self) -> Self:
        await super().__aenter__()
        self._lifecycle = Lifecycle(
            runtime=self._runtime,
            identity=self.identity,
            traffic=self._traffic,
            logs=self.logs,
            tasks=self._tasks,
            destroyed=self._forget,
            keep=self._keep,
        )
        for app in self.store.load():
            self._take_up(app)
        return self

    async def end_all(self, *, within_s: float) -> None:
        """Stop every machine with its own signal, all at once, and kill what is left."""
        async with anyio.create_task_group() as tasks:
            for app in self.apps.values():
                for machine in app.living:
                    tasks.start_soon(self._lifecycle.end, machine, within_s)

    # -- apps ----------------------------------------------------------------------

    def app(self, name: str) -> App:
        """Raises Refusal (404)."""
        app = self.apps.get(name)
        if app is None:
            raise refusals.app_unknown(name)
        return app

    def create_app(
        self, name: str, *, organization: str = "personal", network: str = "default"
    ) -> App:
        """Raises Refusal: 422 with code `name_taken` if there is one of that name."""
        if name in self.apps:
            raise refusals.app_exists(name)
        app = self.apps[name] = App(name, organization, self.clock(), network)
        self.store.keep_app(app)
        return app

    def delete_app(self, name: str) -> None:
        """Forgets the app; its machines are destroyed in the background."""
        app = self.app(name)
        for machine in app.living:
            if machine.state != "destroying":
                self._lifecycle.destroy(machine)
        del self.apps[name]
        self.store.forget_app(app)
        self._traffic.remove(app)

    def services(self, app: str) -> list[ServiceAddress]:
        """Where each service of the app listens. Raises Refusal (404)."""
        self.app(app)
        return self._traffic.services(app)

    def volumes(self, app: str) -> list[Volume]:
        """The volumes of the app, each with the machine that mounts it."""
        found = self.app(app)
        holders = {
            mount.volume: machine.id
            for machine in found.living
            for mount in machine.config.mounts or ()
        }
        return [
            msgspec.structs.replace(volume, attached_machine_id=holders.get(volume.id))
            for volume in found.volumes
        ]

    def create_volume(self, app: str, request: CreateVolume) -> Volume:
        found = self.app(app)
        volume = Volume(
            id=f"vol_{self.identity.nonce()}",
            name=request.name,
            region=request.region or "local",
            size_gb=request.size_gb or 3,
            created_at=rfc3339(self.clock()),
        )
        found.volumes.append(volume)
        self.store.keep_app(found)
        return volume

    # -- reading -------------------------------------------------------------------

    def machine(self, app: str, machine_id: str) -> Machine:
        """A machine that may be destroyed already. Raises Refusal (404)."""
        machine = self.app(app).machines.get(machine_id)
        if machine is None or machine.visible_at_s > self.clock():
            raise refusals.machine_unknown()
        return machine

    def machines(self, app: str) -> list[Machine]:
        """Every machine of the app that can be seen now, destroyed ones too, oldest first."""
        now = self.clock()
        return [
            machine for machine in self.app(app).machines.values() if machine.visible_at_s <= now
        ]

    def hide(self, app: str, machine_id: str, *, for_s: float) -> None:
        """Let reads not find a machine yet: the API is eventually consistent."""
        self.machine(app, machine_id).visible_at_s = self.clock() + for_s

    async def wait(
        self,
        machine: Machine,
        *,
        states: Sequence[str],
        version: str,
        from_event_id: str,
        timeout_s: float,
    ) -> str:
        """The state that was waited for and reached. Raises Refusal (408) after `timeout_s`."""
        with anyio.move_on_after(timeout_s):
            while True:
                state = _state_of(machine, version)
                news = not from_event_id or machine.events[0].id != from_event_id
                if news and (state in states or ("settled" in states and state in AT_REST)):
                    return state
                await machine.next_change()
        raise refusals.not_reached(", ".join(states), state)

    # -- writing -------------------------------------------------------------------

    def admit(self, machine: Machine, nonce: str) -> None:
        """Raises Refusal unless who has this nonce ("" for none) may write to the machine now."""
        if machine.is_gone:
            raise refusals.machine_unknown()
        self.leases.guard(machine, nonce)
        if machine.host_status != "ok":
            raise refusals.host_lost()

    def create(self, app_name: str, request: CreateMachine, *, slot: str, owner: str) -> Machine:
        """A new machine, launched unless the request says not to; makes the app if need be."""
        kept, config = self._accept(request.config)
        app = self.apps.get(app_name) or self.create_app(app_name)
        if request.name and request.name in app.by_name:
            raise refusals.name_taken(app.by_name[request.name])
        machine = self._register(app, request, slot, kept, config)
        self.leases.for_writer(machine, owner=owner, ttl_s=request.lease_ttl)
        if request.skip_launch:
            self._lifecycle.rest(machine)
        else:
            self._lifecycle.launch(machine, state="creating")
        self._traffic.sync(app)
        return machine

    def update(self, machine: Machine, request: UpdateMachine, *, owner: str) -> None:
        """Replace the whole configuration; the process of the version before is stopped."""
        kept, config = self._accept(request.config)
        _refuse_if_busy(machine)
        if request.current_version and request.current_version != machine.version:
            raise refusals.version_moved(machine.version)
        is_frozen = machine.state == "suspended"
        stop = Stop(None, 0) if is_frozen else Stop.of(machine.config)
        if request.name and request.name != machine.name:
            self._rename(machine, request.name)
        self._configure(machine, request, kept, config)
        self._lifecycle.reset_checks(machine)
        self.leases.for_writer(machine, owner=owner, ttl_s=request.lease_ttl)
        self._lifecycle.replace(machine, stop=stop, launch=not request.skip_launch)
        self._traffic.sync(self.apps[machine.app])

    def start(self, machine: Machine) -> str:
        """The state before. Starting what runs already changes nothing."""
        before = machine.state
        if before == "replacing":
            raise refusals.being_replaced()
        if before in _BUSY or before == "stopping":
            raise refusals.not_from_state("start", before)
        if before == "suspended":
            self._lifecycle.resume(machine)
        elif before not in _RUNS:
            self._lifecycle.launch(machine)
        return before

    def stop(self, machine: Machine, stop: Stop) -> None:
        _refuse_if_busy(machine)
        if machine.state in _RUNS or machine.state == "suspended":
            self._lifecycle.stop(machine, stop=stop)

    def restart(self, machine: Machine, stop: Stop) -> None:
        _refuse_if_busy(machine)
        if machine.state not in _RUNS:
            raise refusals.not_from_state("restart", machine.state)
        self._lifecycle.restart(machine, stop=stop)

    def suspend(self, machine: Machine) -> None:
        _refuse_if_busy(machine)
        if machine.state == "started":
            self._lifecycle.suspend(machine)
        elif machine.state != "suspended":
            raise refusals.not_from_state("suspend", machine.state)

    def signal(self, machine: Machine, name: str) -> None:
        """Send a signal to the main process; a lease does not guard this one."""
        if machine.state != "started" or machine.process is None:
            raise refusals.not_from_state("signal", machine.state)
        machine.process.signal(name)

    def destroy(self, machine: Machine, *, force: bool) -> None:
        if machine.state == "destroying":
            return
        if not force and machine.state not in ("created", "stopped", "suspended", "failed"):
            raise refusals.not_from_state("destroy", machine.state)
        self._lifecycle.destroy(machine)

    def cordon(self, machine: Machine, *, cordoned: bool) -> None:
        """Take it out of the router's choice, or put it back."""
        machine.cordoned = cordoned
        machine.updated_at_s = self.clock()
        self._keep(machine)

    def set_metadata(
        self, machine: Machine, changes: Mapping[str, str | None], *, machine_version: str = ""
    ) -> None:
        """Set keys, or remove those whose value is None or empty; mints no new version."""
        if machine_version and machine_version != machine.version:
            raise refusals.metadata_version_moved(machine.version)
        after = {**machine.metadata, **changes}
        metadata = {key: value for key, value in after.items() if value or key not in changes}
        machine.raw = {**machine.raw, "metadata": metadata}
        machine.config = msgspec.structs.replace(machine.config, metadata=metadata)
        machine.updated_at_s = self.clock()
        self._keep(machine)

    # -- helpers -------------------------------------------------------------------

    def _keep(self, machine: Machine) -> None:
        app = self.apps.get(machine.app)
        if app is not None and app.machines.get(machine.id) is machine:
            self.store.keep(machine)

    def _take_up(self, app: App) -> None:
        """Go on with an app that an earlier process of the platform left."""
        self.apps[app.name] = app
        for machine in list(app.machines.values()):
            self._order = max(self._order, machine.order)
            self._lifecycle.take_up(machine)
        self._traffic.sync(app)

    def _accept(self, raw: Mapping[str, Any]) -> tuple[dict[str, Any], Config]:
        kept, config = accept(raw)
        objection = self._runtime.objection(config)
        if objection:
            raise refusals.invalid(objection)
        return kept, config

    def _register(
        self, app: App, request: CreateMachine, slot: str, kept: dict[str, Any], config: Config
    ) -> Machine:
        now = self.clock()
        self._order += 1
        machine = Machine(
            id=self._free_id(app, slot),
            app=app.name,
            name=request.name or self._free_name(app),
            region=request.region or "local",
            slot=slot,
            order=self._order,
            created_at_s=now,
            updated_at_s=now,
            raw=kept,
            config=config,
        )
        self._configure(machine, request, kept, config)
        self._lifecycle.created(machine)
        app.machines[machine.id] = machine
        app.by_name[machine.name] = machine.id
        return machine

    def _configure(
        self, machine: Machine, request: CreateMachine, kept: dict[str, Any], config: Config
    ) -> None:
        machine.raw, machine.config = kept, config
        machine.versions.appendleft(Version(self.identity.ulid(), request.config, kept))
        machine.cordoned = machine.cordoned or bool(request.skip_service_registration)

    def _rename(self, machine: Machine, name: str) -> None:
        app = self.apps[machine.app]
        if name in app.by_name:
            raise refusals.name_taken(app.by_name[name])
        del app.by_name[machine.name]
        app.by_name[name] = machine.id
        machine.name = name

    def _free_id(self, app: App, slot: str) -> str:
        while (machine_id := self.identity.machine_id(app.name, slot)) in app.machines:
            pass
        return machine_id

    def _free_name(self, app: App) -> str:
        while (name := self.identity.name()) in app.by_name:
            pass
        return name

    def _forget(self, machine: Machine) -> None:
        """A destroyed machine frees its name; it can be read by id for a long while yet."""
        app = self.apps.get(machine.app)
        if app is None:
            return
        if app.by_name.get(machine.name) == machine.id:
            del app.by_name[machine.name]
        gone = [other.id for other in app.machines.values() if other.is_gone]
        too_old = gone[: max(0, len(gone) - DESTROYED_KEPT)]
        for machine_id in too_old:
            del app.machines[machine_id]
        if too_old:
            self.store.forget(too_old)
        self._traffic.sync(app)


def _refuse_if_busy(machine: Machine) -> None:
    if machine.state in _BUSY:
        raise refusals.update_in_progress(machine.state)


def _state_of(machine: Machine, version: str) -> str:
    """The state as seen by who asks about one version: any but the newest is replaced."""
    if not version or version == machine.version or machine.is_gone:
        return machine.state
    return "replaced"
