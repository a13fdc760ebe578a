"""One seed -> a platform, its simulated machines, an app on it, and deploys of that app.

The orchestrator is the real one, unchanged; what it says goes through
`transport` into the local platform's own application. The result is a `Story`:
every call, every event and what served when, for the laws to judge.
"""

from __future__ import annotations

import random
from collections.abc import Awaitable, Callable, Mapping, Sequence, Set
from contextlib import AsyncExitStack
from dataclasses import replace
from types import TracebackType
from typing import Any, Self

import anyio
import httpx
import msgspec
from anyio.abc import TaskGroup

from deploy.api.client import connect
from deploy.commands.order import Order
from deploy.commands.reading import first_look
from deploy.commands.target import Target
from deploy.errors import DeployError
from deploy.events import Emit, Event, GoingBack, RunFinished
from deploy.flytoml.appconfig import parse
from deploy.local.engine import Platform
from deploy.local.http import api
from deploy.local.requests import CreateMachine
from deploy.local.runtime import HostStatus
from deploy.local.state import Machine
from deploy.plan.configs import created_config
from deploy.plan.planners import towards_release
from deploy.plan.release import Release
from deploy.plan.stamps import slot_name
from deploy.retries import asked_for
from deploy.run import App, Settings, Task, run
from tests.worlds.simulated.advised import follow_advice
from tests.worlds.simulated.clockwork import run_in_time
from tests.worlds.simulated.commanded import commands_in, use
from tests.worlds.simulated.effects import Effects
from tests.worlds.simulated.faults import Kind
from tests.worlds.simulated.habits import KNOWN_KEYS, NO_HABITS, inhabit
from tests.worlds.simulated.runtime import Behaviour, SimulatedRuntime, simulated_clock
from tests.worlds.simulated.story import (
    APP,
    BROKEN,
    NEW,
    OLD,
    Run,
    Scenario,
    Snapshot,
    Story,
    app_text,
)
from tests.worlds.simulated.transport import (
    Faults,
    NoFaults,
    Reply,
    Rules,
    SimulatedTransport,
    ask,
)
from tests.worlds.simulated.watch import Watch

__all__ = [
    "ADDRESS",
    "APP",
    "BROKEN",
    "NEW",
    "OLD",
    "UNKNOWN_KEYS",
    "Command",
    "Run",
    "Scenario",
    "Snapshot",
    "Story",
    "World",
    "simulate",
    "tell",
]

ADDRESS = "http://127.0.0.1:4280"
UNKNOWN_KEYS: Mapping[str, Any] = {"x_unknown": {"keep": [1, 2]}, "guest": {"cpus": 4}}
BASE_ID = "0base0000000base"

Command = Callable[[Target, Order, Emit], Awaitable[RunFinished | None]]
"""A command of the program, such as `resume_app`."""

_LONGEST_RUN_S = 4 * 3600.0
_QUICK: Mapping[str, Behaviour] = {
    "hello": Behaviour(boot_s=(0.05, 0.5), healthy_after_s=(0.1, 0.9), stop_s=(0.05, 0.3))
}


def simulate(scenario: Scenario, faults: Faults | None = None) -> Story:
    """A deploy of the scenario's release, from the fleet before to the fleet at rest."""
    struck = faults or (Rules(scenario.rules) if scenario.rules else NoFaults())

    async def story(world: World) -> None:
        await world.deploy(faults=struck)
        await world.rest()

    return tell(scenario, story)


def tell(scenario: Scenario, play: Any) -> Story:
    """The story of what `play`, an async function of the world, does in it."""
    told: list[World] = []

    async def main() -> Story:
        async with World(scenario) as world:
            told.append(world)
            await play(world)
            return world.story

    def look(now: float) -> None:
        if told:
            told[0].look(now)

    with commands_in(scenario.seed):
        return run_in_time(main, seed=scenario.seed, before_time_passes=look)


