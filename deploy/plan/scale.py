"""How many machines a process group has: (fleet, count) -> actions. Pure."""

from __future__ import annotations

from deploy.api.machine import Fleet
from deploy.plan.actions import Action, Create, destroy
from deploy.plan.stamps import slot_name


def plan_scale(fleet: Fleet, group: str, count: int, pattern: Create) -> tuple[Action, ...]:
    """Bring a group to `count` machines: new ones after `pattern`, else the last ones go.

    Those whose hosts do not answer go before any other.
    """
    machines = sorted(
        fleet.managed.group(group),
        key=lambda machine: (machine.is_out_of_reach, len(machine.name), machine.name),
    )
    if count <= len(machines):
        return tuple(destroy(machine) for machine in machines[count:])
    taken = {machine.name for machine in fleet}  # also by one that is being destroyed
    free = (slot_name(group, slot) for slot in range(1, count + len(fleet) + 1))
    names = [name for name in free if name not in taken][: count - len(machines)]
    return tuple(
        Create(name=name, group=group, region=pattern.region, config=pattern.config)
        for name in names
    )
