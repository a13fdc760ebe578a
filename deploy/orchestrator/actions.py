"""Carry out one action on one machine; both paths call it.

A write is sent once, and a failure is raised as soon as it is heard, so that
nothing new begins where it decides: what reading can settle is settled after.
What to do next is the next pass's decision. Every write that can carry a
lease's nonce carries ours.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Any

import anyio

from deploy.api.machine import Machine
from deploy.errors import CallFailed, Meaning
from deploy.events import MachineMoved, Phase
from deploy.orchestrator.create import Creator
from deploy.orchestrator.halt import Cut
from deploy.orchestrator.health import Expectation, Health
from deploy.orchestrator.lease import Leases
from deploy.orchestrator.machine_checks import MachineChecks
from deploy.orchestrator.memory import ODD_PAUSE_S, SETTLE_S, Memory
from deploy.orchestrator.tools import Tools
from deploy.orchestrator.watch import Watch
from deploy.plan.actions import (
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
from deploy.plan.stamps import FROM
from deploy.plan.steps import Gate

_DRAIN_S = 2.0  # between leaving the rotation and the kill signal
_STOP_TIMEOUT_S = 60.0


@dataclass(frozen=True, slots=True)
class _Sight:
    """What is to be seen of a machine, and whether for the minimum healthy time."""

    gate: Gate
    watched: bool = False


class Actions:
    """The actions of one run: `perform`, and `settle` after a failure."""

    def __init__(
        self,
        tools: Tools,
        memory: Memory,
        leases: Leases,
        health: Health,
        watch: Watch,
        creator: Creator,
        checks: MachineChecks,
    ) -> None:
        self._tools = tools
        self._memory = memory
        self._leases = leases
        self._health = health
        self._watch = watch
        self._creator = creator
        self._checks = checks
        self._unsettled: dict[str, str] = {}  # id -> the version that an update was to replace

    async def perform(self, action: Action, gate: Gate, *, watched: bool = False) -> None:
        """Do it and see the gate reached; `watched`: for the minimum healthy time.

        Raises DeployError (of the call, the app, the lease, or what was not
        reached); Cut when the run is halted while waiting.
        """
        if not action.machine_id and action.name in self._memory.ids:
            action = replace(action, machine_id=self._memory.ids[action.name])
        see = _Sight(gate, watched)
        match action:
            case Create():
                await self._create(action, see)
            case Update():
                await self._update(action, see)
            case Wait():
                await self._see(action, action.version, see)
            case Start():
                self._show(action, Phase.STARTING)
                self._memory.doubt({action.machine_id})
                await self._ask_for_state(action, "start", self._tools.client.start)
                self._memory.state_asked(action.machine_id, runs=True)
                await self._see(action, action.version, see)
            case Stop():
                await self._stop(action)
            case Cordon():
                self._show(action, Phase.CORDONING)
                await self._ask_for_state(action, "cordon", self._tools.client.cordon)
                self._memory.cordon_written(action.machine_id, cordoned=True)
            case Uncordon():
                self._show(action, Phase.UNCORDONING)
                await self._ask_for_state(action, "uncordon", self._tools.client.uncordon)
                self._memory.cordon_written(action.machine_id, cordoned=False)
                self._show(action, Phase.DONE)
            case Destroy():
                await self._destroy(action)
            case _:
                raise TypeError(f"no way to perform {action!r}")

    async def settle(self, machine_id: str) -> None:
        """Read whether an update with an unknown outcome, if there was one, did not happen.

        Two reads have to say so: a cache may answer one, and the place in the window of a
        machine that is out after all would go to another.
        """
        old_version = self._unsettled.pop(machine_id, None)
        if old_version is None:
            return
        with suppress(CallFailed):
            for pause_s in (0.0, ODD_PAUSE_S):
                await anyio.sleep(pause_s)
                machine = await self._tools.patience.ask(
                    lambda: self._tools.client.machine(machine_id), within_s=SETTLE_S
                )
                if machine.version != old_version:
                    return
            self._memory.settled(machine_id)

    async def _create(self, action: Create, see: _Sight) -> None:
        self._show(action, Phase.CREATING)
        machine = await self._creator.create(action)
        created = replace(action, machine_id=machine.id)
        if action.then is not None:
            await self._update(_follow_up(created, action.then, machine), see)
        elif action.launch:
            await self._see(created, machine.version, see)
        else:
            self._memory.settled(machine.id)
            self._show(created, Phase.DONE)

    async def _update(self, action: Update, see: _Sight) -> None:
        await self._leases.late(action.machine_id)
        await self._tools.client.turn_to_write("update", action.machine_id)
        nonce = self._leases.nonce(action.machine_id)
        self._show(action, Phase.UPDATING)
        was_doubtful = action.machine_id in self._memory.doubtful
        self._memory.updating(action.machine_id)
        self._watch.forget(action.machine_id)
        try:
            machine = await self._tools.client.update(
                action.machine_id,
                config=action.config,
                current_version=action.current_version,
                launch=action.launch,
                nonce=nonce,
            )
        except CallFailed as failure:
            self._note_failed_update(action, failure, was_doubtful=was_doubtful)
            raise
        self._memory.wrote(machine)
        if not action.launch:
            self._memory.settled(action.machine_id)
            self._show(action, Phase.BACK if action.restores else Phase.DONE)
            return
        wanted = see if action.serves else _Sight(Gate.NONE)
        await self._see(action, machine.version, wanted, back=action.restores)

    def _note_failed_update(
        self, action: Update, failure: CallFailed, *, was_doubtful: bool
    ) -> None:
        if not failure.meaning.outcome_known:
            self._memory.not_told(action.machine_id)
        if not failure.meaning.outcome_known and _may_be_under_way(failure):
            self._memory.unanswered(anyio.current_time())
        elif not was_doubtful and failure.meaning.outcome_known:
            self._memory.settled(action.machine_id)
        elif not was_doubtful:
            self._unsettled[action.machine_id] = action.current_version
        if failure.meaning is Meaning.RELOCATE:
            self._memory.refused_by_host(action.machine_id)

    async def _stop(self, action: Stop) -> None:
        self._show(action, Phase.DRAINING)
        await anyio.sleep(_DRAIN_S)
        if self._tools.halt.is_set:
            raise Cut  # it only drained so far, and nothing new begins any more
        self._show(action, Phase.STOPPING)
        self._watch.forget(action.machine_id)
        self._memory.doubt({action.machine_id})
        await self._ask_for_state(action, "stop", self._tools.client.stop)
        self._memory.state_asked(action.machine_id, runs=False)
        await self._health.stopped(action.machine_id, timeout_s=_STOP_TIMEOUT_S)

    async def _destroy(self, action: Destroy) -> None:
        if not action.machine_id:
            return  # it was never made
        self._show(action, Phase.DESTROYING)
        await self._leases.late(action.machine_id)  # on a lost host one ends, and comes no more
        is_free = action.is_unleased and not self._leases.is_usable(action.machine_id)
        if is_free:
            await self._leases.run_out(action.machine_id)
            await self._tools.client.turn_to_write("destroy", action.machine_id)
        nonce = "" if is_free else await self._nonce("destroy", action.machine_id)
        self._memory.destroying(action.machine_id)
        self._watch.forget(action.machine_id)
        try:
            await self._tools.client.destroy(action.machine_id, nonce=nonce)
        except CallFailed as failure:
            if failure.status != 404:
                if failure.meaning.outcome_known:
                    self._memory.destroy_refused(action.machine_id)
                raise
        self._leases.forget(action.machine_id)
        self._memory.gone(action.machine_id)
        self._show(action, Phase.GONE)

    async def _ask_for_state(
        self, action: Action, operation: str, write: Callable[..., Awaitable[None]]
    ) -> None:
        """A write that asks for a state: doing it twice is doing it once."""
        nonce = await self._nonce(operation, action.machine_id)
        self._memory.touching(action.machine_id)
        try:
            await write(action.machine_id, nonce=nonce)
        except CallFailed as failure:
            if not failure.meaning.outcome_known:
                self._memory.not_told(action.machine_id)
            raise

    async def _nonce(self, operation: str, machine_id: str) -> str:
        """Of a machine of our own making that has no lease, one is taken now.

        The platform may not honour `lease_ttl`, and not know of a new machine at first.
        """
        await self._leases.late(machine_id)
        await self._tools.client.turn_to_write(operation, machine_id)
        if machine_id not in self._memory.own or self._leases.holds(machine_id):
            return self._leases.nonce(machine_id)
        await self._leases.take_own(machine_id)
        return self._leases.nonce(machine_id) if self._leases.holds(machine_id) else ""

    async def _see(self, action: Action, version: str, see: _Sight, *, back: bool = False) -> None:
        self._show(action, Phase.STARTING if see.gate is Gate.STARTED else Phase.CHECKING)
        await self._health.until(
            Expectation(
                machine_id=action.machine_id,
                version=version,
                gate=see.gate,
                watched=see.watched,
                group=action.group,
                exits_after_ms=self._memory.exits_after_ms(action.machine_id),
            )
        )
        if see.gate is Gate.TRIED:
            await self._checks.pass_on(action.machine_id, action.group)
        if see.gate in (Gate.HEALTHY, Gate.TRIED):
            self._memory.seen_well(action.machine_id)
        else:
            self._memory.settled(action.machine_id)
        self._show(action, Phase.BACK if back else Phase.DONE)

    def _show(self, action: Action, phase: Phase) -> None:
        self._tools.emit(
            MachineMoved(
                machine_id=action.machine_id,
                name=action.name,
                group=action.group,
                phase=phase,
            )
        )


def _may_be_under_way(failure: CallFailed) -> bool:
    """A write that timed out: the platform may carry it out after any read of ours.

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
