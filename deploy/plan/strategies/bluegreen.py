"""Bluegreen: green comes up beside blue; once all are healthy traffic moves, and blue drains."""

from __future__ import annotations

from deploy.plan.actions import Cordon, Create, Stop, Uncordon, where
from deploy.plan.steps import Gate, Watched, step
from deploy.plan.strategies.strategy import Scene, Steps, Strategy


def prove(scene: Scene) -> Steps:
    """Every green, out of rotation."""
    greens = [action for action in scene.actions if not isinstance(action, Uncordon)]
    return (step(greens, Gate.HEALTHY, watched=Watched.ALL),)


def roll(scene: Scene) -> Steps:
    """The switch of one group; a blue whose host does not answer is left to its removal."""
    waiting = [action for action in scene.actions if isinstance(action, Uncordon)]
    made = [
        Uncordon(name=green.name, group=green.group)
        for green in scene.actions
        if isinstance(green, Create) and green.cordoned
    ]
    by_id = scene.machines.by_id
    running = [
        blue
        for blue in scene.blues
        if by_id[blue.machine_id].state == "started" and not blue.is_unleased
    ]
    in_rotation = [blue for blue in running if not by_id[blue.machine_id].cordoned]
    return (
        step([*waiting, *made], Gate.HEALTHY),
        step([Cordon(**where(blue)) for blue in in_rotation], Gate.NONE, guarded=True),
        step([Stop(**where(blue)) for blue in running], Gate.NONE, guarded=True),
    )


STRATEGY = Strategy(
    name="bluegreen", prove=prove, roll=roll, extras=len, swaps=True, needs_checks=True
)
