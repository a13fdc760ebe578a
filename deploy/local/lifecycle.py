"""Brings machines up and down: the transitions between resting states.

Each request that changes a machine begins a transition, a task of its own; a
later one takes over from an earlier one that has not ended. A machine's life
(`Run`) is another task: start, watch, restart by policy. Whether a request is
allowed at all is decided before, in `deploy.local.engine`.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

import anyio
from anyio.abc import TaskGroup
from anyio.lowlevel import checkpoint_if_cancelled

from deploy.local.config import Config
from deploy.local.identity import Identity
from deploy.local.logs import Logs
from deploy.local.runtime import CannotStart, CheckStatus, Ended, Process, Runtime, Spec
from deploy.local.state import CheckResult, Event, Machine, Run, rfc3339
from deploy.local.traffic import Traffic

Body = Callable[[Machine], Awaitable[None]]
"""What a transition does once its transient state is set."""

AT_REST = frozenset({"started", "stopped", "suspended", "failed", "destroyed"})
_RESTART_DELAY_S = 0.25  # doubled with each restart
_RESTART_DELAY_MAX_S = 10.0


@dataclass(frozen=True, slots=True)
class Stop:
    """How to end a process; no signal means to kill it at once."""

    signal: str | None
    timeout_s: float

    @classmethod
    def of(cls, config: Config) -> Stop:
        return cls(config.stop_signal, config.stop_timeout_s)


class Lifecycle:
    """The transitions; every public method returns at once, with the transient state set."""

    def __init__(
        self,
        *,
        runtime: Runtime,
        identity: Identity,
        traffic: Traffic,
        logs: Logs,
        tasks: TaskGroup,
        destroyed: Callable[[Machine], None],
        keep: Callable[[Machine], None],
    ) -> None:
        self._runtime = runtime
        self._identity = identity
        self._traffic = traffic
        self._logs = logs
        self._tasks = tasks
        self._destroyed = destroyed
        self._keep = keep

    def created(self, machine: Machine) -> None:
        """Note the birth of a machine that has never run."""
        self.reset_checks(machine)
        self._record(machine, "launch", "created", "user")

    def launch(self, machine: Machine, *, state: str = "starting") -> None:
        self._begin(machine, "start", state, "started", self._launch)

    def rest(self, machine: Machine) -> None:
        """A machine that was created and is not to be launched comes to rest."""
        self._take_over(machine, "created", "stopped", self._stopped)

    def replace(self, machine: Machine, *, stop: Stop, launch: bool) -> None:
        """End the process of the version before; then launch, or rest."""
        aim, then = ("started", self._launch) if launch else ("stopped", self._stopped)
        self._begin(machine, "update", "replacing", aim, self._down_and(stop, then))

    def restart(self, machine: Machine, *, stop: Stop) -> None:
        again = self._down_and(stop, self._launch)
        self._begin(machine, "restart", "restarting", "started", again)

    def stop(self, machine: Machine, *, stop: Stop) -> None:
        down = self._down_and(stop, self._stopped)
        self._begin(machine, "stop", "stopping", "stopped", down)

    def suspend(self, machine: Machine) -> None:
        self._begin(machine, "suspend", "suspending", "suspended", self._suspend)

    def resume(self, machine: Machine) -> None:
        """Start a suspended machine from where it stood."""
        self._begin(machine, "start", "starting", "started", self._resume)

    def destroy(self, machine: Machine) -> None:
        stop = Stop(None, machine.config.stop_timeout_s)
        gone = self._down_and(stop, self._destroy)
        self._begin(machine, "destroy", "destroying", "destroyed", gone)

    def take_up(self, machine: Machine) -> None:
        """Go on with a machine whose process ended with the platform's."""
        if machine.is_gone:
            return
        self.reset_checks(machine)
        if machine.aim == "started":
            self._record(machine, "start", "starting")
            self._take_over(machine, "starting", "started", self._launch)
        elif machine.aim == "destroyed":
            self._take_over(machine, "destroying", "destroyed", self._destroy)
        elif machine.aim != machine.state or machine.state == "suspended":
            self._set_state(machine, "stopped")  # what it held in memory is gone

    async def end(self, machine: Machine, within_s: float) -> None:
        """Stop its process because the platform itself ends; nothing is recorded after."""
        stop = Stop.of(machine.config)
        await self._bring_down(machine, Stop(stop.signal, min(stop.timeout_s, within_s)))

    # -- transitions -------------------------------------------------------------

    def _begin(self, machine: Machine, kind: str, state: str, aim: str, body: Body) -> None:
        """Record that a user asked for it, and begin."""
        self._record(machine, kind, state, "user")
        self._take_over(machine, state, aim, body)

    def _take_over(self, machine: Machine, state: str, aim: str, body: Body) -> None:
        """Begin a transition; it takes over from one that is under way."""
        if machine.transition is not None:
            machine.transition.cancel()
        scope = machine.transition = anyio.CancelScope()
        self._set_state(machine, state, aim=aim)
        self._tasks.start_soon(self._carry_out, machine, scope, body)

    async def _carry_out(self, machine: Machine, scope: anyio.CancelScope, body: Body) -> None:
        if not scope.cancel_called:
            with scope:
                await body(machine)
        if machine.transition is scope:
            machine.transition = None

    def _down_and(self, stop: Stop, then: Body) -> Body:
        async def body(machine: Machine) -> None:
            await self._bring_down(machine, stop)
            await then(machine)

        return body

    async def _stopped(self, machine: Machine) -> None:
        self._set_state(machine, "stopped")

    async def _launch(self, machine: Machine) -> None:
        machine.restarts = 0
        self._set_state(machine, "starting")
        machine.run = Run(anyio.CancelScope(), anyio.Event())
        self._tasks.start_soon(self._live, machine, machine.run)

    async def _bring_down(self, machine: Machine, stop: Stop) -> None:
        run = machine.run
        if run is None:
            return
        run.ending = True
        if run.process is not None:
            await self._traffic.drain(machine.id, stop.timeout_s)
        if run.process is None:
            run.scope.cancel()  # still booting, or between two tries
        elif stop.signal is None:
            run.process.kill()
        else:
            run.process.thaw()
            run.process.signal(stop.signal)
            with anyio.move_on_after(stop.timeout_s):
                await run.done.wait()
            if run.process is not None:
                run.process.kill()
        await run.done.wait()
        await checkpoint_if_cancelled()

    async def _suspend(self, machine: Machine) -> None:
        await self._traffic.drain(machine.id, machine.config.stop_timeout_s)
        await checkpoint_if_cancelled()
        if machine.process is not None:
            machine.process.freeze()
            self._set_state(machine, "suspended")

    async def _resume(self, machine: Machine) -> None:
        if machine.process is None:
            await self._launch(machine)
        else:
            machine.process.thaw()
            self._started(machine)

    async def _destroy(self, machine: Machine) -> None:
        machine.lease = None
        machine.checks.clear()
        self._record(machine, "destroy", "destroyed")
        self._set_state(machine, "destroyed")
        self._destroyed(machine)

    # -- one life ----------------------------------------------------------------

    async def _live(self, machine: Machine, run: Run) -> None:
        try:
            with run.scope:
                if not run.scope.cancel_called:
                    await self._lives(machine, run)
        finally:
            if machine.run is run:
                machine.run = None
            run.done.set()

    async def _lives(self, machine: Machine, run: Run) -> None:
        """Start it, watch it, and start it again for as long as its policy says so."""
        spec = Spec(
            app=machine.app,
            machine_id=machine.id,
            name=machine.name,
            region=machine.region,
            version=machine.version,
            config=machine.config,
            write=self._logs.writer(machine.app, machine.id, machine.name),
        )
        while True:
            try:
                run.process = await self._runtime.start(spec)
            except CannotStart as error:
                self._failed(machine, str(error))
                return
            try:
                if not run.ending:
                    self._started(machine)
                ended = await self._watch(machine, run.process)
            finally:
                run.process.kill()
                run.process = None
                self.reset_checks(machine)
            if not await self._after_exit(machine, run, ended):
                return
            delay_s = min(_RESTART_DELAY_S * 2 ** min(machine.restarts, 16), _RESTART_DELAY_MAX_S)
            await anyio.sleep(delay_s)
            if run.ending:
                return
            self._set_state(machine, "starting")

    async def _watch(self, machine: Machine, process: Process) -> Ended:
        checks = machine.config.named_checks
        if not checks:
            return await process.wait()
        async with anyio.create_task_group() as observers:
            for name, check in checks.items():
                report = self._reporter(machine, name)
                observers.start_soon(process.observe, check, report)
            ended = await process.wait()
            observers.cancel_scope.cancel()
        return ended

    def _reporter(self, machine: Machine, name: str) -> Callable[[CheckStatus, str], None]:
        def report(status: CheckStatus, output: str) -> None:
            if machine.state == "started":
                machine.checks[name] = CheckResult(name, status, output, self._now())

        return report

    def _started(self, machine: Machine) -> None:
        for result in machine.checks.values():
            result.output = "waiting for status update"
        self._record(machine, "start", "started")
        self._set_state(machine, "started")

    def _failed(self, machine: Machine, why: str) -> None:
        self._record(machine, "launch", "failed", error=why)
        self._set_state(machine, "failed")

    async def _after_exit(self, machine: Machine, run: Run, ended: Ended) -> bool:
        """Whether it is to be started again; who asked for its end sets the state then."""
        if ended.host_ended and not run.ending:
            self._record(machine, "exit", "stopped", error="its host went down, and is back")
            self._set_state(machine, "restarting")
            return True
        again = not run.ending and machine.config.wants_restart(ended.exit_code, machine.restarts)
        machine.restarts += again
        exit_event = {
            "exit_code": ended.exit_code,
            "guest_exit_code": ended.exit_code,
            "oom_killed": ended.oom_killed,
            "requested_stop": run.ending,
            "restarting": again,
            "exited_at": self._now(),
        }
        count = machine.restarts
        self._record(machine, "exit", "stopped", restart_count=count, exit_event=exit_event)
        if run.ending:
            return False
        if again:
            self._set_state(machine, "restarting")
        elif machine.config.auto_destroy:
            await self._destroy(machine)
        else:
            self._set_state(machine, "stopped")
        return again

    # -- bookkeeping ---------------------------------------------------------------

    def reset_checks(self, machine: Machine) -> None:
        """No result yet, which is not a pass: the checks of a machine that does not run."""
        now = self._now()
        machine.checks = {
            name: CheckResult(name, "warning", "the machine hasn't started", now)
            for name in machine.config.named_checks
        }

    def _set_state(self, machine: Machine, state: str, *, aim: str = "") -> None:
        """`aim` is where a transition leads; a state at rest is its own."""
        machine.state = state
        machine.aim = aim or (state if state in AT_REST else machine.aim)
        machine.updated_at_s = self._identity.clock()
        self._keep(machine)
        machine.wake()

    def _record(
        self, machine: Machine, kind: str, status: str, by: str = "flyd", **request: Any
    ) -> None:
        event = Event(self._identity.ulid(), kind, status, by, self._now_ms(), request)
        machine.events.appendleft(event)

    def _now(self) -> str:
        return rfc3339(self._identity.clock())

    def _now_ms(self) -> int:
        return int(self._identity.clock() * 1000)
