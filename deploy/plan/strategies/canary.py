"""Canary: one extra machine per group has to do well before the roll begins."""

from __future__ import annotations

from itertools import count

from deploy.api.machine import Fleet
from deploy.plan.actions import Create, Update, bring_up
from deploy.plan.configs import created_config
from deploy.plan.stamps import Role, canary_name
from deploy.plan.steps import Gate, Watched, step
from deploy.plan.strategies.rolling import roll
from deploy.plan.strategies.strategy import Scene, Steps, Strategy


def prove(scene: Scene) -> Steps:
    """Make the canary, or bring up the one that is there; not for a group that is tried, or new.

    A dead one proves nothing: there is another beside it.
    """
    release = scene.release
    group = release.group(scene.group)
    before = scene.base.machines.group(scene.group)
    rolls = any(isinstance(action, Update) for action in scene.actions)
    if group is None or not before or not rolls or scene.is_tried:
        return ()
    by_name = {machine.name: machine for machine in scene.machines}
    names = (canary_name(group.name, release.deploy_id, number) for number in count(1))
    name = next(each for each in names if each not in by_name or not by_name[each].is_dead)
    there = by_name.get(name)
    if there is not None:
        return (step([bring_up(there)], Gate.HEALTHY, watched=Watched.ALL),)
    bird = Create(
        name=name,
        group=group.name,
        region=before.machines[0].region,
        config=created_config(release, group, Role(release.deploy_id)),
        is_temporary=True,
    )
    return (step([bird], Gate.HEALTHY, watched=Watched.ALL),)


def _one_per_group(fleet: Fleet) -> int:
    return len({machine.group for machine in fleet})


STRATEGY = Strategy(name="canary", prove=prove, roll=roll, extras=_one_per_group)
