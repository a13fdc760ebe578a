"""Orders of a strategy, laid out to be looked at."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from deploy.api.machine import Fleet
from deploy.plan.base import Base
from deploy.plan.release import Release
from deploy.plan.schedule import schedule
from deploy.plan.steps import Schedule, Step, Track
from deploy.plan.strategies import STRATEGY_NAMES
from tests.worlds.fleets import machine, plan, situations

every_strategy = situations(strategies=STRATEGY_NAMES)


def order_of(wanted: Release, fleet: Fleet) -> Schedule:
    base = Base.of(fleet)
    return schedule(wanted, fleet, base, plan(wanted, fleet, base))


def steps_of(order: Schedule) -> Iterator[tuple[int, Track, Step]]:
    for number, stage in enumerate(order):
        for track in stage:
            for step in track.steps:
                yield number, track, step


def shape(order: Schedule) -> list[list[tuple[str, list[list[str]]]]]:
    """Stages of (group, steps of verbs)."""
    return [
        [(track.group, [[a.verb for a in step.actions] for step in track.steps]) for track in stage]
        for stage in order
    ]


def three(**fields: Any) -> Fleet:
    return Fleet.of(machine(f"m{n}", **fields) for n in (1, 2, 3))
