"""The composition root: one run from its first event to its last.

Chooses the path, binds the tools together, watches for signals and the
deadline, and judges at the end how the app stands, by looking at it.
"""

from __future__ import annotations

import os
import random
import signal
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import anyio

from deploy.api.client import MachinesClient
from deploy.api.machine import Fleet
from deploy.api.patience import Patience
from deploy.ending import judge
from deploy.errors import EXIT_INTERRUPTED, DeadlinePassed, DeployError, Interrupted, Overtaken
from deploy.events import Emit, Noticed, RunFinished
from deploy.legacy import deploy_legacy, return_legacy
from deploy.orchestrator.actions import Actions
from deploy.orchestrator.halt import Halt
from deploy.orchestrator.health import Health, Observer
from deploy.orchestrator.lease import Leases, holding
from deploy.orchestrator.ledger import Ledger
from deploy.orchestrator.passes import Planner, TakenUp, TakeUp, Work
from deploy.orchestrator.release_command import ReleaseCommand, ReleaseCommandRun
from deploy.plan.intent import BACK
from deploy.plan.release import Release
from deploy.plan.selection import Selection
from deploy.retries import Retries
from deploy.retrying import Ending, deploy_retrying, return_retrying

_GRACE_S = 10.0  # after the first signal
_LAST_LOOK_S = 75.0  # more than one read may take to time out


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """What the command line and fly.toml allow a run. Times in seconds."""

    wait_timeout_s: float = 300.0
    lease_ttl_s: int = 13
    smoke_s: float = 10.0
    deadline_s: float | None = None
    wait_for_lease_s: float = 0.0
    rolls_back: bool = True
    max_concurrent: int = 64
    waits_for_health: bool = True
    selection: Selection = field(default_factory=Selection)
    release_command: ReleaseCommand | None = None
    handles_signals: bool = True
    leave_at_once: Callable[[], None] = lambda: os._exit(EXIT_INTERRUPTED)


async def run(
    client: MachinesClient,
    release: Release,
    planner: Planner,
    retries: Retries,
    settings: Settings,
    *,
    run_id: str,
    chance: random.Random,
    emit: Emit,
    app_exists: bool = True,
    organization: str = "",
    taken_up: TakenUp | None = None,
    take_up_again: TakeUp | None = None,
) -> RunFinished:
    """Deploy the release, or go back from it, and tell how the app stands in the end."""
    patience = Patience(settings.wait_timeout_s if retries.count else 0.0, chance)
    halt, ledger = Halt(), Ledger()
    async with (
        _interruptible(halt, settings, emit) as scope,
        holding(
            client,
            ttl_s=settings.lease_ttl_s,
            deploy_id=release.deploy_id,
            run_id=run_id,
            patience=patience,
            emit=emit,
            halt=halt,
            is_own=ledger.is_own,
            is_inherited=ledger.inherited.__contains__,
            wait_for_others_s=settings.wait_for_lease_s,
        ) as leases,
    ):
        work = Work(
            release=release,
            planner=planner,
            client=client,
            leases=leases,
            actions=_actions(client, release, settings, leases, ledger, halt, patience, emit),
            ledger=ledger,
            halt=halt,
            patience=patience,
            emit=emit,
            max_concurrent=settings.max_concurrent,
            app_exists=app_exists,
            organization=organization,
            selection=settings.selection,
            waits_for_health=settings.waits_for_health,
            take_up_again=take_up_again,
        )
        if settings.release_command is not None:
            work.release_command = ReleaseCommandRun(
                settings.release_command,
                release,
                client,
                patience=patience,
                halt=halt,
                emit=emit,
            )
        if taken_up is not None:
            work.take_up(taken_up)
        ending: Ending | None = None
        with scope:
            ending = await _take_path(work, retries, settings, chance)
        finished = await _conclude(work, ending)
    emit(finished)
    return finished


def _actions(
    client: MachinesClient,
    release: Release,
    settings: Settings,
    leases: Leases,
    ledger: Ledger,
    halt: Halt,
    patience: Patience,
    emit: Emit,
) -> Actions:
    """What carries out one action, with all that it waits by."""
    observer = Observer(client, patience)
    health = Health(
        client,
        observer,
        patience=patience,
        halt=halt,
        wait_timeout_s=settings.wait_timeout_s,
        smoke_s=settings.smoke_s,
    )
    return Actions(
        client,
        leases,
        health,
        observer,
        ledger,
        deploy_id=release.deploy_id,
        patience=patience,
        halt=halt,
        emit=emit,
    )


async def _take_path(
    work: Work, retries: Retries, settings: Settings, chance: random.Random
) -> Ending:
    if retries.count == 0:
        legacy = return_legacy if work.goal == BACK else deploy_legacy
        return Ending(await legacy(work))
    if work.goal == BACK:
        return await return_retrying(work, retries=retries.count, chance=chance)
    return await deploy_retrying(
        work, retries=retries.count, rolls_back=settings.rolls_back, chance=chance
    )


async def _conclude(work: Work, ending: Ending | None) -> RunFinished:
    """Tidy up after a run that was cut short, look once more, and judge."""
    if work.halt.is_final:
        with anyio.move_on_after(_GRACE_S, shield=True):
            await work.tidy()
    elif ending is None or not (ending.back or ending.forward).is_complete:
        await work.await_unanswered()
        if ending is not None and isinstance(ending.forward.cause, Overtaken):
            await work.tidy()
    fleet = None
    with anyio.move_on_after(_GRACE_S if work.halt.is_final else _LAST_LOOK_S, shield=True):
        try:
            fleet = await work.look()
        except DeployError as failure:
            work.emit(Noticed(message=f"the last look at the app failed: {failure}"))
    finished = judge(work, ending, fleet)
    if finished.is_settled:
        with anyio.move_on_after(_GRACE_S, shield=True):
            await work.conclude(fleet or Fleet())
    return finished.event


@asynccontextmanager
async def _interruptible(
    halt: Halt, settings: Settings, emit: Emit
) -> AsyncIterator[anyio.CancelScope]:
    """Watch for signals and the deadline; the scope is cut when a signal's grace is over."""
    scope = anyio.CancelScope()

    async def on_signals() -> None:
        with anyio.open_signal_receiver(signal.SIGINT, signal.SIGTERM) as signals:
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
