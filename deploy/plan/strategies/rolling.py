"""Rolling: machines are updated in place, a few at a time."""

from __future__ import annotations

from deploy.plan.steps import Gate, Watched, parted, serving, step
from deploy.plan.strategies.strategy import Scene, Steps, Strategy


def roll(scene: Scene) -> Steps:
    """New and sick machines first, they cost nothing; one serving machine alone; then the rest."""
    free, costly = parted(scene.actions, serving(scene.machines) & scene.base.serving)
    is_first_deploy = not scene.base.machines
    return (
        step(
            free,
            Gate.HEALTHY,
            first_alone=is_first_deploy,
            required=False,
            watched=Watched.FIRST,
        ),
        step(
            costly,
            Gate.HEALTHY,
            counted=True,
            first_alone=not scene.is_tried,
            required=False,
            watched=Watched.NONE if scene.is_tried else Watched.FIRST,
        ),
    )


STRATEGY = Strategy(name="rolling", roll=roll)
