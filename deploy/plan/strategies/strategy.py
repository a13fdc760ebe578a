"""What a rollout strategy is: one value that says how a release comes over a process group."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from deploy.api.machine import Fleet
from deploy.plan.actions import Action, Destroy
from deploy.plan.base import Base
from deploy.plan.release import Release, is_current
from deploy.plan.steps import Step

Steps = tuple[Step, ...]


@dataclass(frozen=True, slots=True)
class Scene:
    """One process group as a strategy sees it: what is there, and what is to be done to it.

    `machines` are the group's. `blues` are those of them that others replace, to
    be destroyed at the end; `base` is the whole app as it was at first. `doubtful`
    are those of our writes that are not known to do well, as the ids of their machines.
    """

    release: Release
    group: str
    machines: Fleet
    base: Base
    actions: tuple[Action, ...]
    blues: tuple[Destroy, ...]
    doubtful: frozenset[str] = frozenset()

    @property
    def is_tried(self) -> bool:
        """Whether a machine of the group has proved the new release already, and serves.

        One that serves at a look may not have lasted, or passed its machine checks.
        """
        return any(
            m.is_serving and is_current(self.release, m) and m.id not in self.doubtful
            for m in self.machines
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Strategy:
    """One rollout strategy.

    `prove` yields the steps that try the release without touching what is old:
    they must succeed in every group before `roll` touches anything in any.
    `extras` says how many machines a strategy makes beside those of a fleet; one
    that makes any cannot be used with volumes and is made of waiting for health.
    A strategy that `swaps` makes a machine beside each that runs, where others
    update it; without a health check, one that `needs_checks` proves nothing.
    One that `waits` sees every machine do well before it is done with it.
    """

    name: str
    roll: Callable[[Scene], Steps]
    prove: Callable[[Scene], Steps] | None = None
    extras: Callable[[Fleet], int] | None = None
    swaps: bool = False
    needs_checks: bool = False
    waits: bool = True
