from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from deploy.api.machine import Exit, Fleet, Machine
from deploy.plan.actions import Create, Destroy, Start, Update
from deploy.plan.back import plan_back
from deploy.plan.base import Base, put_back, to_be_asked_for
from deploy.plan.release import Release
from deploy.plan.schedule import schedule
from deploy.plan.stamps import FROM, WAS
from deploy.plan.strategies import STRATEGY_NAMES
from tests.worlds.fleets import (
    NEW_ID,
    PureFleet,
    machine,
    plan,
    release,
    situations,
    thrifty,
    with_metadata,
)


def test_the_base_is_what_is_managed_and_of_that_what_serves() -> None:
    fleet = Fleet.of(
        [machine("m1"), machine("m2", state="stopped"), with_metadata(machine("m3"), x="y")]
    )
    unmanaged = replace(machine("m4"), config={})
    base = Base.of(Fleet.of([*fleet, unmanaged]))
    assert [one.id for one in base.machines] == ["m1", "m2", "m3"]
    assert base.serving == {"m1", "m3"}
    assert base.lost == frozenset()


@thrifty
@given(situations(strategies=STRATEGY_NAMES), st.data())
def test_another_computer_finds_the_base_of_a_deploy_that_died_anywhere(
    situation: tuple[Release, Fleet], data: st.DataObject
) -> None:
    wanted, fleet = situation
    if not fleet.managed:
        return
    base = Base.of(fleet)
    platform = PureFleet(fleet)
    actions = [
        action
        for stage in schedule(wanted, fleet, base, plan(wanted, fleet, base))
        for track in stage
        for step in track.steps
        for action in step.actions
        if not isinstance(action, Destroy)
    ]
    for action in actions[: data.draw(st.integers(0, len(actions)))]:
        platform.apply(action)
    versions = {
        machine_id: {**known, "v0": fleet.by_id[machine_id].config}
        if machine_id in fleet.by_id
        else known
        for machine_id, known in platform.versions.items()
    }
    found = Base.before(wanted.deploy_id, platform.fleet, versions)
    assert found.machines.by_id.keys() == base.machines.by_id.keys()
    for one in base.machines:
        again = found.machines.by_id[one.id]
        assert again.config == one.config
        assert again.version == one.version
        if one.id in platform.fleet.by_id and platform.fleet.by_id[one.id].version != one.version:
            assert (again.state, again.cordoned) == (one.state, one.cordoned)
    assert found.lost == frozenset()


def test_a_version_that_the_platform_forgot_is_lost() -> None:
    platform = PureFleet(Fleet.of([machine("m1"), machine("m2")]))
    first, _ = plan(release(), platform.fleet, Base.of(platform.fleet))
    platform.apply(first)
    assert Base.before(NEW_ID, platform.fleet, {}).lost == {"m1"}


def test_what_the_deploy_made_is_no_part_of_its_base_until_it_has_taken_a_place() -> None:
    wanted = release(strategy="bluegreen")
    platform = PureFleet(Fleet.of([machine("m1")]))
    green, destroy = plan(wanted, platform.fleet, Base.of(platform.fleet))
    assert isinstance(green, Create)
    platform.apply(green)
    assert [m.id for m in Base.before(NEW_ID, platform.fleet, platform.versions).machines] == ["m1"]
    platform.apply(destroy)
    after = Base.before(NEW_ID, platform.fleet, platform.versions)
    (taken,) = after.machines
    assert taken.id == platform.made[green.name]
    assert taken.image == "registry.test/hello:1"  # its first version holds the way back


@pytest.mark.parametrize("stamp_of_an_earlier_deploy", ["started", "started,sick"])
def test_a_stopped_blue_counts_as_serving_when_its_green_is_there(
    stamp_of_an_earlier_deploy: str,
) -> None:
    wanted = release(strategy="bluegreen")
    blue = with_metadata(machine("m1"), **{WAS: stamp_of_an_earlier_deploy})
    platform = PureFleet(Fleet.of([blue]))
    green, _ = plan(wanted, platform.fleet, Base.of(platform.fleet))
    platform.apply(green)
    stopped = Fleet.of(
        replace(one, state="stopped", cordoned=True, checks=()) if one.id == "m1" else one
        for one in platform.fleet
    )
    found = Base.before(NEW_ID, stopped, platform.versions)
    assert found.serving == {"m1"}
    (blue,) = found.machines
    assert (blue.state, blue.cordoned) == ("started", False)


