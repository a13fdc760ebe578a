"""What a fault does to the platform itself, beside what it does to an answer."""

from __future__ import annotations

import anyio
from anyio.abc import TaskGroup

from deploy.local.engine import Platform
from deploy.local.lifecycle import Stop
from deploy.local.runtime import Ended
from deploy.local.state import HeldLease, Machine, Version
from tests.worlds.simulated.runtime import SimulatedRuntime
from tests.worlds.simulated.transport import Call

HIDDEN_S = 2.0
STOLEN_S = 25.0
REVERTED_AFTER_S = 0.2
HANGS_S = 30.0
_LONGEST_BOOT_S = 120.0


class Effects:
    """Carries out the effects of `faults.Kind` on the machines of one app."""

    def __init__(
        self, platform: Platform, runtime: SimulatedRuntime, app: str, tasks: TaskGroup
    ) -> None:
        self._platform = platform
        self._runtime = runtime
        self._app = app
        self._tasks = tasks

    def __call__(self, effect: str, call: Call) -> None:
        machine_id = call.machine
        if not machine_id and isinstance(call.answer, dict):
            machine_id = str(call.answer.get("id", ""))
        machine = self._platform.apps[self._app].machines.get(machine_id)
        if machine is None:
            return
        rests = bool(call.json.get("skip_launch"))
        match effect:
            case "expire before":
                machine.lease = None
            case "steal before":
                until = int(self._platform.clock() + STOLEN_S)
                machine.lease = HeldLease("stolen", until, "rival", "rival/run")
            case "hide" if call.was_carried_out:
                self._platform.hide(self._app, machine_id, for_s=HIDDEN_S)
            case "revert" | "revert anew" if call.was_carried_out:
                self._tasks.start_soon(self._revert, machine, effect == "revert anew", rests)
            case "exit" if call.was_carried_out:
                self._tasks.start_soon(self._exit, machine)
            case "hang" if call.was_carried_out:
                self._tasks.start_soon(self._hang, machine, rests)

    async def _revert(self, machine: Machine, anew: bool, rests: bool) -> None:
        """Put it back on the version before: under its old name or, `anew`, under a new one.

        A machine that `rests` was stopped before the update, and is after it.
        """
        written = machine.version
        await anyio.sleep(REVERTED_AFTER_S)
        if machine.version != written or len(machine.versions) < 2 or machine.is_gone:
            return
        before = machine.versions[1]
        kept, config = self._platform._accept(before.sent)
        machine.raw, machine.config = kept, config
        if anew:
            machine.versions.appendleft(
                Version(self._platform.identity.ulid(), before.sent, before.kept)
            )
        else:
            machine.versions.popleft()
        self._platform._lifecycle.reset_checks(machine)
        self._platform._lifecycle.replace(machine, stop=Stop.of(config), launch=not rests)

    async def _exit(self, machine: Machine) -> None:
        """The app ends with exit code 1, once, as soon as it runs."""
        with anyio.move_on_after(_LONGEST_BOOT_S):
            while machine.state != "started" or machine.id not in self._runtime.running:
                await machine.next_change()
            await anyio.sleep(0.1)
            process = self._runtime.running.get(machine.id)
            if process is not None:
                process.crash(Ended(1))

    async def _hang(self, machine: Machine, rests: bool) -> None:
        """It stays `replacing` for long, and then goes on."""
        written = machine.version
        if machine.transition is not None:
            machine.transition.cancel()
            machine.transition = None
        await anyio.sleep(HANGS_S)
        if machine.version == written and machine.state == "replacing":
            self._platform._lifecycle.replace(
                machine, stop=Stop.of(machine.config), launch=not rests
            )
