"""A run under way: what it aims at, what it works with, what it remembers."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field

from deploy.api.machine import Fleet
from deploy.orchestrator.actions import Actions
from deploy.orchestrator.lease import Leases
from deploy.orchestrator.look import Lookout
from deploy.orchestrator.machine_checks import MachineChecks
from deploy.orchestrator.marks import Marks
from deploy.orchestrator.memory import Memory, TakenUp
from deploy.orchestrator.release_command import ReleaseCommandRun
from deploy.orchestrator.tools import Tools
from deploy.orchestrator.watch import Watch
from deploy.plan.actions import Action, Wait
from deploy.plan.back import plan_back
from deploy.plan.planners import Planner
from deploy.plan.selection import Selection
from deploy.plan.strategies import strategy_named

TakeUp = Callable[[Tools, Fleet], Awaitable[TakenUp]]
"""Reads off the platform what another run of this deploy has left."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Aim:
    """What a run is to bring about, and how carefully.

    `planner` says what is left to do. `take_up` is there when another run began
    this deploy; it is asked once our leases keep anything more of that run's
    from landing. `organization` is the owner of an app that is to be created.
    """

    planner: Planner
    selection: Selection = field(default_factory=Selection)
    waits_for_health: bool = True
    max_concurrent: int = 64
    organization: str = ""
    take_up: TakeUp | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Deployment:
    """Everything that a pass needs; only `memory` and `marks` change from pass to pass."""

    aim: Aim
    tools: Tools
    memory: Memory
    leases: Leases
    lookout: Lookout
    marks: Marks
    actions: Actions
    watch: Watch
    machine_checks: MachineChecks
    release_command: ReleaseCommandRun | None = None

    def take_up(self, found: TakenUp, now: float) -> None:
        """Go on with a deploy that another run began."""
        self.memory.took_up(found, now)
        self.marks.took_up(found.marked)

    @property
    def waits(self) -> bool:
        """Whether it sees every machine do well before it is done with it."""
        return self.aim.waits_for_health and strategy_named(self.memory.release.strategy).waits

    def left(self, fleet: Fleet) -> tuple[Action, ...]:
        """What is still to be done to reach the aim."""
        actions = self.aim.planner(self.memory.situation(fleet))
        if self.aim.waits_for_health:
            return actions
        return tuple(action for action in actions if not isinstance(action, Wait))

    def left_back(self, fleet: Fleet) -> tuple[Action, ...]:
        """What is still to be undone."""
        memory = self.memory
        return plan_back(
            fleet.managed,
            memory.known_base,
            deploy_id=memory.release.deploy_id,
            written=frozenset(memory.written),
            doubtful=frozenset(memory.doubtful),
        )
