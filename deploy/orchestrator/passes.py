"""One pass over the fleet: look, plan, carry out. Both paths are made of these.

A pass goes forward to the release or back to what was before. It returns what
came of it and raises only what no path could go on after.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Set
from dataclasses import dataclass

import anyio

from deploy.api.machine import Fleet
from deploy.errors import CallFailed, DeployError, Overtaken
from deploy.events import Noticed, PassFinished, PassStarted, Planned
from deploy.orchestrator.deployment import Deployment
from deploy.orchestrator.execute import Executor, tell_hiccup
from deploy.orchestrator.halt import Cut
from deploy.orchestrator.memory import SETTLE_S
from deploy.orchestrator.one_off import RELEASE_COMMAND, left_behind, remove
from deploy.orchestrator.outcome import NOT_BEGUN, Failure, IsDecisive, Outcome
from deploy.orchestrator.window import windows
from deploy.plan.actions import Destroy, where
from deploy.plan.intent import BACK, FORWARD, Intent, carriers, overtaken_by, unproved
from deploy.plan.schedule import refuse_unsuited, schedule, schedule_back
from deploy.plan.stamps import DEPLOY, fly_release, role_of
from deploy.plan.steps import Gate, Schedule, actions_of, without_gates


@dataclass(frozen=True, slots=True)
class Pass:
    """Pass `number` of at most `of`; after a decisive failure nothing new begins in it."""

    number: int
    of: int
    is_decisive: IsDecisive


async def forward(deployment: Deployment, this: Pass) -> Outcome:
    """One pass towards the release."""

    async def steps() -> Outcome:
        if this.number > 1:
            with deployment.tools.halt.cuts():  # an update that lands late takes a place
                await anyio.sleep_until(deployment.memory.unanswered_at + SETTLE_S)
        fleet = await deployment.lookout.look_unless_halted()
        deployment.aim.selection.refuse_nothing(deployment.memory.release.app, fleet)
        if not await _is_there_already(deployment, fleet):
            fleet = await _prepare(deployment, fleet)
        elif left_behind(fleet):
            await _hold(deployment, fleet)
        order = _schedule(deployment, fleet)
        _tell_plan(deployment, order, fleet)
        await _remove_dead_one_offs(deployment, fleet)
        return await _execute(deployment, order, fleet, this, FORWARD)

    return await _run(deployment, this, FORWARD, steps)


async def back(deployment: Deployment, this: Pass) -> Outcome:
    """One pass back to the way things were."""

    async def steps() -> Outcome:
        with deployment.tools.halt.cuts():
            await await_unanswered(deployment)
        fleet = await deployment.lookout.look_unless_halted()
        await _hold(deployment, fleet)
        await _see_what_landed(deployment)
        deployment.marks.find_own(fleet)
        intent = Intent.of(deployment.memory.release).turned_back()
        await deployment.marks.announce(intent, fleet)
        fleet = await _look_under_leases(deployment, fleet)
        await _remove_dead_one_offs(deployment, fleet)
        deployment.memory.forgive_exits(fleet)
        order = schedule_back(fleet, deployment.left_back(fleet))
        return await _execute(deployment, order, fleet, this, BACK)

    return await _run(deployment, this, BACK, steps)


async def await_unanswered(deployment: Deployment) -> None:
    """A write that timed out may still land; wait, so that it can be undone or reported.

    So may what a run that ended just now has made. Lists may lag behind either.
    """
    await anyio.sleep_until(deployment.memory.last_unanswered + SETTLE_S)
    await deployment.lookout.await_the_counted()


async def tidy(deployment: Deployment) -> None:
    """The run was cut short: remove what we made that serves nobody yet."""
    deploy_id = deployment.memory.release.deploy_id
    try:
        for machine in (await deployment.lookout.look()).managed:
            role = role_of(machine)
            if role is None or role.maker != deploy_id:
                continue
            if role.is_canary or machine.cordoned:
                await deployment.actions.perform(Destroy(**where(machine)), Gate.NONE)
    except DeployError as failure:
        deployment.tools.emit(Noticed(message=f"not everything could be tidied up: {failure}"))


async def remove_one_offs(deployment: Deployment, fleet: Fleet, *, is_settled: bool) -> None:
    """With the run its machine checks are over, with the deploy its release command is.

    What a killed run had asked for may have landed since this one has begun to work. Of a first
    deploy another may be one, too: there was nothing to lease yet.
    """
    base = deployment.memory.base
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(deployment.machine_checks.clean_up, fleet)
        if base is not None and base.machines:
            tried = frozenset(deployment.memory.removed)
            tasks.start_soon(_remove_dead_one_offs, deployment, fleet, tried)
        if is_settled and deployment.release_command is not None:
            tasks.start_soon(deployment.release_command.clean_up)


# -- the steps of a pass ---------------------------------------------------------------


async def _prepare(deployment: Deployment, fleet: Fleet) -> Fleet:
    """Leases, then the look that fixes the base, then the intent; the fleet as it is then."""
    memory, marks = deployment.memory, deployment.marks
    refuse_unsuited(memory.release, deployment.aim.selection.of(fleet))
    await _create_app(deployment)
    await _hold(deployment, fleet)
    await _see_what_landed(deployment)
    fleet = await _look_under_leases(deployment, fleet)
    if memory.base is None:
        marks.take_over(fleet)
        memory.doubt(unproved(fleet))
        memory.began(fleet)
    await _refuse_overtaken(deployment, fleet)
    intent = Intent.of(memory.release)
    await marks.announce(intent, fleet, carriers(fleet))
    if deployment.release_command is not None:
        await deployment.release_command.run(fleet)
    return marks.carried_by(fleet, intent)


async def _remove_dead_one_offs(
    deployment: Deployment, fleet: Fleet, but: Set[str] = frozenset()
) -> None:
    """The one-off machines of killed deploys; this run's are kept until its end.

    So is that of our release command. Only where our leases keep every other deploy away.
    """
    if not all(deployment.leases.holds(m.id) for m in fleet.managed) or not fleet.managed:
        return
    ours = deployment.memory.release.deploy_id if deployment.release_command else ""
    for machine in left_behind(fleet):
        is_command = machine.group == RELEASE_COMMAND and machine.metadata[DEPLOY] == ours
        is_ours = is_command or deployment.machine_checks.is_own(machine)
        if not is_ours and machine.id not in but:
            deployment.memory.removing(machine.id)
            await remove(deployment.tools, machine.group, machine.id)


async def _is_there_already(deployment: Deployment, fleet: Fleet) -> bool:
    """Whether the first look shows nothing to do: then nothing is written, leases included.

    Unless a killed deploy has left a one-off machine, which goes under leases; or the list is
    from before what the last deploy has done.
    """
    memory = deployment.memory
    if memory.base is not None:
        return False
    memory.doubt(unproved(fleet))
    if deployment.left(fleet) or await deployment.lookout.outdated(fleet):
        return False
    deployment.marks.take_over(fleet)
    memory.began(fleet)
    return True


async def _create_app(deployment: Deployment) -> None:
    """An app is created on its first deploy; an app created meanwhile is fine."""
    if deployment.memory.app_exists:
        return
    client, patience = deployment.tools.client, deployment.tools.patience
    try:
        await client.create_app(deployment.aim.organization)
    except CallFailed as failure:
        if failure.meaning.is_hiccup:
            raise
        try:
            await patience.ask(client.read_app)
        except CallFailed:
            raise failure from None
    deployment.memory.app_exists = True


async def _hold(deployment: Deployment, fleet: Fleet, *, but: Set[str] = frozenset()) -> bool:
    """Lease what stood there at first and what we made; nobody else's. True if any is new."""
    memory = deployment.memory
    before = memory.base.machines if memory.base else fleet.managed
    mine = (memory.own | before.by_id.keys()) - but
    wanted = (each for each in deployment.aim.selection.of(fleet.managed) if each.id in mine)
    return await deployment.leases.acquire(wanted, app=fleet.managed)


