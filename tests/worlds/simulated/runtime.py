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
from collections.abc import Mapping
from dataclasses import dataclass, replace

import anyio

from deploy.local.config import Check, Config
from deploy.local.runtime import Address, CannotStart, Ended, HostStatus, Report, Spec

EPOCH_S = 1_800_000_000.0
CRASH_S = 0.05  # from the first check that passed to the crash
DEFAULT_TIMEOUT_S = 2.0  # of a check

Range = tuple[float, float]
"""From and to, in seconds; a value is drawn evenly from it."""


@dataclass(frozen=True, slots=True)
class Behaviour:
    """What a machine with a certain image does.

    `healthy_after_s`: when its checks have their first result; None: never a
    result. `sick_after_s`: from when on, after its start, its checks fail.
    `flaps_s`: passes for so long, fails for so long, and so on. `answer_s`: how
    long an answer to a check takes. `exit_after_s`: when it ends by itself, with
    `exit_code`; `crashes`: it ends so once a check has passed. A machine that is
    `deaf` ends only when it is killed; `gone_after_s`: how long it takes to be gone after
    it was stopped or killed. `cannot_start`: why it fails instead of
    starting; `refused`: why the platform does not take it at all (400).
    """

    boot_s: Range = (0.2, 2.0)
    healthy_after_s: Range | None = (0.5, 3.0)
    passes: bool = True
    sick_after_s: float | None = None
    flaps_s: float | None = None
    answer_s: float = 0.0
    exit_after_s: Range | None = None
    exit_code: int = 0
    oom_killed: bool = False
    crashes: bool = False
    stop_s: Range = (0.05, 1.0)
    gone_after_s: float = 0.0
    deaf: bool = False
    cannot_start: str = ""
    refused: str = ""


_BOOT_S, _SOON_S = (0.05, 0.5), (0.1, 0.3)

BEHAVIOURS: Mapping[str, Behaviour] = {
    "bad": Behaviour(passes=False),
    "silent": Behaviour(healthy_after_s=None),
    "lingers": Behaviour(gone_after_s=3.0),
    "exit0": Behaviour(exit_after_s=(0.5, 1.5)),
    "exit1": Behaviour(exit_after_s=(0.5, 1.5), exit_code=1),
    "oom": Behaviour(exit_after_s=(0.5, 1.5), exit_code=137, oom_killed=True),
    "slow": Behaviour(boot_s=(20.0, 60.0), healthy_after_s=(10.0, 40.0)),
    "stuck": Behaviour(boot_s=(1e6, 1e6)),
    "deaf": Behaviour(deaf=True),
    "missing": Behaviour(cannot_start="image not found"),
    "unbootable": Behaviour(cannot_start="no space left on device"),
    # Those of tests/worlds/apps.py, which are real:
    "late": Behaviour(boot_s=_BOOT_S, healthy_after_s=_SOON_S, sick_after_s=1.0),
    "flap": Behaviour(boot_s=_BOOT_S, healthy_after_s=_SOON_S, flaps_s=0.3),
    "crash": Behaviour(boot_s=_BOOT_S, healthy_after_s=_SOON_S, exit_code=3, crashes=True),
    "exitzero": Behaviour(boot_s=_BOOT_S, healthy_after_s=None, exit_after_s=(0.2, 0.2)),
    "slowcheck": Behaviour(boot_s=_BOOT_S, healthy_after_s=_SOON_S, answer_s=4.0),
    # What the platform says of an image that it cannot have:
    "nopull": Behaviour(cannot_start="could not pull image: manifest unknown"),
    "noimage": Behaviour(refused="unable to pull image: manifest unknown"),
}
_USUAL = Behaviour()
_WORDS = re.compile(r"[/:@.-]")
_NUMBERED = re.compile(r"(late|crash|flap|exitzero|slowcheck|nopull|noimage)(\d+)")


def simulated_clock() -> float:
    """Unix seconds that pass as anyio's clock does; hand it to `Platform(clock=...)`."""
    return EPOCH_S + anyio.current_time()


class SimulatedRuntime:
    """`behaviours` adds to, and wins over, `BEHAVIOURS`; the word is any part of an image name.

    In `lateN`, N is the second after its start from which on it is sick; other
    new words may carry a number too, which only tells releases apart.
    """

    def __init__(self, seed: int, behaviours: Mapping[str, Behaviour] | None = None) -> None:
        self._seed = seed
        self._behaviours = {**BEHAVIOURS, **(behaviours or {})}
        self._launches: Counter[str] = Counter()
        self._lost: dict[str, HostStatus] = {}
        self.running: dict[str, SimulatedProcess] = {}

    def objection(self, config: Config) -> str:
        return self.behaviour(config.image).refused if config.image else "config.image is missing"

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

    def behaviour(self, image: str) -> Behaviour:
        """By the last word of the image's name that is known."""
        known = [found for word in _WORDS.split(image) if (found := self._named(word))]
        return known[-1] if known else _USUAL

    def _named(self, word: str) -> Behaviour | None:
        numbered = _NUMBERED.fullmatch(word)
        if word in self._behaviours or numbered is None:
            return self._behaviours.get(word)
        found = self._behaviours[numbered[1]]
        is_late = numbered[1] == "late"
        return replace(found, sick_after_s=float(numbered[2])) if is_late else found

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
        self._began_s = anyio.current_time()
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
            if self._behaviour.gone_after_s:
                await anyio.sleep(self._behaviour.gone_after_s)
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
        """Report what changes; a machine that is at rest costs no timers."""
        if self._results_s is not None:
            await anyio.sleep(self._results_s)
            await self._answer(check, report)
        await anyio.sleep_forever()

    async def _answer(self, check: Check, report: Report) -> None:
        behaviour, path = self._behaviour, check.path or "the machine"
        timeout_s = check.timeout_s or DEFAULT_TIMEOUT_S
        await anyio.sleep(min(behaviour.answer_s, timeout_s))
        if behaviour.answer_s > timeout_s:
            report("critical", f"no answer within {timeout_s:g} s")
        elif not behaviour.passes:
            report("critical", f"HTTP 500 from {path}")
        elif behaviour.flaps_s is not None:
            await self._flap(behaviour.flaps_s, report)
        else:
            await self._pass(report)

    async def _flap(self, flaps_s: float, report: Report) -> None:
        while True:
            report("passing", "Success")
            await anyio.sleep(flaps_s)
            report("critical", "HTTP 503: flapping")
            await anyio.sleep(flaps_s)

    async def _pass(self, report: Report) -> None:
        since_s = anyio.current_time() - self._began_s
        sick_after_s = self._behaviour.sick_after_s
        if sick_after_s is None or since_s < sick_after_s:
            report("passing", "Success")
        if self._behaviour.crashes:
            await anyio.sleep(CRASH_S)
            self.crash(Ended(self._behaviour.exit_code))
        if sick_after_s is not None:
            await anyio.sleep(max(0.0, sick_after_s - since_s))
            report("critical", "HTTP 503: sick")

    def address(self, internal_port: int) -> Address | None:  # noqa: ARG002 - nothing listens
        return None

    def listening(self) -> list[Address]:
        """What an app would that minds its configuration."""
        return [("0.0.0.0", port) for port in self.spec.config.internal_ports]  # noqa: S104
