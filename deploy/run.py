"""The composition root: one run from its first event to its last.

Chooses the path, binds the tools together, watches for signals and the
deadline, and judges at the end how the app stands, by looking at it.
"""

from __future__ import annotations

import os
import random
import signal
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace

import anyio

from deploy import retrying
from deploy.api.client import MachinesClient
from deploy.api.machine import Fleet, Machine
from deploy.api.patience import Patience
from deploy.ending import judge
from deploy.errors import (
    EXIT_DONE,
    EXIT_INTERRUPTED,
    DeadlinePassed,
    DeployError,
    Interrupted,
    Overtaken,
)
from deploy.events import Emit, Noticed, RunFinished
from deploy.evidence import Evidence, Traces
from deploy.hints import Invocation
from deploy.orchestrator.actions import Actions
from deploy.orchestrator.create import Creator
from deploy.orchestrator.deployment import Aim, Deployment, TakeUp
from deploy.orchestrator.halt import Halt
from deploy.orchestrator.health import Health, HealthTerms
from deploy.orchestrator.lease import Leases, LeaseTerms, holding
from deploy.orchestrator.look import Lookout
from deploy.orchestrator.machine_checks import MachineChecks
from deploy.orchestrator.marks import Marks
from deploy.orchestrator.memory import Memory, TakenUp
from deploy.orchestrator.outcome import Ending
from deploy.orchestrator.passes import await_unanswered, remove_one_offs, tidy
from deploy.orchestrator.release_command import ReleaseCommand, ReleaseCommandRun
from deploy.orchestrator.shared_list import SharedList
from deploy.orchestrator.tools import Tools
from deploy.orchestrator.watch import Watch
from deploy.plan.planners import Planner
from deploy.plan.release import Release
from deploy.plan.selection import Selection
from deploy.retries import Retries

_GRACE_S = 10.0  # after the first signal
_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)  # the last: its terminal has gone
_LAST_LOOK_S = 75.0  # more than one read may take to time out


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """What the command line and fly.toml allow a run. Times in seconds."""

    wait_timeout_s: float = 300.0
    lease_ttl_s: int = 13
    smoke_s: float = 10.0
    min_healthy_s: float = 5.0
    deadline_s: float | None = None
    wait_for_lease_s: float = 0.0
    rolls_back: bool = True
    max_concurrent: int = 64
    waits_for_health: bool = True
    selection: Selection = field(default_factory=Selection)
    release_command: ReleaseCommand | None = None
    handles_signals: bool = True
    leave_at_once: Callable[[], None] = lambda: os._exit(EXIT_INTERRUPTED)


@dataclass(frozen=True, slots=True, kw_only=True)
class Task:
    """What a run is to bring about: a release, and the planner that says what is left for it.

    `done` says in words what it brings about, where that is not the release's
    image. For a deploy that another run began: `taken_up` is what that one has
    left, and `take_up` reads it again once nothing more of it can land.
    """

    release: Release
    planner: Planner
    done: str = ""
    taken_up: TakenUp | None = None
    take_up: TakeUp | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class App:
    """What is known of the app before the run: `organization` would own it if it is created.

    `machines` is a list of its machines of just now, where there is one; `called` is
    how the command was called, for the commands that hints name.
    """

    exists: bool = True
    machines: Sequence[Machine] | None = None
    organization: str = ""
    called: Invocation | None = None


async def run(
    client: MachinesClient,
    task: Task,
    retries: Retries,
    settings: Settings,
    *,
    run_id: str,
    chance: random.Random,
    emit: Emit,
    app: App | None = None,
) -> RunFinished:
    """Deploy the release, or go back from it, and tell how the app stands in the end.

    `run_id` tells this run from another of the same deploy.
    """
    app = app or App()
    patience = Patience(settings.wait_timeout_s, chance)
    tools = Tools(client=client, patience=patience, halt=Halt(), emit=emit)
    memory = Memory(task.release, app_exists=app.exists)
    terms = LeaseTerms(
        run_id=run_id,
        ttl_s=settings.lease_ttl_s,
        wait_for_others_s=settings.wait_for_lease_s,
    )
    async with (
        _interruptible(tools, settings) as scope,
        holding(tools, memory, terms) as leases,
    ):
        deployment = _deployment(_aim(task, app, settings), tools, memory, leases, settings)
        if app.machines is not None:
            deployment.lookout.listed(Fleet.of(app.machines))
        if task.taken_up is not None:
            memory.knows_what_landed = False
            deployment.take_up(task.taken_up, anyio.current_time())
        ending: Ending | None = None
        with scope:
            ending = await _take_path(deployment, retries, settings, chance)
        finished = await _conclude(deployment, ending, task, app)
    emit(finished)
    return finished


def _aim(task: Task, app: App, settings: Settings) -> Aim:
    return Aim(
        planner=task.planner,
        take_up=task.take_up,
        organization=app.organization,
        selection=settings.selection,
        waits_for_health=settings.waits_for_health,
        max_concurrent=settings.max_concurrent,
    )


