from __future__ import annotations

from deploy.api.machine import Fleet
from deploy.plan.actions import Wait
from deploy.plan.base import Base
from deploy.plan.schedule import schedule
from deploy.plan.steps import Gate
from tests.deploy.plan.orders import order_of, three
from tests.worlds.fleets import machine, plan, release, updated


def test_immediate_begins_everything_at_once_and_waits_for_nothing() -> None:
    ((track,),) = order_of(release(strategy="immediate"), three())
    (step,) = track.steps
    assert len(step.actions) == 3
    assert (step.gate, step.counted, step.first_alone) == (Gate.NONE, False, False)


def test_immediate_leaves_out_what_is_only_to_be_waited_for() -> None:
    wanted = release(strategy="immediate")
    fleet = Fleet.of([updated(machine("m1")), machine("m2")])
    base = Base.of(fleet)
    actions = plan(wanted, fleet, base, doubtful=frozenset({"m1"}))
    assert [type(action) is Wait for action in actions] == [True, False]
    ((track,),) = schedule(wanted, fleet, base, actions)
    assert [action.machine_id for action in track.steps[0].actions] == ["m2"]
