"""Who stands in for whom, read once per look. Pure.

A place is one machine's worth of a process group. A deploy may make another
machine to take it (a green for a blue, a replacement for a machine whose host
will not take an update), and a later one may do so again before the first
holder is gone. Who counts, who is surplus and who held the place before is
read off the stamps here and nowhere else.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

from deploy.api.machine import Machine
from deploy.plan.stamps import is_made_by, replacement_name, role_of


@dataclass(frozen=True)
class Place:
    """One place as a deploy finds it.

    `id` is that of the machine that held it first, which may be gone. `members`
    are those who are there, in the order of succession: the holder, then each
    that was made to take the place. `deploy_id` is the deploy that looks.
    """

    id: str
    members: tuple[Machine, ...]
    deploy_id: str

    @cached_property
    def occupant(self) -> Machine:
        """The member that counts; the others are surplus."""
        return _last_switched_on(self.members, self.deploy_id)

    @cached_property
    def before(self) -> Machine | None:
        """Who counted before this deploy; None where only machines of its making are left."""
        old = [member for member in self.members if not is_made_by(member, self.deploy_id)]
        return _last_switched_on(old, self.deploy_id) if old else None

    @cached_property
    def stand_ins(self) -> tuple[Machine, ...]:
        """The machines that this deploy made to take the place."""
        return tuple(m for m in self.members if m.id != self.id and is_made_by(m, self.deploy_id))

    @property
    def surplus(self) -> tuple[Machine, ...]:
        return tuple(member for member in self.members if member is not self.occupant)

    @property
    def heir(self) -> Machine | None:
        """The stand-in that has taken the place: everybody before it is gone, or out of reach."""
        is_free = self.before is None or self.before.is_dead
        return self.stand_ins[-1] if self.stand_ins and is_free else None


@dataclass(frozen=True)
class Places:
    """All places of some machines, and their canaries, who hold none."""

    places: tuple[Place, ...]
    canaries: tuple[Machine, ...]

    def __iter__(self) -> Iterator[Place]:
        return iter(self.places)

    @cached_property
    def by_machine(self) -> Mapping[str, Place]:
        """The place of each machine, by the machine's id."""
        return {member.id: place for place in self.places for member in place.members}

    @property
    def heirs(self) -> frozenset[str]:
        """The ids of stand-ins that have taken their places for good."""
        return frozenset(place.heir.id for place in self.places if place.heir)

    @property
    def stood_in_for(self) -> frozenset[str]:
        """The ids of machines that this deploy has made a stand-in for."""
        places = (p for p in self.places if p.before and p.stand_ins and not p.heir)
        return frozenset(place.before.id for place in places if place.before)

    @property
    def surplus(self) -> frozenset[str]:
        """The ids of machines that are there beside the ones that count."""
        beside = {machine.id for place in self.places for machine in place.surplus}
        return frozenset(beside | {canary.id for canary in self.canaries})


def places_of(machines: Iterable[Machine], deploy_id: str) -> Places:
    """The places of these machines, as the deploy sees them."""
    present = list(machines)
    by_tail = {machine.id[-8:]: machine for machine in present}
    succession: dict[str, list[tuple[int, str, Machine]]] = {}
    canaries = []
    for machine in present:
        role = role_of(machine)
        if role is not None and role.is_canary:
            canaries.append(machine)
            continue
        root, distance = _descent(machine, by_tail)
        maker = role.maker if role is not None else ""
        succession.setdefault(root, []).append((distance, maker, machine))
    places = (
        Place(root, tuple(machine for *_, machine in sorted(line, key=_order)), deploy_id)
        for root, line in succession.items()
    )
    return Places(tuple(places), tuple(canaries))


def _order(member: tuple[int, str, Machine]) -> tuple[int, str, str]:
    distance, maker, machine = member
    return distance, maker, machine.id


def _descent(machine: Machine, by_tail: Mapping[str, Machine]) -> tuple[str, int]:
    """(id of who held the machine's place first, how many have held it since), as far as known."""
    distance = 0
    seen: set[str] = set()
    while (role := role_of(machine)) is not None and machine.id not in seen:
        seen.add(machine.id)
        distance += 1
        replaced = _replaced(machine, role.maker, by_tail)
        if replaced is None:
            return role.replaces, distance
        machine = replaced
    return machine.id, distance


def _replaced(machine: Machine, maker: str, by_tail: Mapping[str, Machine]) -> Machine | None:
    """Who this one was made to replace, if it is there: its name tells that, even of a chain."""
    tail = machine.name.removeprefix(f"{machine.group}-").removesuffix(f"-{maker[-6:]}")
    other = by_tail.get(tail)
    is_it = other is not None and replacement_name(other, maker) == machine.name
    return other if is_it else None


def _last_switched_on(members: Sequence[Machine], deploy_id: str) -> Machine:
    """The last that is not a green which another deploy made and never switched on.

    A machine whose host does not answer counts only where there is no other.
    """
    there = [m for m in members if m.host_status != "unreachable"] or members
    return next((m for m in reversed(there) if not _is_abandoned(m, deploy_id)), there[-1])


def _is_abandoned(machine: Machine, deploy_id: str) -> bool:
    role = role_of(machine)
    return role is not None and role.maker != deploy_id and machine.cordoned
