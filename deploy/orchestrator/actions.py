"""Carry out one action on one machine; both paths call it.

A write is sent once, and a failure is raised as soon as it is heard, so that
nothing new begins where it decides: what reading can settle is settled after.
What to do next is the next pass's decision. Every write that can carry a
lease's nonce carries ours.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from dataclasses import replace
from typing import Any

import anyio

from deploy.api.client import MachinesClient
from deploy.api.machine import Machine
from deploy.api.patience import Patience
from deploy.api.verdict import Verdict, name_holder, verdict
from deploy.errors import CallFailed, LeaseHeld
from deploy.events import Emit, MachineMoved, Phase
from deploy.orchestrator.halt import Cut, Halt
from deploy.orchestrator.health import Expectation, Health, Observer
from deploy.orchestrator.lease import Leases
from deploy.orchestrator.ledger import Ledger
from deploy.plan.forward import (
    Action,
    Cordon,
    Create,
    Destroy,
    Start,
    Stop,
    Uncordon,
    Update,
    Wait,
)
from deploy.plan.release import FROM, is_made_by
from deploy.plan.strategy import Gate

SETTLE_S = 10.0  # how long a lost create may take to appear in a list
_DRAIN_S = 2.0  # between leaving the rotation and the kill signal
_STOP_TIMEOUT_S = 60.0


class Actions:
    """The tools of one run, bound together: `perform`, and `settle` after a failure."""

    def __init__(
        self,
        client: MachinesClient,
        leases: Leases,
        health: Health,
        observer: Observer,
        ledger: Ledger,
        *,
        deploy_id: str,
        patience: Patience,
        halt: Halt,
        emit: Emit,
    ) -> None:
        self._client = client
        self._leases = leases
        self._health = health
        self._observer = observer
        self._ledger = ledger
        self._deploy_id = deploy_id
        self._patience = patience
        self._halt = halt
        self._emit = emit
        self._unsettled: dict[str, str] = {}  # id -> the version that an update was to replace

    async def perform(self, action: Action, gate: Gate) -> None:
        """Do it and see the gate reached.

        Raises CallFailed, AppFailed, LeaseLost, Outage; Cut when the run is
        halted while waiting.
        """
        if not action.machine_id and action.name in self._ledger.ids:
            action = replace(action, machine_id=self._ledger.ids[action.name])
        match action:
            case Create():
                await self._create(action, gate)
            case Update():
                await self._update(action, gate)
            case Wait():
                await self._see(action, action.version, gate)
            case Start():
                self._tell(action, Phase.STARTING)
                await self._idempotent(action, self._client.start)
                await self._see(action, action.version, gate)
            case Stop():
                await self._stop(action)
            case Cordon():
                self._tell(action, Phase.CORDONING)
                await self._idempotent(action, self._client.cordon)
                self._ledger.cordoned[action.machine_id] = True
            case Uncordon():
                self._tell(action, Phase.UNCORDONING)
                await self._idempotent(action, self._client.uncordon)
                self._ledger.cordoned[action.machine_id] = False
                self._tell(action, Phase.DONE)
            case Destroy():
                await self._destroy(action)
            case _:
                raise TypeError(f"no way to perform {action!r}")

    # -- update --------------------------------------------------------------------

    async def _update(self, action: Update, gate: Gate) -> None:
        nonce = self._leases.nonce(action.machine_id)
        self._tell(action, Phase.UPDATING)
        was_doubtful = action.machine_id in self._ledger.doubtful
        self._ledger.begin(action.machine_id)
        self._ledger.has_written = True
        try:
            machine = await self._client.update(
                action.machine_id,
                config=action.config,
                current_version=action.current_version,
                launch=action.launch,
                nonce=nonce,
            )
        except CallFailed as failure:
            meaning = verdict(failure)
            if not meaning.outcome_known and _may_be_under_way(failure):
                self._ledger.unanswered_at = anyio.current_time()
            elif not was_doubtful and meaning.outcome_known:
                self._ledger.settle(action.machine_id)
            elif not was_doubtful:
                self._unsettled[action.machine_id] = action.current_version
            if meaning is Verdict.RELOCATE:
                self._ledger.refused.add(action.machine_id)
            raise
        self._ledger.wrote(machine)
        if not action.launch:
            self._ledger.settle(action.machine_id)
            self._tell(action, Phase.BACK if action.restores else Phase.DONE)
            return
        wanted = gate if action.serves else Gate.NONE
        await self._see(action, machine.version, wanted, back=action.restores)

    async def settle(self, machine_id: str) -> None:
        """Read whether an update with an unknown outcome, if there was one, did not happen."""
        old_version = self._unsettled.pop(machine_id, None)
        if old_version is None:
            return
        with suppress(CallFailed):
            machine = await self._patience.ask(
                lambda: self._client.machine(machine_id), within_s=SETTLE_S
            )
            if machine.version == old_version:
                self._ledger.settle(machine_id)

    # -- create --------------------------------------------------------------------

    async def _create(self, action: Create, gate: Gate) -> None:
        self._tell(action, Phase.CREATING)
        machine = await self._find_lost(action) or await self._send_create(action)
        self._ledger.created(machine)
        created = replace(action, machine_id=machine.id)
        if action.then is not None:
            await self._update(_follow_up(created, action.then, machine), gate)
            return
        if not action.launch:
            self._ledger.settle(machine.id)
            self._tell(created, Phase.DONE)
            return
        await self._see(created, machine.version, gate)

    async def _send_create(self, action: Create) -> Machine:
        config = dict(action.config)
        if action.standby_for:
            config["standbys"] = [await self._id_of(action.standby_for)]
        if config.get("mounts"):
            config["mounts"] = await self._with_volumes(config["mounts"], action.region)
        await self._client.turn_to_create()
        if self._halt.is_set:
            raise Cut  # it waited for its turn, and nothing new begins any more
        sent = anyio.current_time()
        self._ledger.has_written = True
        try:
            machine = await self._client.create(
                name=action.name,
                region=action.region,
                config=config,
                launch=action.launch and action.then is None,
                cordoned=action.cordoned,
                lease_ttl_s=self._leases.ttl_s,
            )
        except CallFailed as failure:
            match verdict(failure):
                case Verdict.UNSETTLED:
                    self._ledger.lost_creates[action.name] = anyio.current_time()
                case Verdict.NAME_TAKEN:
                    return await self._adopt(action, failure)
            raise
        self._leases.adopt(machine.id, machine.nonce, since=sent)
        return machine

    async def _id_of(self, name: str) -> str:
        """The id of a machine that this run, or one before it, has made."""
        made = self._ledger.ids.get(name)
        if made is not None:
            return made
        for machine in await self._observer.look():
            if machine.name == name:
                return machine.id
        raise CallFailed(
            f"machine {name}, which it is to stand by for, is not there yet",
            operation="create",
            status=404,
        )

    async def _with_volumes(
        self, mounts: list[dict[str, Any]], region: str
    ) -> list[dict[str, Any]]:
        """Each mount with a volume of its name that no machine has, made where there is none."""
        free = await self._patience.ask(self._client.free_volumes)
        found = []
        for mount in mounts:
            if mount.get("volume") or free is None:
                found.append(mount)  # the platform keeps no volumes, or this one is chosen
                continue
            name = str(mount.get("name") or "data")
            volume = next((v for v in free if v[1] == name and region in ("", v[2])), None)
            if volume is not None:
                free.remove(volume)
            made = volume[0] if volume else await self._client.create_volume(name, region)
            found.append({**mount, "volume": made})
        return found

    async def _adopt(self, action: Create, failure: CallFailed) -> Machine:
        """The machine that has the name, if an earlier try of ours made it."""
        named = name_holder(failure)
        if not named:
            raise failure
        machine = await self._patience.ask(lambda: self._client.machine(named))
        if machine.name != action.name or not is_made_by(machine, self._deploy_id):
            raise LeaseHeld(
                f"machine {action.name} was made by another deploy just now ({machine.id})",
                machine_id=machine.id,
                hint="wait for that deploy to end, then deploy again",
            ) from failure
        self._ledger.created(machine)  # first, so that the lease it came with is known as ours
        await self._leases.acquire([machine.id])
        return machine

    async def _find_lost(self, action: Create) -> Machine | None:
        """Look for 10 s for what a create with a lost answer may have made.

        Where names are not unique, creating again before that could make two.
        """
        lost_at = self._ledger.lost_creates.get(action.name)
        if lost_at is None:
            return None
        while True:
            for machine in await self._observer.look():
                if machine.name == action.name and is_made_by(machine, self._deploy_id):
                    self._ledger.created(machine)
                    await self._leases.acquire([machine.id])
                    return machine
            if anyio.current_time() >= lost_at + SETTLE_S:
                del self._ledger.lost_creates[action.name]
                return None

    # -- the rest --------------------------------------------------------------------

    async def _stop(self, action: Stop) -> None:
        self._tell(action, Phase.DRAINING)
        await anyio.sleep(_DRAIN_S)
        if self._halt.is_set:
            raise Cut  # it only drained so far, and nothing new begins any more
        self._tell(action, Phase.STOPPING)
        await self._idempotent(action, self._client.stop)
        await self._health.stopped(action.machine_id, timeout_s=_STOP_TIMEOUT_S)

    async def _destroy(self, action: Destroy) -> None:
        if not action.machine_id:
            return  # it was never made
        self._tell(action, Phase.DESTROYING)
        nonce = self._nonce(action.machine_id)
        self._ledger.written.add(action.machine_id)
        self._ledger.has_written = True
        self._ledger.destroyed.add(action.machine_id)
        try:
            await self._client.destroy(action.machine_id, nonce=nonce)
        except CallFailed as failure:
            if failure.status != 404:
                if verdict(failure).outcome_known:
                    self._ledger.destroyed.discard(action.machine_id)
                raise
        self._leases.forget(action.machine_id)
        self._ledger.gone(action.machine_id)
        self._tell(action, Phase.GONE)

    async def _idempotent(self, action: Action, write: Callable[..., Awaitable[None]]) -> None:
        """A write that asks for a state: doing it twice is doing it once."""
        nonce = self._nonce(action.machine_id)
        self._ledger.written.add(action.machine_id)
        self._ledger.has_written = True
        await write(action.machine_id, nonce=nonce)

    def _nonce(self, machine_id: str) -> str:
        """A machine of our own making may be without a lease where `lease_ttl` is not honoured."""
        own = machine_id in self._ledger.own and not self._leases.holds(machine_id)
        return "" if own else self._leases.nonce(machine_id)

    async def _see(self, action: Action, version: str, gate: Gate, *, back: bool = False) -> None:
        self._tell(action, Phase.STARTING if gate is Gate.STARTED else Phase.CHECKING)
        await self._health.until(
            Expectation(
                machine_id=action.machine_id,
                version=version,
                gate=gate,
                exits_after_ms=self._ledger.exits_after_ms(action.machine_id),
            )
        )
        self._ledger.settle(action.machine_id)
        self._tell(action, Phase.BACK if back else Phase.DONE)

    def _tell(self, action: Action, phase: Phase) -> None:
        self._emit(
            MachineMoved(
                machine_id=action.machine_id,
                name=action.name,
                group=action.group,
                phase=phase,
            )
        )


def _may_be_under_way(failure: CallFailed) -> bool:
    """Nobody answered in time: the platform may carry it out after any read of ours.

    The machine keeps its place in the window until the next pass has dealt with it.
    """
    return failure.status in (None, 408, 504)


def _follow_up(action: Create, then: Mapping[str, Any], machine: Machine) -> Update:
    """The update that makes a new machine what it is to be, from what it takes the place of."""
    config = {**then, "metadata": {**then["metadata"], FROM: machine.version or "unknown"}}
    if machine.config.get("mounts"):
        config["mounts"] = machine.config["mounts"]
    return Update(
        machine_id=machine.id,
        name=action.name,
        group=action.group,
        config=config,
        current_version=machine.version,
        launch=action.launch,
        serves=action.launch,
    )
