"""What another run left unfinished, as the platform's stamps, intents and versions tell it."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from functools import partial

import anyio

from deploy.api.client import MachinesClient, connect
from deploy.api.machine import Fleet, Machine
from deploy.commands.reading import patience, read_fleet, read_versions
from deploy.commands.target import Target
from deploy.errors import CallFailed, LeaseHeld, Miscounted, Overtaken, UsageProblem
from deploy.hints import Invocation, Left, ways_out
from deploy.orchestrator.memory import TakenUp
from deploy.orchestrator.tools import Tools
from deploy.plan.base import Base, Versions, put_back, to_be_asked_for
from deploy.plan.intent import (
    BACK,
    Intent,
    carriers,
    is_outdated,
    overtaken_by,
    overtaker,
    read_intent,
)
from deploy.plan.places import places_of
from deploy.plan.stamps import deploy_of_lease, is_made_by, is_stamped

_LAG_S = 20.0  # the leases of a small fleet have run out by then
_LOOK_EVERY_S = 1.0


async def find_unfinished(
    target: Target, otherwise: Callable[[Fleet], Intent | None] = lambda _: None
) -> tuple[Fleet, Versions, Intent | None]:
    """The machines, their versions where they matter, and the deploy that is unfinished.

    Where there is none, `otherwise` names a finished one. Raises Overtaken.
    """
    async with connect(target.address, target.token, target.app) as client:
        fleet, intent = await _look_until_known(client)
        if intent is not None:
            refuse_overtaken(fleet, intent, target.app)
        intent = intent or otherwise(fleet)
        if intent is None:
            return fleet, {}, None
        asked_for = to_be_asked_for(fleet, intent.deploy)
        return fleet, await read_versions(client, asked_for, patience()), intent


async def _look_until_known(client: MachinesClient) -> tuple[Fleet, Intent | None]:
    """The machines, and the intent that they carry.

    A list may lag behind a run that died or ended just now, and show nothing of it yet: one
    that is asked for after 20 s is believed also where machines cannot be read.
    Raises LeaseHeld or Miscounted where that does not end.
    """
    until = anyio.current_time() + _LAG_S
    reads: dict[str, Machine | None] = {}
    while True:
        is_late = anyio.current_time() >= until
        try:
            fleet = await read_fleet(client)
            intents = [intent for m in fleet.managed if (intent := read_intent(m)) is not None]
            if intents:
                return fleet, max(intents, key=lambda i: (i.deploy, i.direction == BACK))
            await _refuse_outdated(client, fleet, reads, is_late=is_late)
        except (LeaseHeld, Miscounted):
            if is_late:
                raise
            await anyio.sleep(_LOOK_EVERY_S)
        else:
            return fleet, None


async def _refuse_outdated(
    client: MachinesClient, fleet: Fleet, reads: dict[str, Machine | None], *, is_late: bool
) -> None:
    """Raise where the list, which shows no intent, is from before a run began or ended.

    While that one is at it, its leases are held. `reads` are what machines were when each
    was last read by itself: one that cannot be read now is no older than that, and one that
    never could says nothing of a list that `is_late`.
    """
    if holder := await _holder(client, fleet):
        raise LeaseHeld(
            f"deploy {holder} holds the leases of {client.app}, and no machine shows it yet",
            hint="wait until it is over; after a kill that is when its leases have run out",
        )
    for machine_id in carriers(fleet):
        listed = fleet.by_id[machine_id]
        with suppress(CallFailed):
            find = partial(client.find_machine, machine_id)
            reads[machine_id] = await patience(_LAG_S).ask(find)
        if machine_id not in reads and is_late:
            continue
        if machine_id not in reads or is_outdated(listed, reads[machine_id]):
            raise Miscounted(
                f"machine {machine_id} is not as the list of machines shows it",
                hint="see https://status.flyio.net; nothing is done before the list is right",
            )


async def _holder(client: MachinesClient, fleet: Fleet) -> str:
    """The deploy that holds the machine which every run leases first; empty where none does."""
    first = min((m.id for m in fleet.managed if not m.is_out_of_reach), default="")
    lease = await patience().ask(lambda: client.read_lease(first)) if first else None
    return deploy_of_lease(lease.description) if lease else ""


def refuse_overtaken(fleet: Fleet, intent: Intent, app: str) -> None:
    """Raise Overtaken where a later release has been here: it is neither taken back nor mixed."""
    machine = overtaker(fleet, intent)
    if machine is not None:
        raise Overtaken(
            f"{overtaken_by(machine)} since deploy {intent.deploy} was left unfinished",
            machine_id=machine.id,
            hint=ways_out(Left.CHANGED, Invocation(app=app)),
        )


def refuse_lost(base: Base, app: str) -> None:
    """Raise UsageProblem where the way back is not known of every machine."""
    if base.lost:
        raise UsageProblem(
            "the platform does not tell the configuration that "
            f"{', '.join(sorted(base.lost))} ran before",
            hint=f"{Invocation(app=app).history()} shows what there is for "
            "`deploy rollback --to RELEASE`; `deploy --image IMAGE` brings any image back",
        )


async def take_up(intent: Intent, direction: str, tools: Tools, fleet: Fleet) -> TakenUp:
    """The same under leases: a write of the dead run's may have landed after the first look.

    Raises Overtaken.
    """
    refuse_overtaken(fleet, intent, tools.client.app)
    asked_for = to_be_asked_for(fleet, intent.deploy)
    versions = await read_versions(tools.client, asked_for, tools.patience)
    return taken_up(fleet, versions, intent.deploy, direction)


def taken_up(fleet: Fleet, versions: Versions, deploy_id: str, direction: str) -> TakenUp:
    """What the deploy has done to these machines, and the app as it was before."""
    base = Base.before(deploy_id, fleet, versions)
    managed = fleet.managed
    replaced = places_of(managed, deploy_id).stood_in_for
    stamped = {machine.id for machine in managed if is_stamped(machine, deploy_id)}
    made = frozenset(machine.id for machine in managed if is_made_by(machine, deploy_id))
    own = made - base.machines.by_id.keys()
    back = {machine.id for machine in put_back(fleet, deploy_id, versions)}
    marked = {m.id for m in managed if read_intent(m) is not None}
    return TakenUp(
        base=base,
        goal=direction,
        written=frozenset(stamped | made | replaced | back),
        own=own,
        made=made,
        marked=frozenset(marked or carriers(managed)),
    )
