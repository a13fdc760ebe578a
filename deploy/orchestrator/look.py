"""Looking at the whole app: nothing odd is believed at once."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from collections.abc import Set as AbstractSet
from contextlib import suppress
from dataclasses import replace
from functools import partial

import anyio

from deploy.api.client import MachinesClient
from deploy.api.machine import TERMINAL, Fleet, Machine
from deploy.api.patience import Patience
from deploy.errors import CallFailed, DeployError, Miscounted, NotTheApi
from deploy.orchestrator.bounded import for_each
from deploy.orchestrator.halt import Cut
from deploy.orchestrator.memory import ODD_PAUSE_S, SETTLE_S, Memory
from deploy.orchestrator.tools import Tools
from deploy.plan.history import time_ms
from deploy.plan.intent import carriers, is_outdated
from deploy.plan.stamps import is_made_by

_EMPTY_LOOKS = 3  # an empty list is believed only when it is repeated
_JUST_NOW_S = 1.0


class Lookout:
    """Looks at the whole app, and reads again by itself what does not fit what the run knows."""

    def __init__(self, tools: Tools, memory: Memory) -> None:
        self._tools = tools
        self._memory = memory
        self._last: tuple[float, int, Fleet] | None = None  # when, after how many writes, what
        self._listed: Fleet | None = None

    def listed(self, fleet: Fleet) -> None:
        """A list of just now: the next look begins with it, and does not ask for one."""
        self._listed = fleet

    async def look(self) -> Fleet:
        """The app's machines, and the memory of them brought up to date."""
        fleet = await self._look()
        self._last = (anyio.current_time(), self._memory.writes, fleet)
        return fleet

    async def look_unless_just_seen(self) -> Fleet:
        """The same; a look within the last second answers it, if nothing was written since.

        Unless a create may have happened: one list that lags must not hide what it made.
        """
        if self._last is not None and not self._memory.lost_creates:
            at, writes, fleet = self._last
            if writes == self._memory.writes and anyio.current_time() - at < _JUST_NOW_S:
                return fleet
        return await self.look()

    async def _look(self) -> Fleet:
        if not self._memory.app_exists:
            self._memory.looked(Fleet())
            return Fleet()
        listed = dict((await self._list()).by_id)
        found = await self._read_the_odd(listed)
        found |= await self._read_the_counted(listed, found)
        for machine_id, again in found.items():
            if again is not None:
                listed[machine_id] = again
            elif machine_id in listed and not listed[machine_id].is_going:
                del listed[machine_id]
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

    async def outdated(self, fleet: Fleet) -> set[str]:
        """The machines which would carry an intent that a list shows otherwise than a read.

        Where there are any, the list is from before what the last deploy has done. It is asked
        for beside the reads, and the next look begins with it. What cannot be read says nothing.
        """
        client, patience = self._tools.client, self._tools.patience
        read: dict[str, Machine | None] = {}

        async def read_one(machine_id: str) -> None:
            find = partial(client.find_machine, machine_id)
            with suppress(DeployError):
                read[machine_id] = await patience.ask(find, within_s=SETTLE_S)

        with self._tools.halt.cuts():
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(for_each, carriers(fleet), read_one)
                with suppress(DeployError):  # the next look asks again
                    self.listed(Fleet.of(await client.machines()))
        there = (self._listed or fleet).by_id
        return {m_id for m_id, found in read.items() if is_outdated(there.get(m_id), found)}

    async def look_after(self, wrote: AbstractSet[str]) -> Fleet:
        """The same, where somebody else `wrote` to these machines until just now.

        A list may lag behind what that one did, to these and to others: it is waited for until
        it shows of each machine what a read shows, and as many as the app counts where the
        server says so. Where that does not come true in time, the reads are believed.
        """
        if wrote:
            with self._tools.halt.cuts():
                await self._await_shown(wrote)
        return await self.look_unless_halted()

    async def _await_shown(self, wrote: AbstractSet[str]) -> None:
        until = anyio.current_time() + SETTLE_S
        reads: dict[str, Machine | None] = {}
        missed: set[str] = set()
        shown: set[str] = set()
        there: Mapping[str, Machine] = {}

        async def read(machine_id: str) -> None:
            with suppress(DeployError):  # it is read again
                found = await self._read(machine_id)
                if found is None and machine_id in there and machine_id not in missed:
                    missed.add(machine_id)  # two reads it takes to call it gone
                    return
                missed.discard(machine_id)
                reads[machine_id] = found
                self._memory.read(machine_id, found)

        while True:
            listed = await self._list()
            there = listed.managed.by_id
            ids = wrote | there.keys()
            is_shown = False
            with anyio.CancelScope(deadline=until):  # what cannot be read does not lengthen it
                await for_each(sorted(ids - shown), read)
                read_now = ids & reads.keys()
                shown = {each for each in read_now if _is_so(there.get(each), reads[each])}
                is_shown = ids <= shown and not await self._is_short(listed)
            if is_shown or anyio.current_time() >= until:
                self._listed = _corrected(listed, reads)
                return
            await anyio.sleep(ODD_PAUSE_S)

    async def await_the_counted(self) -> None:
        """Wait for a list as long as the app counts: a create may have made what none shows yet."""
        with suppress(DeployError), anyio.move_on_after(SETTLE_S):
            while self._memory.lost_creates:
                if not await self._is_short(await self._list()):
                    return
                await anyio.sleep(ODD_PAUSE_S)

    async def _is_short(self, listed: Fleet) -> bool:
        """Whether the app counts more machines than are listed or known, if it may be read."""
        try:
            counted = await _counted(self._tools.client, self._tools.patience)
        except DeployError:
            return False
        alive = {machine.id for machine in listed if machine.state not in TERMINAL}
        return counted > len((alive | self._memory.known.keys()) - self._memory.destroyed)

    async def _read(self, machine_id: str) -> Machine | None:
        client, patience = self._tools.client, self._tools.patience
        return await patience.ask(partial(client.find_machine, machine_id))

    async def _list(self) -> Fleet:
        """The list; an empty one only if there is nothing to expect, or it may be believed."""
        memory, tools = self._memory, self._tools
        if memory.has_looked and not memory.known:
            return await self._list_once()
        if memory.known:  # what is known is read by itself
            return await _unless_empty(self._list_once)
        return await believable(tools.client, tools.patience, self._list_once)

    async def _list_once(self) -> Fleet:
        """Raises NotTheApi where not even the first list can be read: no pass can help that."""
        if self._listed is not None:
            listed, self._listed = self._listed, None
            return listed
        patience = replace(self._tools.patience, sure=self._memory.has_looked)
        try:
            return Fleet.of(await patience.ask(self._tools.client.machines))
        except CallFailed as failure:
            if failure.garbled and not patience.sure:
                raise NotTheApi(str(failure), hint=failure.hint) from None
            raise

    async def _read_the_odd(self, listed: Mapping[str, Machine]) -> dict[str, Machine | None]:
        """Machines that do not fit what we know, each by itself; None is gone.

        One that a read does not find is read again: two reads it takes to call a
        machine gone, or one and a destroy of ours. So is one by which what we wrote is
        not there any more, or that a read shows in an earlier version than the list, or
        at another end of a write of which nobody knows whether it happened: a cache may
        have answered it.
        """
        found = {each: await self._read(each) for each in self._memory.contradicted_by(listed)}
        unclear = [
            each for each, machine in found.items() if self._is_unclear(machine, each, listed)
        ]
        if unclear:
            self._memory.dispute(set(unclear) - self._memory.destroyed)  # some take long to go
            await anyio.sleep(ODD_PAUSE_S)
        return found | {each: await self._read_again(found[each], each, listed) for each in unclear}

    async def _read_the_counted(
        self, listed: Mapping[str, Machine], found: Mapping[str, Machine | None]
    ) -> dict[str, Machine | None]:
        """Listed machines that reads deny, and the app counts: by one more read, they are there.

        Raises Miscounted where that denies them, too: were one taken for gone, another would be
        made beside it.
        """
        denied = {
            each
            for each, again in found.items()
            if again is None and each in listed and not listed[each].is_going
        } - self._memory.destroyed
        if not denied:
            return {}
        counted = await _counted(self._tools.client, self._tools.patience)
        there = {**listed, **{each: again for each, again in found.items() if again is not None}}
        alive = {each for each, machine in there.items() if machine.state not in TERMINAL}
        if counted <= len(alive - denied):
            return {}
        await anyio.sleep(ODD_PAUSE_S)
        again: dict[str, Machine | None] = {}
        for machine_id in sorted(denied):
            again[machine_id] = await self._read(machine_id)
            if again[machine_id] is None:
                raise Miscounted(
                    f"machine {machine_id} is listed, and not found by itself,"
                    f" and the app has {counted} machines",
                    hint="see https://status.flyio.net; nothing is done before they agree",
                )
        return again

    async def _read_again(
        self, first: Machine | None, machine_id: str, listed: Mapping[str, Machine]
    ) -> Machine | None:
        """What counts after a first read that did not settle it.

        That a machine is gone which a list and the first read show, one more read has to say
        where we may have destroyed it; else these two count.
        """
        again = await self._read(machine_id)
        is_open = again is None and machine_id in listed and not self._memory.has_ended(machine_id)
        if first is None or not is_open:
            return again
        return await self._read(machine_id) if machine_id in self._memory.destroyed else first

    def _is_unclear(
        self, read: Machine | None, machine_id: str, listed: Mapping[str, Machine]
    ) -> bool:
        """Whether the first read does not settle it."""
        if read is None:
            is_ours = machine_id in self._memory.destroyed
            return machine_id in listed or not listed or not is_ours
        shown = listed.get(machine_id)
        is_earlier = shown is not None and time_ms(shown.version) > time_ms(read.version)
        is_open = self._memory.is_open_by(shown, read)
        is_open |= machine_id in self._memory.destroyed and not read.is_going
        return is_earlier or is_open or self._memory.is_denied_by(read)

    def _recognise_own(self, fleet: Fleet) -> None:
        """A machine that we made and do not know of, because the answer was lost."""
        memory = self._memory
        before = memory.base.machines.by_id if memory.base else {}
        for machine in fleet.managed:
            known = machine.id in memory.own or machine.id in before
            if not known and is_made_by(machine, memory.release.deploy_id):
                memory.created(machine)