async def _see_what_landed(deployment: Deployment) -> None:
    """Under our leases nothing more of a dead run's can land: what it left is known now."""
    if deployment.aim.take_up is None or deployment.memory.knows_what_landed:
        return
    fleet = await deployment.lookout.look_after(frozenset(deployment.memory.known))
    found = await deployment.aim.take_up(deployment.tools, fleet)
    deployment.take_up(found, anyio.current_time())
    deployment.memory.knows_what_landed = True


async def _look_under_leases(deployment: Deployment, fleet: Fleet) -> Fleet:
    """What only this look shows is leased as well, each once, and looked at again.

    That is what we made, and what a deploy that we have waited for or go over did, or one
    that was over before this one began, and that lists do not show yet. `fleet` is what the
    look before the leases showed.
    """
    asked: set[str] = set()
    others = deployment.leases.outwaited
    if deployment.memory.base is None and not others:
        others |= await deployment.lookout.outdated(fleet)
    while True:
        fleet = await deployment.lookout.look_after(others)
        unfinished = set() if deployment.memory.base else deployment.marks.others(fleet).keys()
        if not await _hold(deployment, fleet, but=asked) and unfinished <= others:
            others.clear()
            return fleet
        others |= unfinished
        asked |= fleet.by_id.keys()


async def _refuse_overtaken(deployment: Deployment, fleet: Fleet) -> None:
    """Who came by while our leases were lost is the later deploy: it is not undone."""
    memory = deployment.memory
    before = memory.known_base.machines.by_id
    for machine in fleet.managed:
        release_id, number = fly_release(machine)
        if release_id in ("", memory.release.deploy_id):
            continue
        old = before.get(machine.id)
        is_same = release_id == fly_release(old)[0] if old else number < memory.release.number
        if is_same:
            continue
        await deployment.marks.lost()
        memory.was_overtaken()
        raise Overtaken(f"{overtaken_by(machine)} since this one began", machine_id=machine.id)


