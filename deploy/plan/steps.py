"""The order of actions as values: stages of tracks of steps.

Stages follow one another; the tracks of a stage (one per process group, and one
for machines that do not run) go side by side; the steps of a track follow one
another. The availability of a group is not kept here but by the window that the
executor holds over all of it.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from enum import Enum
from typing import Any

from deploy.api.machine import Fleet
from deploy.plan.actions import Action, Update


class Gate(Enum):
    """What must be seen of a machine before its action counts as done.

    TRIED is healthy, and the machine checks of its group have passed.
    """

    NONE = "none"
    STARTED = "started"
    HEALTHY = "healthy"
    TRIED = "tried"


class Watched(Enum):
    """Which machines of a step have to stay healthy for the minimum healthy time."""

    NONE = "none"
    FIRST = "first"
    ALL = "all"


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """Actions that may go side by side.

    With `first_alone`, one at a time until one has succeeded. `counted` actions
    take a place in the group's window while their machine is out of service.
    `required` steps must be done wholly before the next step begins. One that is
    `guarded` takes away what is old: before it, one look has to show that all
    that is new is well.
    """

    actions: tuple[Action, ...]
    gate: Gate
    counted: bool = False
    first_alone: bool = False
    required: bool = True
    watched: Watched = Watched.NONE
    guarded: bool = False


@dataclass(frozen=True, slots=True)
class Track:
    """Steps of one process group, one after the other; at least one, none of them empty."""

    group: str
    steps: tuple[Step, ...]


Stage = tuple[Track, ...]
Schedule = tuple[Stage, ...]


def step(
    actions: Iterable[Action],
    gate: Gate,
    **qualities: Any,
) -> Step:
    """The actions as a step, with the qualities of a Step."""
    return Step(actions=tuple(actions), gate=gate, **qualities)


def track(group: str, steps: Iterable[Step]) -> tuple[Track, ...]:
    """The steps that have something to do as one track; none if there are none."""
    kept = tuple(each for each in steps if each.actions)
    return (Track(group, kept),) if kept else ()


def actions_of(schedule: Schedule) -> Iterator[Action]:
    for stage in schedule:
        yield from actions_in(stage)


def actions_in(stage: Stage) -> Iterator[Action]:
    for each in stage:
        for one in each.steps:
            yield from one.actions


def without_gates(schedule: Schedule) -> Schedule:
    """The same order where nobody waits for health: what `--detach` asks for."""
    return tuple(
        tuple(
            Track(each.group, tuple(replace(one, gate=Gate.NONE) for one in each.steps))
            for each in stage
        )
        for stage in schedule
    )


def parted(actions: Iterable[Action], serving: frozenset[str]) -> tuple[list[Action], list[Action]]:
    """Those that take nothing out of service, and those that do."""
    free: list[Action] = []
    costly: list[Action] = []
    for action in actions:
        takes_out = isinstance(action, Update) and action.machine_id in serving
        (costly if takes_out else free).append(action)
    return free, costly


def serving(fleet: Fleet) -> frozenset[str]:
    """The ids of the machines that serve now."""
    return frozenset(machine.id for machine in fleet.managed if machine.is_serving)
