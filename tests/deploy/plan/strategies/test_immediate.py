from __future__ import annotations

from deploy.plan.steps import Gate
from tests.deploy.plan.orders import order_of, three
from tests.worlds.fleets import (
    release,
)


def test_immediate_begins_everything_at_once_and_waits_for_nothing() -> None:
    ((track,),) = order_of(release(strategy="immediate"), three())
    (step,) = track.steps
    assert len(step.actions) == 3
    assert (step.gate, step.counted, step.first_alone) == (Gate.NONE, False, False)
