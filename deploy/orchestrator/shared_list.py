"""One list of the machines for all who wait, and one machine that is waited for.

It is read by itself while few are waited for, or while it is no later than the
ones before it were; else off the list that all who wait share.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Iterator
from contextlib import contextmanager

import anyio

from deploy.api.machine import Fleet, Machine
from deploy.errors import CallFailed, Meaning
from deploy.orchestrator.tools import Tools

_LIST_EVERY_S = 1.0  # the platform's limit, whatever the size of the fleet
_FEW = 8  # machines waited for at once, each of them read by itself
_FIRST_PAUSE_S, _LAST_PAUSE_S = 0.1, 1.0  # between two reads of one machine
_GROWTH = 1.5
_SOON_S = 5.0  # who was ready within this is looked at when the next one should be


class SharedList:
    """The machines that a run waits for, and the list of all of them that those who wait share.

    `awaited` is how many are waited for now; `ready_s` how long the last one of
    each process group took to do well, in seconds from its write.
    """

    def __init__(self, tools: Tools) -> None:
        self._tools = tools
        self._turn = anyio.Lock()
        self._begun = 0
        self._done = 0
        self._not_before = 0.0
        self._latest = Fleet()
        self.awaited = 0
        self.ready_s: dict[str, float] = {}

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

    async def machine(self, machine_id: str) -> Machine | None:
        """The machine, read by itself; None while it is not to be seen."""
        client = self._tools.client
        try:
            return await self._tools.patience.ask(lambda: client.machine(machine_id))
        except CallFailed as failure:
            if failure.meaning is Meaning.MISSING:
                return None
            raise

    @contextmanager
    def awaiting(self, machine_id: str, group: str) -> Iterator[Awaited]:
        """A block in which this machine of a process group is waited for."""
        self.awaited += 1
        try:
            yield Awaited(self, machine_id, group)
        finally:
            self.awaited -= 1


class Awaited:
    """One machine that is waited for. Made by `SharedList.awaiting` when it has been written."""

    def __init__(self, machines: SharedList, machine_id: str, group: str) -> None:
        self._machines = machines
        self._machine_id = machine_id
        self._group = group
        self._began = anyio.current_time()
        self._looked = self._began
        self._looks = 0
        self._was_read = False
        self._pause_s = 0.0

    async def look(self) -> Machine | None:
        """The machine as it is now; the pause between two looks grows from nothing to a second.

        None while it is not to be seen.
        """
        await anyio.sleep_until(self._looked + self._pause_s)
        self._pause_s = min(max(_FIRST_PAUSE_S, self._pause_s * _GROWTH), _LAST_PAUSE_S)
        if self._machines.awaited > _FEW:
            found = (await self._machines.latest()).by_id.get(self._machine_id)
            if found is not None:
                self._was_read = False
                return found
        return await self._read()

    async def looks_when_due(self) -> AsyncGenerator[Machine | None, None]:
        """The machine when it should be ready by what others of its group took, and shortly after.

        Nothing where that is not known, or takes long.
        """
        due_s = self._machines.ready_s.get(self._group, _SOON_S)
        later_s = due_s
        while due_s < _SOON_S and later_s <= 2 * due_s:
            await anyio.sleep_until(self._began + later_s)
            yield await self._read()
            later_s += max(_FIRST_PAUSE_S, (later_s - due_s) or due_s / 8)

    def was_ready(self) -> None:
        """The last look showed it as it is to be: the next of its group may take as long."""
        if not self._was_read:
            return  # a shared list comes too seldom to tell
        took_s = self._looked - self._began
        known_s = self._machines.ready_s.get(self._group, took_s)
        if self._looks == 1:  # as soon as it was due: being late makes nothing later
            took_s = min(known_s, took_s)
        self._machines.ready_s[self._group] = took_s

    async def _read(self) -> Machine | None:
        self._looks += 1
        self._was_read = True
        self._looked = anyio.current_time()
        return await self._machines.machine(self._machine_id)