@pytest.mark.parametrize("is_updated", [False, True])
@pytest.mark.parametrize("state", ["started", "stopped"])
def test_a_stand_in_says_from_its_birth_whether_the_machine_before_it_ran(
    state: str, is_updated: bool
) -> None:
    earlier = "stopped" if state == "started" else "started"
    one = with_metadata(machine("m1", state=state), **{WAS: earlier})  # of another deploy
    platform = PureFleet(Fleet.of([one]))
    base = Base.of(platform.fleet)
    actions = plan(release(), platform.fleet, base, refused=frozenset({"m1"}))
    (create,) = (each for each in actions if isinstance(each, Create))
    platform.apply(create if is_updated else replace(create, then=None, launch=False))
    found = Base.before(NEW_ID, platform.fleet, platform.versions)
    assert [(each.id, each.state) for each in found.machines] == [("m1", state)]
    assert found.serving == base.serving
    alone = Fleet.of(each for each in platform.fleet if each.id != "m1")
    (heir,) = Base.before(NEW_ID, alone, platform.versions).machines
    assert (heir.state == "started") is (state == "started")


def test_what_served_is_told_by_the_stamp_and_not_by_how_it_looks_now() -> None:
    at_first = [machine("m1"), machine("m2", state="stopped"), machine("m3", checks=())]
    platform = PureFleet(Fleet.of(at_first))
    base = Base.of(platform.fleet)
    for action in plan(release(), platform.fleet, base):
        assert isinstance(action, Update)
        platform.apply(action)
    sick = Fleet.of(replace(one, state="failed", checks=()) for one in platform.fleet)
    versions = {
        key: {**known, "v0": base.machines.by_id[key].config}
        for key, known in platform.versions.items()
    }
    found = Base.before(NEW_ID, sick, versions)
    assert found.serving == base.serving == {"m1"}
    states = {one.id: one.state for one in found.machines}
    assert states == {"m1": "started", "m2": "stopped", "m3": "started"}
    assert all(one.metadata.get(FROM, "") == "" for one in found.machines)


def _back_and_forth(first: Machine | None = None) -> tuple[PureFleet, Machine]:
    """A machine that the deploy has put back, and that has exited since; with its platform."""
    platform = PureFleet(Fleet.of([first or machine("m1"), machine("m2", state="stopped")]))
    base = Base.of(platform.fleet)
    (update,) = (a for a in plan(release(), platform.fleet, base) if a.machine_id == "m1")
    platform.apply(update)
    undone = plan_back(platform.fleet, base, deploy_id=NEW_ID, written=frozenset({"m1"}))
    for action in undone:
        platform.apply(action)
    one = platform.fleet.by_id["m1"]
    return platform, replace(one, state="stopped", checks=(), exits=(Exit(3, 1),))


def test_what_failed_its_checks_before_and_was_put_back_did_not_serve() -> None:
    platform, exited = _back_and_forth(machine("m1", checks=()))
    assert Base.before(NEW_ID, Fleet.of([exited]), platform.versions).serving == frozenset()


def test_what_was_put_back_and_has_exited_is_as_its_version_of_the_deploy_says() -> None:
    platform, exited = _back_and_forth()
    fleet = Fleet.of([exited, platform.fleet.by_id["m2"]])
    assert [one.id for one in to_be_asked_for(fleet, NEW_ID)] == ["m1"]
    assert [m.id for m in put_back(fleet, NEW_ID, platform.versions)] == ["m1"]
    base = Base.before(NEW_ID, fleet, platform.versions)
    assert base.serving == {"m1"}
    assert not base.lost
    (start,) = plan_back(fleet, base, deploy_id=NEW_ID, written=frozenset({"m1"}))
    assert isinstance(start, Start)


def test_what_somebody_stopped_after_it_was_put_back_is_not_asked_for() -> None:
    _, exited = _back_and_forth()
    stopped = replace(exited, exits=(Exit(0, 1, requested=True),))
    assert to_be_asked_for(Fleet.of([stopped]), NEW_ID) == []


def test_what_was_put_back_and_then_deployed_by_another_is_left_as_it_is() -> None:
    platform, exited = _back_and_forth()
    other = with_metadata(exited, fly_release_id="foreign", fly_release_version="9")
    assert put_back(Fleet.of([other]), NEW_ID, platform.versions) == []


def test_a_green_that_the_platform_put_back_is_still_the_deploys_own() -> None:
    wanted = release(strategy="bluegreen")
    platform = PureFleet(Fleet.of([machine("m1")]))
    create, _ = plan(wanted, platform.fleet, Base.of(platform.fleet))
    platform.apply(create)
    green = platform.fleet.by_id[platform.made[create.name]]
    first = next(iter(platform.versions[green.id].values()))
    reverted = replace(green, config=first, version="v9", state="stopped", exits=(Exit(3, 1),))
    fleet = Fleet.of([platform.fleet.by_id["m1"], reverted])
    assert put_back(fleet, NEW_ID, platform.versions) == []
    assert [one.id for one in Base.before(NEW_ID, fleet, platform.versions).machines] == ["m1"]