async def believable(
    client: MachinesClient, patience: Patience, list_once: Callable[[], Awaitable[Fleet]]
) -> Fleet:
    """The list. Raises Miscounted for one that stays empty while the app has machines.

    A list was once wrongly `[]`, and deploys made every machine a second time
    (Fly.io, 2026-04-28).
    """
    fleet = await _unless_empty(list_once)
    if fleet.managed:
        return fleet
    counted = await _counted(client, patience)
    listed = sum(1 for machine in fleet if machine.state not in TERMINAL)
    if counted > listed:
        raise Miscounted(
            f"{listed} machines are listed, and the app has {counted}",
            hint="see https://status.flyio.net; nothing is done before the list is right",
        )
    return fleet


async def _counted(client: MachinesClient, patience: Patience) -> int:
    """How many machines the app has, other tools' included; 0 where the server does not say."""
    return (await patience.ask(client.read_app)).machine_count or 0


async def _unless_empty(list_once: Callable[[], Awaitable[Fleet]]) -> Fleet:
    """The list; an empty one if it is repeated."""
    fleet = await list_once()
    for _ in range(_EMPTY_LOOKS - 1):
        if fleet.managed:
            break
        await anyio.sleep(ODD_PAUSE_S)
        fleet = await list_once()
    return fleet


def _corrected(listed: Fleet, reads: Mapping[str, Machine | None]) -> Fleet:
    """The list, with later versions that were read, and those it lacks.

    Of the same version either may be the older one: a look reads it again. So it does where
    reads deny what is listed.
    """
    by_id = dict(listed.by_id)
    for machine_id, read in reads.items():
        known = by_id.get(machine_id)
        if read is None:
            continue
        if known is None or time_ms(known.version) < time_ms(read.version):
            by_id[machine_id] = read
    return Fleet.of(by_id.values())


def _is_so(listed: Machine | None, read: Machine | None) -> bool:
    """Whether a list shows what a deploy changes of a machine, and what came of that, as a read."""
    if listed is None or read is None:
        return listed is read
    shows, is_true = ((m.version, m.metadata, m.is_serving) for m in (listed, read))
    return shows == is_true
