"""How many machines a process group has: (fleet, count) -> actions. Pure."""

from __future__ import annotations

from typing import Any

from deploy.api.machine import Fleet, Machine
from deploy.plan.forward import Action, Create, Destroy, slot_name, where
from deploy.plan.release import DEPLOY, FROM, INTENT, ROLE, WAS


def plan_scale(fleet: Fleet, group: str, count: int, pattern: Create) -> tuple[Action, ...]:
    """Bring a group to `count` machines: new ones after `pattern`, else the last ones go."""
    machines = sorted(
        (m for m in fleet.managed.group(group) if m.state != "destroying"),
        key=lambda machine: (len(machine.name), machine.name),
    )
    if count <= len(machines):
        return tuple(Destroy(**where(machine)) for machine in machines[count:])
    taken = {machine.name for machine in machines}
    free = (slot_name(group, slot) for slot in range(1, count + len(machines) + 1))
    names = [name for name in free if name not in taken][: count - len(machines)]
    return tuple(
        Create(name=name, group=group, region=pattern.region, config=pattern.config)
        for name in names
    )


def clone_config(machine: Machine, deploy_id: str) -> dict[str, Any]:
    """The configuration of one more machine like this, made by `deploy_id`.

    Its digest holds, since it is the same; its intent and its history do not.
    """
    config = {key: value for key, value in machine.config.items() if value is not None}
    config.pop("standbys", None)
    kept = {k: v for k, v in machine.metadata.items() if k not in (INTENT, FROM, WAS, ROLE)}
    config["metadata"] = {**kept, DEPLOY: deploy_id, "fly_release_id": deploy_id, FROM: "", WAS: ""}
    return config
