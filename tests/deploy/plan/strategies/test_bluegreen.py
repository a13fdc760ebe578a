from __future__ import annotations

from hypothesis import given

from deploy.api.machine import Fleet
from deploy.plan.actions import Cordon, Create, Destroy, Stop, Uncordon, Update
from deploy.plan.base import Base
from deploy.plan.release import Release
from deploy.plan.schedule import schedule
from deploy.plan.steps import Gate, actions_of
from tests.deploy.plan.orders import order_of, shape, three
from tests.worlds.fleets import (
    PureFleet,
    machine,
    plan,
    release,
    situations,
    thrifty,
)


@thrifty
@given(situations(strategies=("bluegreen",)))
def test_bluegreen_never_updates_what_serves_and_switches_before_it_takes_out(
    situation: tuple[Release, Fleet],
) -> None:
    wanted, fleet = situation
    base = Base.of(fleet)
    for stage in order_of(wanted, fleet):
        for track in stage:
            ready = False
            for step in track.steps:
                for action in step.actions:
                    if isinstance(action, Update):
                        assert action.machine_id not in base.serving
                    if isinstance(action, Cordon | Stop):
                        assert ready
                ready = ready or any(isinstance(action, Uncordon) for action in step.actions)


def test_bluegreen_brings_green_up_switches_drains_stops_and_destroys() -> None:
    order = order_of(release(strategy="bluegreen"), three())
    assert shape(order) == [
        [("web", [["create"] * 3])],
        [("web", [["uncordon"] * 3, ["cordon"] * 3, ["stop"] * 3])],
        [("", [["destroy"] * 3])],
    ]
    (green,), (switch, *_) = order[0][0].steps, order[1][0].steps
    assert all(isinstance(a, Create) and a.cordoned and a.launch for a in green.actions)
    assert (green.gate, green.required) == (Gate.HEALTHY, True)
    assert (switch.gate, switch.required) == (Gate.HEALTHY, True)


def test_bluegreen_updates_stopped_blues_where_they_are() -> None:
    fleet = Fleet.of(machine(f"m{n}", state="stopped") for n in (1, 2))
    assert shape(order_of(release(strategy="bluegreen"), fleet)) == [
        [("web", [["update", "update"]])]
    ]


def test_bluegreen_drains_no_blue_that_is_out_of_the_rotation_or_down() -> None:
    wanted = release(strategy="bluegreen")
    platform = PureFleet(Fleet.of([machine("m1"), machine("m2")]))
    base = Base.of(platform.fleet)
    for action in actions_of(order_of(wanted, platform.fleet)):
        if not isinstance(action, Destroy) and not isinstance(action, Stop):
            platform.apply(action)
    platform.apply(Stop(machine_id="m1", group="web"))
    order = schedule(wanted, platform.fleet, base, plan(wanted, platform.fleet, base))
    assert shape(order) == [[("web", [["stop"]])], [("", [["destroy", "destroy"]])]]
