"""Making a machine so that there is never a second one, whatever answers are lost.

It is made under a name that only this deploy gives: one that an earlier try made
is found and adopted.
"""

from __future__ import annotations

from typing import Any

import anyio

from deploy.api.machine import Machine
from deploy.errors import CallFailed, LeaseHeld, Meaning, NotInTime
from deploy.orchestrator.halt import Cut
from deploy.orchestrator.lease import Leases
from deploy.orchestrator.memory import SETTLE_S, Memory
from deploy.orchestrator.shared_list import SharedList
from deploy.orchestrator.tools import Tools
from deploy.plan.actions import Create
from deploy.plan.stamps import is_made_by
from deploy.plan.volumes import take_free, volume_name


class Creator:
    """Makes the machines of one run."""

    def __init__(self, tools: Tools, memory: Memory, leases: Leases, machines: SharedList) -> None:
        self._tools = tools
        self._memory = memory
        self._leases = leases
        self._machines = machines

    async def create(self, action: Create) -> Machine:
        """The machine, with its lease where the platform gave one. Raises DeployError, Cut."""
        machine = await self._find_lost(action) or await self._send(action)
        self._memory.created(machine)
        return machine

    async def _send(self, action: Create) -> Machine:
        config = dict(action.config)
        if action.standby_for:
            config["standbys"] = [await self._id_of(action.standby_for)]
        if config.get("mounts"):
            config["mounts"] = await self._with_volumes(config["mounts"], action.region)
        await self._tools.client.turn_to_create()
        if self._tools.halt.is_set:
            raise Cut  # it waited for its turn, and nothing new begins any more
        sent = anyio.current_time()
        self._memory.creating()
        try:
            machine = await self._tools.client.create(
                name=action.name,
                region=action.region,
                config=config,
                launch=action.launch and action.then is None,
                cordoned=action.cordoned,
                lease_ttl_s=self._leases.ttl_s,
            )
        except CallFailed as failure:
            match failure.meaning:
                case Meaning.UNSETTLED:
                    self._memory.create_lost(action.name, anyio.current_time())
                case Meaning.NAME_TAKEN:
                    return await self._adopt(action, failure)
            raise
        if not machine.nonce:
            return await self._take(machine)  # the platform does not know `lease_ttl`
        self._leases.adopt(machine.id, machine.nonce, since=sent)
        return machine

    async def _id_of(self, name: str) -> str:
        """The id of a machine that this run, or one before it, has made."""
        made = self._memory.ids.get(name)
        if made is not None:
            return made
        for machine in await self._machines.latest():
            if machine.name == name:
                return machine.id
        raise NotInTime(f"machine {name}, which it is to stand by for, is not there yet")

    async def _with_volumes(
        self, mounts: list[dict[str, Any]], region: str
    ) -> list[dict[str, Any]]:
        """Each mount with a volume of its name that no machine has, made where there is none."""
        free = await self._tools.patience.ask(self._tools.client.free_volumes)
        found = []
        for mount in mounts:
            if mount.get("volume") or free is None:
                found.append(mount)  # the platform keeps no volumes, or this one is chosen
                continue
            volume = take_free(free, mount, region)
            made = volume or await self._tools.client.create_volume(volume_name(mount), region)
            found.append({**mount, "volume": made})
        return found

    async def _adopt(self, action: Create, failure: CallFailed) -> Machine:
        """The machine that has the name, if an earlier try of ours made it."""
        holder = failure.holder
        if not holder:
            raise failure
        machine = await self._tools.patience.ask(lambda: self._tools.client.machine(holder))
        if machine.is_going:
            raise NotInTime(
                f"the name {action.name} is free once machine {machine.id} is gone, "
                "which is being destroyed",
                machine_id=machine.id,
                hint="try again in a moment",
            ) from failure
        if machine.name != action.name or not self._is_ours(machine):
            raise LeaseHeld(
                f"machine {action.name} was made by another deploy just now ({machine.id})",
                machine_id=machine.id,
                hint="wait for that deploy to end, then deploy again",
            ) from failure
        return await self._take(machine)

    async def _find_lost(self, action: Create) -> Machine | None:
        """Look for 10 s for what a create with a lost answer may have made.

        Where names are not unique, creating again before that could make two.
        """
        lost_at = self._memory.lost_creates.get(action.name)
        if lost_at is None:
            return None
        while True:
            for machine in await self._machines.latest():
                if machine.name == action.name and self._is_ours(machine):
                    return await self._take(machine)
            if anyio.current_time() >= lost_at + SETTLE_S:
                self._memory.create_never_landed(action.name)
                return None

    async def _take(self, machine: Machine) -> Machine:
        self._memory.created(machine)  # first, so that the lease it came with is known as ours
        if not self._leases.is_usable(machine.id):
            await self._leases.take_own(machine.id)
        return machine

    def _is_ours(self, machine: Machine) -> bool:
        return is_made_by(machine, self._memory.release.deploy_id) and not machine.is_going
