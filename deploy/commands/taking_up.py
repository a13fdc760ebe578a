"""What another run left unfinished, as the platform's stamps, intents and versions tell it."""

from __future__ import annotations

from typing import Any

from deploy.api.client import MachinesClient, connect
from deploy.api.machine import Fleet
from deploy.api.patience import Patience
from deploy.commands.reading import patience, read_fleet, read_versions
from deploy.commands.target import Target
from deploy.orchestrator.passes import TakenUp
from deploy.plan.base import Base, Versions
from deploy.plan.intent import BACK, Intent, carriers, read_intent
from deploy.plan.release import is_made_by, is_stamped, replaced_by


async def find_unfinished(target: Target, fallback: Any) -> tuple[Fleet, Versions, Intent | None]:
    """The machines, their versions where they matter, and the deploy that is unfinished."""
    async with connect(target.address, target.token, target.app) as client:
        fleet = await read_fleet(client)
        intents = [intent for m in fleet.managed if (intent := read_intent(m)) is not None]
        intent = max(intents, key=lambda i: (i.deploy, i.direction == BACK), default=None)
        if intent is None and fallback is not None:
            intent = fallback(fleet)
        if intent is None:
            return fleet, {}, None
        stamped = [m for m in fleet.managed if is_stamped(m, intent.deploy)]
        return fleet, await read_versions(client, stamped, patience()), intent


async def take_up(
    deploy_id: str, direction: str, client: MachinesClient, patience: Patience, fleet: Fleet
) -> TakenUp:
    """The same under leases: a write of the dead run's may have landed after the first look."""
    stamped = [m for m in fleet.managed if is_stamped(m, deploy_id)]
    versions = await read_versions(client, stamped, patience)
    return taken_up(fleet, versions, deploy_id, direction)


def taken_up(fleet: Fleet, versions: Versions, deploy_id: str, direction: str) -> TakenUp:
    base = Base.before(deploy_id, fleet, versions)
    managed = fleet.managed
    replaced = {replaced_by(machine, deploy_id) for machine in managed} - {""}
    stamped = {machine.id for machine in managed if is_stamped(machine, deploy_id)}
    made = frozenset(machine.id for machine in managed if is_made_by(machine, deploy_id))
    own = made - base.machines.by_id.keys()
    marked = {m.id for m in managed if read_intent(m) is not None}
    return TakenUp(
        base=base,
        goal=direction,
        written=frozenset(stamped | own | (replaced & managed.by_id.keys())),
        own=own,
        made=made,
        carried=frozenset(marked or carriers(managed)),
    )
