"""Machines that exist only in time: the runtime of the simulator.

Boot times, check delays and exits are drawn from a seed, per machine and launch;
what an image is like is told by a word in its name (`hello:bad`, `exit1`). All
waiting is anyio's, so that trio's autojump clock runs hours in milliseconds. A
machine that is at rest costs no timers.
"""

from __future__ import annotations

import random
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import anyio

from deploy.local.config import Check, Config
from deploy.local.runtime import CannotStart, Ended, HostStatus, Report, Spec

EPOCH_S = 1_800_000_000.0

Range = tuple[float, float]
"""From and to, in seconds; a value is drawn evenly from it."""


@dataclass(frozen=True, slots=True)
class Behaviour:
    """What a machine with a certain image does.

    `healthy_after_s`: when its checks have their first result; None: never a
    result. `exit_after_s`: when it ends by itself, with `exit_code`. A machine
    that is `deaf` ends only when it is killed.
    """

    boot_s: Range = (0.2, 2.0)
    healthy_after_s: Range | None = (0.5, 3.0)
    passes: bool = True
    exit_after_s: Range | None = None
    exit_code: int = 0
    oom_killed: bool = False
    stop_s: Range = (0.05, 1.0)
    deaf: bool = False
    cannot_start: str = ""


BEHAVIOURS: Mapping[str, Behaviour] = {
    "bad": Behaviour(passes=False),
    "silent": Behaviour(healthy_after_s=None),
    "exit0": Behaviour(exit_after_s=(0.5, 1.5)),
    "exit1": Behaviour(exit_after_s=(0.5, 1.5), exit_code=1),
    "oom": Behaviour(exit_after_s=(0.5, 1.5), exit_code=137, oom_killed=True),
    "slow": Behaviour(boot_s=(20.0, 60.0), healthy_after_s=(10.0, 40.0)),
    "stuck": Behaviour(boot_s=(1e6, 1e6)),
    "deaf": Behaviour(deaf=True),
    "missing": Behaviour(cannot_start="image not found"),
}
_USUAL = Behaviour()
_WORDS = re.compile(r"[/:@.-]")


def simulated_clock() -> float:
    """Unix seconds that pass as anyio's clock does; hand it to `Platform(clock=...)`."""
    return EPOCH_S + anyio.current_time()


class SimulatedRuntime:
    """`behaviours` adds to, and wins over, `BEHAVIOURS`; the word is any part of an image name."""

    def __init__(self, seed: int, behaviours: Mapping[str, Behaviour] | None = None) -> None:
        self._seed = seed
        self._behaviours = {**BEHAVIOURS, **(behaviours or {})}
        self._launches: Counter[str] = Counter()
        self._lost: dict[str, HostStatus] = {}
        self.running: dict[str, SimulatedProcess] = {}

    def objection(self, config: Config) -> str:
        return "" if config.image else "config.image is missing"

    async def start(self, spec: Spec) -> SimulatedProcess:
        self._launches[spec.machine_id] += 1
        chance = random.Random(f"{self._seed}/{spec.machine_id}/{self._launches[spec.machine_id]}")
        behaviour = self.behaviour(spec.config.image or "")
        await anyio.sleep(chance.uniform(*behaviour.boot_s))
        if behaviour.cannot_start:
            raise CannotStart(behaviour.cannot_start)
        process = SimulatedProcess(self, spec, behaviour, chance)
        self.running[spec.machine_id] = process
        return process

    def log(self, machine_id: str) -> Sequence[str]:  # noqa: ARG002 - simulated machines say nothing
        return ()

    def behaviour(self, image: str) -> Behaviour:
        """By the last word of the image's name that is known."""
        words = [word for word in _WORDS.split(image) if word in self._behaviours]
        return self._behaviours[words[-1]] if words else _USUAL

    def lose_host(self, machine_id: str, status: HostStatus = "unreachable") -> None:
        """The host of a machine is lost, until `find_host`: no configuration, no writes."""
        self._lost[machine_id] = status

    def find_host(self, machine_id: str) -> None:
        self._lost.pop(machine_id, None)

    def host_status(self, machine_id: str) -> HostStatus:
        return self._lost.get(machine_id, "ok")


class SimulatedProcess:
    """One life of a simulated machine; `crash` ends it from outside."""

    pid = 0

    def __init__(
        self, runtime: SimulatedRuntime, spec: Spec, behaviour: Behaviour, chance: random.Random
    ) -> None:
        self.spec = spec
        self.signals: list[str] = []
        self._runtime = runtime
        self._behaviour = behaviour
        self._stop_s = chance.uniform(*behaviour.stop_s)
        self._results_s = (
            None
            if behaviour.healthy_after_s is None
            else chance.uniform(*behaviour.healthy_after_s)
        )
        self._exit_s = (
            None if behaviour.exit_after_s is None else chance.uniform(*behaviour.exit_after_s)
        )
        self._asked = anyio.Event()  # something happened to it
        self._over = anyio.Event()  # it ends now
        self._ended = Ended(behaviour.exit_code, behaviour.oom_killed)

    @property
    def host_status(self) -> HostStatus:
        return self._runtime.host_status(self.spec.machine_id)

    async def wait(self) -> Ended:
        try:
            if self._exit_s is None:
                await self._asked.wait()
            else:
                with anyio.move_on_after(self._exit_s):
                    await self._asked.wait()
            if self._asked.is_set():
                with anyio.move_on_after(self._stop_s):
                    await self._over.wait()
            return self._ended
        finally:
            if self._runtime.running.get(self.spec.machine_id) is self:
                del self._runtime.running[self.spec.machine_id]

    def signal(self, name: str) -> None:
        self.signals.append(name)
        if name == "SIGKILL":
            self.kill()
        elif name in ("SIGINT", "SIGTERM", "SIGQUIT") and not self._behaviour.deaf:
            self._ended = Ended(0)
            self._asked.set()

    def kill(self) -> None:
        self.crash(Ended(137))

    def crash(self, ended: Ended) -> None:
        """End at once, as said; nothing that has ended ends again."""
        if not self._over.is_set():
            self._ended = ended
            self._over.set()
            self._asked.set()

    def freeze(self) -> None:
        """Time stands still for nobody here."""

    def thaw(self) -> None:
        """See `freeze`."""

    async def observe(self, check: Check, report: Report) -> None:
        if self._results_s is not None:
            await anyio.sleep(self._results_s)
            if self._behaviour.passes:
                report("passing", "Success")
            else:
                report("critical", f"HTTP 500 from {check.path or 'the machine'}")
        await anyio.sleep_forever()

    def port(self, internal_port: int) -> int | None:  # noqa: ARG002 - nothing listens
        return None
