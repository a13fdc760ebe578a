"""Machines that were healthy in this run stay watched for as long as it goes on.

Healthy is a state that lasts, not a moment that passed: an app may turn sick, or
exit, a second after its checks passed. What was never seen to be healthy is not
watched here; waiting for that is `health`'s affair.
"""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass

import anyio

from deploy.api.machine import Fleet, Machine
from deploy.errors import AppFailed, CallFailed
from deploy.orchestrator.bounded import for_each
from deploy.orchestrator.shared_list import SharedList

RELAPSE_S = 3.0  # for so long a machine has to be sick before that is believed
_LOOK_AGAIN_S = 1.0


@dataclass(frozen=True, slots=True)
class _Seen:
    """The version that was seen to be healthy, and the last exit by then."""

    version: str
    exit_ms: int


class Watch:
    """The machines of one run that were seen to be healthy, by their ids."""

    def __init__(self, machines: SharedList) -> None:
        self._machines = machines
        self._seen: dict[str, _Seen] = {}

    def __bool__(self) -> bool:
        return bool(self._seen)

    def add(self, machine: Machine) -> None:
        """The machine was just seen to be healthy."""
        self._seen[machine.id] = _Seen(machine.version, _last_exit_ms(machine))

    def forget(self, machine_id: str) -> None:
        """We are about to change the machine: what it does from now on is ours."""
        self._seen.pop(machine_id, None)

    @property
    def ids(self) -> frozenset[str]:
        return frozenset(self._seen)

    def sick(self, fleet: Fleet) -> list[Machine]:
        """Those that were healthy and are not any more, or have ended since.

        One that is not listed, or with another version, says nothing about the app.
        """
        found = []
        for machine_id, seen in self._seen.items():
            machine = fleet.by_id.get(machine_id)
            if machine is None or machine.version != seen.version or machine.is_out_of_reach:
                continue
            if not machine.is_well or _has_exited(machine, seen):
                found.append(machine)
        return found

    async def look(self) -> list[Machine]:
        """The sick of a look that begins now. Raises CallFailed."""
        return self.sick(await self.read_again(await self._machines.latest()))

    async def read_again(self, fleet: Fleet) -> Fleet:
        """The fleet, with whom it shows to be sick read by itself before that is believed.

        A list may lag behind what was seen of a machine.
        """
        found, unread = dict(fleet.by_id), set[str]()

        async def read(machine: Machine) -> None:
            again = None
            with suppress(CallFailed):
                again = await self._machines.machine(machine.id)
                if again is None:  # a list has it: neither is believed before that is repeated
                    await anyio.sleep(_LOOK_AGAIN_S)
                    again = await self._machines.machine(machine.id)
            if again is None:
                unread.add(machine.id)
            else:
                found[machine.id] = again

        await for_each(self.sick(fleet), read)
        if unread:
            with suppress(CallFailed):  # a list of now decides, if there is one
                listed = (await self._machines.latest()).by_id
                kept = {id_: machine for id_, machine in found.items() if id_ not in unread}
                found = kept | {id_: listed[id_] for id_ in unread & listed.keys()}
        return Fleet.of(found.values())

    async def confirm(self, seen: Fleet | None = None) -> None:
        """Return once a look shows all of them well; AppFailed where some stay sick.

        `seen` is a look just taken, which may answer it.
        """
        sick = await self.look() if seen is None else self.sick(await self.read_again(seen))
        until = anyio.current_time() + RELAPSE_S  # a look may take longer than that
        while sick:
            if anyio.current_time() >= until:
                raise relapse(sick)
            await anyio.sleep(_LOOK_AGAIN_S)
            sick = await self.look()


def relapse(sick: list[Machine]) -> AppFailed:
    """The app's failure, as the first of these machines shows it."""
    first, others = sick[0], len(sick) - 1
    more = f", and {others} more" if others else ""
    return AppFailed(
        f"machine {first.name or first.id} was healthy and is not any more{more}: "
        f"{first.trouble or 'it was restarted'}",
        machine_id=first.id,
        hint="look at its log; the app does not stay healthy",
    )


def _has_exited(machine: Machine, seen: _Seen) -> bool:
    """Whether it has ended by itself since; one that may end well is not meant."""
    since = (ended for ended in machine.exits if ended.at_ms > seen.exit_ms)
    return any(ended.is_bad or (not machine.may_end and not ended.requested) for ended in since)


def _last_exit_ms(machine: Machine) -> int:
    return max((ended.at_ms for ended in machine.exits), default=0)
