from __future__ import annotations

from collections import Counter
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from deploy.api.machine import Fleet
from deploy.errors import DeployError, UsageProblem
from deploy.plan.actions import Action, Cordon, Create, Destroy, Stop, Update, Wait
from deploy.plan.back import plan_back
from deploy.plan.base import Base
from deploy.plan.group import MachineCheck
from deploy.plan.release import Release
from deploy.plan.schedule import refuse_unsuited, schedule, schedule_back
from deploy.plan.steps import Gate, actions_of
from deploy.plan.strategies import STRATEGY_NAMES
from tests.deploy.plan.orders import every_strategy, order_of, shape, steps_of, three
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
@given(every_strategy)
def test_cold_machines_stand_aside_and_nothing_waits_for_them(
    situation: tuple[Release, Fleet],
) -> None:
    for _, track, step in steps_of(order_of(*situation)):
        if any(action.is_cold and not _is_new_standby(action) for action in step.actions):
            assert len(track.steps) == 1
            assert all(action.is_cold for action in step.actions)
            assert step.gate is Gate.NONE
            assert not step.required


def _is_new_standby(action: Action) -> bool:
    return isinstance(action, Create) and bool(action.standby_for)


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


# -- what holds for every strategy --------------------------------------------------


def test_a_standby_is_made_after_the_machine_that_it_stands_by_for() -> None:
    order = order_of(release(group(services=[])), Fleet())
    assert shape(order) == [[("web", [["create"], ["create"]])]]
    first, second = actions_of(order)
    assert isinstance(second, Create)
    assert second.standby_for == first.name


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


def test_nothing_to_do_is_an_empty_schedule() -> None:
    assert schedule(release(), three(), Base.of(three()), ()) == ()


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


@thrifty
@given(every_strategy)
def test_machine_checks_change_what_is_waited_for_and_nothing_else(
    situation: tuple[Release, Fleet],
) -> None:
    wanted, fleet = situation
    base = Base.of(fleet)
    planned = plan(wanted, fleet, base)
    check = MachineCheck(init={"cmd": ["true"]})
    tried = replace(
        wanted, groups=tuple(replace(one, machine_checks=(check,)) for one in wanted.groups)
    )
    known = {one.name for one in wanted.groups}
    plain = list(steps_of(schedule(wanted, fleet, base, planned)))
    checked = list(steps_of(schedule(tried, fleet, base, planned)))
    for (_, track, one), (_, _, other) in zip(plain, checked, strict=True):
        is_tried = one.gate is Gate.HEALTHY and track.group in known
        assert other == replace(one, gate=Gate.TRIED if is_tried else one.gate)


@pytest.mark.parametrize("has_checks", [True, False])
@pytest.mark.parametrize("is_doubtful", [True, False])
def test_a_canary_that_serves_and_was_not_tried_yet_is_waited_for(
    has_checks: bool, is_doubtful: bool
) -> None:
    check = MachineCheck(init={"cmd": ["true"]})
    mine = replace(group(), machine_checks=(check,) if has_checks else ())
    wanted = release(mine, strategy="canary")
    base = Base.of(three())
    pure = PureFleet(three())
    pure.carry_out(schedule(wanted, pure.fleet, base, plan(wanted, pure.fleet, base))[:1])
    canary = next(one for one in pure.fleet if one.name.startswith("web-canary"))
    doubtful = frozenset({canary.id} if is_doubtful else ())
    planned = plan(wanted, pure.fleet, base, doubtful=doubtful)
    order = schedule(wanted, pure.fleet, base, planned, doubtful=doubtful)
    first = order[0][0].steps[0].actions[0]
    assert (isinstance(first, Wait) and first.machine_id == canary.id) is is_doubtful
