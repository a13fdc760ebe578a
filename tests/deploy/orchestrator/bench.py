"""A run laid out on the bench: its parts bound as `deploy.run` binds them, on the simulated
platform, so that a test can work one of them by hand."""

from __future__ import annotations

import random
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from typing import Any, TypeVar

from deploy import run
from deploy.api.client import connect
from deploy.api.machine import Fleet, Machine
from deploy.api.patience import Patience
from deploy.events import Event
from deploy.flytoml.appconfig import parse
from deploy.orchestrator.deployment import Deployment
from deploy.orchestrator.halt import Halt
from deploy.orchestrator.lease import LeaseTerms, holding
from deploy.orchestrator.memory import Memory
from deploy.orchestrator.passes import Pass
from deploy.orchestrator.tools import Tools
from deploy.plan.planners import towards_release
from deploy.plan.release import Release
from deploy.run import App, Settings, Task
from tests.contract.clocks import run_on
from tests.worlds.simulated.story import app_text
from tests.worlds.simulated.transport import Call
from tests.worlds.simulated.world import ADDRESS, APP, NEW, Scenario, World
from tests.worlds.stage import Hit, Hits

E = TypeVar("E", bound=Event)
DEPLOY_ID = "0cccccccccbench1"
ONLY_PASS = Pass(1, 1, is_decisive=lambda _: False)
"""A pass in which no failure keeps the rest from beginning."""


@dataclass
class Bench:
    """The parts of one run. Machines are named `web-1`, `web-2`, ... and `worker-1`, ..."""

    world: World
    deployment: Deployment
    events: list[Event] = field(default_factory=list)

    @property
    def tools(self) -> Tools:
        return self.deployment.tools

    @property
    def memory(self) -> Memory:
        return self.deployment.memory

    @property
    def halt(self) -> Halt:
        return self.tools.halt

    def id(self, name: str) -> str:
        return next(one.id for one in self.world.machines() if one.name == name)

    def image(self, name: str) -> str:
        return self.world.snapshot()[self.id(name)].image

    async def machine(self, name: str) -> Machine:
        """As the platform tells of it now."""
        return await self.tools.client.machine(self.id(name))

    async def fleet(self) -> Fleet:
        return Fleet.of(await self.tools.client.machines())

    def of(self, kind: type[E]) -> list[E]:
        """The events of a kind, in their order."""
        return [event for event in self.events if isinstance(event, kind)]

    def calls(self, *operations: str) -> list[Call]:
        return [call for call in self.world.story.calls if call.operation in operations]


@asynccontextmanager
async def bench_in(
    world: World,
    *,
    release: Release | None = None,
    app: App | None = None,
    hits: Sequence[Hit] = (),
    task: Mapping[str, Any] | None = None,
    name: str = "run1",
    **settings: Any,
) -> AsyncIterator[Bench]:
    """One run's parts in this world; `settings` and `task` add to those of `deploy.run`."""
    transport = world.transport(name, Hits(hits))
    events: list[Event] = []
    chosen = Settings(
        **{"wait_timeout_s": 30.0, "smoke_s": 2.0, "handles_signals": False, **settings}
    )
    aim = Task(
        release=release or world.scenario.release(DEPLOY_ID),
        planner=towards_release(chosen.selection),
        **(task or {}),
    )
    app = app or App()
    async with connect(ADDRESS, "local", APP, transport=transport) as client:
        patience = Patience(chosen.wait_timeout_s, random.Random(1))
        tools = Tools(client=client, patience=patience, halt=Halt(), emit=events.append)
        memory = Memory(aim.release, app_exists=app.exists)
        async with holding(tools, memory, LeaseTerms(run_id=name)) as leases:
            parts = run._deployment(run._aim(aim, app, chosen), tools, memory, leases, chosen)
            yield Bench(world, parts, events)


def on_bench(
    story: Callable[[Bench], Awaitable[None]],
    *,
    scenario: Scenario | None = None,
    backend: str = "trio",
    **options: Any,
) -> None:
    """Let a story play on the bench; by default with two machines of one group."""
    world = World(scenario or Scenario(machines=2))

    async def main() -> None:
        async with world, bench_in(world, **options) as bench:
            await story(bench)

    run_on(backend, main)


def release_of(world: World, **fields: Any) -> Release:
    """The release that the scenario aims at, with other fields."""
    return replace(world.scenario.release(DEPLOY_ID), **fields)


def release_for(groups: int = 1, **fields: Any) -> Release:
    """A release of the world's app: one group behind a checked service, or two."""
    said: dict[str, Any] = {"app": APP, "deploy_id": DEPLOY_ID, "image": NEW} | fields
    return Release(groups=parse(app_text(groups, "2")).groups, **said)