def _deployment(
    aim: Aim, tools: Tools, memory: Memory, leases: Leases, settings: Settings
) -> Deployment:
    """The parts of a run, bound together."""
    machines = SharedList(tools)
    terms = HealthTerms(
        wait_timeout_s=settings.wait_timeout_s,
        smoke_s=settings.smoke_s,
        min_healthy_s=settings.min_healthy_s,
    )
    watch = Watch(machines)
    health = Health(tools, memory, machines, watch, terms)
    creator = Creator(tools, memory, leases, machines)
    checks = MachineChecks(tools, memory, run_id=leases.run_id, timeout_s=settings.wait_timeout_s)
    command = settings.release_command
    return Deployment(
        aim=aim,
        tools=tools,
        memory=memory,
        leases=leases,
        lookout=Lookout(tools, memory),
        marks=Marks(tools, memory),
        actions=Actions(tools, memory, leases, health, watch, creator, checks),
        watch=watch,
        machine_checks=checks,
        release_command=ReleaseCommandRun(tools, memory, command) if command else None,
    )


async def _take_path(
    deployment: Deployment, retries: Retries, settings: Settings, chance: random.Random
) -> Ending:
    # deploy-retries, legacy path: from here, with legacy.py
    if retries.count == 0:
        from deploy import legacy

        return await legacy.run(deployment)
    # deploy-retries, legacy path: to here
    return await retrying.run(
        deployment, retries=retries.count, rolls_back=settings.rolls_back, chance=chance
    )


async def _conclude(
    deployment: Deployment, ending: Ending | None, task: Task, app: App
) -> RunFinished:
    """Tidy up after a run that was cut short, look once more, and judge."""
    halt = deployment.tools.halt
    if halt.is_final:
        with anyio.move_on_after(_GRACE_S, shield=True):
            await tidy(deployment)
    elif ending is None or not ending.last.is_complete:
        await await_unanswered(deployment)
        if ending is not None and isinstance(ending.forward.cause, Overtaken):
            await tidy(deployment)
    fleet = None
    with anyio.move_on_after(_GRACE_S if halt.is_final else _LAST_LOOK_S, shield=True):
        fleet = await _last_look(deployment)
    called = app.called or Invocation(app=task.release.app)
    evidence = _evidence(deployment, ending, fleet, called, task.done)
    finished = judge(evidence)
    with anyio.move_on_after(_GRACE_S, shield=True):
        if finished.is_settled:
            is_undone = finished.event.exit_code != EXIT_DONE
            is_kept = deployment.leases.keeps_away if is_undone else None
            await deployment.marks.remove(fleet or Fleet(), is_kept)
        else:
            finished = judge(replace(evidence, is_unmarked=True))  # if there is no time to renew it
            if await deployment.marks.renew(fleet, deployment.leases.is_usable):
                finished = judge(evidence)
    with anyio.move_on_after(_GRACE_S, shield=True):
        await remove_one_offs(deployment, fleet or Fleet(), is_settled=finished.is_settled)
    return finished.event


async def _last_look(deployment: Deployment) -> Fleet | None:
    """How the app stands; what was not waited for may have changed since any look before.

    None where the platform does not say, which is reported.
    """
    lookout, waits = deployment.lookout, deployment.waits
    try:
        fleet = await (lookout.look_unless_just_seen() if waits else lookout.look())
        return await deployment.watch.read_again(fleet)
    except DeployError as failure:
        deployment.tools.emit(Noticed(message=f"the last look at the app failed: {failure}"))
        return None


def _evidence(
    deployment: Deployment,
    ending: Ending | None,
    fleet: Fleet | None,
    called: Invocation,
    done: str,
) -> Evidence:
    memory, halt = deployment.memory, deployment.tools.halt
    seen = fleet if memory.base is not None else None
    return Evidence(
        release=memory.release,
        goal=memory.goal,
        called=called,
        done=done,
        traces=Traces(
            written=frozenset(memory.written),
            own=frozenset(memory.own),
            destroyed=frozenset(memory.destroyed),
            healthy=deployment.watch.ids,
            known=dict(memory.known),
            names={machine_id: name for name, machine_id in memory.ids.items()},
            has_written=memory.has_written,
            has_lost_creates=bool(memory.lost_creates),
            has_disputed=bool(memory.disputed),
            knows_what_landed=memory.knows_what_landed,
        ),
        base=memory.base,
        fleet=fleet,
        ending=ending,
        stopped_by=halt.reason,
        is_interrupted=halt.is_final,
        left=deployment.left(seen) if seen is not None else (),
        left_back=deployment.left_back(seen) if seen is not None else (),
        untried=deployment.machine_checks.untried if deployment.waits else frozenset(),
    )


@asynccontextmanager
async def _interruptible(tools: Tools, settings: Settings) -> AsyncIterator[anyio.CancelScope]:
    """Watch for signals and the deadline; the scope is cut when a signal's grace is over."""
    scope = anyio.CancelScope()
    halt, emit = tools.halt, tools.emit

    async def on_signals() -> None:
        with anyio.open_signal_receiver(*_SIGNALS) as signals:
            listening.set()
            async for number in signals:
                if halt.is_final:
                    settings.leave_at_once()  # asked twice; leases run out by themselves
                name = signal.Signals(number).name
                emit(Noticed(message=f"{name}: beginning nothing new; once more leaves at once"))
                halt.set(Interrupted(f"interrupted by {name}"), final=True)
                scope.deadline = anyio.current_time() + _GRACE_S

    async def on_deadline(after_s: float) -> None:
        await anyio.sleep(after_s)
        if not halt.has_turned_back:  # the way back is bounded by its passes
            halt.set(DeadlinePassed(f"the deadline of {after_s:g} s has passed"))

    listening = anyio.Event()
    async with anyio.create_task_group() as tasks:
        if settings.handles_signals:
            tasks.start_soon(on_signals)
            await listening.wait()
        if settings.deadline_s is not None:
            tasks.start_soon(on_deadline, settings.deadline_s)
        yield scope
        tasks.cancel_scope.cancel()
