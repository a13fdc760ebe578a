"""Run a schedule: which action may begin now, and what is known when all have ended.

Both paths run their passes here. They differ in one argument: which failures
are decisive, that is, after which of them nothing new begins.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial

import anyio

from deploy.api.machine import Fleet, Machine
from deploy.api.verdict import Verdict, verdict
from deploy.errors import DeployError
from deploy.events import Emit, HiccupMet, MachineMoved, Phase
from deploy.orchestrator.actions import Actions
from deploy.orchestrator.halt import Cut, Halt
from deploy.orchestrator.ledger import Ledger
from deploy.plan.base import Base
from deploy.plan.forward import Action, Destroy
from deploy.plan.release import Release, is_stamped, unavailable_limit
from deploy.plan.strategy import Schedule, Step, Track

IsDecisive = Callable[[DeployError], bool]


@dataclass(frozen=True, slots=True)
class Failure:
    """One action that failed, and what that means."""

    action: Action
    error: DeployError

    @property
    def verdict(self) -> Verdict:
        return verdict(self.error)


@dataclass(frozen=True, slots=True)
class Outcome:
    """How a pass ended: how many actions are done, how many are left, and the failures."""

    done: int = 0
    left: int = 0
    failures: tuple[Failure, ...] = ()

    @property
    def is_complete(self) -> bool:
        return self.left == 0 and not self.failures

    @property
    def is_in_place(self) -> bool:
        """Whether all that is new is healthy, so that only cleaning up has failed."""
        removals = [f for f in self.failures if isinstance(f.action, Destroy)]
        return bool(removals) and len(removals) == len(self.failures)

    @property
    def cause(self) -> DeployError | None:
        """The failure that decides: the app's before a rejection, a lease, an outage, a hiccup."""
        ranked = sorted(self.failures, key=lambda failure: _RANK.get(failure.verdict, len(_RANK)))
        return ranked[0].error if ranked else None

    @property
    def retry_after_s(self) -> float:
        """The longest `Retry-After` that the platform asked for in this pass."""
        asked = (getattr(failure.error, "retry_after_s", None) for failure in self.failures)
        return max((seconds for seconds in asked if seconds), default=0.0)


_RANK = {
    Verdict.APP: 0,
    Verdict.REJECTED: 1,
    Verdict.NAME_TAKEN: 1,
    Verdict.LEASED: 2,
    Verdict.OUTAGE: 3,
}


@dataclass(slots=True)
class Window:
    """How many of a group's machines that served at first may be out at once because of us."""

    limit: int
    counted: frozenset[str]
    out: set[str] = field(default_factory=set)

    def has_place(self, machine_id: str) -> bool:
        if machine_id in self.out or machine_id not in self.counted:
            return True
        return len(self.out) < self.limit

    def leave(self, machine_id: str) -> None:
        if machine_id in self.counted:
            self.out.add(machine_id)

    def back(self, machine_id: str) -> None:
        self.out.discard(machine_id)


def windows(release: Release, fleet: Fleet, base: Base, ledger: Ledger) -> dict[str, Window]:
    """One window per group; machines that we left out of service hold their places in it."""
    now = fleet.by_id
    result = {}
    for group in {machine.group for machine in base.machines}:
        counted = frozenset(m.id for m in base.machines.group(group) if m.id in base.serving)
        out = {
            machine_id
            for machine_id in counted
            if _is_touched(now.get(machine_id), machine_id, release, ledger)
            and not (machine_id in now and now[machine_id].is_serving)
        }
        limit = unavailable_limit(release.max_unavailable, len(counted))
        result[group] = Window(limit, counted, out)
    return result


def _is_touched(machine: Machine | None, machine_id: str, release: Release, ledger: Ledger) -> bool:
    if machine_id in ledger.written:
        return True
    return machine is not None and is_stamped(machine, release.deploy_id)


class Executor:
    """Runs one schedule. Make a new one for every pass."""

    def __init__(
        self,
        actions: Actions,
        ledger: Ledger,
        halt: Halt,
        *,
        windows: Mapping[str, Window],
        max_concurrent: int,
        is_decisive: IsDecisive,
        emit: Emit,
    ) -> None:
        self._actions = actions
        self._ledger = ledger
        self._halt = halt
        self._windows = windows
        self._places = anyio.CapacityLimiter(max_concurrent)
        self._is_decisive = is_decisive
        self._emit = emit
        self._done = 0
        self._failures: list[Failure] = []

    async def run(self, schedule: Schedule) -> Outcome:
        """Stages one after the other; the next begins only when all of the last is done."""
        total = sum(len(step.actions) for stage in schedule for t in stage for step in t.steps)
        reached = 0
        for stage in schedule:
            reached += sum(len(step.actions) for track in stage for step in track.steps)
            async with anyio.create_task_group() as tasks:
                for track in stage:
                    tasks.start_soon(self._track, track)
            if self._done < reached:
                break
        return Outcome(self._done, total - self._done, tuple(self._failures))

    async def _track(self, track: Track) -> None:
        window = self._windows.get(track.group)
        for step in track.steps:
            done = await self._step(step, window)
            if done < len(step.actions) and step.required:
                return

    async def _step(self, step: Step, window: Window | None) -> int:
        """The number of actions done. Sliding: a place that frees is taken at once."""
        waiting = deque(step.actions)
        moving: set[str] = set()
        done = 0
        ended = anyio.Event()

        async def one(action: Action, *, was_out: bool) -> None:
            nonlocal done, ended
            is_done = await self._one(action, step)
            done += is_done
            is_as_before = not was_out and action.machine_id not in self._ledger.doubtful
            if window is not None and (is_done or is_as_before):
                window.back(action.machine_id)
            moving.discard(action.key)
            ended.set()
            ended = anyio.Event()

        async with anyio.create_task_group() as tasks:
            while waiting and not self._halt.is_set:
                alone = step.first_alone and done == 0
                free = window is None or not step.counted or window.has_place(waiting[0].machine_id)
                if free and not (alone and moving):
                    action = waiting.popleft()
                    moving.add(action.key)
                    was_out = window is not None and action.machine_id in window.out
                    if window is not None:
                        window.leave(action.machine_id)
                    tasks.start_soon(partial(one, action, was_out=was_out))
                elif moving:
                    await ended.wait()
                else:
                    break  # every place is held by a machine that no read has settled
        return done

    async def _one(self, action: Action, step: Step) -> bool:
        try:
            async with self._places:
                if self._halt.is_set:
                    return False
                await self._actions.perform(action, step.gate)
        except Cut:
            self._tell(action, Phase.WAITING, "not waited for")
            return False
        except DeployError as error:
            self._note(Failure(action, error))
            await self._actions.settle(action.machine_id)
            return False
        self._done += 1
        return True

    def _note(self, failure: Failure) -> None:
        self._failures.append(failure)
        action, error = failure.action, failure.error
        if failure.verdict.is_hiccup:
            self._ledger.hiccups += 1
            self._tell(action, Phase.WAITING, str(error))
            self._emit(
                HiccupMet(
                    operation=getattr(error, "operation", action.verb),
                    machine_id=action.machine_id,
                    message=str(error),
                    outcome_known=failure.verdict.outcome_known,
                    number=self._ledger.hiccups,
                    name=action.name,
                )
            )
        else:
            self._tell(action, Phase.FAILED, str(error))
        if self._is_decisive(error):
            self._halt.set(error)

    def _tell(self, action: Action, phase: Phase, detail: str) -> None:
        self._emit(
            MachineMoved(
                machine_id=action.machine_id,
                name=action.name,
                group=action.group,
                phase=phase,
                detail=detail,
            )
        )
