from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest
from deploy.orchestrator.ledger import Ledger
from deploy.plan.strategy import is_canary, is_cold, is_new_standby
from hypothesis import given
from hypothesis import strategies as st

from deploy.api.machine import Check, Fleet
from deploy.errors import DeployError, UsageProblem
from deploy.orchestrator.window import Window, windows
from deploy.plan.actions import Action, Cordon, Create, Destroy, Stop, Uncordon, Update, Wait
from deploy.plan.back import plan_back
from deploy.plan.base import Base
from deploy.plan.release import Release
from deploy.plan.schedule import refuse_unsuited, schedule, schedule_back
from deploy.plan.steps import Gate, Schedule, Step, Track, without_gates
from deploy.plan.strategies import STRATEGY_NAMES
from tests.worlds.fleets import (
    MOUNTS,
    NEW_ID,
    PureFleet,
    group,
    machine,
    plan,
    release,
    situations,
    thrifty,
)

every_strategy = situations(strategies=STRATEGY_NAMES)


def order_of(wanted: Release, fleet: Fleet) -> Schedule:
    base = Base.of(fleet)
    return schedule(wanted, fleet, base, plan(wanted, fleet, base))


def steps_of(order: Schedule) -> Iterator[tuple[int, Track, Step]]:
    for number, stage in enumerate(order):
        for track in stage:
            for step in track.steps:
                yield number, track, step


def actions_of(order: Schedule) -> list[Action]:
    return [action for _, _, step in steps_of(order) for action in step.actions]


def shape(order: Schedule) -> list[list[tuple[str, list[list[str]]]]]:
    """Stages of (group, steps of verbs)."""
    return [
        [(track.group, [[a.verb for a in step.actions] for step in track.steps]) for track in stage]
        for stage in order
    ]


# -- properties ------------------------------------------------------------------------


@thrifty
@given(every_strategy)
def test_every_planned_action_is_carried_out_exactly_once(
    situation: tuple[Release, Fleet],
) -> None:
    wanted, fleet = situation
    base = Base.of(fleet)
    planned = plan(wanted, fleet, base)
    ordered = Counter(map(id, actions_of(schedule(wanted, fleet, base, planned))))
    assert set(ordered.values()) <= {1}
    left_out = [action for action in planned if id(action) not in ordered]
    assert wanted.strategy == "immediate" or not left_out
    assert all(isinstance(action, Wait) for action in left_out)


@thrifty
@given(every_strategy)
def test_whatever_is_destroyed_goes_in_the_last_stage(situation: tuple[Release, Fleet]) -> None:
    order = order_of(*situation)
    for number, _, step in steps_of(order):
        if any(isinstance(action, Destroy) for action in step.actions):
            assert number == len(order) - 1
            assert all(isinstance(action, Destroy) for action in step.actions)


@thrifty
@given(every_strategy)
def test_groups_go_side_by_side_and_a_track_is_of_one_group(
    situation: tuple[Release, Fleet],
) -> None:
    order = order_of(*situation)
    assert len(order) <= 3  # prove, roll, destroy
    for _, track, step in steps_of(order):
        if not any(isinstance(action, Destroy) for action in step.actions):
            assert {action.group for action in step.actions} == {track.group}


@thrifty
@given(situations(strategies=("rolling", "canary")))
def test_whatever_takes_a_serving_machine_out_is_counted(situation: tuple[Release, Fleet]) -> None:
    wanted, fleet = situation
    base = Base.of(fleet)
    for _, _, step in steps_of(order_of(wanted, fleet)):
        for action in step.actions:
            takes_out = isinstance(action, Update) and action.machine_id in base.serving
            assert step.counted or not takes_out
            assert not isinstance(action, Cordon | Stop)


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


@thrifty
@given(situations(strategies=("rolling", "canary")), st.randoms(use_true_random=False))
def test_never_more_than_max_unavailable_out_of_service(
    situation: tuple[Release, Fleet], chance: Any
) -> None:
    """Walk the schedule as an executor may: places are taken as they free, in any order."""
    wanted, fleet = situation
    base = Base.of(fleet)
    order = order_of(wanted, fleet)
    places = windows(wanted, fleet, base, Ledger())
    out: dict[str, set[str]] = {}
    for _, track, step in steps_of(order):
        if not step.counted:
            continue
        window, waiting, moving = places[track.group], list(step.actions), list[Action]()
        while waiting or moving:
            if waiting and window.has_place(waiting[0].machine_id) and chance.random() < 0.7:
                action = waiting.pop(0)
                window.leave(action.machine_id)
                moving.append(action)
                out.setdefault(track.group, set()).add(action.machine_id)
            elif moving:
                back = moving.pop(chance.randrange(len(moving)))
                if chance.random() < 0.9:  # the rest stay out: nobody could settle them
                    window.back(back.machine_id)
                    out[track.group].discard(back.machine_id)
            elif not window.has_place(waiting[0].machine_id):
                break
            serving = out.get(track.group, set()) & base.serving
            assert len(serving) <= window.limit


