"""How many of a group's serving machines may be out of service at once because of us. Pure."""

from __future__ import annotations

from dataclasses import dataclass, field

from deploy.api.machine import Fleet, Machine
from deploy.orchestrator.memory import Memory
from deploy.plan.places import places_of
from deploy.plan.release import unavailable_limit
from deploy.plan.stamps import is_stamped


@dataclass(slots=True)
class Window:
    """The places of one group, `limit` of them; all are ids.

    `counted` served at first, `out` are out of service because of us, `sick` were
    healthy on the new release and are not any more.
    """

    limit: int
    counted: frozenset[str]
    out: set[str] = field(default_factory=set)
    sick: frozenset[str] = frozenset()

    def has_place(self, machine_id: str) -> bool:
        if machine_id in self.out | self.sick or machine_id not in self.counted:
            return True
        return len(self.out | self.sick) < self.limit

    @property
    def is_overdrawn(self) -> bool:
        """Whether more are out of service than may be, for some have turned sick."""
        return bool(self.sick) and len(self.out | self.sick) > self.limit

    def leave(self, machine_id: str) -> None:
        if machine_id in self.counted:
            self.out.add(machine_id)

    def back(self, machine_id: str) -> None:
        self.out.discard(machine_id)


def windows(memory: Memory, fleet: Fleet, *, goes_back: bool = False) -> dict[str, Window]:
    """One window per group; machines that we left out of service hold their places in it.

    The place of one whose stand-in serves is free; on the way back, where none is made,
    that of every dead one is.
    """
    base, now = memory.known_base, fleet.by_id
    places = places_of(fleet.managed, memory.release.deploy_id)
    taken = {place.id for place in places if place.stand_ins and place.occupant.is_serving}
    taken |= {machine.id for machine in fleet.managed if machine.is_dead and goes_back}
    result = {}
    for group in {machine.group for machine in base.machines}:
        counted = frozenset(m.id for m in base.machines.group(group) if m.id in base.serving)
        out = {m_id for m_id in counted - taken if _is_out(memory, m_id, now.get(m_id))}
        limit = unavailable_limit(memory.release.max_unavailable, len(counted))
        result[group] = Window(limit, counted, out)
    return result


def _is_out(memory: Memory, machine_id: str, machine: Machine | None) -> bool:
    """Whether a machine that served at first does not now, and we have touched it."""
    if machine is None:
        return machine_id in memory.written
    if machine.is_dead and machine_id not in memory.doubtful:
        return False  # it served when its host was lost
    touched = machine_id in memory.written or is_stamped(machine, memory.release.deploy_id)
    return touched and not machine.is_serving