class _Platform(Platform):
    """One that removes machines by force though their hosts are `lost`, where it is told so."""

    lost: Set[str] = frozenset()

    def destroy_slowly(self, for_s: float) -> None:
        """From now on a machine is `destroying` for so long after its process has ended."""
        lifecycle, at_once = self._lifecycle, self._lifecycle._destroy

        async def destroy(machine: Machine) -> None:
            await anyio.sleep(for_s)
            await at_once(machine)

        lifecycle._destroy = destroy  # type: ignore[method-assign] # the slow world of this test

    def admit(self, machine: Machine, nonce: str) -> None:
        if machine.id in self.lost and not machine.is_gone:
            self.leases.guard(machine, nonce)  # all else is refused before it comes here
        else:
            super().admit(machine, nonce)


class World:
    """A platform with an app on it. An async context manager."""

    def __init__(
        self,
        scenario: Scenario,
        behaviours: Mapping[str, Behaviour] | None = None,
    ) -> None:
        self.scenario = scenario
        self.story = Story(scenario=scenario)
        self.runtime = SimulatedRuntime(scenario.seed, {**_QUICK, **(behaviours or {})})
        self.platform = _Platform(runtime=self.runtime, clock=simulated_clock, seed=scenario.seed)
        application = api.app(self.platform)
        self.inhabited = inhabit(application, scenario.habits, simulated_clock)
        if scenario.habits.removes_lost:
            self.platform.lost = self.inhabited.lost
        self._application = application if scenario.habits == NO_HABITS else self.inhabited
        self._stack = AsyncExitStack()
        self._tasks: TaskGroup
        self._effects: Effects
        self._watch: Watch | None = None
        self._positions: dict[str, str] = {}

    async def __aenter__(self) -> Self:
        await self._stack.enter_async_context(self.platform)
        if self.scenario.habits.destroys_for_s:
            self.platform.destroy_slowly(self.scenario.habits.destroys_for_s)
        self._tasks = await self._stack.enter_async_context(anyio.create_task_group())
        self._stack.callback(self._tasks.cancel_scope.cancel)
        self.platform.create_app(APP)
        self._effects = Effects(self.platform, self.runtime, APP, self._tasks)
        self._watch = Watch(self.platform, APP)
        self.story.serving = self._watch.serving
        self.story.groups = self._watch.groups
        self.story.canaries = self._watch.canaries
        self._settle_in()
        await anyio.sleep(60)
        self.story.before = self.snapshot()
        self._positions = _positions(self.story.before)
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> bool | None:
        return await self._stack.__aexit__(kind, error, trace)

    # -- what stands there at first --------------------------------------------------

    def _settle_in(self) -> None:
        scenario = self.scenario
        groups = parse(app_text(scenario.groups, "1")).groups
        old = Release(app=APP, deploy_id=BASE_ID, image=scenario.old, groups=groups)
        for group in groups:
            for slot in range(1, scenario.machines + 1):
                config = created_config(old, group)
                config |= self._unknown_keys()
                config["metadata"] |= {"team": "red"}
                is_cold = slot > scenario.machines - scenario.cold
                self.create(slot_name(group.name, slot), config, launch=not is_cold)
        if scenario.machines:
            self.create("builder", {"image": scenario.old})
            console = {"fly_platform_version": "v2", "fly_process_group": "fly_app_console"}
            self.create("console", {"image": scenario.old, "metadata": console})

    def _unknown_keys(self) -> Mapping[str, Any]:
        """Keys that no deploy knows; a server that drops what it does not know never had them."""
        if not self.scenario.habits.drops_unknown_keys:
            return UNKNOWN_KEYS
        return {key: value for key, value in UNKNOWN_KEYS.items() if key in KNOWN_KEYS}

    def create(self, name: str, config: Mapping[str, Any], *, launch: bool = True) -> Machine:
        """A machine that somebody made before."""
        request = msgspec.convert(
            {"name": name, "config": config, "skip_launch": not launch}, CreateMachine
        )
        return self.platform.create(APP, request, slot=f"setup/{name}", owner="setup")

    # -- deploys ---------------------------------------------------------------------

    async def deploy(
        self,
        *,
        name: str = "run1",
        image: str = "",
        deploy_id: str | None = None,
        faults: Faults | None = None,
        retries: int | None = None,
        dies_at: tuple[int, bool] | None = None,
        outage: tuple[float, float] | None = None,
        stranger: Kind | None = None,
        settings: Settings | None = None,
        command: Command | None = None,
    ) -> Run:
        """Run the orchestrator until it ends, or dies; with a `command` the program's own.

        In an `outage` (from, to) no connection is made, or a `stranger` answers.
        """
        scenario = self.scenario
        release = scenario.release(deploy_id or f"0000000{name}"[-9:] + f"{name:x>7}"[-7:])
        told = Run(
            name=name,
            release=replace(release, image=image or release.image),
            retries=scenario.retries if retries is None else retries,
            started_s=anyio.current_time(),
            before=self.snapshot(),
        )
        self.story.runs.append(told)
        transport = self.transport(name, faults or NoFaults())
        transport.dies_at, transport.outage, transport.stranger = dies_at, outage, stranger
        chosen = settings or self.settings
        over = anyio.Event()

        async def live() -> None:
            await _live(told, transport, chosen, random.Random(f"{scenario.seed}/{name}"), command)
            over.set()

        async def death() -> None:
            await transport.died.wait()
            told.died = True
            over.set()

        self._tasks.start_soon(live)
        self._tasks.start_soon(death)
        await over.wait()
        told.ended_s = anyio.current_time()
        told.after = self.snapshot()
        return told

    @property
    def settings(self) -> Settings:
        """Those of a run, as the scenario has them."""
        return Settings(
            wait_timeout_s=self.scenario.wait_timeout_s,
            smoke_s=self.scenario.smoke_s,
            lease_ttl_s=self.scenario.lease_ttl_s,
            wait_for_lease_s=self.scenario.wait_for_lease_s,
            handles_signals=False,
        )

    def transport(self, name: str, faults: Faults) -> SimulatedTransport:
        """A network between the platform and a run of that name."""
        return SimulatedTransport(
            self._application,
            self._tasks,
            run=name,
            log=self.story.calls,
            faults=faults,
            chance=random.Random(f"network/{self.scenario.seed}/{name}"),
            role=self.role,
            effect=self._effects,
            lease_of=self._lease_nonce,
            latency_s=self.scenario.latency_s,
            cpu_s=self.scenario.cpu_s,
        )

    def set_host(self, machine_id: str, status: HostStatus) -> None:
        """Lose the host of a machine, or find it again (`ok`)."""
        if status == "ok":
            self.runtime.find_host(machine_id)
            self.inhabited.find(machine_id)
            self.story.away.discard(machine_id)
        else:
            self.runtime.lose_host(machine_id, status)
            if self.scenario.habits.removes_lost:
                self.inhabited.lose(machine_id)
            self.story.lost.setdefault(machine_id, anyio.current_time())
            self.story.away.add(machine_id)
        if self._watch is not None:
            self._watch.note(machine_id)

    async def ask(self, request: httpx.Request) -> Reply:
        """One request from anybody, without a network in between."""
        reply = Reply()
        await ask(self._application, request, reply)
        return reply

    async def rest(self) -> None:
        """Let everything come to rest that is still in motion, and remember how it stands."""
        await anyio.sleep(self.scenario.settles_s)
        self.story.after = self.snapshot()
        if self._watch is not None:
            self._watch.check()
        self.story.advised = await follow_advice(self)

    # -- looking -----------------------------------------------------------------------

    def machines(self) -> Sequence[Machine]:
        return self.platform.apps[APP].living

    def look(self, now: float) -> None:
        """Note who takes traffic, if that has changed; called when time is about to pass."""
        if self._watch is not None:
            self._watch.look(now)

    def snapshot(self) -> dict[str, Snapshot]:
        """Every living machine as it is now; none brings back one that is being destroyed."""
        staying = (machine for machine in self.machines() if machine.state != "destroying")
        return {machine.id: self._snapshot(machine) for machine in staying}

    def _snapshot(self, machine: Machine) -> Snapshot:
        held = machine.lease
        in_force = held is not None and held.expires_at > self.platform.clock()
        return Snapshot(
            id=machine.id,
            name=machine.name,
            group=machine.config.group,
            image=machine.config.image or "",
            state=machine.state,
            cordoned=machine.cordoned,
            version=machine.version,
            config=machine.raw,
            lease=held.description or held.owner if held is not None and in_force else "",
            serves=machine.takes_traffic,
        )

    def _lease_nonce(self, machine_id: str) -> str:
        machine = self.platform.apps[APP].machines.get(machine_id)
        held = machine.lease if machine is not None else None
        return held.nonce if held is not None and held.expires_at > self.platform.clock() else ""

    def role(self, machine_id: str, name: str) -> str:
        """The part of a machine in the fleet: `web first`, `web canary`, `web green other`.

        That of a machine that tries another, and is no part of it: `machine check`.
        """
        if machine_id in self._positions:
            return self._positions[machine_id]
        machine = self.platform.apps[APP].machines.get(machine_id)
        name = name or (machine.name if machine is not None else "")
        group = name.partition("-")[0]
        if name.startswith("machine-check-"):
            return "machine check"
        if "-canary-" in name:
            return f"{group} canary"
        for replaced, role in self._positions.items():
            if f"-{replaced[-8:]}-" in name:
                return role.replace(" ", " green ", 1)
        return f"{group} new" if name else ""


