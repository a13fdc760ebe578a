from __future__ import annotations

from dataclasses import replace

from deploy.api.machine import Fleet
from deploy.plan.actions import Create
from deploy.plan.base import Base
from deploy.plan.schedule import schedule
from deploy.plan.steps import actions_of
from tests.deploy.plan.orders import order_of, shape, three
from tests.worlds.fleets import (
    PureFleet,
    group,
    machine,
    plan,
    release,
)


def test_a_canary_comes_first_is_kept_through_the_roll_and_goes_last() -> None:
    order = order_of(release(strategy="canary"), three())
    assert shape(order) == [
        [("web", [["create"]])],
        [("web", [["update", "update", "update"]])],
        [("", [["destroy"]])],
    ]
    (bird,) = order[0][0].steps[0].actions
    assert isinstance(bird, Create)
    assert bird.is_temporary
    assert order[0][0].steps[0].required
    assert order[2][0].steps[0].actions[0].name == bird.name


def test_each_group_has_a_canary_of_its_own() -> None:
    web, api = group("web"), group("api")
    fleet = Fleet.of([machine("m1", web), machine("m2", api)])
    proof, *_ = order_of(release(web, api, strategy="canary"), fleet)
    birds = [track.steps[0].actions[0].name for track in proof]
    assert [name.partition("-")[0] for name in birds] == ["web", "api"]


def test_a_canary_that_is_there_is_watched_and_not_made_again() -> None:
    wanted = release(strategy="canary")
    platform = PureFleet(three())
    base = Base.of(platform.fleet)
    order = order_of(wanted, platform.fleet)
    bird = order[0][0].steps[0].actions[0]
    platform.apply(bird)
    slow = Fleet.of(
        replace(one, checks=()) if one.name == bird.name else one for one in platform.fleet
    )
    again = schedule(wanted, slow, base, plan(wanted, slow, base))
    assert shape(again) == [
        [("web", [["wait"]])],
        [("web", [["update", "update", "update"]])],
        [("", [["destroy"]])],
    ]


def test_a_canary_that_came_to_rest_is_started() -> None:
    """It crashed until the platform gave up, before anybody looked: waiting brings nothing."""
    wanted = release(strategy="canary")
    platform = PureFleet(three())
    base = Base.of(platform.fleet)
    bird = order_of(wanted, platform.fleet)[0][0].steps[0].actions[0]
    platform.apply(bird)
    resting = Fleet.of(
        replace(one, state="stopped") if one.name == bird.name else one for one in platform.fleet
    )
    again = schedule(wanted, resting, base, plan(wanted, resting, base))
    assert shape(again)[0] == [("web", [["start"]])]


def test_a_canary_is_not_tried_when_nothing_rolls() -> None:
    fleet = Fleet.of([machine("m1", state="stopped")])
    assert not any(
        isinstance(a, Create) for a in actions_of(order_of(release(strategy="canary"), fleet))
    )