def _schedule(deployment: Deployment, fleet: Fleet) -> Schedule:
    memory = deployment.memory
    order = schedule(
        memory.release,
        fleet,
        memory.known_base,
        deployment.left(fleet),
        doubtful=frozenset(memory.doubtful),
    )
    return order if deployment.aim.waits_for_health else without_gates(order)


def _tell_plan(deployment: Deployment, order: Schedule, fleet: Fleet) -> None:
    """Once: by the first pass that gets as far as a plan."""
    if not deployment.memory.tell_plan():
        return
    actions = list(actions_of(order))
    touched = {action.machine_id for action in actions}
    deployment.tools.emit(
        Planned(
            actions=tuple((a.name or a.machine_id, a.group, a.verb) for a in actions),
            unchanged=sum(1 for machine in fleet.managed if machine.id not in touched),
        )
    )


async def _execute(
    deployment: Deployment, order: Schedule, fleet: Fleet, this: Pass, direction: str
) -> Outcome:
    executor = Executor(
        deployment.tools,
        deployment.memory,
        deployment.actions,
        windows(deployment.memory, fleet, goes_back=direction == BACK),
        this.is_decisive,
        max_concurrent=deployment.aim.max_concurrent,
        watch=deployment.watch if direction == FORWARD else None,
    )
    return await executor.run(order)


async def _run(
    deployment: Deployment, this: Pass, direction: str, steps: Callable[[], Awaitable[Outcome]]
) -> Outcome:
    """The steps between the two events that say that a pass began, and what came of it."""
    emit = deployment.tools.emit
    emit(PassStarted(number=this.number, of=this.of, direction=direction))
    try:
        outcome = await steps()
    except Cut:
        outcome = NOT_BEGUN
    except DeployError as error:  # it could not look, or not get its leases
        failure = Failure(error)
        tell_hiccup(deployment.tools, deployment.memory, failure)
        outcome = Outcome(left=1, failures=(failure,))
    emit(
        PassFinished(
            number=this.number,
            done=outcome.done,
            left=outcome.left,
            reason=str(outcome.cause or ""),
            direction=direction,
        )
    )
    return outcome
