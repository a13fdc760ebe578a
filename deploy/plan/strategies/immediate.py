"""Immediate: all at once; nothing is waited for."""

from __future__ import annotations

from deploy.plan.actions import Wait
from deploy.plan.steps import Gate, step
from deploy.plan.strategies.strategy import Scene, Steps, Strategy


def roll(scene: Scene) -> Steps:
    begun = [action for action in scene.actions if not isinstance(action, Wait)]
    return (step(begun, Gate.NONE, required=False),)


STRATEGY = Strategy(name="immediate", roll=roll, waits=False)