@thrifty
@given(
    st.integers(1, 4),
    st.lists(st.tuples(st.booleans(), st.sampled_from("abcdefgh")), max_size=60),
)
def test_a_window_holds_its_limit_through_any_coming_and_going(
    limit: int, moves: list[tuple[bool, str]]
) -> None:
    window = Window(limit, frozenset("abcdef"))
    for leaves, machine_id in moves:
        if not leaves:
            window.back(machine_id)
        elif window.has_place(machine_id):
            window.leave(machine_id)
        assert len(window.out) <= limit
        assert window.out <= window.counted


@thrifty
@given(every_strategy)
def test_cold_machines_stand_aside_and_nothing_waits_for_them(
    situation: tuple[Release, Fleet],
) -> None:
    for _, track, step in steps_of(order_of(*situation)):
        if any(is_cold(action) and not is_new_standby(action) for action in step.actions):
            assert len(track.steps) == 1
            assert all(is_cold(action) for action in step.actions)
            assert step.gate is Gate.NONE
            assert not step.required


@thrifty
@given(every_strategy, st.data())
def test_on_the_way_back_what_serves_is_counted_and_extras_go_last(
    situation: tuple[Release, Fleet], data: st.DataObject
) -> None:
    wanted, fleet = situation
    base = Base.of(fleet)
    platform = PureFleet(fleet)
    forward = [a for a in actions_of(order_of(wanted, fleet)) if not isinstance(a, Destroy)]
    for action in forward[: data.draw(st.integers(0, len(forward)))]:
        platform.apply(action)
    serving = {one.id for one in platform.fleet.managed if one.is_serving}
    written = frozenset(platform.fleet.by_id)
    back = plan_back(platform.fleet, base, deploy_id=NEW_ID, written=written)
    order = schedule_back(platform.fleet, back)
    assert sorted(a.key for a in back) == sorted(a.key for a in actions_of(order))
    for number, _, step in steps_of(order):
        for action in step.actions:
            if isinstance(action, Update):
                assert step.counted is (action.machine_id in serving)
            assert not isinstance(action, Destroy) or number == len(order) - 1


# -- each strategy ---------------------------------------------------------------------


def _three(**fields: Any) -> Fleet:
    return Fleet.of(machine(f"m{n}", **fields) for n in (1, 2, 3))


def test_rolling_takes_sick_machines_first_and_one_serving_machine_alone() -> None:
    fleet = Fleet.of([*_three(), machine("m4", checks=(Check("a", "critical"),))])
    ((track,),) = order_of(release(), fleet)
    free, costly = track.steps
    assert [action.machine_id for action in free.actions] == ["m4"]
    assert (free.counted, free.first_alone) == (False, False)
    assert [action.machine_id for action in costly.actions] == ["m1", "m2", "m3"]
    assert (costly.counted, costly.first_alone, costly.gate) == (True, True, Gate.HEALTHY)


def test_rolling_goes_on_without_trying_one_alone_when_one_serves_already() -> None:
    platform = PureFleet(_three())
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


def test_a_standby_is_made_after_the_machine_that_it_stands_by_for() -> None:
    order = order_of(release(group(services=[])), Fleet())
    assert shape(order) == [[("web", [["create"], ["create"]])]]
    first, second = actions_of(order)
    assert isinstance(second, Create)
    assert second.standby_for == first.name


def test_a_canary_comes_first_is_kept_through_the_roll_and_goes_last() -> None:
    order = order_of(release(strategy="canary"), _three())
    assert shape(order) == [
        [("web", [["create"]])],
        [("web", [["update", "update", "update"]])],
        [("", [["destroy"]])],
    ]
    (bird,) = order[0][0].steps[0].actions
    assert isinstance(bird, Create)
    assert is_canary(bird)
    assert order[0][0].steps[0].required
    assert order[2][0].steps[0].actions[0].name == bird.name