async def _live(
    told: Run,
    transport: SimulatedTransport,
    settings: Settings,
    chance: random.Random,
    command: Command | None,
) -> None:
    """The life of a run, bounded in time; what it raises is a finding, told by a law."""

    def emit(event: Event) -> None:
        if transport.is_dead:
            return
        told.events.append((anyio.current_time(), event))
        if isinstance(event, GoingBack):
            transport.turn_back()

    try:
        with anyio.fail_after(_LONGEST_RUN_S):
            if command is None:
                told.finished = await _deploy(told, transport, settings, chance, emit)
            else:
                use(transport, chance)
                order = Order(
                    retries=told.retries,
                    image=told.release.image,
                    max_unavailable=told.release.max_unavailable,
                    settings=settings,
                )
                told.finished = await command(_target(told.release), order, emit)
                told.had_nothing_to_do = told.finished is None
    except DeployError as error:
        if command is None:
            told.error = _in_words(error)
        told.refusal = _in_words(error)
        told.had_nothing_to_do = True  # told to the person, before it began
    except Exception as error:
        told.error = told.error or _in_words(error)
    if transport.is_dead:
        told.finished = None  # it goes on as a ghost, and nobody hears what it finds


async def _deploy(
    told: Run,
    transport: SimulatedTransport,
    settings: Settings,
    chance: random.Random,
    emit: Emit,
) -> RunFinished:
    """What the command does, from reading the app to the report."""
    async with connect(ADDRESS, "local", APP, transport=transport) as client:
        exists, organization, machines = await first_look(client)
        return await run(
            client,
            Task(release=told.release, planner=towards_release(settings.selection)),
            asked_for(told.retries),
            settings,
            run_id=told.name,
            chance=chance,
            emit=emit,
            app=App(exists=exists, organization=organization, machines=machines),
        )


def _target(release: Release) -> Target:
    config = parse(app_text(len(release.groups), "2"))
    strategy = replace(config.deploy, strategy=release.strategy)
    config = replace(config, groups=release.groups, deploy=strategy)
    return Target(app=APP, config=config, address=ADDRESS, token="local")  # noqa: S106 - a name


def _in_words(error: BaseException) -> str:
    if isinstance(error, BaseExceptionGroup):
        return "; ".join(_in_words(each) for each in error.exceptions)
    return f"{type(error).__name__}: {error}"


def _positions(before: Mapping[str, Snapshot]) -> dict[str, str]:
    by_group: dict[str, list[str]] = {}
    for machine_id in sorted(before):
        by_group.setdefault(before[machine_id].group or "unmanaged", []).append(machine_id)
    found = {}
    for group, ids in by_group.items():
        for machine_id in ids:
            place = "first" if machine_id == ids[0] else "other"
            found[machine_id] = f"{group} {place}"
    return found
