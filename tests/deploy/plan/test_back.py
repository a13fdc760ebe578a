from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from deploy.api.machine import Exit, Fleet, Machine
from deploy.plan.actions import Action, Destroy, Start, Uncordon, Update, Wait
from deploy.plan.back import plan_back
from deploy.plan.base import Base
from deploy.plan.configs import restored_config
from deploy.plan.release import Release
from deploy.plan.schedule import schedule, schedule_back
from deploy.plan.stamps import DEPLOY, INTENT, ROLE, Role, replacement_name
from deploy.plan.strategies import STRATEGY_NAMES
from tests.worlds.fleets import (
    NEW_ID,
    PureFleet,
    group,
    machine,
    normalised,
    plan,
    release,
    situations,
    thrifty,
    with_metadata,
)

situations_of_all = situations(strategies=STRATEGY_NAMES)


def _half_done(wanted: Release, fleet: Fleet, data: st.DataObject) -> tuple[PureFleet, set[str]]:
    """Some of the deploy is carried out, nothing old destroyed: (platform, ids written to)."""
    base = Base.of(fleet)
    platform = PureFleet(fleet)
    actions: list[Action] = [
        action
        for stage in schedule(wanted, fleet, base, plan(wanted, fleet, base))
        for track in stage
        for step in track.steps
        for action in step.actions
        if not isinstance(action, Destroy)
    ]
    written = set()
    for action in actions[: data.draw(st.integers(0, len(actions)))]:
        platform.apply(action)
        written.add(action.machine_id or platform.made[action.name])
    return platform, written


def _back(platform: PureFleet, base: Base, written: set[str], deploy_id: str) -> tuple[Action, ...]:
    return plan_back(platform.fleet, base, deploy_id=deploy_id, written=frozenset(written))


def _as_sent(one: Machine) -> dict[str, Any]:
    config = {key: value for key, value in one.config.items() if value is not None}
    return normalised(config)


def test_what_was_done_before_a_host_was_lost_is_undone_and_nothing_else_there() -> None:
    old = machine("m1")
    base = Base.of(Fleet.of([old]))
    lost = replace(old, host_status="unreachable")

    def left(one: Machine) -> list[type[Action]]:
        doubts = frozenset({one.id})
        back = plan_back(Fleet.of([one]), base, deploy_id=NEW_ID, written=doubts, doubtful=doubts)
        return [type(action) for action in back]

    assert left(lost) == []
    assert left(replace(lost, cordoned=True)) == [Uncordon, Wait]
    assert left(replace(lost, cordoned=True, state="stopped")) == [Uncordon, Start]
    green = with_metadata(replace(lost, id="m2"), **{ROLE: str(Role(NEW_ID, "m1"))})
    assert left(replace(green, name=replacement_name(old, NEW_ID))) == [Destroy]


@thrifty
@given(situations_of_all, st.data())
def test_the_way_back_is_the_identity_on_configurations(
    situation: tuple[Release, Fleet], data: st.DataObject
) -> None:
    wanted, fleet = situation
    base = Base.of(fleet)
    platform, written = _half_done(wanted, fleet, data)
    platform.carry_out(schedule_back(platform.fleet, _back(platform, base, written, NEW_ID)))
    now = platform.fleet
    if base.machines:
        assert now.by_id.keys() == fleet.by_id.keys()
    for old in base.machines:
        one = now.by_id[old.id]
        assert _as_sent(one) == _as_sent(old)
        assert one.cordoned == old.cordoned
        cold = old.state in ("stopped", "suspended", "created")
        assert (one.state == "started") is not cold or one.state == old.state


@thrifty
@given(situations_of_all, st.data())
def test_undoing_what_is_undone_yields_nothing(
    situation: tuple[Release, Fleet], data: st.DataObject
) -> None:
    wanted, fleet = situation
    base = Base.of(fleet)
    platform, written = _half_done(wanted, fleet, data)
    platform.carry_out(schedule_back(platform.fleet, _back(platform, base, written, NEW_ID)))
    assert _back(platform, base, written, NEW_ID) == ()