def test_each_group_has_a_canary_of_its_own() -> None:
    web, api = group("web"), group("api")
    fleet = Fleet.of([machine("m1", web), machine("m2", api)])
    proof, *_ = order_of(release(web, api, strategy="canary"), fleet)
    birds = [track.steps[0].actions[0].name for track in proof]
    assert [name.partition("-")[0] for name in birds] == ["web", "api"]


@pytest.mark.parametrize("strategy", ["canary", "bluegreen"])
def test_every_group_proves_the_release_before_anything_old_is_touched_in_any(
    strategy: str,
) -> None:
    web, api = group("web"), group("api")
    fleet = Fleet.of([machine("m1", web), machine("m2", api)])
    proof, *rest = order_of(release(web, api, strategy=strategy), fleet)
    assert [track.group for track in proof] == ["web", "api"]
    assert all(isinstance(a, Create) for track in proof for s in track.steps for a in s.actions)
    assert not any(isinstance(a, Create) for a in actions_of(tuple(rest)))


def test_a_canary_that_is_there_is_watched_and_not_made_again() -> None:
    wanted = release(strategy="canary")
    platform = PureFleet(_three())
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


def test_a_canary_is_not_tried_when_nothing_rolls() -> None:
    fleet = Fleet.of([machine("m1", state="stopped")])
    assert not any(
        isinstance(a, Create) for a in actions_of(order_of(release(strategy="canary"), fleet))
    )


def test_bluegreen_brings_green_up_switches_drains_stops_and_destroys() -> None:
    order = order_of(release(strategy="bluegreen"), _three())
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


def test_immediate_begins_everything_at_once_and_waits_for_nothing() -> None:
    ((track,),) = order_of(release(strategy="immediate"), _three())
    (step,) = track.steps
    assert len(step.actions) == 3
    assert (step.gate, step.counted, step.first_alone) == (Gate.NONE, False, False)


def test_without_gates_changes_nothing_but_the_gates() -> None:
    order = order_of(release(strategy="canary"), _three())
    bare = without_gates(order)
    assert shape(bare) == shape(order)
    assert {step.gate for _, _, step in steps_of(bare)} == {Gate.NONE}


def test_nothing_to_do_is_an_empty_schedule() -> None:
    assert schedule(release(), _three(), Base.of(_three()), ()) == ()


# -- what is refused before anything changes -------------------------------------------


@pytest.mark.parametrize("strategy", ["canary", "bluegreen"])
@pytest.mark.parametrize("where", ["fly.toml", "a machine"])
def test_mounts_refuse_canary_and_bluegreen(strategy: str, where: str) -> None:
    mounted = group(mounts=MOUNTS)
    wanted = release(mounted if where == "fly.toml" else group(), strategy=strategy)
    fleet = Fleet.of([machine("m1", mounted if where == "a machine" else group())])
    with pytest.raises(UsageProblem, match="cannot be used with mounts") as caught:
        refuse_unsuited(wanted, fleet)
    assert "rolling" in caught.value.hint


@pytest.mark.parametrize("strategy", ["rolling", "immediate"])
def test_mounts_are_no_matter_to_the_others(strategy: str) -> None:
    mounted = group(mounts=MOUNTS)
    refuse_unsuited(release(mounted, strategy=strategy), Fleet.of([machine("m1", mounted)]))


def test_bluegreen_needs_a_check_to_know_when_green_is_ready() -> None:
    bare = group(services=[])
    with pytest.raises(UsageProblem, match="health check"):
        refuse_unsuited(release(bare, strategy="bluegreen"), Fleet())
    refuse_unsuited(release(bare, strategy="canary"), Fleet())
    checked = group(services=[], checks={"up": {"type": "tcp", "port": 1}})
    refuse_unsuited(release(checked, strategy="bluegreen"), Fleet())
    refuse_unsuited(release(group(), strategy="bluegreen"), Fleet())


@pytest.mark.parametrize("strategy", STRATEGY_NAMES)
def test_a_volume_on_an_unreachable_host_is_named_whatever_the_strategy(strategy: str) -> None:
    spec = group(mounts=MOUNTS)
    lost = machine("m7", spec, name="web-7", host_status="unreachable")
    with pytest.raises(DeployError, match=r"web-7 \(m7\)") as caught:
        refuse_unsuited(release(spec, strategy=strategy), Fleet.of([machine("m1", spec), lost]))
    assert "--exclude-machines m7" in caught.value.hint


def test_a_lost_host_without_a_volume_refuses_nothing() -> None:
    refuse_unsuited(release(), Fleet.of([replace(machine(), host_status="unreachable")]))
