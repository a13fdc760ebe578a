from __future__ import annotations

from deploy.plan.steps import Gate, without_gates
from tests.deploy.plan.orders import order_of, shape, steps_of, three
from tests.worlds.fleets import (
    release,
)


def test_without_gates_changes_nothing_but_the_gates() -> None:
    order = order_of(release(strategy="canary"), three())
    bare = without_gates(order)
    assert shape(bare) == shape(order)
    assert {step.gate for _, _, step in steps_of(bare)} == {Gate.NONE}
