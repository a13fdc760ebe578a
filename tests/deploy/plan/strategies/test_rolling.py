from __future__ import annotations

from deploy.api.machine import Check, Fleet
from deploy.plan.base import Base
from deploy.plan.schedule import schedule
from deploy.plan.steps import Gate
from tests.deploy.plan.orders import order_of, three
from tests.worlds.fleets import (
    PureFleet,
    machine,
    plan,
    release,
)


def test_rolling_takes_sick_machines_first_and_one_serving_machine_alone() -> None:
    fleet = Fleet.of([*three(), machine("m4", checks=(Check("a", "critical"),))])
    ((track,),) = order_of(release(), fleet)
    free, costly = track.steps
    assert [action.machine_id for action in free.actions] == ["m4"]
    assert (free.counted, free.first_alone) == (False, False)
    assert [action.machine_id for action in costly.actions] == ["m1", "m2", "m3"]
    assert (costly.counted, costly.first_alone, costly.gate) == (True, True, Gate.HEALTHY)


def test_rolling_goes_on_without_trying_one_alone_when_one_serves_already() -> None:
    platform = PureFleet(three())
    base = Base.of(platform.fleet)
    platform.apply(plan(release(), platform.fleet, base)[0])
    actions = plan(release(), platform.fleet, base)
    ((track,),) = schedule(release(), platform.fleet, base, actions)
    assert not track.steps[0].first_alone


def test_a_first_deploy_tries_one_machine_alone() -> None:
    ((track,),) = order_of(release(), Fleet())
    (step,) = track.steps
    assert step.first_alone
    assert [action.name for action in step.actions] == ["web-1", "web-2"]
