"""Run a schedule: which action may begin now, and what is known when all have ended.

Both paths run their passes here. They differ in one argument: which failures
are decisive, that is, after which of them nothing new begins.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, field

import anyio

from deploy.errors import DeployError
from deploy.events import HiccupMet, MachineMoved, Phase
from deploy.orchestrator.actions import Actions
from deploy.orchestrator.halt import Cut
from deploy.orchestrator.memory import Memory
from deploy.orchestrator.outcome import Failure, IsDecisive, Outcome
from deploy.orchestrator.tools import Tools
from deploy.orchestrator.window import Window
from deploy.plan.actions import Action
from deploy.plan.steps import Schedule, Step, Track, actions_in, actions_of


@dataclass(slots=True)
class _Sliding:
    """One step under way: a place that frees is taken at once."""

    step: Step
    window: Window | None
    waiting: deque[Action]
    moving: set[str] = field(default_factory=set)
    done: int = 0
    ended: anyio.Event = field(default_factory=anyio.Event)

    @property
    def may_begin(self) -> bool:
        """Whether the next action has a place, and need not wait for a first one alone."""
        alone = self.step.first_alone and self.done == 0
        if alone and self.moving:
            return False
        if self.window is None or not self.step.counted:
            return True
        return self.window.has_place(self.waiting[0].machine_id)

    def begin(self) -> tuple[Action, bool]:
        """The next action, and whether its machine was out of service before."""
        action = self.waiting.popleft()
        self.moving.add(action.key)
        was_out = self.window is not None and action.machine_id in self.window.out
        if self.window is not None:
            self.window.leave(action.machine_id)
        return action, was_out

    def end(self, action: Action, *, is_done: bool, is_back: bool) -> None:
        self.done += is_done
        if self.window is not None and is_back:
            self.window.back(action.machine_id)
        self.moving.discard(action.key)
        self.ended.set()
        self.ended = anyio.Event()


class Executor:
    """Runs one schedule. Make a new one for every pass."""

    def __init__(
        self,
        tools: Tools,
        memory: Memory,
        actions: Actions,
        windows: Mapping[str, Window],
        is_decisive: IsDecisive,
        *,
        max_concurrent: int,
    ) -> None:
        self._tools = tools
        self._memory = memory
        self._actions = actions
        self._windows = windows
        self._is_decisive = is_decisive
        self._places = anyio.CapacityLimiter(max_concurrent)
        self._done = 0
        self._failures: list[Failure] = []

    async def run(self, schedule: Schedule) -> Outcome:
        """Stages one after the other; the next begins only when all of the last is done."""
        total = sum(1 for _ in actions_of(schedule))
        reached = 0
        for stage in schedule:
            reached += sum(1 for _ in actions_in(stage))
            async with anyio.create_task_group() as tasks:
                for track in stage:
                    tasks.start_soon(self._track, track)
            if self._done < reached:
                break
        return Outcome(self._done, total - self._done, tuple(self._failures))

    async def _track(self, track: Track) -> None:
        window = self._windows.get(track.group)
        for step in track.steps:
            done = await self._step(_Sliding(step, window, deque(step.actions)))
            if done < len(step.actions) and step.required:
                return

    async def _step(self, sliding: _Sliding) -> int:
        """The number of actions done."""

        async def one(action: Action, was_out: bool) -> None:
            is_done = await self._one(action, sliding.step)
            is_as_before = not was_out and action.machine_id not in self._memory.doubtful
            sliding.end(action, is_done=is_done, is_back=is_done or is_as_before)

        async with anyio.create_task_group() as tasks:
            while sliding.waiting and not self._tools.halt.is_set:
                if sliding.may_begin:
                    tasks.start_soon(one, *sliding.begin())
                elif sliding.moving:
                    await sliding.ended.wait()
                else:
                    break  # every place is held by a machine that no read has settled
        return sliding.done

    async def _one(self, action: Action, step: Step) -> bool:
        try:
            async with self._places:
                if self._tools.halt.is_set:
                    return False
                await self._actions.perform(action, step.gate)
        except Cut:
            self._show(action, Phase.WAITING, "not waited for")
            return False
        except DeployError as error:
            self._note(action, error)
            await self._actions.settle(action.machine_id)
            return False
        self._done += 1
        return True

    def _note(self, action: Action, error: DeployError) -> None:
        failure = Failure(error, action)
        self._failures.append(failure)
        self._show(action, Phase.WAITING if error.meaning.is_hiccup else Phase.FAILED, str(error))
        tell_hiccup(self._tools, self._memory, failure)
        if self._is_decisive(error):
            self._tools.halt.set(error)

    def _show(self, action: Action, phase: Phase, detail: str) -> None:
        self._tools.emit(
            MachineMoved(
                machine_id=action.machine_id,
                name=action.name,
                group=action.group,
                phase=phase,
                detail=detail,
            )
        )


def tell_hiccup(tools: Tools, memory: Memory, failure: Failure) -> None:
    """Say that something failed which another pass can help; nothing else is said here."""
    action, error = failure.action, failure.error
    if not error.meaning.is_hiccup:
        return
    tools.emit(
        HiccupMet(
            operation=error.operation or (action.verb if action else "look"),
            machine_id=action.machine_id if action else error.machine_id,
            message=str(error),
            outcome_known=error.meaning.outcome_known,
            number=memory.met_hiccup(),
            name=action.name if action else "",
        )
    )
