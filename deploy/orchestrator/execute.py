"""Run a schedule: which action may begin now, and what is known when all have ended.

Both paths run their passes here. They differ in one argument: which failures
are decisive, that is, after which of them nothing new begins.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field

import anyio

from deploy.api.machine import Machine
from deploy.errors import DeployError, TakenBack
from deploy.events import HiccupMet, MachineMoved, Phase
from deploy.orchestrator.actions import Actions
from deploy.orchestrator.halt import Cut
from deploy.orchestrator.logs import keep_log
from deploy.orchestrator.memory import Memory
from deploy.orchestrator.outcome import Failure, IsDecisive, Outcome
from deploy.orchestrator.tools import Tools
from deploy.orchestrator.watch import RELAPSE_S, Watch, relapse
from deploy.orchestrator.window import Window
from deploy.plan.actions import Action
from deploy.plan.steps import Gate, Schedule, Step, Track, Watched, actions_in, actions_of

_WATCH_EVERY_S = 2.0
_FALTERS_S = 30.0  # for so long machines that are sick by turns may keep a group from going on


@dataclass(frozen=True, slots=True)
class _Begun:
    """An action under way; `was_out`: its machine was out of service before."""

    action: Action
    gate: Gate
    was_out: bool
    is_watched: bool


@dataclass(slots=True)
class _Sliding:
    """One step under way: a place that frees is taken at once."""

    step: Step
    window: Window | None
    waiting: deque[Action]
    moving: set[str] = field(default_factory=set)
    done: int = 0
    changed: anyio.Event = field(default_factory=anyio.Event)

    @property
    def is_watched(self) -> bool:
        """Whether the next machine has to stay healthy for the minimum healthy time."""
        is_first = self.done == 0 and not self.moving
        return self.step.watched is Watched.ALL or (self.step.watched is Watched.FIRST and is_first)

    @property
    def waits_for_the_sick(self) -> bool:
        """Whether nothing moves any more because machines that turned sick hold the places."""
        return self.window is not None and bool(self.window.sick) and not self.moving

    @property
    def may_begin(self) -> bool:
        """Whether the next action has a place, and need not wait for a first one alone."""
        alone = self.step.first_alone and self.done == 0
        if alone and self.moving:
            return False
        if self.window is None or not self.step.counted:
            return True
        return self.window.has_place(self.waiting[0].machine_id)

    def begin(self) -> _Begun:
        """The next action, under way."""
        action = self.waiting.popleft()
        was_out = self.window is not None and action.machine_id in self.window.out
        begun = _Begun(action, self.step.gate, was_out=was_out, is_watched=self.is_watched)
        self.moving.add(action.key)
        if self.window is not None:
            self.window.leave(action.machine_id)
        return begun

    def end(self, action: Action, *, is_done: bool, is_back: bool) -> None:
        self.done += is_done
        if self.window is not None and is_back:
            self.window.back(action.machine_id)
        self.moving.discard(action.key)
        self.wake()

    def wake(self) -> None:
        """Something has changed: who waits for a place looks again."""
        self.changed.set()
        self.changed = anyio.Event()


class Executor:
    """Runs one schedule. Make a new one for every pass.

    With a `watch`, machines that turn sick after they were done count against
    their group's window, and end the pass as the app's failure beyond it.
    """

    def __init__(
        self,
        tools: Tools,
        memory: Memory,
        actions: Actions,
        windows: Mapping[str, Window],
        is_decisive: IsDecisive,
        *,
        max_concurrent: int,
        watch: Watch | None = None,
    ) -> None:
        self._tools = tools
        self._memory = memory
        self._actions = actions
        self._windows = windows
        self._is_decisive = is_decisive
        self._places = anyio.CapacityLimiter(max_concurrent)
        self._watch = watch
        self._sliding: list[_Sliding] = []
        self._sick_since: dict[str, float] = {}
        self._held_since: dict[str, float] = {}
        self._done = 0
        self._failures: list[Failure] = []

    async def run(self, schedule: Schedule) -> Outcome:
        """Stages one after the other; the next begins only when all of the last is done."""
        total = sum(1 for _ in actions_of(schedule))
        reached = 0
        async with anyio.create_task_group() as watching:
            if self._watch is not None:
                watching.start_soon(self._keep_watch, self._watch)
            for stage in schedule:
                reached += sum(1 for _ in actions_in(stage))
                async with anyio.create_task_group() as tasks:
                    for track in stage:
                        tasks.start_soon(self._track, track)
                if self._done < reached:
                    break
            watching.cancel_scope.cancel()
        return Outcome(self._done, total - self._done, tuple(self._failures))

    async def _track(self, track: Track) -> None:
        window = self._windows.get(track.group)
        for step in track.steps:
            if step.guarded and not await self._is_well():
                return
            done = await self._step(_Sliding(step, window, deque(step.actions)))
            if done < len(step.actions) and step.required:
                return

    async def _step(self, sliding: _Sliding) -> int:
        """The number of actions done."""

        async def one(begun: _Begun) -> None:
            action = begun.action
            is_done = await self._one(begun)
            is_as_before = not begun.was_out and action.machine_id not in self._memory.doubtful
            sliding.end(action, is_done=is_done, is_back=is_done or is_as_before)

        self._sliding.append(sliding)
        async with anyio.create_task_group() as tasks:
            while sliding.waiting and not self._tools.halt.is_set:
                if sliding.may_begin:
                    tasks.start_soon(one, sliding.begin())
                elif sliding.moving or sliding.waits_for_the_sick:
                    await sliding.changed.wait()
                else:
                    break  # every place is held by a machine that no read has settled
        self._sliding.remove(sliding)
        return sliding.done

    async def _one(self, begun: _Begun) -> bool:
        action = begun.action
        try:
            async with self._places:
                if self._tools.halt.is_set:
                    return False
                await self._actions.perform(action, begun.gate, watched=begun.is_watched)
        except Cut:
            self._show(action, Phase.WAITING, "not waited for")
            return False
        except DeployError as error:
            self._show(
                action, Phase.WAITING if error.meaning.is_hiccup else Phase.FAILED, str(error)
            )
            self._note(Failure(error, action))
            await keep_log(self._tools, error)
            await self._actions.settle(action.machine_id)
            return False
        self._done += 1
        return True

    def _note(self, failure: Failure) -> None:
        self._failures.append(failure)
        if isinstance(failure.error, TakenBack):
            self._memory.was_put_back(failure.error.machine_id)
        tell_hiccup(self._tools, self._memory, failure)
        if self._is_decisive(failure.error):
            self._tools.halt.set(failure.error)

    # -- what was done stays watched ---------------------------------------------------

    async def _is_well(self) -> bool:
        """Before anything old is taken away: one look decides."""
        if self._watch is None or not self._watch:
            return True
        try:
            with self._tools.halt.cuts():
                await self._watch.confirm()
        except Cut:
            return False
        except DeployError as error:
            self._note(Failure(error))
            await keep_log(self._tools, error)
            return False
        return True

    async def _keep_watch(self, watch: Watch) -> None:
        """For as long as the pass goes on; a look that fails says nothing about the app."""
        while True:
            await anyio.sleep(_WATCH_EVERY_S)
            if watch:
                with suppress(DeployError):
                    self._judge(await watch.look())
                for failure in self._failures:
                    await keep_log(self._tools, failure.error)

    def _judge(self, sick: Sequence[Machine]) -> None:
        """Give the sick their places in the windows; beyond them the app has failed."""
        now = anyio.current_time()
        self._sick_since = {m.id: self._sick_since.get(m.id, now) for m in sick}
        for group, window in self._windows.items():
            of_group = [machine for machine in sick if machine.group == group]
            window.sick = frozenset(machine.id for machine in of_group)
            if not self._is_held(window):
                self._held_since.pop(group, None)
                continue
            held_s = now - self._held_since.setdefault(group, now)
            lasting = [m for m in of_group if now - self._sick_since[m.id] >= RELAPSE_S]
            if (lasting or held_s >= _FALTERS_S) and not self._tools.halt.is_set:
                self._note(Failure(relapse(lasting or of_group)))
        for sliding in self._sliding:
            sliding.wake()

    def _is_held(self, window: Window) -> bool:
        """Whether more are sick than it has places for, or they are all that is waited for."""
        stuck = any(s.window is window and s.waits_for_the_sick for s in self._sliding)
        return window.is_overdrawn or stuck

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