@thrifty
@given(situations_of_all, st.data())
def test_going_back_touches_only_what_this_run_wrote_to(
    situation: tuple[Release, Fleet], data: st.DataObject
) -> None:
    wanted, fleet = situation
    platform, written = _half_done(wanted, fleet, data)
    touched = {action.machine_id for action in _back(platform, Base.of(fleet), written, NEW_ID)}
    assert touched <= written


def test_another_deploys_machine_is_not_destroyed_though_we_have_its_id() -> None:
    theirs = machine("m9", name="web-9")
    actions = plan_back(
        Fleet.of([machine("m1"), theirs]),
        Base.of(Fleet.of([machine("m1")])),
        deploy_id=NEW_ID,
        written=frozenset({"m9"}),
    )
    assert actions == ()


def test_a_machine_whose_old_configuration_nobody_has_is_left() -> None:
    platform = PureFleet(Fleet.of([machine("m1")]))
    base = Base.of(platform.fleet)
    platform.carry_out(
        schedule(release(), platform.fleet, base, plan(release(), platform.fleet, base))
    )
    lost = replace(base, lost=frozenset({"m1"}))
    assert _back(platform, lost, {"m1"}, NEW_ID) == ()


def test_a_machine_that_did_not_serve_before_need_not_serve_after() -> None:
    sick = machine("m1", checks=())
    platform = PureFleet(Fleet.of([sick]))
    base = Base.of(platform.fleet)
    (update,) = plan(release(), platform.fleet, base)
    platform.apply(update)
    (back,) = _back(platform, base, {"m1"}, NEW_ID)
    assert isinstance(back, Update)
    assert back.launch
    assert not back.serves


@pytest.mark.parametrize(
    ("now", "is_doubtful", "verbs"),
    [
        ({"checks": ()}, True, []),
        ({"state": "restarting"}, True, []),
        ({"state": "replacing"}, False, []),
        ({"state": "replacing"}, True, ["wait"]),
        ({"state": "failed"}, False, []),
        ({"state": "stopped", "exits": (Exit(code=1, at_ms=1),)}, False, []),
        ({"state": "stopped", "exits": (Exit(code=1, at_ms=1, requested=True),)}, False, ["start"]),
    ],
    ids=str,
)
def test_of_a_machine_that_did_not_serve_only_a_write_of_ours_is_undone(
    now: dict[str, Any], is_doubtful: bool, verbs: list[str]
) -> None:
    actions = plan_back(
        Fleet.of([machine("m1", **now)]),
        Base.of(Fleet.of([machine("m1", checks=())])),
        deploy_id=NEW_ID,
        written=frozenset({"m1"}),
        doubtful=frozenset({"m1"} if is_doubtful else ()),
    )
    assert [action.verb for action in actions] == verbs


def test_the_intent_stays_while_going_back_and_our_role_does_not() -> None:
    config = restored_config(
        with_metadata(
            machine(), team="red", **{INTENT: "old", ROLE: f"replaces m0 {NEW_ID}", DEPLOY: NEW_ID}
        ).config,
        "new",
        NEW_ID,
    )
    assert config["metadata"]["team"] == "red"
    assert config["metadata"][INTENT] == "new"
    assert ROLE not in config["metadata"]
    assert DEPLOY not in config["metadata"]
    assert None not in config.values()


def test_a_blue_that_was_stopped_and_cordoned_is_brought_back() -> None:
    blue = machine("m1")
    base = Base.of(Fleet.of([blue]))
    platform = PureFleet(Fleet.of([blue]))
    (down,) = Fleet.of([machine("m1", state="stopped", cordoned=True)])
    platform.fleet = Fleet.of([down])
    verbs = [action.verb for action in _back(platform, base, {"m1"}, NEW_ID)]
    assert verbs == ["uncordon", "start"]


def test_a_machine_that_fell_asleep_meanwhile_is_not_woken() -> None:
    sleepy = group(services=[{"internal_port": 1, "autostop": "stop", "checks": []}])
    base = Base.of(Fleet.of([machine("m1", sleepy)]))
    asleep = machine("m1", sleepy, state="stopped", exits=(Exit(code=0, at_ms=1),))
    platform = PureFleet(Fleet.of([asleep]))
    assert _back(platform, base, {"m1"}, NEW_ID) == ()
