from __future__ import annotations

from dataclasses import replace

from deploy.api.machine import Fleet
from deploy.plan.actions import Action, Update, Wait
from deploy.plan.steps import Gate, Track, parted, serving, step, track, without_gates
from tests.deploy.plan.orders import order_of, shape, steps_of, three
from tests.worlds.fleets import machine, release


def test_without_gates_changes_nothing_but_the_gates() -> None:
    order = order_of(release(strategy="canary"), three())
    bare = without_gates(order)
    assert shape(bare) == shape(order)
    assert {each.gate for _, _, each in steps_of(bare)} == {Gate.NONE}


def test_a_track_has_only_steps_that_have_something_to_do() -> None:
    some = step([Action(machine_id="m1")], Gate.NONE)
    assert track("web", [step([], Gate.NONE), some]) == (Track("web", (some,)),)
    assert track("web", [step([], Gate.NONE)]) == ()


def test_only_an_update_of_what_serves_takes_anything_out() -> None:
    update = Update(machine_id="m1", config={}, current_version="v0", launch=True)
    other = replace(update, machine_id="m2")
    wait = Wait(machine_id="m1", version="v0")
    assert parted([wait, update, other], frozenset({"m1"})) == ([wait, other], [update])


def test_what_serves_is_managed_and_in_rotation() -> None:
    fleet = Fleet.of([*three(), machine("m4", cordoned=True), machine("m5", state="stopped")])
    assert serving(fleet) == {"m1", "m2", "m3"}
