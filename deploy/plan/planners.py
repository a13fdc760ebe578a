"""What each command aims at, as a function that says what is left to do for it. Pure.

A planner is asked anew in every pass, with what the run knows by then.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

from deploy.api.machine import Machine
from deploy.plan.actions import Action, Create, Update, Wait, where
from deploy.plan.configs import reissued_config
from deploy.plan.forward import Situation, plan, should_launch
from deploy.plan.scale import plan_scale
from deploy.plan.selection import Selection
from deploy.plan.stamps import is_stamped, was

Planner = Callable[[Situation], tuple[Action, ...]]


def towards_release(selection: Selection) -> Planner:
    """Bring the selected machines to the release."""

    def planner(situation: Situation) -> tuple[Action, ...]:
        return plan(replace(situation, fleet=selection.of(situation.fleet)))

    return planner


def towards_count(group: str, count: int, pattern: Create) -> Planner:
    """Bring a process group to `count` machines, new ones after the pattern."""

    def planner(situation: Situation) -> tuple[Action, ...]:
        return plan_scale(situation.fleet, group, count, pattern)

    return planner


def towards_configs(configs: Mapping[str, Mapping[str, Any]]) -> Planner:
    """Give each machine, by its id, a configuration of an earlier release as a new one."""

    def planner(situation: Situation) -> tuple[Action, ...]:
        deploy_id = situation.release.deploy_id
        managed = situation.fleet.managed
        stamped = [machine for machine in managed if is_stamped(machine, deploy_id)]
        return tuple(
            _reissue(situation, machine, configs[machine.id])
            for machine in managed
            if machine.id in configs and not is_stamped(machine, deploy_id)
        ) + tuple(
            Wait(**where(machine), version=machine.version)
            for machine in stamped
            if machine.state == "started"
            and (machine.id in situation.doubtful or not machine.is_serving)
        )

    return planner


def towards_nothing(situation: Situation) -> tuple[Action, ...]:
    """The planner of a run that only goes back."""
    del situation
    return ()


def _reissue(situation: Situation, machine: Machine, config: Mapping[str, Any]) -> Update:
    old = situation.base.machines.by_id.get(machine.id, machine)
    launch = should_launch(old.state, standby=bool(config.get("standbys")))
    return Update(
        **where(machine),
        config=reissued_config(situation.release, machine, config, was_before=was(old)),
        current_version=machine.version,
        launch=launch,
        serves=launch,
    )
