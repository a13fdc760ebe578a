"""Looking at the app: one list for everybody who waits, and a look that believes nothing odd."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial

import anyio

from deploy.api.machine import Fleet, Machine
from deploy.orchestrator.halt import Cut
from deploy.orchestrator.memory import Memory
from deploy.orchestrator.tools import Tools
from deploy.plan.stamps import is_made_by

_LIST_EVERY_S = 0.5  # at the most; the client's own pace keeps it to 1/s over time
_EMPTY_LOOKS = 3  # an empty list is believed only when it is repeated
_ODD_PAUSE_S = 1.0


class SharedList:
    """The list of the app's machines, asked for once on behalf of all who wait for it."""

    def __init__(self, tools: Tools) -> None:
        self._tools = tools
        self._turn = anyio.Lock()
        self._begun = 0
        self._done = 0
        self._not_before = 0.0
        self._latest = Fleet()

    async def latest(self) -> Fleet:
        """A list that was asked for after this call began."""
        wanted = self._begun + 1
        async with self._turn:
            if self._done < wanted:
                await anyio.sleep_until(self._not_before)
                self._begun += 1
                mine = self._begun
                self._not_before = anyio.current_time() + _LIST_EVERY_S
                machines = await self._tools.patience.ask(self._tools.client.machines)
                self._latest = Fleet.of(machines)
                self._done = mine
            return self._latest


class Lookout:
    """Looks at the whole app, and reads again by itself what does not fit what the run knows."""

    def __init__(self, tools: Tools, memory: Memory) -> None:
        self._tools = tools
        self._memory = memory

    async def look(self) -> Fleet:
        """The app's machines, and the memory of them brought up to date."""
        if not self._memory.app_exists:
            self._memory.looked(Fleet())
            return Fleet()
        listed = dict((await self._list()).by_id)
        for machine_id, again in (await self._read_the_odd(listed)).items():
            listed.pop(machine_id, None)
            if again is not None:
                listed[machine_id] = again
            self._memory.read(machine_id, again)
        fleet = Fleet.of(listed.values())
        self._recognise_own(fleet)
        self._memory.looked(fleet.managed)
        return fleet

    async def look_unless_halted(self) -> Fleet:
        """The same; looking is reading, and may be cut short."""
        with self._tools.halt.cuts():
            return await self.look()
        raise Cut  # for the type checker: a block that is cut raises by itself

    async def _list(self) -> Fleet:
        """The list; an empty one only if there is nothing to expect, or it is repeated."""
        fleet = Fleet.of(await self._tools.patience.ask(self._tools.client.machines))
        expects_none = self._memory.has_looked and not self._memory.known
        for _ in range(_EMPTY_LOOKS - 1):
            if fleet.managed or expects_none:
                break
            await anyio.sleep(_ODD_PAUSE_S)
            fleet = Fleet.of(await self._tools.patience.ask(self._tools.client.machines))
        return fleet

    async def _read_the_odd(self, listed: Mapping[str, Machine]) -> dict[str, Machine | None]:
        """Machines that do not fit what we know, each by itself; None is gone.

        Where the list has a machine that a read does not find, neither is
        believed before the read is repeated.
        """
        client, patience = self._tools.client, self._tools.patience

        async def read(machine_id: str) -> Machine | None:
            return await patience.ask(partial(client.find_machine, machine_id))

        found = {each: await read(each) for each in self._memory.contradicted_by(listed)}
        unclear = [each for each, machine in found.items() if machine is None and each in listed]
        if unclear:
            await anyio.sleep(_ODD_PAUSE_S)
        return found | {each: await read(each) for each in unclear}

    def _recognise_own(self, fleet: Fleet) -> None:
        """A machine that we made and do not know of, because the answer was lost."""
        memory = self._memory
        before = memory.base.machines.by_id if memory.base else {}
        for machine in fleet.managed:
            known = machine.id in memory.own or machine.id in before
            if not known and is_made_by(machine, memory.release.deploy_id):
                memory.created(machine)
